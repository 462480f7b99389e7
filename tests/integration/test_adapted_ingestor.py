"""JSON Lines into a PostgreSQL without AWS."""

import io
import json
import signal
import subprocess
import sys
from contextlib import closing
from datetime import date
from pathlib import Path
from random import Random

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import write_messages, write_rows
from fipe_api.fipe_soma_ingestor_adapted import LINES_PER_TRANSACTION, Totals, ingest
from fipe_api.messages import Named, PlannedBrand, Reference, to_json
from fipe_cli.export import Selection, export_prices
from tests.builders import (
    any_brand_plan,
    any_empty_brand_message,
    any_price,
    any_price_message,
    any_rejected_answer_message,
    any_run_plan,
)
from tests.databases import database_with_schema
from tests.history import random_history

ROOT = Path(__file__).resolve().parents[2]


def exported(dsn: str) -> list[str]:
    with closing(psycopg2.connect(dsn)) as reader, reader.cursor() as cursor:
        cursor.execute("select to_json(p)::text from fipe.vehicle_price as p order by model_code, model_year")
        return [line for (line,) in cursor.fetchall()]


def test_replays_messages_of_the_price_queue(dsn: str) -> None:
    messages = [any_price_message(brands_in_run=3), any_empty_brand_message(brands_in_run=3)]
    totals = ingest([to_json(message) for message in messages], dsn, io.StringIO())
    assert totals == Totals(lines=2, refused=0, changed=1)
    assert len(exported(dsn)) == 1


def test_imports_what_another_database_exports(dsn: str, database: connection) -> None:
    name = "MARRUÁ  \"AM\" 'x' \\ "
    message = any_price_message(prices=(any_price(model_year=32000), any_price(fuel=name)))
    write_messages(database, [message])
    rows = exported(dsn)
    with database, database.cursor() as cursor:
        cursor.execute("truncate fipe.price, fipe.vehicle, fipe.model, fipe.load_run cascade")
    assert exported(dsn) == []
    assert ingest(rows, dsn, io.StringIO()) == Totals(lines=2, refused=0, changed=2)
    assert exported(dsn) == rows
    assert ingest(rows, dsn, io.StringIO()) == Totals(lines=2, refused=0, changed=0)


def test_names_each_refused_line_and_writes_the_others(dsn: str) -> None:
    good = to_json(any_price_message())
    price_of_minus_one = json.dumps(json.loads(good) | {"prices": [{"model_year": 1}]})
    report = io.StringIO()
    assert ingest([good, "{", price_of_minus_one, "[]"], dsn, report) == Totals(lines=4, refused=3, changed=1)
    assert [line[:15] for line in report.getvalue().splitlines()[:3]] == [
        "line 2 refused:", "line 3 refused:", "line 4 refused:",
    ]  # fmt: skip


VALID = {
    "reference_month": "2026-06-01", "reference_code": 334, "vehicle_type": 1, "brand_code": 59,
    "brand": "VW", "model_code": 7, "model": "Gol", "model_year": 2014, "fuel_code": 1, "fuel": "Gasolina",
    "fipe_code": "005340-6", "price_brl": "100.00",
}  # fmt: skip


def line_with(**given: object) -> bytes:
    return json.dumps(VALID | given).encode() + b"\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_year": 99999}, {"fuel_code": 40000}, {"brand_code": 3_000_000_000}, {"model_code": -1},
        {"reference_code": 3_000_000_000}, {"fipe_code": "005340-7"}, {"fipe_code": "5340-6"},
        {"brand": "a\u0000b"}, {"brand": "x" * 251}, {"price_brl": "1e20"}, {"reference_month": "2026-06-02"},
        {"reference_code": 335},
    ],
    ids=str,
)  # fmt: skip
def test_names_the_line_whatever_is_wrong_and_keeps_the_others(dsn: str, wrong: dict[str, object]) -> None:
    lines = [
        line_with(),
        line_with(model_code=8, **wrong) if "model_code" not in wrong else line_with(**wrong),
    ]
    report = io.StringIO()
    assert ingest([*lines, line_with(model_code=9)], dsn, report) == Totals(lines=3, refused=1, changed=2)
    assert report.getvalue().startswith("line 2 refused: ")


def test_names_a_line_that_is_not_utf8_and_skips_byte_order_mark_and_empty_lines(dsn: str) -> None:
    lines = [b"\xef\xbb\xbf" + line_with(), b"\r\n", line_with(brand="?").replace(b"?", b"\xe9"), b"\n"]
    report = io.StringIO()
    assert ingest(lines, dsn, report) == Totals(lines=2, refused=1, changed=1)
    assert report.getvalue().startswith("line 3 refused: ")


def test_a_fipe_code_with_spaces_around_it_is_stored_without(dsn: str) -> None:
    ingest([line_with(fipe_code=" 005340-6 ")], dsn, io.StringIO())
    assert '"fipe_code":"005340-6"' in exported(dsn)[0]


def test_replays_every_message_of_the_price_queue(dsn: str) -> None:
    plan = any_run_plan(brands=(PlannedBrand(vehicle_type=1, brand=Named(code=59, name="VW")),))
    messages = [plan, any_brand_plan(), any_price_message(), any_rejected_answer_message()]
    totals = ingest([to_json(message) for message in messages], dsn, io.StringIO())
    assert totals == Totals(lines=4, refused=0, changed=1)


def test_a_message_of_another_month_under_a_known_code_is_the_only_one_refused(dsn: str) -> None:
    wrong = any_price_message(reference=Reference(code=334, month=date(2020, 1, 1)))
    messages = [any_price_message(), wrong, any_price_message()]
    report = io.StringIO()
    totals = ingest([to_json(message) for message in messages], dsn, report)
    assert totals == Totals(lines=3, refused=1, changed=2)
    assert "line 2 refused: reference code 334 for 2020-01 contradicts" in report.getvalue()


def test_a_month_exported_loaded_elsewhere_and_exported_again_is_equal_to_the_byte(
    dsn: str, postgres_dsn: str, tmp_path: Path
) -> None:
    def export(of: str, name: str) -> bytes:
        with closing(psycopg2.connect(of)) as session:
            export_prices(session, Selection(month="2022-12"), tmp_path / name, excel_pt=False)
        return (tmp_path / name).read_bytes()

    rows = next(history for seed in range(99) if len(history := random_history(Random(seed))) > 20
                and any(row.reference_month == date(2022, 12, 1) for row in history))  # fmt: skip
    rows = [row._replace(fipe_code="005340-6") for row in rows]
    with closing(psycopg2.connect(dsn)) as database:
        write_rows(database, [row for row in rows if row.reference_month <= date(2022, 12, 1)])
        before = export(dsn, "before.jsonl")
        renamed = {"brand": "New", "model": "Newer", "fuel": "Newest", "fipe_code": "001004-9"}
        write_rows(
            database, [row._replace(**renamed) for row in rows if row.reference_month > date(2022, 12, 1)]
        )
    assert export(dsn, "after.jsonl") == before
    with database_with_schema(postgres_dsn) as other:
        ingest(before.splitlines(keepends=True), other, io.StringIO())
        assert export(other, "again.jsonl") == before


def run_command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fipe_api.fipe_soma_ingestor_adapted", *arguments],
        input=stdin, capture_output=True, text=True, cwd=ROOT / "src", check=False,
    )  # fmt: skip


def test_works_in_a_pipe_and_tells_by_its_exit_whether_every_line_was_written(dsn: str) -> None:
    line = to_json(any_price_message())
    good = run_command("--dsn", dsn, "-", stdin=line)
    assert (good.returncode, good.stderr.splitlines()[-1]) == (0, "done: 1 of 1 lines written")
    assert run_command("--dsn", dsn, "-", stdin="{").returncode == 1


def test_a_file_that_is_not_json_lines_is_refused_once(dsn: str) -> None:
    failed = run_command("--dsn", dsn, "-", stdin="reference_month,brand\n" + "2026-06-01,Fiat\n" * 1_000)
    assert failed.returncode == 1
    assert failed.stderr == (
        "stopped: this is not JSON Lines, it begins with 'reference_month,brand';"
        " `fipe export prices.jsonl` writes JSON Lines\n"
    )


def test_a_database_without_the_schema_is_said_in_one_line(postgres_dsn: str) -> None:
    failed = run_command("--dsn", postgres_dsn, "-", stdin=to_json(any_price_message()))
    assert failed.returncode == 1
    assert failed.stderr.startswith("stopped: ")
    assert failed.stderr.endswith(" does not exist: run create_fipe_db.sql in this database first\n")
    assert len(failed.stderr.splitlines()) == 1


def test_says_in_one_line_that_the_database_cannot_be_reached() -> None:
    failed = run_command("--dsn", "host=localhost port=1 connect_timeout=2", "-", stdin="{}")
    assert failed.returncode == 1
    assert failed.stderr.startswith("stopped: ")
    assert "Traceback" not in failed.stderr


def test_ctrl_c_says_what_is_written_and_leaves_no_traceback(dsn: str) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "fipe_api.fipe_soma_ingestor_adapted", "--dsn", dsn, "-"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT / "src",
    )  # fmt: skip
    assert command.stdin is not None
    assert command.stderr is not None
    command.stdin.write(b"".join(line_with(model_year=1 + number) for number in range(LINES_PER_TRANSACTION)))
    command.stdin.flush()
    assert command.stderr.readline() == b"5000 lines, 5000 prices new or changed\n"
    command.send_signal(signal.SIGINT)
    said = command.stderr.read().decode()
    assert (command.wait(10), said.startswith("interrupted: "), "Traceback" in said) == (130, True, False)
