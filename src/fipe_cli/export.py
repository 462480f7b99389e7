"""Writes prices to files: CSV, JSON Lines or Parquet.

Rows are written as they arrive from the database, one month after another, each found through its index. So
the memory in use stays small, and nothing large is sorted.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from psycopg2 import sql

from fipe_cli.database import blocking
from fipe_cli.errors import USAGE, CliError

if TYPE_CHECKING:
    from psycopg2.extensions import connection

COLUMNS = (
    "reference_month", "reference_code", "vehicle_type", "brand_code", "brand", "model_code", "model",
    "model_year", "zero_km", "fuel_code", "fuel", "fipe_code", "price_brl",
)  # fmt: skip
"""The columns of fipe.vehicle_price."""
ROWS_PER_BATCH = 10_000
FORMATS = (".csv", ".jsonl", ".parquet")

_PORTUGUESE = {
    "zero_km": "case when zero_km then 'sim' else 'não' end",
    "price_brl": "replace(price_brl::text, '.', ',')",
}


@dataclass(frozen=True)
class Selection:
    """Which prices: of a month, of a brand, of a brand in a month, or all.

    Attributes:
        month: YYYY-MM, "latest", or empty.
        brand: words of the brand's name, or empty.
    """

    month: str = ""
    brand: str = ""

    def __post_init__(self) -> None:
        """Raises CliError when this is not a month."""
        if self.month not in ("", "latest") and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", self.month):
            raise CliError(f"invalid --month {self.month}: use a month like 2026-06, or latest", USAGE)

    def parts(self, session: "connection") -> list[sql.Composed]:
        """What follows `select ... `, once per month, the oldest month first.

        Raises:
            CliError: the database has no such month or brand.
        """
        with session.cursor() as cursor:
            cursor.execute(
                "select month from fipe.reference_month"
                " where exists (select from fipe.price where price.reference_month = month) order by month"
            )
            months = {f"{month:%Y-%m}": month for (month,) in cursor.fetchall()}
            cursor.execute(
                "select distinct vehicle_type, brand_code from fipe.brands_named(%s) order by 1, 2",
                (self.brand,),
            )
            brands = cursor.fetchall()
        if not months:
            raise CliError("the database has no prices yet: start a load with `fipe load`", USAGE)
        if self.brand and not brands:
            raise CliError(
                f"no brand has all the words of --brand {self.brand}: use whole words of its name",
                USAGE,
            )
        month = max(months) if self.month == "latest" else self.month
        if month and month not in months:
            known = f"{min(months)} to {max(months)}"
            raise CliError(
                f"the database has no prices for --month {month}: choose a month from {known}", USAGE
            )
        of_brand = (
            sql.SQL(" and (vehicle_type, brand_code) in ({})").format(
                sql.SQL(", ").join(sql.SQL("({}, {})").format(*map(sql.Literal, brand)) for brand in brands)
            )
            if self.brand
            else sql.SQL("")
        )
        return [
            sql.SQL(
                "from fipe.vehicle_price where reference_month = {}{}"
                ' order by vehicle_type, brand collate "C", model collate "C", brand_code, model_code,'
                " model_year desc, fuel_code"
            ).format(sql.Literal(day), of_brand)
            for name, day in months.items()
            if not month or name == month
        ]


def export_prices(session: "connection", selection: Selection, file: Path, *, excel_pt: bool) -> int:
    """Write the prices in the format that the file's name ends in; returns how many.

    The file appears under its name only when it is whole. `-` writes CSV to standard output.

    Raises:
        CliError: the format is unknown, or there is nothing to write.
    """
    suffix = ".csv" if file == Path("-") else file.suffix
    if suffix not in FORMATS:
        raise CliError(f"unknown format of {file}: use a name that ends in {', '.join(FORMATS)}", USAGE)
    if excel_pt and suffix != ".csv":
        raise CliError(
            f"--excel-pt works for CSV only: use a name that ends in .csv instead of {file}", USAGE
        )
    parts = selection.parts(session)
    with opened(file) as target:
        if suffix == ".csv":
            return _write_csv(session, parts, target, excel_pt)
        if suffix == ".jsonl":
            return _write_json_lines(session, parts, target)
        return _write_parquet(session, parts, target)


@contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """Where to write a file's bytes; `-` is standard output. The file appears only when it is whole.

    Raises:
        CliError: the file cannot be written.
    """
    if file == Path("-"):
        yield sys.stdout.buffer
        return
    draft = file.with_name(f"{file.name}.part")
    try:
        with draft.open("wb") as target:
            yield target
        draft.replace(file)
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def _write_csv(session: "connection", parts: list[sql.Composed], target: IO[bytes], excel_pt: bool) -> int:
    columns = ", ".join(
        f"{_PORTUGUESE[name]} as {name}" if excel_pt and name in _PORTUGUESE else name for name in COLUMNS
    )
    rows = 0
    if excel_pt:
        target.write("\ufeff".encode())  # without this mark, spreadsheets take UTF-8 for an older encoding
    with session.cursor() as cursor:
        for position, part in enumerate(parts):
            copy = sql.SQL("copy (select {} {}) to stdout with (format csv, delimiter {}, header {})").format(
                sql.SQL(columns), part, sql.Literal(";" if excel_pt else ","), sql.Literal(position == 0)
            )
            with blocking():
                cursor.copy_expert(copy, target)
            rows += cursor.rowcount
    return rows


def _write_json_lines(session: "connection", parts: list[sql.Composed], target: IO[bytes]) -> int:
    # PostgreSQL makes the JSON, so prices keep their two decimals. The adapted ingestor reads these lines.
    rows = 0
    for batch in _batches(session, parts, "to_json(vehicle_price)::text"):
        target.writelines(line.encode() + b"\n" for (line,) in batch)
        rows += len(batch)
    return rows


def _write_parquet(session: "connection", parts: list[sql.Composed], target: IO[bytes]) -> int:
    import pyarrow as arrow
    from pyarrow import parquet

    types: dict[str, Callable[[], Any]] = {
        "reference_month": arrow.date32, "reference_code": arrow.int32, "vehicle_type": arrow.int8,
        "brand_code": arrow.int32, "brand": arrow.string, "model_code": arrow.int32, "model": arrow.string,
        "model_year": arrow.int16, "zero_km": arrow.bool_, "fuel_code": arrow.int16, "fuel": arrow.string,
        "fipe_code": arrow.string, "price_brl": lambda: arrow.decimal128(12, 2),
    }  # fmt: skip
    schema = arrow.schema([(name, types[name]()) for name in COLUMNS])
    rows = 0
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in _batches(session, parts, ", ".join(COLUMNS)):
            columns = [
                arrow.array(values, field.type)
                for values, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_batch(arrow.record_batch(columns, schema=schema))
            rows += len(batch)
    return rows


def _batches(
    session: "connection", parts: list[sql.Composed], columns: str
) -> Iterator[list[tuple[Any, ...]]]:
    for part in parts:
        # A cursor with a name lives on the server, which sends rows as they are fetched.
        with session.cursor("export") as cursor:
            cursor.execute(sql.SQL("select {} {}").format(sql.SQL(columns), part))
            while batch := cursor.fetchmany(ROWS_PER_BATCH):
                yield batch
