"""A query's answer as a table, CSV or JSON Lines."""

import csv
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from msgspec.json import Encoder
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fipe_cli.errors import USAGE, CliError

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Form = Literal["table", "csv", "json"]

ROWS_OF_A_TABLE = 1_000
"""A table is laid out as a whole, so that it ends here; CSV and JSON have no end."""

_ENCODER = Encoder(decimal_format="number", enc_hook=str)


def answer(session: "connection", sql: str, form: Form, console: Console) -> None:
    """Print what the database answers, JSON as one object a line.

    A table that is wider than the console is printed as one line a field.

    Raises:
        CliError: the statement gives no rows, or two columns of one name, of which JSON could have one.
        psycopg2.Error: the database refuses it.
    """
    with session.cursor() as cursor:
        cursor.execute(sql)
        if cursor.description is None:
            raise CliError("this statement gives no rows; `fipe query` only asks", USAGE)
        columns = [column.name for column in cursor.description]
        if form == "table":
            rows = cursor.fetchmany(ROWS_OF_A_TABLE)
            _print_rows(console, columns, rows)
            if cursor.rowcount > len(rows):
                console.print(f"the first {len(rows):,} of {cursor.rowcount:,} rows; --csv gives all")
        elif form == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            for row in cursor:
                writer.writerow([as_json(cell) if isinstance(cell, list | dict) else cell for cell in row])
        else:
            twice = sorted({name for name in columns if columns.count(name) > 1})
            if twice:
                raise CliError(f"two columns of one name, which JSON cannot have: {', '.join(twice)}", USAGE)
            for row in cursor:
                print(as_json(dict(zip(columns, row, strict=True))))


def as_json(value: Any) -> str:
    """Values of the database as JSON: numbers with all their decimals, days and times as ISO 8601.

    What is no number to JSON, NaN and the infinite ones, is null.
    """
    return _ENCODER.encode(_finite(value)).decode()


def _finite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value


def _print_rows(console: Console, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    table = _table(columns, rows)
    if not rows or _width(console, table) <= console.width:
        console.print(table)
        return
    longest = max(map(len, columns))
    for position, row in enumerate(rows):
        if position:
            console.rule(style="dim")
        for name, cell in zip(columns, row, strict=True):
            # The terminal breaks what is longer than a line; nothing is left out.
            console.print(Text(f"{name:<{longest}}  {_shown(cell)}"), soft_wrap=True)


def _width(console: Console, table: Table) -> int:
    """The columns of a terminal in which nothing of the table is broken."""
    return console.measure(table, options=console.options.update(width=sys.maxsize)).maximum


def _table(columns: list[str], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(box=SIMPLE)
    for position, name in enumerate(columns):
        numeric = all(isinstance(row[position], int | float | Decimal | None) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    return table


def _shown(cell: Any) -> str:
    return "" if cell is None else str(cell)
