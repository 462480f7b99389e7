"""Writes the rows of a fleet again with more columns: as CSV, Parquet or Excel.

A row of CSV is written as it was read, letter by letter: its own spelling, quotes and encoding.
"""

import codecs
import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from fipe_cli.errors import USAGE, CliError
from fipe_cli.export import ROWS_OF_A_SHEET
from fipe_cli.file_columns import text_of
from fipe_cli.fleet.files import ROWS_AT_A_TIME, STANDARD, CsvFleet, FleetFile, ParquetFleet, Row
from fipe_words import _

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
ENDINGS = (*TEXT_ENDINGS, ".parquet", ".xlsx")


class FleetWriter(ABC):
    """Writes the rows of a fleet with more cells."""

    @abstractmethod
    def write(self, row: Row, more: Sequence[Any]) -> None:
        """Writes a row. In the order of the new columns, `more` has their values; None is an empty cell."""

    @abstractmethod
    def close(self) -> None:
        """Writes what is left."""


def writer_of(
    fleet: FleetFile, file: Path, target: IO[bytes], columns: Mapping[str, str], *, decimal_comma: bool | None
) -> FleetWriter:
    """What writes a fleet in the format that the file's name ends in; standard output gets text.

    Args:
        fleet: the rows come from here.
        file: the name.
        target: where its bytes go.
        columns: the new columns, with the type of each: date, decimal or string.
        decimal_comma: how text has numbers; by default as the delimiter suggests.

    Raises:
        CliError: the ending is unknown, or the format has no decimal commas.
    """
    if file != STANDARD and file.suffix not in TEXT_ENDINGS:
        if decimal_comma is not None:
            raise CliError(
                _(
                    "invalid options: {file} holds numbers and not text, so it has no decimal commas",
                    file=file,
                ),
                USAGE,
            )
        return (_ExcelWriter if file.suffix == ".xlsx" else _ParquetWriter)(fleet, target, columns)
    return _CsvWriter(fleet, file, target, columns, decimal_comma)


def check_ending(file: Path) -> None:
    """Raises CliError when no format has the ending of this name."""
    if file != STANDARD and file.suffix not in ENDINGS:
        raise CliError(
            _(
                "unknown format of {file}: use a name that ends in {formats}",
                file=file,
                formats=", ".join(ENDINGS),
            ),
            USAGE,
        )


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


class _CsvWriter(FleetWriter):
    def __init__(
        self,
        fleet: FleetFile,
        file: Path,
        target: IO[bytes],
        columns: Mapping[str, str],
        decimal_comma: bool | None,
    ) -> None:
        dialect = fleet.dialect
        if file.suffix == ".tsv":
            dialect = dialect._replace(delimiter="\t")
        # Spreadsheets separate cells with semicolons where decimals have commas.
        self._decimal_comma = dialect.delimiter == ";" if decimal_comma is None else decimal_comma
        self._as_written = isinstance(fleet, CsvFleet) and dialect == fleet.dialect
        self._dialect = dialect
        # A cell is quoted if it holds a character of the end of line.
        self._quoted = csv.writer(_Echo(), delimiter=dialect.delimiter, lineterminator="\r\n").writerow
        self._encode = codecs.getincrementalencoder(dialect.encoding)("replace").encode
        self._target = target
        if isinstance(fleet, CsvFleet) and self._as_written:
            self._target.write(self._encode(fleet.before))
            self._write(fleet.heading, list(columns))
        else:
            self._write(self._line(fleet.columns), list(columns))

    def write(self, row: Row, more: Sequence[Any]) -> None:
        """See FleetWriter."""
        if self._as_written and not row.written:
            self._target.write(self._encode(self._dialect.line_end))
            return
        written = row.written if self._as_written else self._line([text_of(cell) for cell in row.cells])
        self._write(written, [self._cell(value) for value in more])

    def _line(self, cells: Sequence[str]) -> str:
        return str(self._quoted(cells)).removesuffix("\r\n")

    def _write(self, written: str, more: list[str]) -> None:
        line = f"{written}{self._dialect.delimiter}{self._line(more)}{self._dialect.line_end}"
        self._target.write(self._encode(line))

    def _cell(self, value: Any) -> str:
        if isinstance(value, date):
            return f"{value:%Y-%m}"
        if isinstance(value, Decimal) and self._decimal_comma:
            return str(value).replace(".", ",")
        return text_of(value)

    def close(self) -> None:
        """See FleetWriter: nothing is left."""


class _ParquetWriter(FleetWriter):
    def __init__(self, fleet: FleetFile, target: IO[bytes], columns: Mapping[str, str]) -> None:
        import pyarrow as arrow
        from pyarrow import parquet

        types = {"date": arrow.date32(), "decimal": arrow.decimal128(14, 2), "string": arrow.string()}
        more = [arrow.field(name, types[kind]) for name, kind in columns.items()]
        own = (
            list(fleet.schema)
            if isinstance(fleet, ParquetFleet)
            else [arrow.field(name, arrow.string()) for name in fleet.columns]
        )
        self._schema = arrow.schema([*own, *more])
        self._writer = parquet.ParquetWriter(target, self._schema, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def write(self, row: Row, more: Sequence[Any]) -> None:
        """See FleetWriter."""
        self._rows.append((*row.cells, *more))
        if len(self._rows) == ROWS_AT_A_TIME:
            self._write_batch()

    def _write_batch(self) -> None:
        import pyarrow as arrow

        columns = [
            arrow.array(values, field.type)
            for values, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_batch(arrow.record_batch(columns, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        """See FleetWriter."""
        if self._rows:
            self._write_batch()
        self._writer.close()


class _ExcelWriter(FleetWriter):
    def __init__(self, fleet: FleetFile, target: IO[bytes], columns: Mapping[str, str]) -> None:
        import xlsxwriter

        self._book = xlsxwriter.Workbook(
            target,
            {
                "constant_memory": True,  # each row goes to a temporary file at once
                "strings_to_formulas": False,  # what is written stays as it is
                "strings_to_urls": False,
                "nan_inf_to_errors": True,
                "remove_timezone": True,
            },
        )
        formats = {
            "date": self._book.add_format({"num_format": "yyyy-mm"}),
            "decimal": self._book.add_format({"num_format": "#,##0.00"}),
        }
        self._sheet = self._book.add_worksheet("FIPE")
        self._sheet.freeze_panes(1, 0)
        for place, kind in enumerate(columns.values(), len(fleet.columns)):
            self._sheet.set_column(place, place, 15, formats.get(kind))
        heading = [*fleet.columns, *columns]
        self._sheet.write_row(0, 0, heading, self._book.add_format({"bold": True}))
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._rows = 0

    def write(self, row: Row, more: Sequence[Any]) -> None:
        """See FleetWriter."""
        self._rows += 1
        if self._rows > ROWS_OF_A_SHEET:
            raise CliError(
                _(
                    "Excel takes {most:,} rows, and these are more: write .csv or .parquet",
                    most=ROWS_OF_A_SHEET,
                ),
                USAGE,
            )
        for place, cell in enumerate(row.cells):
            known = isinstance(cell, str | int | float | Decimal | date | datetime | time)
            form = self._day if isinstance(cell, date) else None
            self._sheet.write(self._rows, place, cell if known or cell is None else str(cell), form)
        self._sheet.write_row(self._rows, len(row.cells), more)

    def close(self) -> None:
        """See FleetWriter."""
        self._book.close()
