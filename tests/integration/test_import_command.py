"""`fipe import` as people run it: files, names, refusals, interruptions."""

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn
from typer.testing import CliRunner, Result

from benchmarks.history import REFERENCES, History
from fipe_api.database.writer import PriceRow, write_messages
from fipe_cli.__main__ import app
from fipe_cli.export import COLUMNS as EXPORTED
from local_cloud.postgres import Connection, PostgresCluster
from local_cloud.state import REPOSITORY
from tests.builders import any_price, any_price_message
from tests.databases import as_role
from tests.fipex import write_csv, write_parquet
from tests.local_database import emptied
from tests.unit.test_import_files import MAPPING, any_row

pytestmark = pytest.mark.usefixtures("in_folder")

MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)


def run(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)], **options)


def select(master: Connection, query: str) -> list[tuple[Any, ...]]:
    with closing(master.open()) as database, database, database.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_says_in_a_line_per_file_what_became_of_its_rows(master: Connection, tmp_path: Path) -> None:
    write_csv(
        tmp_path / "2026-05.csv", [any_row(reference_month=MAY, model_year=year) for year in (2014, 2015)]
    )
    rows = [any_row(), any_row(), any_row(model_year=2015), any_row(model_year=2015, price_brl=Decimal(7))]
    write_csv(tmp_path / "2026-06.csv", rows)
    ended = run(tmp_path / "*.csv")
    assert ended.exit_code == 0, ended.output
    assert [line.partition(": ")[2] for line in ended.stdout.splitlines()] == [
        "2 prices added as fipex, 0 known already",
        "1 price added as fipex, 0 known already, 1 exact copy, 2 kept apart"
        " (fipe.import_kept_apart says why)",
    ]
    shown = "select reference_month, model_year, source from fipe.vehicle_price order by 1, 2"
    assert select(master, shown) == [
        (MAY, 2014, "fipex"), (MAY, 2015, "fipex"), (JUNE, 2014, "fipex"),
    ]  # fmt: skip
    assert select(
        master,
        "select right(file, 11), line, reason, content ->> 'ano_modelo', content ->> 'valor_centavos'"
        " from fipe.import_kept_apart join fipe.import_file on id = import_file_id order by line",
    ) == [
        ("2026-06.csv", 4, "one vehicle with 2 prices: 7 and 125318", "2015", "12531800"),
        ("2026-06.csv", 5, "one vehicle with 2 prices: 7 and 125318", "2015", "700"),
    ]


def test_the_same_file_again_changes_no_row(master: Connection, tmp_path: Path) -> None:
    rows = [any_row(), any_row(model_year=2015), any_row(model_year=2015, price_brl=Decimal(7))]
    file = write_csv(tmp_path / "june.csv", rows)
    versions = {
        table: f"select ctid, xmin from fipe.{table} order by 1"
        for table in ("price", "vehicle", "model", "reference_month", "import_kept_apart", "import_month")
    }
    run(file)
    before = {table: select(master, query) for table, query in versions.items()}
    again = json.loads(run(file, "--json").stdout)
    assert again == {
        "file": str(file), "source": "fipex", "added": 0, "replaced": 0, "known": 1, "copies": 0, "apart": 2,
    }  # fmt: skip
    assert {table: select(master, query) for table, query in versions.items()} == before
    assert select(master, "select count(*), count(ended_at) from fipe.import_file") == [(1, 1)]


def test_what_others_say_otherwise_stays_beside_the_official_price(
    master: Connection, tmp_path: Path
) -> None:
    with closing(master.open()) as database:
        write_messages(database, [any_price_message(prices=(any_price(), any_price(model_year=2015)))])
    rows = [any_row(), any_row(model_year=2015, price_brl=Decimal(7)), any_row(model_year=2016)]
    ended = json.loads(run(write_csv(tmp_path / "june.csv", rows), "--json").stdout)
    assert (ended["added"], ended["known"], ended["apart"]) == (0, 1, 2)
    assert select(master, "select line, reason from fipe.import_kept_apart order by 1") == [
        (3, "another price than 125318.00 of source fipe, which stays"),
        (4, "a load of the month, by the official API, does not have this vehicle"),
    ]
    assert select(master, "select distinct source from fipe.vehicle_price") == [("fipe",)]


def test_an_import_leaves_the_prices_of_another_as_they_are(master: Connection, tmp_path: Path) -> None:
    run(write_csv(tmp_path / "fipex.csv", [any_row()]))
    rows = [any_row(price_brl=Decimal(7), model="AMAROK"), any_row(model_year=2016)]
    run(write_csv(tmp_path / "others.csv", rows), "--name", "others")
    assert select(master, "select model_year, price_brl, source from fipe.vehicle_price order by 1") == [
        (2014, Decimal("125318.00"), "fipex"), (2016, Decimal("125318.00"), "others"),
    ]  # fmt: skip
    assert select(master, "select reason from fipe.import_kept_apart") == [
        ("another price than 125318.00 of source fipex, which stays",)
    ]


def test_reads_from_standard_input(master: Connection, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "june.csv", [any_row()])
    with file.open() as text:
        ended = subprocess.run(
            [sys.executable, "-m", "fipe_cli", "import", "-"],
            stdin=text, cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ended.stdout == "-: 1 price added as fipex, 0 known already\n", ended.stderr
    piped = subprocess.run(
        f"cat '{file}' | '{sys.executable}' -m fipe_cli import -",
        shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert piped.stdout == "-: 0 prices added as fipex, 1 known already\n", piped.stderr
    assert select(master, "select count(*) from fipe.import_file") == [(2,)]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_own_export_comes_back_with_its_codes(
    cluster: PostgresCluster, master: Connection, tmp_path: Path, suffix: str
) -> None:
    with closing(master.open()) as database:
        write_messages(database, [any_price_message(prices=(any_price(), any_price(model_year=32000)))])
    file = tmp_path / f"all{suffix}"
    assert CliRunner().invoke(app, ["export", str(file)]).exit_code == 0
    exported = f"select {', '.join(EXPORTED)} from fipe.vehicle_price order by model_year"
    before = select(master, exported)
    emptied(cluster)
    ended = run(file)
    assert ended.exit_code == 0, ended.output
    assert select(master, exported) == before
    assert select(master, "select distinct source from fipe.vehicle_price") == [("fipe-export",)]


REFUSED = {
    "no file": (["none.csv"], "none.csv is no file, and no file fits it"),
    "one of several that is no file": (["june.csv", "none.csv"], "none.csv is no file"),
    "the official API's name": (["june.csv", "--name", "fipe"], "invalid --name 'fipe'"),
    "a mirror's name": (["june.csv", "--name", "parallelum"], "a mirror has that name"),
    "a name with spaces": (["june.csv", "--name", "my file"], "invalid --name 'my file'"),
    "no month": (["june.csv", "--month", "June"], "invalid --month June: use a month like 2026-06"),
    "an unknown encoding": (["june.csv", "--encoding", "latin"], None),
    "columns without a name": (["others.csv", "--columns", MAPPING], "give --name, such as --name kaggle"),
    "a merged file": (["june-merged.csv"], "--names-of-today"),
    "wrong columns": (
        ["wrong.csv"],
        "3 of the first 3 rows are no prices, such as line 2: not a FIPE code: 'x'",
    ),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_take_is_refused_in_one_line(
    master: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str | None,
) -> None:
    if words is None:
        arguments, words = [*arguments[:-1], "klingon"], "unknown --encoding klingon"
    monkeypatch.chdir(tmp_path)
    for name in ("june.csv", "june-merged.csv"):
        write_csv(tmp_path / name, [any_row()])
    (tmp_path / "others.csv").write_text(
        "codigo_fipe;marca;modelo;ano;combustivel;valor;mes\n005340-6;VW;AMAROK;2014;Diesel;7,00;2026-06\n"
    )
    write_csv(
        tmp_path / "wrong.csv", [any_row(fipe_code="x", model_year=year) for year in (2014, 2015, 2016)]
    )
    ended = run(*arguments)
    assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1), ended.output
    assert words in ended.stderr
    assert select(master, "select count(*) from fipe.price") == [(0,)]


@pytest.mark.parametrize(
    "statement",
    [
        "update fipe.price set price_brl = 0",
        "delete from fipe.price",
        "truncate fipe.price",
        "update fipe.model set brand = ''",
        "update fipe.vehicle set fipe_code = ''",
        "update fipe.load_run set completed_at = now()",
        "insert into fipe.load_run (run_id, reference_code, brands_expected) select gen_random_uuid(), 1, 1",
        "delete from fipe.import_file",
        "create table fipe.mine ()",
        "create table public.mine ()",
        "set role fipe_ingestor",
        "copy fipe.price to program 'true'",
    ],
)
def test_the_importers_role_can_only_add(master: Connection, statement: str) -> None:
    place = make_dsn(host=master.host, port=master.port, dbname=master.database)
    with (
        closing(psycopg2.connect(as_role(place, "fipe_importer"))) as database,
        database.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)


# Interruptions ----------------------------------------------------------------------------------------------

SMALL_BATCHES = """
from fipe_cli.imports import files
files.BYTES_PER_BATCH, files.ROWS_PER_BATCH = 2**18, 5_000
from fipe_cli.__main__ import app
app(prog_name="fipe")
"""
EVERYTHING = """
select reference_month, vehicle_type, brand, model, model_year, fuel, fipe_code, price_brl, source
from fipe.vehicle_price order by 1, 2, 7, 5, 6, 3, 4
"""


@pytest.fixture(scope="module")
def rows() -> list[PriceRow]:
    history = History(0.01)
    return [
        PriceRow(REFERENCES[number].month, REFERENCES[number].code, *each.published, Decimal(price))
        for number in range(0, len(REFERENCES), 2)
        for each, price in history.month(number)
    ]


def started(file: Path) -> "subprocess.Popen[str]":
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", SMALL_BATCHES, "import", str(file)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def lose_the_connection(master: Connection) -> None:
    select(master, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fipe_importer'")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_interrupted_import_goes_on_and_changes_nothing_twice(
    cluster: PostgresCluster, master: Connection, tmp_path: Path, rows: list[PriceRow], suffix: str
) -> None:
    file = (write_csv if suffix == ".csv" else write_parquet)(tmp_path / f"fipex{suffix}", rows)
    published = {
        (each.reference_month, each.vehicle_type, each.brand, each.model, each.model_year, each.fuel,
         each.fipe_code, each.price_brl, "fipex")
        for each in rows
    }  # fmt: skip
    assert any(not each.price_brl for each in rows), "FIPE published some prices of zero"
    chance = Random(suffix)
    interruptions = ["Ctrl-C", "kill -9", "connection", "kill -9", "Ctrl-C"]
    position = 0
    for how in interruptions:
        command = started(file)
        until = time.monotonic() + 60
        while done(master) <= position and command.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert command.poll() is None, command.communicate()
        time.sleep(chance.uniform(0, 0.2))
        if how == "connection":
            lose_the_connection(master)
        else:
            command.send_signal(signal.SIGKILL if how == "kill -9" else signal.SIGINT)
        _, said = command.communicate(timeout=60)
        if command.returncode == 0:
            pytest.fail("it ended before it could be interrupted: give it more rows")
        expected = {"Ctrl-C": 130, "kill -9": -9, "connection": 3}[how]
        assert (command.returncode, said.count("\n")) == (expected, 0 if how == "kill -9" else 1), said
        position = done(master)
        # In one statement: the server may end the transaction of a killed command a moment later.
        added = "cross join (select added from fipe.import_file) as file"
        so_far = select(master, f"select * from ({EVERYTHING}) as price {added}")
        assert {row[-1] for row in so_far} == {len(so_far)}, "whole batches"
        assert len({row[:-1] for row in so_far} & published) == len(so_far) < len(rows), "each row once"
    end = started(file)
    said, errors = end.communicate(timeout=120)
    assert end.returncode == 0, errors
    ((added, known),) = select(master, "select added, known from fipe.import_file")
    assert (added, known) == (len(rows), 0)
    assert select(master, "select fipe.renew_series()") == [(0,)]
    found = select(master, EVERYTHING)
    assert (len(found), set(found)) == (len(rows), published)
    emptied(cluster)
    run(file)
    assert select(master, EVERYTHING) == found


def done(master: Connection) -> int:
    found = select(master, "select position from fipe.import_file")
    return int(found[0][0]) if found else 0
