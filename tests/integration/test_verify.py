"""`fipe verify`: what differs between a month and something else is named, and nothing more."""

import csv
import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from typer.testing import CliRunner, Result

from fipe_api.database.writer import PriceRow, write_rows
from fipe_cli.__main__ import app
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from local_cloud.postgres import Connection
from tests.databases import database_with_schema
from tests.fipex import write_csv, write_parquet
from tests.integration.test_imports import rows_of
from tests.unit.test_import_files import any_row

pytestmark = pytest.mark.usefixtures("in_folder")

ROWS = rows_of(read_catalogue(SAMPLE_CATALOGUE), 334)
MAY = ROWS[0].reference_month.replace(month=5)


def fill(place: Connection, rows: list[PriceRow]) -> None:
    with closing(place.open()) as database:
        write_rows(database, rows)


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", "2026-06", *map(str, arguments)])


def planted() -> tuple[list[PriceRow], set[tuple[str, str, int]]]:
    """The sample month with ten differences: the rows; and what, FIPE code and model year of each."""
    alone = {
        (row.fipe_code, row.model_year): row
        for row in ROWS
        if sum((row.fipe_code, row.model_year) == each[10:11] + each[7:8] for each in ROWS) == 1
    }
    chosen = [row for row in alone.values() if row.fuel_code != 2][:80:9][:8]
    rows = [row for row in ROWS if row not in chosen]
    named = set()
    changes = (
        ("missing here", None), ("missing there", None), ("other price", {"price_brl": Decimal(7)}),
        ("other price", {"price_brl": Decimal("0.01")}), ("other name", {"model": "Outro"}),
        ("other name", {"brand": "Outra"}), ("other fuel", {"fuel_code": 2, "fuel": "Álcool"}),
        ("other price, other name", {"model": "Outro", "price_brl": Decimal(8)}),
    )  # fmt: skip
    for row, (what, change) in zip(chosen, changes, strict=True):
        if change is not None:
            rows.append(row._replace(**change))
        elif what == "missing here":
            rows += [row, row._replace(model_year=1951)]
            row = row._replace(model_year=1951)
        named.add((what, row.fipe_code, row.model_year))
    rows += [any_row(fipe_code="099099-0", model_year=1950), any_row(fipe_code="099099-0", model_year=1951)]
    named |= {("missing here", "099099-0", year) for year in (1950, 1951)}
    return rows, named


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ten_planted_differences_are_named_and_nothing_else(
    master: Connection,
    tmp_path: Path,
    suffix: str,
) -> None:
    fill(master, ROWS)
    rows, differences = planted()
    file = (write_csv if suffix == ".csv" else write_parquet)(tmp_path / f"june{suffix}", rows)
    ended = verify("--against", file, "--output", tmp_path / "differences.csv")
    assert ended.exit_code == 1, ended.output
    with (tmp_path / "differences.csv").open() as lines:
        found = list(csv.DictReader(lines))
    assert {(row["difference"], row["fipe_code"], int(row["model_year"])) for row in found} == differences
    assert len(found) == len(differences) == 10
    assert ended.stdout == (
        f"2026-06: {len(ROWS):,} prices here, {len(rows):,} in {file}: 3 missing here, 1 missing there,"
        " 3 other price, 3 other name, 1 other fuel\n"
    )
    prices = [row for row in found if row["difference"] == "other price"]
    assert {row["price_brl_there"] for row in prices} == {"7", "0.01"}


def test_the_same_month_is_all_alike(master: Connection, tmp_path: Path) -> None:
    fill(master, ROWS)
    file = write_csv(tmp_path / "june.csv", [*ROWS, any_row(reference_month=MAY)])
    ended = verify("--against", file, "--json")
    assert ended.exit_code == 0, ended.output
    document = json.loads(ended.stdout)
    assert (document["here"], document["there"]) == (len(ROWS), len(ROWS))
    assert {
        document[kind]
        for kind in ("missing_here", "missing_there", "other_price", "other_name", "other_fuel")
    } == {0}


def test_another_database_can_be_compared(
    master: Connection,
    postgres_dsn: str,
) -> None:
    fill(master, ROWS)
    with database_with_schema(postgres_dsn) as dsn:
        with closing(psycopg2.connect(dsn)) as other:
            write_rows(other, [ROWS[0]._replace(price_brl=Decimal(1)), *ROWS[1:]])
            place = other.info
            address = f"postgresql://{place.user}:{place.password}@{place.host}:{place.port}/{place.dbname}"
        ended = verify("--against", address)
    assert (ended.exit_code, ended.stdout) == (
        1, f"2026-06: {len(ROWS):,} prices here, {len(ROWS):,} in the other database: 1 other price\n"
    )  # fmt: skip


def test_what_cannot_be_compared_is_refused(master: Connection, tmp_path: Path) -> None:
    may = write_csv(tmp_path / "may.csv", [any_row(reference_month=MAY)])
    assert verify("--against", may).stderr == (
        "error: the database has no prices for 2026-06: load or import the month first\n"
    )
    fill(master, ROWS)
    assert verify("--against", may).stderr == f"error: {may} has no prices for 2026-06\n"
    assert "the other database cannot be read" in verify("--against", "postgresql://localhost:1/x").stderr
    assert verify("--against", tmp_path / "none.csv").exit_code == 2
