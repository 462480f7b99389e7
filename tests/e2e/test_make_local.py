"""`make local` and what is in the database after it, as a user sees them."""

import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from fipe_simulator import (
    SAMPLE_CATALOGUE,
    FipeSimulator,
    Quirks,
    catalogue_for_month,
    read_catalogue,
)
from tests.e2e.make import Place, lines, place

pytestmark = pytest.mark.walkthrough


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("local")) as one:
        yield one


@pytest.fixture(scope="module")
def first(here: Place) -> CompletedProcess[str]:
    return here.make("local")


def test_loads_the_sample_and_says_so(here: Place, first: CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Complete." in first.stdout
    assert "579 prices of 117 models" in first.stdout
    assert here.prices("2026-06") == lines(read_catalogue(SAMPLE_CATALOGUE))


@pytest.mark.usefixtures("first")
def test_the_ledger_says_that_the_load_is_complete(here: Place) -> None:
    query = "select brands_complete, models_received, prices, unpriced, complete from fipe.load_status"
    assert here.query(query) == ["12\t117\t579\t0\tt"]


@pytest.mark.usefixtures("first")
def test_psql_opens_on_what_was_loaded(here: Place) -> None:
    shown = here.make("local-psql", "ARGS=-Atc 'select count(*) from fipe.vehicle_price'")
    assert shown.stdout == "579\n", shown.stderr


@pytest.mark.usefixtures("first")
def test_the_same_load_again_changes_no_row(here: Place) -> None:
    before = here.row_versions()
    again = here.make("local")
    assert again.returncode == 0, again.stdout + again.stderr
    assert here.row_versions() == before
    assert here.query("select bool_and(complete), count(*) from fipe.load_status") == ["t\t2"]


@pytest.mark.usefixtures("first")
def test_what_has_not_changed_is_not_deployed_again(here: Place) -> None:
    log = here.folder / "logs/deploy.log"  # the CDK's
    again = here.make("local", "BRANDS=Acura", environment={"VERBOSE": "1"})
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Making the stacks of the last deploy again" in again.stderr
    assert not log.exists()


@pytest.mark.usefixtures("first")
def test_loads_a_range_of_months_each_with_its_own_prices(here: Place) -> None:
    ended = here.make("local", "REFERENCE=2024-01..2024-03", "TYPES=car")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    sample = read_catalogue(SAMPLE_CATALOGUE)
    for month in (1, 2, 3):
        published = lines(catalogue_for_month(sample, date(2024, month, 1)))
        cars = {line for line in published if line.startswith("1\t")}
        assert here.prices(f"2024-{month:02}") == cars
    assert here.query("select count(*) from fipe.reference_month") == ["4"]
    assert here.query("select count(*) from fipe.vehicle_price where reference_month = '2026-06-01'") == [
        "579"
    ]


@pytest.mark.usefixtures("first")
def test_deploys_what_has_changed_and_loads_from_another_server_that_speaks_the_api(here: Place) -> None:
    month = catalogue_for_month(read_catalogue(SAMPLE_CATALOGUE), date(2023, 6, 1))
    quirks = Quirks(text_model_codes=True, padded_fipe_codes=True)
    with FipeSimulator(read_catalogue(SAMPLE_CATALOGUE), quirks=quirks) as source:
        ended = here.make(
            "local",
            "SOURCE=fipe",
            "RATE=6000",
            "BRANDS=Acura,SCANIA",
            "REFERENCE=2023-06",
            environment={"FIPE_API_URL": source.url + "//", "VERBOSE": "1"},
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "Deploying with the CDK" in ended.stderr
        assert (here.folder / "logs/deploy.log").exists()
        wanted = {line for line in lines(month) if line.split("\t")[2] in ("Acura", "SCANIA")}
        assert here.prices("2023-06") == wanted
        assert source.statistics().calls["ConsultarValorComTodosParametros"] == len(wanted)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["REFERENCE=June"], "invalid reference 'June': use"),
        (["TYPES=boat"], "unknown vehicle type 'boat': use car, motorcycle, truck"),
        (["BRANDS=,"], "invalid brands"),
        (["CATALOGUE=missing.tsv"], "CATALOGUE=missing.tsv"),
        (["SOURCE=elsewhere"], "use simulator or fipe"),
        (["RATE=fast"], "invalid RATE=fast"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("first")
def test_says_in_one_line_what_is_wrong_and_loads_nothing(
    here: Place, arguments: list[str], words: str
) -> None:
    runs = here.query("select count(*) from fipe.load_run")
    ended = here.make("local", *arguments)
    assert ended.returncode != 0
    errors = [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(errors) == 1, ended.stderr
    assert words in errors[0]
    assert "Traceback" not in ended.stdout + ended.stderr
    assert here.query("select count(*) from fipe.load_run") == runs


def test_refuses_a_port_that_is_taken_in_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, place(tmp_path) as here:
        port = taken.getsockname()[1]
        ended = here.make("local-up", f"PORT={port}")
        assert ended.returncode != 0
        assert f"port {port}" in ended.stderr
        assert "Traceback" not in ended.stdout + ended.stderr
