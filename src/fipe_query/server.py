"""The HTTP server of `fipe serve`: a client that keeps it waiting keeps no place from another one."""

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

CONNECTIONS = 200
"""Clients that are connected at a time, as long as the server waits for one of them."""
REQUESTS = 2 * CONNECTIONS
"""Requests that are answered at a time; more get 503. More than connections, as one whose connection has just
ended still counts for a moment."""
SECONDS_TO_FINISH = 3
"""How long answers that are under way may take after Ctrl-C."""

TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def create_server(app: "ASGIApp") -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        app: answers the requests.
    """
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=REQUESTS,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    return uvicorn.Server(config)


class Awaited(Enum):
    """What a client owes the server."""

    HEAD = auto()
    """The head of a request, since the connection is open, or since the last answer."""
    BODY = auto()
    """The whole body, since its head."""
    READING = auto()
    """To read the answer, since the system could not send more of it."""


PATIENCE = {Awaited.HEAD: 10.0, Awaited.BODY: 30.0, Awaited.READING: 60.0}
"""For how many seconds the server waits for it, however little comes now and then."""


class ImpatientProtocol(H11Protocol):
    """A connection to a client, which ends if the client keeps it waiting for too long.

    uvicorn itself only ends connections on which nothing at all comes after an answer. A client that sends a
    byte now and then, or nothing from the beginning, or does not read its answer, stays for ever (uvicorn's
    issue 157, "Further timeouts and resource limiting").

    If all places are taken, a new client gets the place of the one that has kept the server waiting longest.
    So a crowd of slow clients shuts nobody out, even if each comes back at once.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._awaited: Awaited | None = None
        self._request: object = None
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        # Otherwise up to 64 KiB that nobody reads would count as read.
        transport.set_write_buffer_limits(high=0)
        self._watch()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer is written."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """What is written does not leave: the client does not read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """All that was written has left."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        super().connection_lost(exc)
        self._stop_timer()

    def shutdown(self) -> None:
        """The server is to end: it finishes its answers, and waits for no further part of a request."""
        if self._awaited is Awaited.BODY:
            self.transport.close()
        else:
            super().shutdown()

    def _watch(self) -> None:
        """Start the client's time anew if it owes something else than before."""
        owed = self._owed()
        if (owed, self.cycle) == (self._awaited, self._request):
            return
        self._stop_timer()
        self._awaited, self._request = owed, self.cycle
        if owed:
            self._since = self.loop.time()
            self._timer = self.loop.call_later(PATIENCE[owed], self._end)

    def _owed(self) -> Awaited | None:
        if self.flow.write_paused:
            return Awaited.READING
        return {h11.IDLE: Awaited.HEAD, h11.SEND_BODY: Awaited.BODY}.get(self.conn.their_state)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _end(self) -> None:
        """The client's time is up."""
        if self._awaited is Awaited.READING:
            self.transport.abort()
            return
        if self._awaited is Awaited.HEAD:
            answerable = bool(self.conn.trailing_data[0])
        else:
            answerable = not self.cycle.response_started
        if answerable:
            self.transport.write(TIMED_OUT)
        self.transport.close()

    def _make_room(self) -> None:
        """If all places are taken, end the connection whose client the server has waited for longest."""
        if len(self.connections) <= CONNECTIONS:
            return
        others = [
            each
            for each in self.connections
            if isinstance(each, ImpatientProtocol) and each._awaited and each is not self
        ]
        if others:
            longest = min(others, key=lambda each: each._since)
            self.connections.discard(longest)
            longest.transport.abort()
