"""Writes prices to files: CSV, JSON Lines, Parquet or Excel.

Rows are written as they arrive from the database, one month after another, each found through its index. So
the memory in use stays small, and nothing large is sorted.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from psycopg2 import sql

from fipe_api.load.request import VEHICLE_TYPES
from fipe_cli.database import blocking
from fipe_cli.errors import USAGE, CliError
from fipe_cli.month import check_month, months_with_prices, no_prices_for

if TYPE_CHECKING:
    from psycopg2.extensions import connection

COLUMNS = (
    "reference_month", "reference_code", "vehicle_type", "brand_code", "brand", "model_code", "model",
    "model_year", "zero_km", "fuel_code", "fuel", "fipe_code", "price_brl",
)  # fmt: skip
"""The columns of fipe.vehicle_price."""
ROWS_PER_BATCH = 10_000
FORMATS = (".csv", ".jsonl", ".parquet", ".xlsx")
ROWS_OF_A_SHEET = 1_048_575
"""Excel's limit, without the heading."""

_PORTUGUESE = {
    "zero_km": "case when zero_km then 'sim' else 'não' end",
    "price_brl": "replace(price_brl::text, '.', ',')",
}
_SPELLED = {"zero_km": "zero_km::text"}
"""COPY writes t and f; everywhere else it is true and false."""


@dataclass(frozen=True)
class Selection:
    """Which prices; what is empty chooses nothing, so all of it empty means all prices.

    Attributes:
        month: YYYY-MM, or "latest".
        first: the first month, YYYY-MM.
        last: the last month, YYYY-MM, or "latest".
        brand: words of the brand's name.
        types: vehicle types, by name or number, separated by commas.
        vehicle: words of brand and model, or a FIPE code.
    """

    month: str = ""
    first: str = ""
    last: str = ""
    brand: str = ""
    types: str = ""
    vehicle: str = ""

    def __post_init__(self) -> None:
        """Raises CliError when something is not a month, or not a vehicle type."""
        for option, month in (("--month", self.month), ("--from", self.first), ("--to", self.last)):
            check_month(option, month)
        if self.month and (self.first or self.last):
            raise CliError("invalid options: use --month, or --from and --to", USAGE)
        if "" < self.last < self.first != "latest":
            raise CliError(f"invalid options: --from {self.first} is after --to {self.last}", USAGE)
        self._vehicle_types()

    def parts(self, session: "connection") -> list[sql.Composed]:
        """What follows `select ... `, once per month, the oldest month first.

        Raises:
            CliError: the database has no such month, brand or vehicle.
        """
        months = self._months(session)
        conditions = [
            sql.SQL(" and ({}) in ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join(
                    sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, value))) for value in values
                ),
            )
            for columns, values in self._chosen(session)
        ]
        return [
            sql.SQL(
                "from fipe.vehicle_price where reference_month = {}{}"
                ' order by vehicle_type, brand collate "C", model collate "C", brand_code, model_code,'
                " model_year desc, fuel_code"
            ).format(sql.Literal(day), sql.Composed(conditions))
            for day in months
        ]

    def _months(self, session: "connection") -> list[date]:
        months = {f"{month:%Y-%m}": month for month in months_with_prices(session)}
        newest = max(months)
        if self.month:
            first = last = newest if self.month == "latest" else self.month
            asked = f"--month {self.month}"
        else:
            first = newest if self.first == "latest" else self.first or min(months)
            last = newest if self.last == "latest" else self.last or newest
            asked = " ".join(
                f"{option} {month}"
                for option, month in (("--from", self.first), ("--to", self.last))
                if month
            )
        chosen = [day for name, day in months.items() if first <= name <= last]
        if not chosen:
            raise no_prices_for(asked, months)
        return chosen

    def _chosen(self, session: "connection") -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """Columns, and the values that they should have."""
        if self.types:
            yield ("vehicle_type",), [(each,) for each in self._vehicle_types()]
        with session.cursor() as cursor:
            if self.brand:
                cursor.execute(
                    "select distinct vehicle_type, brand_code from fipe.brands_named(%s) order by 1, 2",
                    (self.brand,),
                )
                brands = self._found(cursor.fetchall(), "--brand", self.brand, "whole words of its name")
                yield ("vehicle_type", "brand_code"), brands
            if self.vehicle:
                cursor.execute("select * from fipe.models_named(%s) order by 1, 2, 3", (self.vehicle,))
                words = "words of its brand and model, or its FIPE code"
                models = self._found(cursor.fetchall(), "--vehicle", self.vehicle, words)
                yield ("vehicle_type", "brand_code", "model_code"), models

    def _found(
        self, values: list[tuple[Any, ...]], option: str, asked: str, words: str
    ) -> list[tuple[Any, ...]]:
        if not values:
            raise CliError(f"nothing is called {option} {asked}: use {words}", USAGE)
        return values

    def _vehicle_types(self) -> list[int]:
        names = {**VEHICLE_TYPES, **{str(number): number for number in VEHICLE_TYPES.values()}}
        asked = [each.strip().lower() for each in self.types.split(",")] if self.types else []
        unknown = [each for each in asked if each not in names]
        if unknown:
            raise CliError(f"invalid --type {unknown[0]}: use {', '.join(VEHICLE_TYPES)}", USAGE)
        return [names[each] for each in asked]


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
        if suffix == ".xlsx":
            return _write_excel(session, parts, target)
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
    spelled = _PORTUGUESE if excel_pt else _SPELLED
    columns = ", ".join(f"{spelled[name]} as {name}" if name in spelled else name for name in COLUMNS)
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


def _write_excel(session: "connection", parts: list[sql.Composed], target: IO[bytes]) -> int:
    import xlsxwriter

    options = {
        "constant_memory": True,  # each row goes to a temporary file at once
        "strings_to_formulas": False,  # names stay names
        "strings_to_urls": False,
    }
    with xlsxwriter.Workbook(target, options) as workbook:
        formats = {
            "reference_month": workbook.add_format({"num_format": "yyyy-mm"}),
            "price_brl": workbook.add_format({"num_format": "#,##0.00"}),
        }
        sheet = workbook.add_worksheet("FIPE")
        sheet.freeze_panes(1, 0)
        for place, name in enumerate(COLUMNS):
            sheet.set_column(place, place, 40 if name == "model" else 15, formats.get(name))
        sheet.write_row(0, 0, COLUMNS, workbook.add_format({"bold": True}))
        rows = 0
        for batch in _batches(session, parts, ", ".join(COLUMNS)):
            if rows + len(batch) > ROWS_OF_A_SHEET:
                raise CliError(
                    f"Excel takes {ROWS_OF_A_SHEET:,} prices, and these are more: choose fewer months"
                    " with --from and --to, or write .csv or .parquet",
                    USAGE,
                )
            for row in batch:
                rows += 1
                sheet.write_row(rows, 0, row)
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
