"""Rows on their way into PostgreSQL: copied into a temporary table, from where set-based SQL takes them."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import cursor


def copy_rows(cursor: "cursor", table: str, rows: Iterable[Sequence[object]]) -> None:
    """Copies rows into a table, their values in the order of its columns; None becomes null."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    text.seek(0)
    cursor.copy_expert(f"copy {table} from stdin (format csv)", text)
