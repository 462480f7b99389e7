"""Reads the rows of a fleet's file, CSV or Parquet, as they are."""

import codecs
import csv
import io
import os
import re
import shutil
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

from fipe_cli.errors import USAGE, CliError
from fipe_words import _, marked
from local_cloud.command_errors import reason_of

STANDARD = Path("-")
"""Standard input or output."""
DELIMITERS = ",;\t"
ROWS_AT_A_TIME = 10_000
_LONGEST_CELL = 2**20
_BYTES_AT_A_TIME = 2**20

_MAGIC = {
    b"PK\x03\x04": marked("{file} is a spreadsheet or a ZIP archive: save it as CSV"),
    b"\xd0\xcf\x11\xe0": marked("{file} is a spreadsheet or a ZIP archive: save it as CSV"),
    b"\x1f\x8b": marked(
        "{file} is compressed: unpack it first, such as with `gunzip -c FILE | fipe value -`"
    ),
}


class Row(NamedTuple):
    """A row of the file.

    Attributes:
        line: its line, or in Parquet its row; the first is 1.
        cells: one for each column.
        written: how it stands in a text file, without its end of line.
    """

    line: int
    cells: Sequence[Any]
    written: str

    @property
    def blank(self) -> bool:
        """Whether it holds nothing: such lines are kept, and are no vehicles."""
        return all(cell is None or not str(cell).strip() for cell in self.cells)


class Dialect(NamedTuple):
    """How a text file is written."""

    encoding: str
    delimiter: str
    line_end: str


class FleetFile(ABC):
    """The file of a fleet.

    Attributes:
        name: as given; `-` is standard input.
        columns: the names of its columns.
        dialect: how to write it as text.
    """

    name: str
    columns: list[str]
    dialect: Dialect

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Its rows.

        Raises:
            CliError: a row cannot be read.
        """


@contextmanager
def opened_fleet(file: Path) -> Iterator[FleetFile]:
    """Opens a fleet's file, whose kind its first bytes tell.

    Raises:
        CliError: it cannot be read, or is no table.
    """
    with _bytes_of(file) as stream:
        head = stream.read(4096)
        stream.seek(0)
        if not head.strip():
            raise CliError(_("{file} is empty", file=file), USAGE)
        for magic, words in _MAGIC.items():
            if head.startswith(magic):
                raise CliError(_(words, file=file), USAGE)
        if head.startswith(b"PAR1"):
            yield ParquetFleet(str(file), stream)
            return
        encoding = _encoding_of(stream)
        if b"\0" in head and encoding != "utf-16":
            raise CliError(_("{file} is not a table: it holds NUL bytes. Save it as CSV", file=file), USAGE)
        yield CsvFleet(str(file), io.TextIOWrapper(stream, encoding, newline=""), encoding)


@contextmanager
def _bytes_of(file: Path) -> Iterator[IO[bytes]]:
    """The file, to be read more than once: a pipe is copied to a temporary file first."""
    with ExitStack() as opened:
        try:
            if file == STANDARD:
                stream: IO[bytes] = sys.stdin.buffer
            else:
                stream = opened.enter_context(file.open("rb"))
            if file == STANDARD or not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                copy = opened.enter_context(TemporaryFile())
                shutil.copyfileobj(stream, copy)
                copy.seek(0)
                stream = copy
        except OSError as error:
            raise CliError(
                _("{file} cannot be read: {reason}", file=file, reason=reason_of(error)), USAGE
            ) from error
        yield stream


def _encoding_of(stream: IO[bytes]) -> str:
    """UTF-8, UTF-16 with its mark, or else latin-1, as Excel saves CSV: any bytes can be read as that."""
    mark = stream.read(3)
    stream.seek(0)
    if mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    utf8 = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := stream.read(_BYTES_AT_A_TIME):
            utf8.decode(block)
        utf8.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    finally:
        stream.seek(0)
    return "utf-8-sig" if mark == codecs.BOM_UTF8 else "utf-8"


class _Lines:
    """The lines of a text, which remembers those that were taken since it was last asked."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self._taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self._taken.append(line)
            yield line

    def taken(self) -> str:
        taken = "".join(self._taken)
        self._taken.clear()
        return taken


class CsvFleet(FleetFile):
    """Text with a heading.

    Attributes:
        before: what stands before the heading: blank lines, or `sep=;`.
        heading: the heading as it is written.
    """

    def __init__(self, name: str, text: IO[str], encoding: str) -> None:
        self.name = name
        self._lines = _Lines(text)
        self._skipped = 0
        before, first = "", next(iter(self._lines), "")
        # Blank lines, and the line by which Excel knows the delimiter.
        while first and (not first.strip() or re.fullmatch(r"sep=.\s*", first, re.IGNORECASE)):
            before += first
            self._skipped += 1
            first = next(iter(self._lines), "")
        delimiter = max(DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        line_end = first[len(first.rstrip("\r\n")) :] or "\n"
        self.before = before
        self.dialect = Dialect(encoding, delimiter, line_end)
        self._lines.taken()
        self._records = self._read(first)
        heading = next(self._records, None)
        if heading is None:
            raise CliError(_("{file} is empty", file=name), USAGE)
        self.columns = [cell.strip() for cell in heading.cells]
        self.heading = heading.written

    def rows(self) -> Iterator[Row]:
        """See FleetFile."""
        for row in self._records:
            more = len(row.cells) - len(self.columns)
            if more > 0:
                raise CliError(
                    _(
                        "{file}, line {line}: {cells} cells under {columns} columns: quote a cell that holds"
                        " {delimiter!r}",
                        file=self.name,
                        line=row.line,
                        cells=len(row.cells),
                        columns=len(self.columns),
                        delimiter=self.dialect.delimiter,
                    ),
                    USAGE,
                )
            yield row._replace(
                cells=[*row.cells, *[""] * -more],
                written=row.written + self.dialect.delimiter * (-more if row.cells else 0),
            )

    def _read(self, first: str) -> Iterator[Row]:
        csv.field_size_limit(_LONGEST_CELL)
        taken = [first]
        reader = csv.reader(chain([first], self._lines), delimiter=self.dialect.delimiter, strict=True)
        while True:
            try:
                cells = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise CliError(
                    _(
                        "{file}, line {line} is not CSV: {reason}; within quotes, a quote is written twice",
                        file=self.name,
                        line=self._skipped + reader.line_num,
                        reason=error,
                    ),
                    USAGE,
                ) from error
            if cells is None:
                return
            written = "".join(taken) + self._lines.taken()
            taken.clear()
            yield Row(self._skipped + reader.line_num, cells, written.rstrip("\r\n"))


class ParquetFleet(FleetFile):
    """A Parquet file.

    Attributes:
        schema: of its columns.
    """

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        from pyarrow import parquet

        self.name = name
        self.dialect = Dialect("utf-8", ",", "\n")
        with _parquet_errors(name):
            self._file = parquet.ParquetFile(stream)
        self.schema = self._file.schema_arrow
        self.columns = self.schema.names

    def rows(self) -> Iterator[Row]:
        """See FleetFile."""
        line = 0
        with _parquet_errors(self.name):
            for batch in self._file.iter_batches(ROWS_AT_A_TIME):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    line += 1
                    yield Row(line, cells, "")


@contextmanager
def _parquet_errors(name: str) -> Iterator[None]:
    import pyarrow as arrow

    try:
        yield
    except arrow.ArrowException as error:
        reason = " ".join(str(error).split())[:120]
        raise CliError(
            _("{file} is damaged Parquet, perhaps cut short: {reason}", file=name, reason=reason), USAGE
        ) from error
