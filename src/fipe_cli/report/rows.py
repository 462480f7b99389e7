"""Rows of an answer as plain values for JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg2.extras import RealDictCursor

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Rows = list[dict[str, Any]]


def ask(session: "connection", question: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Rows:
    """The rows that a question answers, each by the names of its columns."""
    with session.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(question, parameters)
        return [dict(row) for row in cursor.fetchall()]
