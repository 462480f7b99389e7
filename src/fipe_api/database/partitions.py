"""Prices as Parquet files, one per month, which DuckDB, Athena and Spark read in place.

    reference_month=2026-06/prices.parquet

These programs take the month from the folder's name, as a text, and pass over names that begin with a dot.
Each file has the month as a date, too, named `month`: if it were named like the folder, they would hide it,
or refuse it.
"""

from contextlib import AbstractContextManager
from datetime import date
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from psycopg2 import sql

from fipe_api.database.prices import COLUMNS, fingerprint, read_batches

if TYPE_CHECKING:
    from psycopg2.extensions import connection

KEY = "reference_month"
FILE = "prices.parquet"
FILE_COLUMNS = ("month", *COLUMNS[1:])
"""The columns of fipe.vehicle_price, where the month has another name than in the folder's."""

FINGERPRINT = "fipe.fingerprint"
"""The name of a file's note, which says what is in it: it tells whether the month has changed since."""
LAYOUT = 1
"""Raise it when files of the same prices are to look different: then all are written anew."""


class Store(Protocol):
    """Where the files of months are. Months are written YYYY-MM."""

    def note(self, month: str) -> str | None:
        """What the file of a month says of itself; None if there is none, or it says nothing."""

    def replaced(self, month: str, note: str) -> AbstractContextManager[IO[bytes]]:
        """Takes the bytes of a month's new file, which appears when the block has ended without an error."""


class ExportedMonth(NamedTuple):
    """What became of a month.

    Attributes:
        prices: how many it has.
        state: how far it is loaded, as fipe.loaded says.
        is_written: whether its file was written; not if it was up to date.
    """

    prices: int
    state: str
    is_written: bool


def folder_of(month: str) -> str:
    """The name of a month's folder."""
    return f"{KEY}={month}"


def file_of(month: str) -> str:
    """The path of a month's file, relative to all of them."""
    return f"{folder_of(month)}/{FILE}"


def prices_of(month: date) -> sql.Composed:
    """All prices of a month, as a part for export_month."""
    return sql.SQL("from fipe.vehicle_price where reference_month = {}").format(sql.Literal(month))


def export_month(session: "connection", month: date, part: sql.Composable, store: Store) -> ExportedMonth:
    """Writes the file of a month if there are prices and its file has others. A reader never sees half of it.

    Args:
        session: in a transaction of its own, which reads one snapshot (repeatable read).
        month: its first day.
        part: which of its prices, as `from fipe.vehicle_price where ...`.
        store: where its file is.

    Raises:
        psycopg2.Error: the prices cannot be read.
    """
    # Only here: pyarrow takes a while to load, and an export of other kinds does without.
    from fipe_api.database.parquet import write_months

    with session.cursor() as cursor:
        prices, content = fingerprint(cursor, part)
        cursor.execute("select fipe.loaded(%s)", (month,))
        ((state,),) = cursor.fetchall()
    name, note = f"{month:%Y-%m}", f"{LAYOUT} {content}"
    if not prices or store.note(name) == note:
        return ExportedMonth(prices, state, is_written=False)
    with store.replaced(name, note) as target:
        rows = read_batches(session, COLUMNS, part)
        write_months(target, FILE_COLUMNS, [rows], {FINGERPRINT: note})
    return ExportedMonth(prices, state, is_written=True)
