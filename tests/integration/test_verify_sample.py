"""`fipe verify --against api`: the official API is asked for a random sample, by FIPE code."""

import math
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from psycopg2.extensions import connection
from rich.console import Console
from typer.testing import CliRunner

from fipe_api.database.writer import write_rows
from fipe_api.fipe_api_service import FipeApi
from fipe_api.source import http_source
from fipe_api.source.http_source import HttpSource
from fipe_api.source.pace import Unpaced
from fipe_cli import verify_sample
from fipe_cli.__main__ import app
from fipe_cli.errors import CliError
from fipe_cli.words_of_samples import confidence
from fipe_simulator import SAMPLE_CATALOGUE, FipeSimulator, read_catalogue
from tests.fipex import write_csv
from tests.integration.test_imports import imported, rows_of
from tests.local_database import database_of_dev, emptied, use_folder

JUNE = date(2026, 6, 1)
CATALOGUE = read_catalogue(SAMPLE_CATALOGUE)
ROWS = rows_of(CATALOGUE, 334)
QUIET = Console(quiet=True)
ALL = len(ROWS)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "FIRST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def api() -> Iterator[FipeApi]:
    with FipeSimulator(CATALOGUE) as simulator, requests.Session() as session:
        session.trust_env = False
        yield FipeApi(HttpSource("fipe", session, Unpaced(), lambda: math.inf), simulator.url)


def test_a_month_that_is_right_is_right_by_a_bound(database: connection, api: FipeApi) -> None:
    write_rows(database, ROWS)
    found, words = verify_sample.verify_sample(database, JUNE, 50, api, QUIET)
    assert (found.here, found.there, found.differences) == (50, 50, [])
    assert words == "with 95% confidence at least 94.18% of the month is right"


def test_an_imported_month_is_asked_by_fipe_code(
    database: connection, dsn: str, tmp_path: Path, api: FipeApi
) -> None:
    imported(dsn, write_csv(tmp_path / "june.csv", ROWS))
    found, _ = verify_sample.verify_sample(database, JUNE, 50, api, QUIET)
    assert (found.there, found.differences) == (50, [])


def test_what_is_wrong_is_named(database: connection, api: FipeApi) -> None:
    wrong = [ROWS[0]._replace(price_brl=Decimal(7)), ROWS[1]._replace(model="Outro"), *ROWS[2:]]
    write_rows(database, [*wrong, ROWS[2]._replace(model_year=1951)])
    found, _ = verify_sample.verify_sample(database, JUNE, ALL + 1, api, QUIET)
    assert {(each.what, each.here.fipe_code) for each in found.differences if each.here} == {
        ("other price", ROWS[0].fipe_code), ("other name", ROWS[1].fipe_code),
        ("missing there", ROWS[2].fipe_code),
    }  # fmt: skip
    assert len(found.differences) == 3


def test_a_month_that_one_side_lacks_is_refused(database: connection, api: FipeApi) -> None:
    with pytest.raises(CliError, match="the database has no prices for 2026-06"):
        verify_sample.verify_sample(database, JUNE, 5, api, QUIET)
    later = date(2026, 7, 1)
    write_rows(database, [ROWS[0]._replace(reference_month=later, reference_code=335)])
    with pytest.raises(CliError, match="the official API has no prices for 2026-07"):
        verify_sample.verify_sample(database, later, 5, api, QUIET)


def test_it_waits_while_the_api_refuses(
    database: connection, api: FipeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(database, ROWS[:5])
    waits: list[float] = []
    monkeypatch.setattr(verify_sample.time, "sleep", waits.append)
    served = api.price_of_code
    refusals = [http_source.ThrottledError("throttled", 60.0)] * 3

    def refusing(asked: object) -> object:
        if refusals:
            raise refusals.pop()
        return served(asked)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "price_of_code", refusing)
    found, _ = verify_sample.verify_sample(database, JUNE, 5, api, QUIET)
    assert (found.there, waits) == (5, [60.0] * 3)
    refusals += [http_source.ThrottledError("throttled", 60.0)] * 9
    with pytest.raises(CliError, match="the official API serves no calls: throttled"):
        verify_sample.verify_sample(database, JUNE, 5, api, QUIET)


@pytest.mark.parametrize(
    ("answered", "wrong", "bound"),
    [(500, 0, "99.40%"), (500, 1, "99.05%"), (500, 500, "0.00%"), (10, 0, "74.11%")],
)
def test_the_bound_is_that_of_clopper_and_pearson(answered: int, wrong: int, bound: str) -> None:
    assert f"at least {bound} of" in confidence(answered, wrong)


def test_the_command_says_what_the_sample_says(
    tmp_path: Path, api: FipeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_folder(tmp_path, monkeypatch)
    monkeypatch.setattr(verify_sample, "official_api", lambda *_: api)
    with database_of_dev(tmp_path) as server:
        with closing(emptied(server).open()) as database:
            write_rows(database, ROWS)
        ended = CliRunner().invoke(app, ["verify", "2026-06", "--against", "api", "--sample", "10"])
    assert (ended.exit_code, ended.stdout.splitlines()) == (0, [
        "2026-06: 10 prices here, 10 in the official API: all alike",
        "with 95% confidence at least 74.11% of the month is right",
    ]), ended.output  # fmt: skip
