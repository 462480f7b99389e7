"""`fipe` on a database of this machine: what a load left behind is asked, exported and reported."""

import csv
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from importlib import metadata
from pathlib import Path
from types import ModuleType
from uuid import UUID
from xml.etree import ElementTree

import psycopg2
import pytest
import typer
from psycopg2.extensions import connection, parse_dsn
from pyarrow import parquet
from rich.console import Console
from typer.testing import CliRunner, Result

from fipe_api.database.writer import write_messages
from fipe_api.fipe_soma_ingestor_adapted import ingest
from fipe_api.messages import Named, PricedVehicle, PriceMessage, Reference
from fipe_cli.__main__ import app
from fipe_cli.cloud import Cloud, find_cloud, local_cloud
from fipe_cli.database import open_database
from fipe_cli.entry import main
from fipe_cli.errors import CliError, one_line_errors
from fipe_cli.estimate import sizes_in
from fipe_cli.export import Selection
from fipe_cli.ledger import read_run
from fipe_cli.loads import start
from fipe_cli.query import answer
from fipe_cli.report.data import calls_throttled
from fipe_simulator import SAMPLE_CATALOGUE, Catalogue, read_catalogue
from local_cloud.stage_database import stage_database
from local_cloud.state import REPOSITORY, LocalState
from tests.aws import aws_apis, client
from tests.builders import JUNE_2026, RUN, SEARCHED_AT, any_moment, any_run_plan
from tests.http_server import http_server, send_json
from tests.local_database import local_database

SAMPLE_PRICES = 579


def messages(catalogue: Catalogue) -> Iterator[PriceMessage]:
    """The catalogue as the price queue has it."""
    models = list(catalogue.by_model())
    brands = {(rows[0].vehicle_type, rows[0].brand_code) for rows in models}
    for rows in models:
        first = rows[0]
        brand = (first.vehicle_type, first.brand_code)
        yield PriceMessage(
            run_id=RUN,
            reference=JUNE_2026,
            vehicle_type=first.vehicle_type,
            brand=Named(code=first.brand_code, name=first.brand),
            brands_in_run=len(brands),
            models_in_brand=sum((one[0].vehicle_type, one[0].brand_code) == brand for one in models),
            model=Named(code=first.model_code, name=first.model),
            searched_at=SEARCHED_AT,
            asked_at=any_moment(),
            prices=tuple(
                PricedVehicle(
                    model_year=row.model_year,
                    fuel_code=row.fuel_code,
                    fuel=row.fuel,
                    fipe_code=row.fipe_code,
                    price_brl=row.price_brl,
                )
                for row in rows
            ),
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a `make local` of the sample leaves on this machine."""
    folder = tmp_path_factory.mktemp("local")
    with local_database(folder) as known:
        with closing(known.open()) as database:
            write_messages(database, list(messages(read_catalogue(SAMPLE_CATALOGUE))))
        yield folder


class Fipe:
    """The command, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=stdin)

    def done(self, *arguments: str, stdin: str | None = None) -> str:
        ended = self(*arguments, stdin=stdin)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    def refused(self, exit_code: int, *arguments: str) -> str:
        """The one line that a refused command says."""
        ended = self(*arguments)
        assert ended.exit_code == exit_code, ended.output
        (line,) = ended.stderr.splitlines()
        return line


@pytest.fixture
def fipe(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fipe:
    for name in os.environ:
        if name.startswith(("AWS_", "FIPE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FIPE_LOCAL_DIR", str(place))
    return Fipe(tmp_path)


def test_query_answers_as_csv_in_a_pipe_and_as_json_when_asked(fipe: Fipe) -> None:
    question = (
        "select brand, price_brl, zero_km from fipe.vehicle_price"
        " where fipe_code = '038003-2' order by price_brl limit 1"
    )
    assert fipe.done("query", question) == "brand,price_brl,zero_km\nAcura,10104.00,false\n"
    assert json.loads(fipe.done("query", question, "--json")) == {
        "brand": "Acura", "price_brl": 10104.0, "zero_km": False,
    }  # fmt: skip
    assert fipe.done("query", "-", stdin="select 1 as one") == "one\n1\n"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("selec", 'syntax error at or near "selec"'),
        ("select * from fipe.vehicle_prices", "does not exist: did you mean fipe.vehicle_price, "),
        ("select brand_code from fipe.latest_price", "does not exist: did you mean brand?"),
        ("select price from fipe.vehicle_price", "does not exist: did you mean price_brl?"),
        (
            "select 1 from fipe.vehicle_price where reference_month = '2026-06'",
            "a date is written as 2026-06-01, a month's is its first day",
        ),
        ("select * from vehicle_price", "does not exist: did you mean fipe.vehicle_price?"),
        ("select * from search_models('gol')", "does not exist: did you mean fipe.search_models?"),
        (
            'select 1 from fipe.vehicle_price where brand = "Fiat"',
            "text stands in single quotes, as in 'Fiat'",
        ),
        ("select prize_brl from fipe.vehicle_price", "does not exist: did you mean price_brl"),
        ("select * from fipe.serch_models('gol')", "does not exist: did you mean fipe.search_models"),
        (
            "select * from fipe.price_changes(current_date)",
            "fipe.price_changes'`; months are text, as '2026-06'",
        ),
        ("select * from fipe.qwertz", "does not exist: `fipe psql -c '\\dv fipe.*'` lists what there is"),
        (
            "select * from fipe.price_changes('June')",
            "invalid month 'June': use a month like 2026-06, or latest",
        ),
        ("delete from fipe.price returning 1", "read-only transaction"),
        ("commit; create table fipe.mine ()", "takes one statement that returns rows"),
        ("set statement_timeout = 0", "takes one statement that returns rows"),
    ],
)
def test_query_only_asks(fipe: Fipe, sql: str, words: str) -> None:
    assert words in fipe.refused(2, "query", sql)


def test_what_a_question_says_of_its_months_is_printed_once(
    database: connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(
            "create function pg_temp.say() returns integer language plpgsql"
            " as $$ begin raise notice '2026-05 is partly loaded'; return 1; end $$"
        )
    answer(database, "select pg_temp.say() from generate_series(1, 3)", "csv", Console())
    assert capsys.readouterr().err == "2026-05 is partly loaded\n"


@pytest.mark.parametrize("form", ["--csv", "--json"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("date '4713-01-01 BC'", "4713-01-01 BC"),
        ("date 'infinity'", "infinity"),
        ("timestamptz '99999-12-31'", "99999-12-31 00:00:00+00"),
        ("interval '1 month 2 days'", "1 mon 2 days"),
        ("'\\x00ff'::bytea", "\\x00ff"),
    ],
)
def test_a_query_shows_values_that_python_cannot_hold(
    fipe: Fipe, monkeypatch: pytest.MonkeyPatch, value: str, shown: str, form: str
) -> None:
    monkeypatch.setenv("PGTZ", "UTC")
    printed = fipe.done("query", f"select {value} as one", form)
    assert printed == (
        f"one\n{shown}\n" if form == "--csv" else json.dumps({"one": shown}, separators=(",", ":")) + "\n"
    )
    listed = fipe.done("query", f"select array[{value}] as one", "--json")
    assert json.loads(listed) == {"one": [shown]}


@pytest.mark.parametrize(
    ("sql", "words"),
    [(b"select 1\0", "it holds a NUL character"), (b"select '\xff'", "it is not text in UTF-8")],
)
def test_a_query_that_is_not_text_is_refused(fipe: Fipe, sql: bytes, words: str) -> None:
    ended = CliRunner().invoke(app, ["query", "-"], input=sql)
    assert (ended.exit_code, ended.stderr) == (2, f"error: invalid query: {words}\n")
    if b"\0" not in sql:
        assert words in fipe.refused(2, "query", os.fsdecode(sql))


def test_a_database_without_the_schema_is_said_in_one_line(
    postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(psycopg2.connect(postgres_dsn)) as session:
        with pytest.raises(CliError, match="the database has no schema fipe: deploy the stage"):
            answer(session, "select * from fipe.vehicle_price", "table", Console())
        with pytest.raises(SystemExit) as ended, one_line_errors():
            Selection(brand="fiat").parts(session)
    words = "the database's schema is older than this `fipe`, or missing; deploy the stage again"
    assert (ended.value.code, words in capsys.readouterr().err) == (3, True)


def test_the_report_is_a_web_page(fipe: Fipe) -> None:
    assert "use a name that ends in .html" in fipe.refused(2, "report", str(fipe.folder / "report.pdf"))
    assert fipe.done("report", "-").startswith("<!doctype html>")


def test_the_report_of_a_month(fipe: Fipe) -> None:
    assert "2026-06" in fipe.done("report", "-", "--month", "latest")
    words = "no prices for --month 2020-01: it has 2026-06"
    assert words in fipe.refused(2, "report", "-", "--month", "2020-01")
    assert "use --run or --month, not both" in fipe.refused(
        2, "report", "-", "--month", "latest", "--run", str(RUN)
    )


def test_a_query_has_one_form(fipe: Fipe) -> None:
    assert "use --json or --csv, not both" in fipe.refused(2, "query", "select 1", "--json", "--csv")


def shown(database: connection, sql: str, width: int, *, wide: bool = False) -> str:
    """What `fipe query` shows on a terminal."""
    text = io.StringIO()
    terminal = Console(
        width=width,
        file=text,
        force_terminal=True,
        color_system=None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    answer(database, sql, "table", terminal, wide=wide)
    return text.getvalue()


def test_a_table_that_fits_shows_names_and_cells_as_they_are(database: connection) -> None:
    table = shown(database, """select '[/x]' as "[bold]heading", ':smile:' as b""", 80)
    heading, _, row = (line.split() for line in table.splitlines() if line.strip())
    assert (heading, row) == (["[bold]heading", "b"], ["[/x]", ":smile:"])


def test_rows_wider_than_the_terminal_have_a_line_a_field(database: connection) -> None:
    sql = (
        "select number, number || repeat('x', 60) as long_one, '[/x]' as c"
        " from generate_series(1, 2) as number"
    )
    lines = shown(database, sql, 20).splitlines()
    assert lines == [
        "number    1", f"long_one  1{'x' * 60}", "c         [/x]", "─" * 20,
        "number    2", f"long_one  2{'x' * 60}", "c         [/x]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        "fipe.search_models('{}')", "fipe.price_of('{}', null, null, '2026-06')",
        "fipe.depreciation('038003-2')",
        "fipe.vehicle_price", "fipe.latest_price", "fipe.price_changes('2026-06', '2026-06')",
        "fipe.month_differences('2026-06', '2026-06')", "fipe.vehicles_between('fiat', 20000, 30000)",
        "fipe.price_history('038003-2')",
    ],
)  # fmt: skip
def test_every_question_fits_a_terminal_of_80_columns_as_a_table(place: Path, question: str) -> None:
    with (
        open_database(local_cloud(LocalState(place), "dev")) as database,
        database.session() as session,
    ):
        table = shown(session, f"select * from {question.format('fiat')} limit 50", 80)
    assert max(map(len, table.splitlines())) <= 80
    assert "───" in table
    assert "price" in table.replace("_", "")


def test_json_of_a_query_is_what_json_knows(fipe: Fipe) -> None:
    question = (
        "select 'NaN'::float8 as a, '-Infinity'::float8 as b, 'NaN'::numeric as c, 10.50 as d,"
        " array['Infinity'::float8, 1] as e, date '2026-06-01' as f, jsonb '{\"k\": [null]}' as g"
    )
    assert fipe.done("query", question, "--json") == (
        '{"a":null,"b":null,"c":null,"d":10.50,"e":[null,1.0],"f":"2026-06-01","g":{"k":[null]}}\n'
    )


def test_json_of_a_query_is_refused_for_two_columns_of_one_name(fipe: Fipe) -> None:
    sql = "select 1 as one, 2 as two, 3 as one"
    assert "JSON cannot hold two columns of the same name: rename one with" in fipe.refused(
        2, "query", sql, "--json"
    )


def test_csv_of_a_query_holds_lists_and_documents_as_json(fipe: Fipe) -> None:
    sql = "select array['a', null] as list, jsonb '{\"k\": true}' as document"
    (_, row) = csv.reader(io.StringIO(fipe.done("query", sql)))
    assert [json.loads(cell) for cell in row] == [["a", None], {"k": True}]


def test_an_output_without_the_letter_is_said_in_one_line(place: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fipe_cli", "query", "select 'Citro\u00ebn' as brand"],
        cwd=REPOSITORY,
        env={**os.environ, "FIPE_LOCAL_DIR": str(place), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    words = "error: the output's encoding ascii has no '\\xeb': set PYTHONIOENCODING=utf-8\n"
    assert (ended.returncode, ended.stderr) == (3, words)


@pytest.mark.parametrize("arguments", [("export", "-"), ("query", "select * from fipe.vehicle_price")])
def test_a_full_disk_is_said_in_one_line(place: Path, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "fipe_cli", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "FIPE_LOCAL_DIR": str(place)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, line) == (3, "error: No space left on device")


def test_csv_holds_every_price_once(fipe: Fipe) -> None:
    file = fipe.folder / "all.csv"
    assert f"{SAMPLE_PRICES} prices" in fipe.done("export", str(file))
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    sample = {
        (str(row.brand_code), row.model, str(row.model_year), row.fuel, str(row.price_brl))
        for rows in read_catalogue(SAMPLE_CATALOGUE).by_model()
        for row in rows
    }
    assert len(rows) == len(sample) == SAMPLE_PRICES
    assert {(r["brand_code"], r["model"], r["model_year"], r["fuel"], r["price_brl"]) for r in rows} == sample
    assert {path.name for path in fipe.folder.iterdir()} == {"all.csv"}


def test_csv_for_spreadsheets_in_portuguese(fipe: Fipe) -> None:
    file = fipe.folder / "acura.csv"
    fipe.done("export", str(file), "--brand", "acura", "--excel-pt")
    text = file.read_text(encoding="utf-8")
    assert text.startswith("\ufeffreference_month;reference_code;")
    (row, *_) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";")
    assert re.fullmatch(r"\d+,00", row["price_brl"])
    assert row["zero_km"] in ("sim", "não")


def test_json_lines_can_be_read_back_by_the_adapted_ingestor(fipe: Fipe, dsn: str) -> None:
    file = fipe.folder / "june.jsonl"
    fipe.done("export", str(file), "--month", "2026-06")
    with file.open(encoding="utf-8") as lines:
        totals = ingest(lines, dsn, report=io.StringIO())
    assert (totals.lines, totals.refused, totals.changed) == (SAMPLE_PRICES, 0, SAMPLE_PRICES)


def test_parquet_keeps_the_types(fipe: Fipe) -> None:
    file = fipe.folder / "june.parquet"
    assert json.loads(fipe.done("export", str(file), "--month", "latest", "--json")) == {
        "file": str(file), "prices": SAMPLE_PRICES,
    }  # fmt: skip
    table = parquet.read_table(file)
    assert table.num_rows == SAMPLE_PRICES
    types = {field.name: str(field.type) for field in table.schema}
    assert types["price_brl"] == "decimal128(12, 2)"
    assert types["reference_month"] == "date32[day]"
    assert types["zero_km"] == "bool"


def test_partitioned_export_writes_a_folder_once(fipe: Fipe) -> None:
    folder = fipe.folder / "lake"
    months = {"2026-06": SAMPLE_PRICES}
    answers = [
        {"written": months, "unchanged": {}},
        {"written": {}, "unchanged": months},
    ]
    for known in answers:
        assert json.loads(fipe.done("export", str(folder), "--partitioned", "--json")) == {
            "folder": str(folder), **known, "unfinished": {"2026-06": "part"}, "gone": [],
        }  # fmt: skip
    assert (
        fipe.done("export", str(folder), "--partitioned", "--type", "truck")
        .splitlines()[0]
        .startswith(f"{folder}: wrote 1 month with ")
    )
    assert fipe.refused(2, "export", "-", "--partitioned").endswith("name it")


def test_export_writes_csv_to_a_pipe(fipe: Fipe) -> None:
    lines = fipe.done("export", "-", "--brand", "fiat").splitlines()
    assert lines[0].startswith("reference_month,")
    assert all(",Fiat," in line for line in lines[1:])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prices.xls"], "use a name that ends in .csv, .jsonl, .parquet, .xlsx"),
        (["prices.csv", "--from", "2026"], "invalid --from 2026: use a month like 2026-06, or latest"),
        (["prices.csv", "--to", "2020-01"], "no prices for --to 2020-01: it has 2026-06"),
        (["prices.csv", "--from", "2026-06", "--to", "2026-05"], "--from 2026-06 is after --to 2026-05"),
        (["prices.csv", "--month", "latest", "--to", "2026-06"], "use --month, or --from and --to"),
        (["prices.csv", "--type", "car,boat"], "invalid --type boat: use car, motorcycle, truck"),
        (["prices.csv", "--vehicle", "Qwertz"], "nothing is called --vehicle Qwertz: use words of its"),
        (["prices.csv", "--month", "June"], "invalid --month June: use a month like 2026-06, or latest"),
        (["prices.csv", "--month", "2020-01"], "no prices for --month 2020-01: it has 2026-06"),
        (["prices.csv", "--brand", "Fait"], "nothing is called --brand Fait: use whole words"),
        (["prices.jsonl", "--excel-pt"], "--excel-pt works for CSV only"),
        (["missing/prices.csv"], "cannot be written: No such file or directory"),
        (["lake", "--partitioned", "--excel-pt"], "--partitioned writes Parquet files into a folder"),
        (["lake", "--partitioned", "--from", "2027-01"], "no prices for --from 2027-01: it has "),
    ],
)
def test_export_says_in_one_line_what_is_wrong_and_writes_nothing(
    fipe: Fipe, arguments: list[str], words: str
) -> None:
    file, *options = arguments
    code = 3 if file.startswith("missing") else 2
    assert words in fipe.refused(code, "export", str(fipe.folder / file), *options)
    assert list(fipe.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        (["--type", "motorcycle,truck"], "vehicle_type in (2, 3)"),
        (["--type", "1", "--brand", "fiat"], "brand = 'Fiat'"),
        (["--vehicle", "0380032"], "fipe_code = '038003-2'"),
        (["--vehicle", "integra gs", "--from", "2026-06", "--to", "latest"], "model like 'Integra GS%'"),
    ],
)
def test_export_writes_what_was_chosen(fipe: Fipe, options: list[str], condition: str) -> None:
    columns = "brand, model, model_year, fuel, price_brl"
    written = [
        {name: row[name] for name in columns.split(", ")}
        for row in csv.DictReader(io.StringIO(fipe.done("export", "-", *options)))
    ]
    asked = csv.DictReader(
        io.StringIO(fipe.done("query", f"select {columns} from fipe.vehicle_price where {condition}"))
    )
    assert sorted(map(str, written)) == sorted(map(str, asked)) != []


def test_excel_gets_numbers_dates_and_names_as_they_are(fipe: Fipe) -> None:
    file = fipe.folder / "june.xlsx"
    fipe.done("export", str(file), "--type", "motorcycle", "--month", "2026-06")
    lines = fipe.done("query", "select price_brl from fipe.vehicle_price where vehicle_type = 2").split()
    with zipfile.ZipFile(file) as book:
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows = sheet.findall(".//{*}row")
    assert len(rows) == len(lines)
    headings = ["".join(cell.itertext()) for cell in rows[0]]
    cells = dict(zip(headings, rows[1], strict=True))
    assert {name: cells[name].get("t") for name in ("reference_month", "model", "price_brl", "zero_km")} == {
        "reference_month": None, "model": "inlineStr", "price_brl": None, "zero_km": "b",
    }  # fmt: skip
    june = date(1899, 12, 30) + timedelta(int("".join(cells["reference_month"].itertext())))
    assert june == date(2026, 6, 1)


def test_excel_says_how_many_prices_it_can_take(fipe: Fipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fipe_cli.export.ROWS_OF_A_SHEET", 100)
    assert "Excel takes 100 prices, and these are more" in fipe.refused(
        2, "export", str(fipe.folder / "a.xlsx")
    )
    assert list(fipe.folder.iterdir()) == []


@pytest.mark.parametrize("search", ["integra gs", "acura 1,8", "038003-2", "0380032", "intgra gs"])
def test_price_finds_a_vehicle_by_words_or_code(fipe: Fipe, search: str) -> None:
    assert fipe.done("price", search, "1992") == (
        "reference_month,brand,model,model_year,zero_km,fuel,fipe_code,price_brl\n"
        "2026-06-01,Acura,Integra GS 1.8,1992,false,Gasolina,038003-2,10816.00\n"
    )


def test_price_lists_several_and_compares_with_an_earlier_month(fipe: Fipe) -> None:
    found = [
        json.loads(line) for line in fipe.done("price", "acura", "--json", "--since", "2026-06").splitlines()
    ]
    assert len({row["model"] for row in found}) > 1
    assert {row["change_brl"] for row in found} == {0}
    assert {row["month_before"] for row in found} == {"2026-06-01"}
    zero_km = fipe.done("price", "fiat", "0km", "--json").splitlines()
    assert all(json.loads(line)["zero_km"] for line in zero_km)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["qwertz"], "nothing is called qwertz: use words of its brand and model, or its FIPE code"),
        (["038003-3"], "wrong check digit in 038003-3: the first six digits belong to 038003-2"),
        (["integra gs", "2020"], "integra gs has no model year 2020: it has 1991, 1992"),
        (
            ["integra gs", "1992", "--month", "2020-01"],
            "the database has no prices for --month 2020-01: it has 2026-06",
        ),
        (["integra gs", "92"], "invalid YEAR 92: use a model year like 2020, or 0km"),
        (["integra gs", "--month", "June"], "invalid --month June: use a month like 2026-06"),
        (["integra gs", "--since", "6/2026"], "invalid --since 6/2026: use a month like 2026-06"),
        (
            ["integra gs", "--since", "2020-01"],
            "the database has no prices for --since 2020-01: it has 2026-06",
        ),
    ],
)
def test_price_says_what_is_wrong(fipe: Fipe, arguments: list[str], words: str) -> None:
    assert words in fipe.refused(2, "price", *arguments)


def test_dsn_needs_a_cloud_that_runs(fipe: Fipe) -> None:
    assert "no local cloud is running: run `make local-up`" in fipe.refused(3, "dsn")


def test_dsn_says_where_the_database_is_and_how_to_sign_in(
    fipe: Fipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    place = {"RDS_HOST": "db.example", "RDS_PORT": "5432", "RDS_DATABASE": "fipe data", "RDS_USER": "any"}
    monkeypatch.setattr(Cloud, "environment_of", lambda *_: place)
    ended = fipe("dsn")
    assert ended.stdout == "postgresql://fipe_reader@db.example:5432/fipe%20data?sslmode=require\n"
    assert "fipe_reader signs in with a token (--token)" in ended.stderr
    token = json.loads(fipe.done("dsn", "--token", "--json"))
    assert token["password"].startswith("db.example:5432/?Action=connect&DBUser=fipe_reader")
    assert token["jdbc"] == "jdbc:postgresql://db.example:5432/fipe%20data?sslmode=require"
    assert parse_dsn(token["url"])["password"] == token["password"]
    assert "--password shows it" in fipe("dsn", "--user", "fipe_dashboard").stderr
    for wrong in (["--password"], ["--password", "--user", "fipe_dashboard", "--token"]):
        assert "--password is for --user fipe_dashboard" in fipe.refused(2, "dsn", *wrong)
    assert fipe("dsn", "--user", "ana", "--token").stderr == (
        "the password is a token: it lets you in for 15 minutes, if ana is a member of rds_iam; other roles"
        " need their own password\n"
    )


def test_version_and_completion(fipe: Fipe) -> None:
    assert fipe.done("--version") == f"fipe {metadata.version('fipe-data-api')}\n"
    completed = subprocess.run(
        [shutil.which("fipe") or "fipe"],
        env={**os.environ, "_FIPE_COMPLETE": "complete_bash", "COMP_WORDS": "fipe pri", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.split() == ["price"]


def test_psql_gets_its_arguments_as_they_are(place: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fipe_cli", "psql", "-Atc", "select count(*) from fipe.vehicle_price"],
        cwd=REPOSITORY,
        env={**os.environ, "FIPE_LOCAL_DIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == str(SAMPLE_PRICES)


@pytest.mark.parametrize("stage", ["dev", "prd"])
@pytest.mark.parametrize(
    "command",
    [
        "load", "status", "redrive", "resume", "logs", "deploy", "diff", "destroy", "synth", "bootstrap",
    ],
)  # fmt: skip
def test_what_needs_a_running_cloud_says_so(
    fipe: Fipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, stage: str
) -> None:
    """Whatever the default profile says, AWS is not meant unless the user says so."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("[default]\nregion = us-east-1\naws_access_key_id = a\n")
    words = "no local cloud is running: run `make local-up`, or give AWS_PROFILE (--profile) for AWS"
    assert words in fipe.refused(3, "--stage", stage, command)


@pytest.mark.parametrize("command", [["psql"], ["query", "select 1"], ["report"]])
@pytest.mark.parametrize(
    ("stage", "deploy"),
    [("stg", "make deploy-stg"), ("prd", "make deploy-prd")],
)
def test_what_needs_a_database_says_how_to_make_it(
    fipe: Fipe, command: list[str], stage: str, deploy: str
) -> None:
    refusal = fipe.refused(3, "--stage", stage, *command)
    assert f"run `{deploy}`, or give AWS_PROFILE (--profile) for AWS" in refusal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stage", "test", "status"], "invalid --stage test: use dev, stg or prd"),
        (["load", "--reference", "June"], "invalid reference 'June': use"),
        (["load", "--types", "boat"], "unknown vehicle type 'boat': use car, motorcycle, truck"),
        (["local", "--source", "web"], "invalid SOURCE=web: use simulator or fipe"),
        (["logs", "--function", "Nope"], "unknown function Nope: use one of FipeManufacturerLoader, "),
        (["status", "June"], "invalid run id 'June': use one that `fipe load` printed"),
        (["report", "--run", "1"], "invalid run id '1': use one"),
        (
            ["redrive", "prices"],
            "unknown queue prices: use manufacturer, model, price, announcement, webhook, export or all",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(fipe: Fipe, arguments: list[str], words: str) -> None:
    assert words in fipe.refused(2, *arguments)


def test_a_cloud_that_is_no_url_is_refused_in_one_line(fipe: Fipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:5000")
    assert "invalid AWS_ENDPOINT_URL=localhost:5000: use a URL" in fipe.refused(2, "status")


@pytest.mark.parametrize("command", [["status"], ["query", "select 1"], ["price", "gol"], ["dsn"]])
def test_stale_variables_of_a_local_cloud_that_has_ended_are_named(
    fipe: Fipe, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "local", "AWS_REGION": "sa-east-1",
        "AWS_SECRET_ACCESS_KEY": "local",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    refusal = fipe.refused(3, *command)
    words = "error: nothing answers at http://127.0.0.1:9, which AWS_ENDPOINT_URL names: if"
    assert refusal.startswith(words)
    assert "run `make local-up`, or forget it with `unset AWS_ENDPOINT_URL" in refusal


def test_ctrl_c_while_the_command_is_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "fipe_cli.__main__", Interrupted("fipe_cli.__main__"))
    heard = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, heard)  # which the end of the command ignores
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_ctrl_c_while_the_options_are_read_is_one_line() -> None:
    early = "command_errors.translate_help = lambda _: os.kill(os.getpid(), signal.SIGINT)"
    imports = "import os, signal; from fipe_cli.entry import main; from local_cloud import command_errors"
    code = f"{imports}; {early}; main()"
    ended = subprocess.run([sys.executable, "-c", code, "check"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_after_the_end_changes_nothing() -> None:
    """While Python cleans up, which takes a while, it would end the process as if nothing had been done."""
    late = "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))"
    code = f"import atexit, os, signal; from fipe_cli.entry import main; {late}; main()"
    command = [sys.executable, "-c", code, "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("fipe ")


@pytest.mark.usefixtures("fipe")
def test_a_closed_output_is_no_error() -> None:
    python = shlex.quote(sys.executable)
    command = f"{python} -c 'from fipe_cli.entry import main; main()' query 'select 1' >&-"
    ended = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_ctrl_c_at_a_question_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise typer.Abort
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_the_database_tells_how_large_a_brand_is(place: Path) -> None:
    with stage_database(LocalState(place)) as (_, connection), closing(connection.open()) as session:
        sizes = sizes_in(session, date(2024, 1, 1))
    assert (sizes[1, "acura"].models, sizes[1, "acura"].prices) == (3, 15)
    assert sum(size.prices for size in sizes.values()) == SAMPLE_PRICES


class Hiccups:
    """Lambda, which fails at first; how often it was asked."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self, request: BaseHTTPRequestHandler, _: bytes) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            send_json(request, {"Message": "once more"}, 500, **{"x-amzn-ErrorType": "ServiceException"})
        else:
            send_json(request, {"loads": []})


def cloud_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return find_cloud("dev", None)


def test_a_hiccup_does_not_end_a_look_at_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Hiccups(failures=2)
    with http_server(functions) as endpoint:
        assert read_run(cloud_at(endpoint, monkeypatch)).loads == []
    assert functions.calls == 3


def test_a_load_is_never_started_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Hiccups(failures=1)
    with http_server(functions) as endpoint, pytest.raises(CliError, match="once more"):
        start(cloud_at(endpoint, monkeypatch), {})
    assert functions.calls == 1


def test_an_unknown_profile_is_said_in_one_line(fipe: Fipe) -> None:
    assert "nobody" in fipe.refused(3, "--profile", "nobody", "status")


# The report -------------------------------------------------------------------------------------------------


@pytest.fixture
def page(fipe: Fipe) -> Path:
    file = fipe.folder / "report.html"
    fipe.done("report", str(file), "--vehicle", "038003-2")
    return file


def test_the_report_loads_nothing_from_the_network_and_is_small(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 1_000_000
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert "sourceMappingURL" not in text


def test_a_report_that_cannot_be_written_leaves_the_last_one(
    fipe: Fipe, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page.read_text()

    def fill_the_disk(*_: object) -> str:  # only now: the database has started
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
        return "x" * 10_000

    monkeypatch.setattr("fipe_cli.report.page.render", fill_the_disk)
    try:
        refusal = fipe.refused(3, "report", str(page))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert refusal == f"error: {page} cannot be written: File too large"
    assert page.read_text() == before
    assert [file.name for file in page.parent.iterdir()] == [page.name]


def test_the_report_goes_to_a_pipe_when_asked(fipe: Fipe) -> None:
    assert fipe.done("report", "-").startswith("<!")


def test_the_report_of_a_fleet(fipe: Fipe) -> None:
    fleet = fipe.folder / "fleet.csv"
    fleet.write_text("fipe_code,model_year\n038003-2,1992\n")
    assert '"name":"fleet.csv"' in fipe.done("report", "-", "--fleet", str(fleet))
    assert "fleet.txt" in fipe.refused(2, "report", "-", "--fleet", str(fipe.folder / "fleet.txt"))


def test_the_report_is_refused_for_what_is_not_there(fipe: Fipe) -> None:
    file = str(fipe.folder / "report.html")
    assert "unknown FIPE code 1" in fipe.refused(2, "report", file, "--vehicle", "1")
    assert "unknown run" in fipe.refused(2, "report", file, "--run", str(UUID(int=0)))


def test_the_report_of_a_load_without_a_price_yet_is_refused(fipe: Fipe, place: Path) -> None:
    july = Reference(code=335, month=date(2026, 7, 1))
    with stage_database(LocalState(place)) as (_, known), closing(known.open()) as database:
        write_messages(database, [any_run_plan(run_id=UUID(int=8), reference=july)])
        try:
            refusal = fipe.refused(2, "report", str(fipe.folder / "report.html"), "--run", str(UUID(int=8)))
        finally:
            with database:
                database.cursor().execute("delete from fipe.load_run where run_id = %s", (str(UUID(int=8)),))
                database.cursor().execute("delete from fipe.reference_month where code = 335")
    assert "2026-07 has no prices yet: `fipe status` shows" in refusal


def test_throttled_calls_are_those_of_the_load_and_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    load = {"months": [{"started_at": noon, "last_write_at": noon + timedelta(hours=3)}]}
    with aws_apis() as endpoint:
        cloud = cloud_at(endpoint, monkeypatch)
        assert calls_throttled(cloud, load) is None
        client("cloudwatch", endpoint).put_metric_data(
            Namespace="Fipe",
            MetricData=[{
                "MetricName": "MessagesFailed", "Value": 0,
                "Dimensions": [{"Name": "service", "Value": "FipePriceLoader-dev"}],
            }],
        )  # fmt: skip
        assert calls_throttled(cloud, load) == 0
        for service, hours, count in (
            ("FipePriceLoader-dev", 1, 5), ("FipeModelLoader-dev", 2, 2),
            ("FipePriceLoader-dev", 9, 70), ("FipePriceLoader-prd", 1, 900),
        ):  # fmt: skip
            metric = {
                "MetricName": "CallsThrottled", "Dimensions": [{"Name": "service", "Value": service}],
                "Timestamp": noon + timedelta(hours=hours), "Value": count,
            }  # fmt: skip
            client("cloudwatch", endpoint).put_metric_data(Namespace="Fipe", MetricData=[metric])
        assert calls_throttled(cloud, load) == 7
