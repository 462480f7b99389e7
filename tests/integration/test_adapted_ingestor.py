"""JSON Lines into a PostgreSQL without AWS."""

import io
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection

from fipe_api.database.writer import write_messages
from fipe_api.fipe_soma_ingestor_adapted import Totals, ingest
from fipe_api.messages import to_json
from tests.builders import any_empty_brand_message, any_price, any_price_message

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


def test_says_in_one_line_that_the_database_cannot_be_reached() -> None:
    failed = run_command("--dsn", "host=localhost port=1 connect_timeout=2", "-", stdin="{}")
    assert failed.returncode == 1
    assert failed.stderr.startswith("stopped: ")
    assert "Traceback" not in failed.stderr
