"""A few connections to the database, shared by all requests: no number of requests can take more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
from psycopg2.extras import NamedTupleCursor

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECTIONS = 4
"""PostgreSQL works on as many questions at a time, and others wait for their turn. More would take the
processors from a load that is being written."""
WAIT_SECONDS = 10.0
STATEMENT_SECONDS = 10
"""How long PostgreSQL may work on one question."""

SETTINGS = f"""
set default_transaction_read_only = on;
set statement_timeout = '{STATEMENT_SECONDS}s';
set client_connection_check_interval = '1s';
set idle_session_timeout = '5min'
"""
"""A serverless database pauses only when nobody is connected, so the server ends idle connections."""

VERSION = "select concat(pg_current_snapshot(), ' ', pg_postmaster_start_time()) as version"

Row = Any
"""A named tuple; its names are the columns'."""


class BusyError(Exception):
    """All connections were in use for too long."""


class _Place(NamedTuple):
    """A place for a connection, which is opened when it is first needed."""

    opened: "connection | None"


class Pool:
    """Asks the database; threads may use it together.

    Args:
        connect: opens a connection as fipe_reader.
        size: how many connections there may be.
    """

    def __init__(self, connect: "Callable[[], connection]", size: int = CONNECTIONS) -> None:
        self._connect = connect
        self._places: LifoQueue[_Place] = LifoQueue()
        for _ in range(size):
            self._places.put(_Place(None))

    def rows(self, question: str, **values: Any) -> list[Row]:
        """The rows that answer a question.

        Raises:
            BusyError: no connection became free in time.
            psycopg2.Error: the database cannot be reached, or refuses the question.
        """
        try:
            with self._session() as session:
                return _ask(session, question, values)
        except _GoneError:
            # The server ends idle connections, and a failover all of them. Reading twice does no harm.
            with self._session(anew=True) as session:
                return _ask(session, question, values)

    def version(self) -> str:
        """A text that is another one whenever any transaction has changed anything in the database.

        A snapshot names the transactions whose work it shows. Two equal ones show the same rows, until the
        server starts again.
        """
        return str(self.rows(VERSION)[0].version)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while not self._places.empty():
            opened = self._places.get_nowait().opened
            if opened is not None:
                opened.close()

    @contextmanager
    def _session(self, *, anew: bool = False) -> Iterator["connection"]:
        try:
            opened = self._places.get(timeout=WAIT_SECONDS).opened
        except Empty:
            raise BusyError from None
        try:
            if opened is not None and anew:
                opened.close()
            used_before = opened is not None and not opened.closed
            if opened is None or opened.closed:
                opened = self._open()
            try:
                yield opened
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if opened.closed and used_before:
                    raise _GoneError from error
                raise
        finally:
            self._places.put(_Place(opened))

    def _open(self) -> "connection":
        opened = self._connect()
        opened.autocommit = True
        with opened.cursor() as cursor:
            cursor.execute(SETTINGS)
        return opened


class _GoneError(Exception):
    """A connection that was open before is no longer there."""


def _ask(session: "connection", question: str, values: dict[str, Any]) -> list[Row]:
    cursor: Any
    with session.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(question, values)
        rows: list[Row] = cursor.fetchall()
        return rows
