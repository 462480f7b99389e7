"""Writes prices to files: CSV, JSON Lines, Parquet or Excel.

Rows are written as they arrive from the database, one month after another, each found through its index. So
the memory in use stays small, and nothing large is sorted.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from psycopg2 import sql

from fipe_api.database.prices import COLUMNS, ORDER, Rows, read_batches
from fipe_api.load.request import VEHICLE_TYPES, vehicle_type
from fipe_cli.database import blocking
from fipe_cli.errors import USAGE, CliError
from fipe_cli.month import check_month, months_with_prices, no_prices_for
from fipe_words import _
from local_cloud.command_errors import reason_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection

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
            raise CliError(_("invalid options: use --month, or --from and --to"), USAGE)
        if "" < self.last < self.first != "latest":
            raise CliError(
                _("invalid options: --from {first} is after --to {last}", first=self.first, last=self.last),
                USAGE,
            )
        self._vehicle_types()

    def parts(self, session: "connection") -> dict[date, sql.Composed]:
        """What follows `select ... ` for each month, the oldest month first, without an order.

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
        return {
            day: sql.SQL("from fipe.vehicle_price where reference_month = {}{}").format(
                sql.Literal(day), sql.Composed(conditions)
            )
            for day in months
        }

    def _months(self, session: "connection") -> list[date]:
        months = {f"{month:%Y-%m}": month for month in months_with_prices(session)}
        chosen = [day for name, day in months.items() if self.covers(name, max(months))]
        if not chosen:
            options = (("--month", self.month), ("--from", self.first), ("--to", self.last))
            raise no_prices_for(" ".join(f"{option} {month}" for option, month in options if month), months)
        return chosen

    def covers(self, month: str, newest: str) -> bool:
        """Whether a month is one that is asked for, if there is such a month; both as YYYY-MM."""
        first, last = self.month or self.first, self.month or self.last
        return (not first or month >= (newest if first == "latest" else first)) and (
            not last or month <= (newest if last == "latest" else last)
        )

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
                brands = cursor.fetchall()
                if not brands:
                    raise CliError(
                        _("nothing is called --brand {brand}: use whole words of its name", brand=self.brand),
                        USAGE,
                    )
                yield ("vehicle_type", "brand_code"), brands
            if self.vehicle:
                cursor.execute("select * from fipe.models_named(%s) order by 1, 2, 3", (self.vehicle,))
                models = cursor.fetchall()
                if not models:
                    raise CliError(
                        _(
                            "nothing is called --vehicle {vehicle}: use words of its brand and model, or its"
                            " FIPE code",
                            vehicle=self.vehicle,
                        ),
                        USAGE,
                    )
                yield ("vehicle_type", "brand_code", "model_code"), models

    def _vehicle_types(self) -> list[int]:
        asked = [each.strip() for each in self.types.split(",")] if self.types else []
        types = [int(each) if each.isdecimal() else vehicle_type(each) for each in asked]
        for written, known in zip(asked, types, strict=True):
            if known not in VEHICLE_TYPES.values():
                raise CliError(_("invalid --type {type}: use car, motorcycle, truck", type=written), USAGE)
        return [int(each) for each in types]


def export_prices(session: "connection", selection: Selection, file: Path, *, excel_pt: bool) -> int:
    """Write the prices in the format that the file's name ends in; returns how many.

    The file appears under its name only when it is whole. `-` writes CSV to standard output.

    Raises:
        CliError: the format is unknown, or there is nothing to write.
    """
    suffix = ".csv" if file == Path("-") else file.suffix
    if suffix not in FORMATS:
        raise CliError(
            _(
                "unknown format of {file}: use a name that ends in {formats}",
                file=file,
                formats=", ".join(FORMATS),
            ),
            USAGE,
        )
    if excel_pt and suffix != ".csv":
        raise CliError(
            _("--excel-pt works for CSV only: use a name that ends in .csv instead of {file}", file=file),
            USAGE,
        )
    parts = list(selection.parts(session).values())
    with opened(file) as target:
        if suffix == ".csv":
            return _write_csv(session, parts, target, excel_pt)
        if suffix == ".jsonl":
            return _write_json_lines(session, parts, target)
        if suffix == ".xlsx":
            return _write_excel(session, parts, target)
        return _write_parquet(session, parts, target)


@contextmanager
def opened(file: Path, draft: Path | None = None) -> Iterator[IO[bytes]]:
    """Where to write a file's bytes; `-` is standard output. The file appears only when it is whole.

    Args:
        file: the file.
        draft: where the bytes are until then, beside it; FILE.part by default.

    Raises:
        CliError: the file cannot be written.
    """
    if file == Path("-"):
        yield sys.stdout.buffer
        return
    draft = draft or file.with_name(f"{file.name}.part")
    try:
        with draft.open("wb") as target:
            yield target
        draft.replace(file)
    except OSError as error:
        raise CliError(_("{file} cannot be written: {reason}", file=file, reason=reason_of(error))) from error
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
            copy = sql.SQL(
                "copy (select {} {}{}) to stdout with (format csv, delimiter {}, header {})"
            ).format(
                sql.SQL(columns),
                part,
                ORDER,
                sql.Literal(";" if excel_pt else ","),
                sql.Literal(position == 0),
            )
            with blocking():
                cursor.copy_expert(copy, target)
            rows += cursor.rowcount
    return rows


def _write_json_lines(session: "connection", parts: list[sql.Composed], target: IO[bytes]) -> int:
    # PostgreSQL makes the JSON, so prices keep their two decimals. The adapted ingestor reads these lines.
    rows = 0
    for batch in _batches(session, parts, ["to_json(vehicle_price)::text"]):
        target.writelines(line.encode() + b"\n" for (line,) in batch)
        rows += len(batch)
    return rows


def _write_parquet(session: "connection", parts: list[sql.Composed], target: IO[bytes]) -> int:
    from fipe_api.database.parquet import write_months

    return write_months(target, COLUMNS, (read_batches(session, COLUMNS, part) for part in parts))


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
        for batch in _batches(session, parts, COLUMNS):
            if rows + len(batch) > ROWS_OF_A_SHEET:
                raise CliError(
                    _(
                        "Excel takes {most:,} prices, and these are more: choose fewer months"
                        " with --from and --to, or write .csv or .parquet",
                        most=ROWS_OF_A_SHEET,
                    ),
                    USAGE,
                )
            for row in batch:
                rows += 1
                sheet.write_row(rows, 0, row)
    return rows


def _batches(session: "connection", parts: list[sql.Composed], columns: Sequence[str]) -> Iterator[Rows]:
    return chain.from_iterable(read_batches(session, columns, part) for part in parts)
