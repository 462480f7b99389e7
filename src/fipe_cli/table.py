"""Shows rows on a terminal: as a table that fits it, or with all columns side by side."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from fipe_words import _

Row = tuple[Any, ...]

ZERO_KM = 32000
"""FIPE's model year of a new vehicle."""
NARROWEST = 18
"""A column of text is folded, but not to less than this."""
BETWEEN_COLUMNS = 3
LEFT_OUT = (
    "reference_code", "brand_code", "model_code", "fuel_code", "zero_km", "vehicle_type", "change_brl",
    "published_fuel", "last_month", "fuel", "fipe_code", "brand",
)  # fmt: skip
"""Columns that a narrow terminal can do without, the least important first."""


@dataclass
class Column:
    """A column of a table: its name, its cells as they are shown, and how wide they are together."""

    name: str
    cells: list[str]
    numeric: bool

    def __post_init__(self) -> None:
        self.heading = self.name
        self.width = self._natural_width()

    def _natural_width(self) -> int:
        return max(map(cell_len, [*self.heading.split("\n"), *self.cells]))

    def break_heading(self) -> None:
        """Write a heading that is wider than its cells on two lines, if its name has several words."""
        places = [place + 1 for place, letter in enumerate(self.name) if letter == "_"]
        if places and cell_len(self.name) > max(map(cell_len, self.cells), default=0):
            place = min(places, key=lambda each: max(each, len(self.name) - each))
            self.heading = f"{self.name[:place]}\n{self.name[place:]}"
            self.width = self._natural_width()

    @property
    def least_width(self) -> int:
        """How far it can be folded."""
        return self.width if self.numeric else min(self.width, NARROWEST)

    @property
    def same(self) -> bool:
        """Whether all of several rows say the same."""
        return len(self.cells) > 1 and len(set(self.cells)) == 1


def print_table(console: Console, names: Sequence[str], rows: Sequence[Row], *, wide: bool = False) -> None:
    """Print rows as a table.

    If the table is wider than the console, columns that say the same in every row are shown once above it,
    text is folded, and codes and the like are left out, which a line below says. If that is not enough, rows
    are printed with one line per field. What is longer than the terminal goes through the pager.

    Args:
        console: where the table goes.
        names: the names of the columns.
        rows: the values.
        wide: print all columns side by side, however wide that is.
    """
    if not rows:
        console.print(Text(_("no rows (columns: {columns})", columns=", ".join(names))))
        return
    columns = [
        Column(
            name,
            [shown(name, row[place]) for row in rows],
            all(_is_number(row[place]) for row in rows),
        )
        for place, name in enumerate(names)
    ]
    width = max(console.width, _needed(columns, _natural)) if wide else console.width
    with _pager(console, len(rows), width):
        if wide:
            _print_columns(console, columns, width)
        else:
            _print_fitting(console, columns)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def shown(name: str, value: Any) -> str:
    """A value as tables show it: a month as 2026-06, a new vehicle's model year as zero km."""
    if isinstance(value, bool):
        return spelled(value)
    if isinstance(value, date) and "month" in name and value.day == 1:
        return f"{value:%Y-%m}"
    if name == "model_year" and value == ZERO_KM:
        return _("zero km")
    return "" if value is None else str(value)


def spelled(value: bool) -> str:
    """A boolean as all outputs spell it."""
    return "true" if value else "false"


def _natural(column: Column) -> int:
    return column.width


def _needed(columns: Sequence[Column], width_of: Callable[[Column], int]) -> int:
    """How wide a console must be for these columns."""
    return sum(map(width_of, columns)) + BETWEEN_COLUMNS * len(columns) + 1


def _least(column: Column) -> int:
    return column.least_width


@dataclass
class _Fitted:
    """Columns that fit a terminal, those that stand above them once, and the names of those left out."""

    kept: list[Column]
    common: list[Column]
    left_out: list[str]


def _fit(columns: list[Column], width: int) -> _Fitted | None:
    """What to show in this width; None if no table fits."""
    fitted = _Fitted(columns, [], [])
    if _needed(fitted.kept, _natural) <= width:
        return fitted
    if any(column.name == "model_year" for column in columns):  # which says zero km, too
        fitted.kept = [column for column in columns if column.name != "zero_km"]
    if _needed(fitted.kept, _natural) > width:
        fitted.common = [column for column in fitted.kept if column.same]
        fitted.kept = [column for column in fitted.kept if not column.same]
    if _needed(fitted.kept, _natural) > width:
        for column in fitted.kept:
            column.break_heading()
    if _needed(fitted.kept, _natural) > width and len(columns[0].cells) == 1:
        return None  # one row is easier to read with one line per field
    for name in LEFT_OUT:
        if _needed(fitted.kept, _least) <= width:
            break
        fitted.left_out += [column.name for column in fitted.kept if column.name == name]
        fitted.kept = [column for column in fitted.kept if column.name != name]
    if not fitted.kept or _needed(fitted.kept, _least) > width:
        return None
    while _needed(fitted.kept, _natural) > width:
        max((each for each in fitted.kept if each.width > each.least_width), key=_natural).width -= 1
    return fitted


def _print_fitting(console: Console, columns: list[Column]) -> None:
    fitted = _fit(columns, console.width)
    if fitted is None:
        _print_records(console, columns)
        return
    said = [f"{column.name} {column.cells[0]}" for column in fitted.common if column.cells[0]]
    if said:
        console.print(Text(", ".join(said)))
    _print_columns(console, fitted.kept, console.width)
    if fitted.left_out:
        console.print(_("left out: {columns}; --wide shows all columns", columns=", ".join(fitted.left_out)))


def _print_columns(console: Console, columns: list[Column], width: int) -> None:
    table = Table(box=SIMPLE)
    for column in columns:
        table.add_column(
            Text(column.heading),
            justify="right" if column.numeric else "left",
            overflow="fold",
            width=column.width,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    lines = console.render_lines(table, console.options.update(width=width), pad=False)
    console.print(SegmentLines(lines, new_lines=True), soft_wrap=True)


def _print_records(console: Console, columns: list[Column]) -> None:
    longest = max(len(column.name) for column in columns)
    for position, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        if position:
            console.rule(style="dim")
        for column, cell in zip(columns, row, strict=True):
            # The terminal wraps long lines; nothing is cut off.
            console.print(Text(f"{column.name:<{longest}}  {cell}"), soft_wrap=True)


def _pager(console: Console, rows: int, width: int) -> AbstractContextManager[object]:
    """PAGER, or less, if the table has more rows or is wider than the terminal."""
    at_terminal = console.file is sys.stdout and sys.stdout.isatty() and sys.stdin.isatty()
    if not at_terminal or (rows < console.height - 4 and width <= console.width):
        return nullcontext()
    # R keeps colours, X leaves the table on the screen; S cuts long lines, which the arrow keys show.
    os.environ.setdefault("LESS", "RXS" if width > console.width else "RXF")
    return console.pager(styles=True)
