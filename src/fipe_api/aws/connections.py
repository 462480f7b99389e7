"""HTTP connections live as long as one invocation, because Lambda freezes a function between two.

A frozen function does not notice when a peer forgets a connection. Its first call on such a connection
would be reset, or wait for an answer until it times out, and would look like an outage of the source. A new
connection costs a quarter of a second on the smallest function, once per batch of messages.
Source: Lambda developer guide, "Best practices for working with AWS Lambda functions" (idle connections).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar
from weakref import WeakSet


class Connected(Protocol):
    """An HTTP session or an AWS client: once closed, it connects again when it is next used."""

    def close(self) -> None:
        """Closes its connections."""


AnyConnected = TypeVar("AnyConnected", bound=Connected)

_connected: WeakSet[Connected] = WeakSet()


def closed_after_invocation(connected: AnyConnected) -> AnyConnected:
    """Notes what keeps connections, so that they are closed when the invocation ends; returns it."""
    _connected.add(connected)
    return connected


@contextmanager
def connections_closed() -> Iterator[None]:
    """Closes all noted connections at the end; handlers have it as their decorator."""
    try:
        yield
    finally:
        for each in _connected:
            each.close()
