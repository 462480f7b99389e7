"""A query's answer as a table, CSV or JSON Lines."""

import csv
import json
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from fipe_cli.errors import USAGE, CliError

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Form = Literal["table", "csv", "json"]

ROWS_OF_A_TABLE = 1_000
"""A table is laid out as a whole, so that it ends here; CSV and JSON have no end."""


def answer(session: "connection", sql: str, form: Form, console: Console) -> None:
    """Print what the database answers, JSON as one object a line.

    Raises:
        CliError: the statement gives no rows.
        psycopg2.Error: the database refuses it.
    """
    with session.cursor() as cursor:
        cursor.execute(sql)
        if cursor.description is None:
            raise CliError("this statement gives no rows; `fipe query` only asks", USAGE)
        columns = [column.name for column in cursor.description]
        if form == "table":
            rows = cursor.fetchmany(ROWS_OF_A_TABLE)
            console.print(_table(columns, rows))
            if cursor.rowcount > len(rows):
                console.print(f"the first {len(rows):,} of {cursor.rowcount:,} rows; --csv gives all")
        elif form == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(cursor)
        else:
            for row in cursor:
                print(json.dumps(dict(zip(columns, row, strict=True)), default=plain, ensure_ascii=False))


def plain(value: object) -> Any:
    """A value of the database as JSON has it: money as a number with its decimals, days as ISO dates.

    Raises:
        TypeError: there is no such form.
    """
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)


def _table(columns: list[str], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(box=SIMPLE)
    for position, name in enumerate(columns):
        numeric = all(isinstance(row[position], int | float | Decimal | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    return table
