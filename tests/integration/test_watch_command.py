"""`fipe watch` on a database of this machine with two months of the sample."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn
from typer.testing import CliRunner

from fipe_cli.__main__ import app
from local_cloud.postgres import Connection
from local_cloud.stage_database import stage_database
from local_cloud.state import LocalState
from tests.databases import as_role, write_sample
from tests.local_database import local_database, use_folder

MONTHS = (date(2025, 6, 1), date(2026, 6, 1))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Connection]]:
    folder = tmp_path_factory.mktemp("local")
    with local_database(folder) as known:
        with closing(known.open()) as database:
            write_sample(database, *MONTHS)
        with stage_database(LocalState(folder)):  # which each command would stop otherwise
            yield folder, known


@pytest.fixture(autouse=True)
def known(place: tuple[Path, Connection], monkeypatch: pytest.MonkeyPatch) -> Connection:
    """The database, without rules."""
    folder, known = place
    use_folder(folder, monkeypatch)
    with closing(known.open()) as database, database, database.cursor() as cursor:
        cursor.execute("truncate fipe.watch_rule restart identity cascade")
    return known


def watch(*arguments: str, code: int = 0) -> str:
    """What the command prints, on both ways."""
    ended = CliRunner().invoke(app, ["watch", *arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def announce(known: Connection, month: str) -> int:
    """What FipeLoadStatus does when a month is complete."""
    place = make_dsn(host=known.host, port=known.port, dbname=known.database)
    with (
        closing(psycopg2.connect(as_role(place, "fipe_status"))) as status,
        status,
        status.cursor() as cursor,
    ):
        cursor.execute("select fipe.watch_hits(%s)", (f"{month}-01",))
        return len(cursor.fetchall())


def test_a_rule_is_added_shown_announced_and_removed(known: Connection) -> None:
    assert watch("add", "038003-2", "--year", "1992", "--below", "10000", "--change", "5%") == (
        "rule 1: Acura Integra GS 1.8 1992 (038003-2): below R$ 10,000.00 or changed by 5% or more\n"
    )
    assert watch("add", "0380032", "--year", "1992", "--below", "R$ 10.000,00", "--change", "5,00 %") == (
        "rule 1 was there already: Acura Integra GS 1.8 1992 (038003-2):"
        " below R$ 10,000.00 or changed by 5% or more\n"
    )
    watch("add", "038003-2", "--above", "1", "--note", "all of them")
    (first, second) = csv.DictReader(io.StringIO(watch("list")))
    assert (first["rule"], first["model"], first["below_brl"], first["last_hit"]) == (
        "1", "Integra GS 1.8", "10000.00", "",
    )  # fmt: skip
    assert announce(known, "2025-06") == 0, "an older month is no news"
    told = announce(known, "2026-06")
    holding = [json.loads(line) for line in watch("check", "--json").splitlines()]
    assert len(holding) == told
    assert {one["rule"] for one in holding} >= {2}
    assert announce(known, "2026-06") == 0
    _, second = csv.DictReader(io.StringIO(watch("list")))
    assert (second["note"], second["last_hit"], second["last_hit_vehicles"], second["last_hit_brl"]) == (
        "all of them", "2026-06-01", "2", "",
    )  # fmt: skip
    assert watch("remove", "1", "2") == "2 rules removed\n"
    assert "there is no rule 1, 2" in watch("remove", "1", "2", code=2)
    assert list(csv.DictReader(io.StringIO(watch("list")))) == []


def test_a_rule_that_cannot_hold_yet_is_added_with_a_warning() -> None:
    added = watch("add", "999999-0", "--above", "1")
    assert added.startswith(
        "rule 1: 999999-0: above R$ 1.00\nwarning: no loaded month has the FIPE code 999999-0"
    )
    added = watch("add", "038003-2", "--year", "0km", "--above", "1")
    assert "warning: 038003-2 has no model year zero km so far: it has 1991, 1992" in added
    document = json.loads(watch("add", "038003-2", "--fuel", "diesel", "--above", "1", "--json"))
    assert document == {
        "id": 3, "fipe_code": "038003-2", "model_year": None, "fuel_code": 3, "below_brl": None,
        "above_brl": 1.0, "changes_by_percent": None, "note": "", "is_new": True,
        "warnings": ["038003-2 does not have this fuel so far: it has Gasolina"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["038003-2"], "no limit: use --below, --above or --change"),
        (["038003-2", "--below", "1", "--note", "x" * 201], "invalid --note: use at most 200 letters"),
        (["golf", "--below", "1"], "invalid CODE golf: use a FIPE code like 005340-6"),
        (
            ["038003-3", "--below", "1"],
            "wrong check digit in 038003-3: the first six digits belong to 038003-2",
        ),
        (["038003-2", "--year", "92", "--below", "1"], "invalid YEAR 92: use a model year like 2020, or 0km"),
        (
            ["038003-2", "--fuel", "water", "--below", "1"],
            "invalid --fuel water: use a fuel like gasolina, flex or diesel",
        ),
        (["038003-2", "--fuel", "e", "--below", "1"], "invalid --fuel e: use one of Álcool, Elétrico"),
        (["038003-2", "--change", "-5%"], "invalid --change -5%: use percent, like 5% or 2.5%"),
        (["038003-2", "--change", "0"], "invalid --change 0: use percent"),
        (
            ["038003-2", "--above", "1", "--below", "2"],
            "invalid --above 1: every price is above it or below 2",
        ),
        *(
            (["038003-2", "--below", wrong], f"invalid --below {wrong}: use a price in reais, like 10000")
            for wrong in ("0", "ten", "1.00.0", "10.0000", "1,000,00", "99999999999", "10.000.00", "1e5", "٣")
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_added(arguments: list[str], words: str) -> None:
    assert words in watch("add", *arguments, code=2)
    assert list(csv.DictReader(io.StringIO(watch("list")))) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10000", "10,000.00"), ("10.000,00", "10,000.00"), ("10.000", "10,000.00"), ("10,000", "10,000.00"),
        ("10,000.50", "10,000.50"), ("10000.5", "10,000.50"), ("10000,5", "10,000.50"), ("R$ 1", "1.00"),
        ("1.234.567,89", "1,234,567.89"),
    ],
)  # fmt: skip
def test_prices_are_read_as_people_write_them(written: str, meant: str) -> None:
    assert f"below R$ {meant}\n" in watch("add", "038003-2", "--below", written)


def test_a_month_that_is_not_there_is_refused() -> None:
    assert "invalid --month June: use a month like 2026-06" in watch("check", "--month", "June", code=2)
    assert "the database has no prices for --month 2020-01" in watch("check", "--month", "2020-01", code=2)
