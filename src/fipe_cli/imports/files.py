"""Reads CSV, JSON Lines and Parquet, a batch of rows at a time, all values as text.

A batch ends where a month ends, if the file is ordered by month: a month's rows are best judged together.
Each row keeps its line, and each batch says where to go on after it.
"""

import codecs
import hashlib
import io
import os
import stat
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as arrow
import pyarrow.compute as compute
from msgspec import DecodeError
from msgspec.json import Decoder
from pyarrow import csv, parquet

from fipe_cli.errors import USAGE, CliError
from fipe_cli.file_columns import text_of
from fipe_words import _, marked

LINE = "\0line"
"""The column with the line or row of the file, the first being 1. No column of a file can be called so."""

STDIN = Path("-")
BYTES_PER_BATCH = 40 * 2**20
ROWS_PER_BATCH = 400_000
"""Some ten to thirty months. What a batch costs is mostly by vehicle, so large batches are quicker."""
BYTES_OF_AN_END, ROWS_OF_AN_END = 4 * 2**20, 40_000
"""How much of each end of a file is looked at before it is read."""
LONGEST_HEADER = 2**16
DELIMITERS = "\t;,"

_MAGIC = {
    b"PK\x03\x04": marked("{file} is a ZIP archive or a spreadsheet: unpack it, or save it as CSV"),
    b"\x1f\x8b": marked(
        "{file} is compressed: unpack it first, such as with `gunzip -c FILE | fipe import -`"
    ),
    b"\x28\xb5\x2f\xfd": marked(
        "{file} is compressed: unpack it first, such as with `zstd -dc FILE | fipe import -`"
    ),
}

MonthColumns = Sequence[str]


@dataclass(frozen=True)
class Batch:
    """Some rows of a file.

    Attributes:
        table: the chosen columns as text, empty where the file has nothing, and LINE.
        malformed: lines that are not rows of the table, with their text.
        position: where the next batch begins: a byte of a text file, a row of a Parquet file.
    """

    table: Any
    malformed: list[tuple[int, str]]
    position: int


class RowFile(ABC):
    """A file of rows.

    Attributes:
        name: as given; `-` for standard input.
        columns: the names of its columns.
        size: where its last batch ends, as `Batch.position` counts; None for a pipe.
        fingerprint: a hash of its content; None for a pipe.
    """

    name: str
    columns: list[str]
    size: int | None
    fingerprint: str | None

    @abstractmethod
    def batches(self, columns: Sequence[str], months: MonthColumns, position: int) -> Iterator[Batch]:
        """The rows from a position on.

        Args:
            columns: which to read.
            months: those of them that say the month; none if the file is of one month.
            position: 0, or that of an earlier batch.

        Raises:
            CliError: the rest of the file cannot be read.
        """

    @abstractmethod
    def ends(self, columns: Sequence[str]) -> list[Batch]:
        """Some rows of its beginning and of its end, read out of turn; nothing of a pipe.

        Raises:
            CliError: the file cannot be read.
        """


@contextmanager
def opened(file: Path, encoding: str) -> Iterator[RowFile]:
    """Opens a file of rows, whose kind its first bytes tell.

    Args:
        file: a path; `-` is standard input.
        encoding: of a text file.

    Raises:
        CliError: it cannot be read, or is no table.
    """
    name = str(file)
    with _open_bytes(file) as stream:
        head = stream.peek(LONGEST_HEADER)[:LONGEST_HEADER]
        if not head.strip():
            raise CliError(_("{file} is empty", file=name), USAGE)
        for magic, words in _MAGIC.items():
            if head.startswith(magic):
                raise CliError(_(words, file=name), USAGE)
        is_pipe = not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
        if head.startswith(b"PAR1"):
            if is_pipe:
                raise CliError(
                    _(
                        "{file} is Parquet from a pipe, and Parquet is read from its end: give the file's"
                        " path",
                        file=name,
                    ),
                    USAGE,
                )
            yield _ParquetFile(name, stream)
        elif b"\0" in head:
            raise CliError(
                _(
                    "{file} is not a table: it holds NUL bytes. Save it as CSV in UTF-8, or as Parquet",
                    file=name,
                ),
                USAGE,
            )
        else:
            size = None if is_pipe else os.fstat(stream.fileno()).st_size
            kind = _JsonLinesFile if head.lstrip().startswith(b"{") else _CsvFile
            yield kind(name, stream, size, encoding)


def _open_bytes(file: Path) -> io.BufferedReader:
    if file == STDIN:
        return io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False), LONGEST_HEADER)
    try:
        return io.BufferedReader(io.FileIO(file), LONGEST_HEADER)
    except OSError as error:
        raise CliError(
            _("{file} cannot be read: {reason}", file=file, reason=error.strerror), USAGE
        ) from error


def _fingerprint(stream: io.BufferedReader) -> str:
    try:
        return hashlib.file_digest(stream, hashlib.blake2b).hexdigest()[:32]
    finally:
        stream.seek(0)


def _with_lines(columns: dict[str, Any], lines: Any) -> Any:
    return arrow.table({**columns, LINE: lines})


def _rows_of_last_month(table: Any, months: MonthColumns) -> int:
    """How many rows at the end of a table have the month of the last one; 0 if all have it."""
    if not table.num_rows or not months:
        return 0
    other = None
    for name in months:
        column = table[name]
        differs = compute.not_equal(column, column[-1])
        other = differs if other is None else compute.or_(other, differs)
    differing = compute.indices_nonzero(other)
    return table.num_rows - 1 - differing[-1].as_py() if len(differing) else 0


class _TextFile(RowFile):
    """Lines of text, in blocks."""

    def __init__(self, name: str, stream: io.BufferedReader, size: int | None, encoding: str) -> None:
        self.name = name
        self.size = size
        self.fingerprint = None if size is None else _fingerprint(stream)
        self._stream = stream
        self._encoding = encoding
        self._is_utf8 = codecs.lookup(encoding).name == "utf-8"
        self._offset = 0
        self._line = 1
        self._set_up()

    @abstractmethod
    def _set_up(self) -> None:
        """Finds out the columns."""

    @abstractmethod
    def _rows(self, block: bytes, columns: Sequence[str]) -> tuple[Any, list[tuple[int, str]]]:
        """The rows of whole lines, and lines that are no rows."""

    def batches(self, columns: Sequence[str], months: MonthColumns, position: int) -> Iterator[Batch]:
        """See RowFile."""
        self._skip_to(position)
        carried = b""
        while True:
            read = self._read_lines()
            block = carried + read
            if not block:
                return
            table, malformed = self._rows(block, columns)
            kept = _rows_of_last_month(table, months) if read else 0
            if kept:
                first_kept = table[LINE][-kept].as_py()
                end = _offset_of_line(block, first_kept - self._line)
                table = table.slice(0, table.num_rows - kept)
                malformed = [each for each in malformed if each[0] < first_kept]
                block, carried = block[:end], block[end:]
            else:
                carried = b""
            self._offset += len(block)
            self._line += block.count(b"\n")
            yield Batch(table, malformed, self._offset)

    def ends(self, columns: Sequence[str]) -> list[Batch]:
        """See RowFile."""
        if self.size is None:
            return []
        stay = self._stream.tell()
        found = []
        for position in (stay, max(stay, self.size - BYTES_OF_AN_END)):
            self._stream.seek(position)
            if position > stay:
                self._stream.readline()
            block = self._stream.read(BYTES_OF_AN_END) + self._stream.readline()
            found.append(Batch(*self._rows(block, columns), position))
        self._stream.seek(stay)
        return found

    def _skip_to(self, position: int) -> None:
        while self._offset < position:
            skipped = self._stream.read(min(BYTES_PER_BATCH, position - self._offset))
            if not skipped:
                return
            self._offset += len(skipped)
            self._line += skipped.count(b"\n")

    def _read_lines(self) -> bytes:
        return self._stream.read(BYTES_PER_BATCH) + self._stream.readline()

    def _utf8(self, block: bytes) -> bytes:
        try:
            text = block.decode(self._encoding)
            return block if self._is_utf8 else text.encode()
        except UnicodeDecodeError as error:
            line = self._line + block[: error.start].count(b"\n")
            raise CliError(
                _(
                    "{file}, line {line}: not text in {encoding}: give the file's encoding, such as"
                    " --encoding latin-1",
                    file=self.name,
                    line=line,
                    encoding=self._encoding,
                ),
                USAGE,
            ) from error


def _offset_of_line(block: bytes, line: int) -> int:
    """Where a line begins; 0 is the block's first. Quickest for lines near its end."""
    offset = len(block)
    for _later in range(block.count(b"\n") + (not block.endswith(b"\n")) - line):
        offset = block.rindex(b"\n", 0, offset - 1) + 1
    return offset


class _CsvFile(_TextFile):
    def _set_up(self) -> None:
        line = self._stream.readline(LONGEST_HEADER)
        header = self._utf8(line).decode().removeprefix("\ufeff").rstrip("\r\n")
        self._offset, self._line = len(line), 2
        self._delimiter = max(DELIMITERS, key=header.count)
        if not header.count(self._delimiter):
            shown = header if len(header) <= 40 else f"{header[:40]}..."
            raise CliError(
                _(
                    "{file} is not a table: its first line, {line!r}, does not name columns separated by"
                    " tabs, semicolons or commas",
                    file=self.name,
                    line=shown,
                ),
                USAGE,
            )
        self.columns = [name.strip().strip('"') for name in header.split(self._delimiter)]

    def _rows(self, block: bytes, columns: Sequence[str]) -> tuple[Any, list[tuple[int, str]]]:
        refused: list[tuple[int, str]] = []
        text = self._utf8(block)
        table = self._parse(text, columns, lambda row: refused.append((0, row.text)))
        if refused:
            refused = []  # with one thread, pyarrow knows the numbers of lines
            table = self._parse(
                text,
                columns,
                lambda row: refused.append((self._line + row.number - 1, row.text)),
                threads=False,
            )
        lines = arrow.arange(self._line, self._line + table.num_rows + len(refused))
        numbers = arrow.array([line for line, _text in refused], arrow.int64())
        lines = lines.filter(compute.invert(compute.is_in(lines, numbers)))
        rows = _with_lines({name: table[name] for name in columns}, lines)
        return (_without_blank_lines(rows) if _has_blank_line(text) else rows), refused

    def _parse(
        self, text: bytes, columns: Sequence[str], refuse: Callable[[Any], None], threads: bool = True
    ) -> Any:
        def skip(row: Any) -> str:
            refuse(row)
            return "skip"

        return csv.read_csv(
            arrow.BufferReader(text),
            csv.ReadOptions(column_names=self.columns, use_threads=threads, block_size=2**22),
            csv.ParseOptions(delimiter=self._delimiter, invalid_row_handler=skip, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(columns, arrow.string()),
                include_columns=list(columns),
                strings_can_be_null=False,
            ),
        )


def _has_blank_line(text: bytes) -> bool:
    return b"\n\n" in text or b"\n\r\n" in text or text.startswith((b"\n", b"\r\n"))


def _without_blank_lines(table: Any) -> Any:
    """For pyarrow, a blank line is a row of empty values."""
    values = compute.binary_join_element_wise(*table.drop_columns([LINE]).columns, "")
    return table.filter(compute.not_equal(values, ""))


class _JsonLinesFile(_TextFile):
    def _set_up(self) -> None:
        self._decoder = Decoder(dict[str, Any], float_hook=str)
        line = self._stream.peek(LONGEST_HEADER)[:LONGEST_HEADER].lstrip().split(b"\n")[0]
        try:
            self.columns = list(self._decoder.decode(line))
        except (DecodeError, UnicodeDecodeError) as error:
            raise CliError(
                _("{file} is not JSON Lines: its first line is not an object", file=self.name), USAGE
            ) from error

    def _rows(self, block: bytes, columns: Sequence[str]) -> tuple[Any, list[tuple[int, str]]]:
        values: dict[str, list[str]] = {name: [] for name in columns}
        lines, refused = [], []
        for line, text in enumerate(block.splitlines(), self._line):
            if not text.strip():
                continue
            try:
                row = self._decoder.decode(text)
            except (DecodeError, UnicodeDecodeError):
                refused.append((line, text.decode(errors="replace")))
                continue
            for name in columns:
                values[name].append(text_of(row.get(name)))
            lines.append(line)
        arrays = {name: arrow.array(column, arrow.string()) for name, column in values.items()}
        return _with_lines(arrays, arrow.array(lines, arrow.int64())), refused


class _ParquetFile(RowFile):
    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        with _parquet_errors(name):
            self._file = parquet.ParquetFile(stream)
        self.columns = self._file.schema_arrow.names
        self.size = self._file.metadata.num_rows
        stream.seek(0)
        self.fingerprint = hashlib.file_digest(stream, hashlib.blake2b).hexdigest()[:32]  # type: ignore[arg-type]

    def batches(self, columns: Sequence[str], months: MonthColumns, position: int) -> Iterator[Batch]:
        """See RowFile."""
        seen, carried = 0, None
        with _parquet_errors(self.name):
            for read in self._file.iter_batches(ROWS_PER_BATCH, columns=list(columns), use_threads=True):
                first = max(0, position - seen)
                seen += read.num_rows
                if first >= read.num_rows:
                    continue
                table = self._as_text(read.slice(first), seen - read.num_rows + first)
                if carried is not None:
                    table = arrow.concat_tables([carried, table])
                kept = _rows_of_last_month(table, months)
                carried = table.slice(table.num_rows - kept)
                yield Batch(table.slice(0, table.num_rows - kept), [], seen - kept)
        if carried is not None and carried.num_rows:
            yield Batch(carried, [], seen)

    def ends(self, columns: Sequence[str]) -> list[Batch]:
        """See RowFile."""
        with _parquet_errors(self.name):
            groups = {0, self._file.num_row_groups - 1} if self._file.num_row_groups else set()
            read = [self._file.read_row_group(group, columns=list(columns)) for group in sorted(groups)]
        parts = [part.slice(0, ROWS_OF_AN_END) for part in read[:1]]
        parts += [part.slice(max(0, part.num_rows - ROWS_OF_AN_END)) for part in read[-1:]]
        return [Batch(self._as_text(part, 0), [], 0) for part in parts]

    def _as_text(self, read: Any, before: int) -> Any:
        columns = {}
        for name in read.schema.names:
            try:
                text = read[name].cast(arrow.string())
            except arrow.ArrowException as error:
                kind = read[name].type
                raise CliError(
                    _(
                        "{file}: column {column} holds {kind} and not text or numbers",
                        file=self.name,
                        column=name,
                        kind=kind,
                    ),
                    USAGE,
                ) from error
            columns[name] = compute.fill_null(text, "")
        return _with_lines(columns, arrow.arange(before + 1, before + 1 + read.num_rows))


@contextmanager
def _parquet_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CliError(
            _(
                "{file} is damaged Parquet, perhaps cut short: fetch it again ({reason})",
                file=name,
                reason=reason,
            ),
            USAGE,
        ) from error
