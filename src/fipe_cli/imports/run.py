"""Imports files, one after another, with their progress."""

import codecs
import glob
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psycopg2
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fipe_cli.errors import INTERRUPTED, USAGE, CliError
from fipe_cli.file_columns import read_mapping
from fipe_cli.imports.columns import FIELDS, find_layout
from fipe_cli.imports.files import STDIN, RowFile, opened
from fipe_cli.imports.rows import Prices, RowReader, ends_look_merged, looks_merged
from fipe_cli.imports.writing import ImportFile, Written, begin_file, end_file, write_batch
from fipe_words import _, counted, plural

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LINE_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""
ROWS_TO_JUDGE_A_FILE_BY = 1_000
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
MONTH_FIELDS = ("month", "month_number", "month_year")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Options:
    """How to read the files.

    Attributes:
        name: what the prices say they came from; empty for that of a known layout.
        columns: by field, for files that are not of a known layout.
        month: of all rows, for files that do not say it.
        encoding: of text files.
        names_of_today: whether old months may have today's names.
        over_official: whether prices take the place of other ones that loads have brought.
    """

    name: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    month: date | None = None
    encoding: str = "utf-8"
    names_of_today: bool = False
    over_official: bool = False


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file."""

    file: str
    source: str
    written: Written

    def words(self) -> str:
        """One line."""
        added, known, copies, apart, replaced = self.written
        words = _(
            "{file}: {prices} added as {source}, {known:,} known already",
            file=self.file,
            prices=counted(added, "price"),
            source=self.source,
            known=known,
        )
        if copies:
            words += plural(", {number:,} exact copy", ", {number:,} exact copies", copies)
        if replaced:
            words += _(
                ", {replaced:,} in place of other prices that loads had brought (fipe.import_replaced)",
                replaced=replaced,
            )
        if apart:
            words += _(", {apart:,} kept apart (fipe.import_kept_apart says why)", apart=apart)
        return words

    def document(self) -> dict[str, object]:
        """The same for JSON."""
        return {"file": self.file, "source": self.source, **self.written._asdict()}


def read_options(
    name: str,
    columns: str,
    month: str,
    encoding: str,
    *,
    names_of_today: bool = False,
    over_official: bool = False,
) -> Options:
    """The options of the command.

    Raises:
        CliError: one of them is invalid.
    """
    if (name and not SOURCE_NAME.fullmatch(name)) or name == "fipe":
        raise CliError(
            _(
                "invalid --name {name!r}: use small letters, digits, points and hyphens, such as kaggle; fipe"
                " is the official API",
                name=name,
            ),
            USAGE,
        )
    if month and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise CliError(_("invalid --month {month}: use a month like 2026-06", month=month), USAGE)
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise CliError(
            _("unknown --encoding {encoding}: use utf-8, latin-1 or cp1252", encoding=encoding), USAGE
        ) from None
    first_day = date.fromisoformat(f"{month}-01") if month else None
    return Options(name, read_mapping(columns, FIELDS), first_day, encoding, names_of_today, over_official)


def expand(patterns: Sequence[str]) -> list[Path]:
    """The files that paths and patterns name, each once.

    Raises:
        CliError: one of them names nothing.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        found = [pattern] if Path(pattern).exists() or pattern == str(STDIN) else sorted(
            glob.glob(pattern, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
        )  # fmt: skip
        if not found:
            raise CliError(_("{pattern} is no file, and no file fits it", pattern=pattern), USAGE)
        files.update(dict.fromkeys(map(Path, found)))
    return list(files)


def import_files(
    session: "connection", files: Sequence[Path], options: Options, console: Console
) -> Iterator[Imported]:
    """Imports files, and yields what became of each.

    Raises:
        CliError: a file cannot be read, or the import was interrupted; what was written before stays.
        psycopg2.Error: the database refuses.
    """
    for file in files:
        with opened(file, options.encoding) as rows:
            yield _import_file(session, rows, options, console)


def _import_file(session: "connection", rows: RowFile, options: Options, console: Console) -> Imported:
    layout = find_layout(rows.name, rows.columns, options.columns, has_month=options.month is not None)
    source = options.name or layout.name
    if not source:
        raise CliError(_("give --name, such as --name kaggle: each price says where it came from"), USAGE)
    if "merged" in Path(rows.name).name and not options.names_of_today:
        raise _merged(rows.name)
    reader = RowReader(layout, options.month)
    if not options.names_of_today:
        parts = rows.ends(list(layout.columns.values()))
        ends = [RowReader(layout, options.month).read(part) for part in parts]
        if len(ends) == 2 and ends_look_merged(*ends):
            raise _merged(rows.name)
    file = begin_file(session, source, rows.name, rows.fingerprint)
    columns = list(layout.columns.values())
    months = [layout.columns[field] for field in MONTH_FIELDS if field in layout.columns]
    written = Written()
    try:
        with _progress(console, rows, file) as shown, ThreadPoolExecutor(1) as pool:
            batches = map(reader.read, rows.batches(columns, months, file.position))
            for prices in _one_ahead(pool, batches):
                _refuse(rows.name, prices, options, is_first=written.rows == 0)
                written = written.plus(
                    write_batch(session, file, prices, over_official=options.over_official)
                )
                shown.advance(prices.position, written)
    except KeyboardInterrupt:
        raise CliError(_("interrupted: {state}", state=_state(rows, written)), INTERRUPTED) from None
    except psycopg2.Error as error:
        if not session.closed:
            raise
        raise CliError(
            _("the connection to the database was lost: {state}", state=_state(rows, written))
        ) from error
    end_file(session, file)
    return Imported(rows.name, source, written)


def _state(rows: RowFile, written: Written) -> str:
    values = {"rows": written.rows, "file": rows.name}
    if rows.fingerprint:
        return _("{rows:,} rows of {file} are done; run the same command again to go on", **values)
    return _("{rows:,} rows of {file} are done; run it again from the beginning", **values)


def _refuse(name: str, prices: Prices, options: Options, *, is_first: bool) -> None:
    """Raises CliError when a batch shows that the whole file is not what it seems."""
    if not options.names_of_today and looks_merged(prices):
        raise _merged(name)
    wrong = len(prices.apart)
    if is_first and (wrong == prices.rows > 0 or 2 * wrong > prices.rows >= ROWS_TO_JUDGE_A_FILE_BY):
        worst = prices.apart[0]
        raise CliError(
            _(
                "{file}: {wrong:,} of the first {rows:,} rows are no prices, such as line {line}: {reason}."
                " Nothing was written; look at --columns",
                file=name,
                wrong=wrong,
                rows=prices.rows,
                line=worst.line,
                reason=worst.reason,
            ),
            USAGE,
        )


def _merged(name: str) -> CliError:
    return CliError(
        _(
            "{file} has today's names in old months (a merged file): take the file as published, or give"
            " --names-of-today to have today's names in the database",
            file=name,
        ),
        USAGE,
    )


def _one_ahead(pool: ThreadPoolExecutor, items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made in another thread while the one before is worked on."""
    waiting = pool.submit(next, items, None)
    while (item := waiting.result()) is not None:
        waiting = pool.submit(next, items, None)
        yield item


class _Shown:
    """How far a file is: a bar on a terminal, a line every ten seconds anywhere else."""

    def __init__(self, console: Console, rows: RowFile, bar: Progress | None, task: TaskID | None) -> None:
        self._console = console
        self._rows = rows
        self._bar = bar
        self._task = task
        self._began = time.monotonic()
        self._next_line = self._began + LINE_SECONDS

    def advance(self, position: int, written: Written) -> None:
        """Shows what is done."""
        seconds = time.monotonic() - self._began
        rate = _(
            "{rows:,} rows, {rate:,.0f} per second",
            rows=written.rows,
            rate=written.rows / max(seconds, 0.001),
        )
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=position, rate=rate)
        elif time.monotonic() >= self._next_line:
            share = f" {100 * position / self._rows.size:.0f}%" if self._rows.size else ""
            self._console.print(f"{self._rows.name}:{share} {rate}", soft_wrap=True)
            self._next_line = time.monotonic() + LINE_SECONDS


@contextmanager
def _progress(console: Console, rows: RowFile, file: ImportFile) -> Iterator[_Shown]:
    if not console.is_terminal:
        yield _Shown(console, rows, None, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(rows.name, total=rows.size, completed=file.position, rate="")
        yield _Shown(console, rows, bar, task)
