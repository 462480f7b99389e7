"""Rows on their way into PostgreSQL: copied into a temporary table, from where set-based SQL takes them."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

ROWS_A_READ = 250


def copy_rows(cursor: "cursor", table: str, rows: Iterable[Sequence[object]]) -> None:
    """Copies rows into a table, their values in the order of its columns; None becomes null."""
    file = _CsvFile(rows)
    cursor.copy_expert(f"copy {table} from stdin (format csv)", file)  # type: ignore[arg-type]  # no readline


class _CsvFile:
    """Rows as CSV, written while it is read: the server takes the first rows meanwhile."""

    def __init__(self, rows: Iterable[Sequence[object]]) -> None:
        self._rows = iter(rows)

    def read(self, _size: int) -> str:
        """The next rows, whatever their size; nothing at the end."""
        text = io.StringIO()
        csv.writer(text).writerows(islice(self._rows, ROWS_A_READ))
        return text.getvalue()
