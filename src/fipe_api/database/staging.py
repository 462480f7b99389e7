"""Rows on their way into PostgreSQL: copied into a temporary table, from which set-based SQL takes them."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

ROWS_PER_READ = 250


def copy_rows(cursor: "cursor", table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Copies rows into a table: each row has a value for each of these columns; None becomes null."""
    copy = f"copy {table} ({', '.join(columns)}) from stdin (format csv)"
    cursor.copy_expert(copy, _CsvFile(rows))  # type: ignore[arg-type]  # it has no readline, which COPY does not use


class _CsvFile:
    """Rows as CSV, made while it is read: the server works on the first rows meanwhile."""

    def __init__(self, rows: Iterable[Sequence[object]]) -> None:
        self._rows = iter(rows)

    def read(self, _size: int) -> str:
        """The next rows, whatever size is asked for; an empty text at the end."""
        text = io.StringIO()
        csv.writer(text).writerows(islice(self._rows, ROWS_PER_READ))
        return text.getvalue()
