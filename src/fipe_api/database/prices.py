"""Reads prices out of the database in large numbers: in one order, and no more of them at once than fit.

What is chosen is a part of fipe.vehicle_price, as SQL: `from fipe.vehicle_price where reference_month = ...`.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

COLUMNS = (
    "reference_month", "reference_code", "vehicle_type", "brand_code", "brand", "model_code", "model",
    "model_year", "zero_km", "fuel_code", "fuel", "fipe_code", "price_brl",
)  # fmt: skip
"""The columns of fipe.vehicle_price."""
ROWS_PER_BATCH = 10_000

ORDER = sql.SQL(
    ' order by vehicle_type, brand collate "C", model collate "C", brand_code, model_code,'
    " model_year desc, fuel_code"
)
"""Within a month. The collations of two servers may differ, and C is the same everywhere."""

Rows = list[tuple[Any, ...]]


def read_batches(session: "connection", columns: Sequence[str], part: sql.Composable) -> Iterator[Rows]:
    """The rows of a part, batch by batch, as they arrive.

    Args:
        session: in a transaction, or ready to begin one.
        columns: names of columns, or other expressions.
        part: what is chosen, of one month.
    """
    # A cursor with a name lives on the server, which sends rows as they are fetched.
    with session.cursor("prices") as cursor:
        cursor.execute(sql.SQL("select {} {}{}").format(sql.SQL(", ".join(columns)), part, ORDER))
        while batch := cursor.fetchmany(ROWS_PER_BATCH):
            yield batch


def fingerprint(cursor: "cursor", part: sql.Composable) -> tuple[int, str]:
    """How many prices a part has, and a text that is another one when any of them is.

    It is made of all that fipe.vehicle_price shows, so two databases with the same prices have the same.
    """
    cursor.execute(
        sql.SQL(
            "select count(*), coalesce(sum(hash_record_extended(price, 0)), 0) from (select {} {}) as price"
        ).format(sql.SQL(", ".join(COLUMNS)), part)
    )
    ((prices, total),) = cursor.fetchall()
    return prices, f"{prices} {total}"
