"""`fipe value` on the sample: each row with its price, or why it has none, and the totals."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection
from typer.testing import CliRunner, Result

from fipe_api.database.writer import PriceRow, write_messages, write_rows
from fipe_cli.__main__ import app
from tests.builders import any_price, any_price_message
from tests.databases import as_role, write_sample
from tests.local_database import local_database, use_folder

MONTHS = (date(2025, 6, 1), date(2026, 6, 1))
FLEET = Path("docs/fleet.csv").resolve()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database of this machine with two months."""
    folder = tmp_path_factory.mktemp("local")
    with local_database(folder) as known:
        with closing(known.open()) as database:
            write_sample(database, *MONTHS)
        yield folder


@pytest.fixture(autouse=True)
def _here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_folder(place, monkeypatch)
    monkeypatch.chdir(tmp_path)


def value(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["value", *arguments], input=stdin)


NOTES = {
    "001528-8;2023;": "",
    "15288;2023.0;": "",
    "0015288;0 km;flex": "",
    "001018-9;1999;A": "",
    "005340-6;2014;gasolina": "FIPE lists it as Diesel",
    "001018-9;1999;": "several fuels: say which of Gasolina, Álcool",
    "001018-9;1999;diesel": "FIPE lists another fuel: Gasolina, Álcool",
    "038003-2;2026;": "FIPE lists no model year 2026: it lists 1991, 1992",
    "038003-2;;": "no model year: FIPE lists 1991, 1992",
    "038003-2;MMXX;": "not a model year: use a year like 2020, or 0km",
    "038003-3;1992;": "wrong check digit: the first six digits belong to 038003-2",
    "999999-0;1992;": "unknown FIPE code",
    "golf;1992;": "not a FIPE code: it has six digits, a hyphen and a check digit, like 005340-6",
    ";1992;": "no FIPE code",
}


def test_each_row_comes_out_with_its_price_or_why_it_has_none(tmp_path: Path) -> None:
    fleet = tmp_path / "frota.csv"
    text = "\r\n".join(["Código FIPE;Ano Modelo;Combustível", *NOTES, ""])
    fleet.write_bytes(text.encode("latin-1"))
    ended = value("frota.csv", "-o", "valued.csv", "--since", "2025-06")
    assert ended.exit_code == 1, ended.output
    output = Path("valued.csv").read_bytes().decode("latin-1")
    heading, *lines = output.split("\r\n")
    assert [line.startswith(f"{row};") for row, line in zip(NOTES, lines, strict=False)] == [True] * len(
        NOTES
    )
    rows = list(csv.DictReader(io.StringIO(output), delimiter=";"))
    assert {line.rsplit(";fipe_month")[0] for line in [heading]} == {text.split("\r\n")[0]}
    assert [row["fipe_note"] for row in rows] == list(NOTES.values())
    assert {row["fipe_price"] != "" for row in rows[:5]} == {True}
    assert {row["fipe_price"] for row in rows[5:]} == {""}
    first = {name: text for name, text in rows[0].items() if name.startswith("fipe_")}
    assert first == {
        "fipe_month": "2026-06", "fipe_price": "107270,00", "fipe_month_before": "2025-06",
        "fipe_price_before": "115026,00", "fipe_change": "-7756,00", "fipe_change_percent": "-6,74",
        "fipe_percent_of_zero_km": "80,4", "fipe_brand": "Fiat",
        "fipe_model": "Strada Volcano 1.3 Flex 8V CD",
        "fipe_fuel": "Flex", "fipe_note": "",
    }  # fmt: skip
    assert rows[2]["fipe_percent_of_zero_km"] == "100,0"
    assert "9 of 14 vehicles without a price in 2026-06:" in ended.output
    assert "- several fuels: line 7" in ended.output


def test_totals_by_type_and_brand() -> None:
    ended = value(str(FLEET), "--json", "--since", "2025-06")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout) == {
        "month": "2026-06", "since": "2025-06", "file": None, "without_price": {},
        "totals": [
            {"type": "car", "brand": "Fiat", "vehicles": 4, "without_price": 0, "value_brl": 320369.00,
             "change_brl": -16783.00, "change_percent": -4.98},
            {"type": "car", "brand": "VW - VolksWagen", "vehicles": 2, "without_price": 0,
             "value_brl": 249152.00,
             "change_brl": 15751.00, "change_percent": 6.75},
            {"type": "truck", "brand": "SCANIA", "vehicles": 1, "without_price": 0, "value_brl": 1067120.00,
             "change_brl": -18343.00, "change_percent": -1.69},
        ],
        "all": {"vehicles": 7, "without_price": 0, "value_brl": 1636641.00, "change_brl": -19375.00,
                "change_percent": -1.17},
    }  # fmt: skip


def test_a_pipe_goes_through_with_the_totals_beside_it() -> None:
    ended = value("-", "-o", "-", "--month", "2025-06", stdin=FLEET.read_bytes())
    assert ended.exit_code == 0, ended.output
    assert len(list(csv.DictReader(io.StringIO(ended.stdout)))) == 7
    assert "all 7 vehicles have a price in 2025-06" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing.csv",), "nothing.csv cannot be read: No such file"),
        ((str(FLEET), "-o", "x.ods"), "unknown format of x.ods"),
        ((str(FLEET), "--month", "June"), "invalid --month June"),
        ((str(FLEET), "--month", "2020-01"), "no prices for --month 2020-01"),
        ((str(FLEET), "--since", "2020-01"), "no prices for --since 2020-01"),
        ((str(FLEET), "-o", "-", "--json"), "cannot both go to standard output"),
        (("heading.csv",), "heading.csv has no rows below its heading"),
        (("again.csv", "-o", "./again.csv"), "invalid --output again.csv: it is the list itself"),
        (("again.csv",), "again.csv has a column fipe_price already"),
    ],
)
def test_what_cannot_be_valued_is_said_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    Path("heading.csv").write_text("fipe,year\n\n")
    Path("again.csv").write_text("fipe,year,fipe_price\n1,2,3\n")
    ended = value(*arguments)
    assert ended.exit_code == 2, ended.output
    (line,) = ended.stderr.splitlines()
    assert words in line
    assert sorted(path.name for path in Path().iterdir()) == ["again.csv", "heading.csv"]


def notes(database: connection, code: str, year: str) -> list[tuple[str | None, date | None]]:
    with database, database.cursor() as cursor:
        cursor.execute("select note, last_month from fipe.value_fleet(%s, %s)", ([code], [year]))
        return cursor.fetchall()


def test_a_month_that_is_not_whole_may_have_it_yet(database: connection) -> None:
    write_rows(database, [PriceRow(date(2026, 5, 1), 333, 1, 1, "Acura", 9, "Legend", 1998, 1, "Gasolina",
                                   "038002-4", Decimal(1))])  # fmt: skip
    write_messages(
        database,
        [any_price_message(brands_in_run=2, prices=(any_price(fipe_code="038003-2", model_year=1992),))],
    )
    assert notes(database, "038003-2", "1992") == [(None, None)]
    assert notes(database, "038003-2", "1980") == [("no_such_year", date(2026, 6, 1))]
    assert notes(database, "038002-4", "1998") == [("month_loading", date(2026, 5, 1))]
    assert notes(database, "999999-0", "1998") == [("month_loading", None)]
    with database, database.cursor() as cursor:
        cursor.execute("update fipe.load_run set completed_at = now(), ended_at = now(), whole_month = false")
    assert notes(database, "038002-4", "1998") == [("month_part", date(2026, 5, 1))]


def test_a_reader_may_ask_it(dsn: str) -> None:
    with closing(psycopg2.connect(as_role(dsn, "fipe_reader"))) as reader:
        assert notes(reader, "038002-4", "1998") == [("month_not_loaded", None)]
