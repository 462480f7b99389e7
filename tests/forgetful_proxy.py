"""A TCP proxy whose connections can die as they do while a function is frozen for long."""

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Lock, Thread
from typing import Any

ANY_PORT = ("127.0.0.1", 0)


class Death(StrEnum):
    """How the client's end of a dead connection behaves."""

    CLOSED = "closed"
    """It is closed at once: the client can see that before it sends anything."""
    RESET = "reset"
    """The peer has forgotten the connection and resets it when the client sends something."""
    SILENT = "silent"
    """Something between the two has forgotten the connection: what the client sends is never answered."""


class ForgetfulProxy(ThreadingTCPServer):
    """Relays connections to a server on loopback until they are told to die."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, target_port: int, address: tuple[str, int]) -> None:
        self.target_port = target_port
        self.relays: set[_Relay] = set()
        self.lock = Lock()
        super().__init__(address, _Relay)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def forget_connections(self, death: Death) -> int:
        """Lets the open connections die; returns how many there were."""
        with self.lock:
            dying = list(self.relays)
            self.relays.clear()
        for relay in dying:
            relay.die(death)
        return len(dying)


class _Relay(BaseRequestHandler):
    server: ForgetfulProxy
    request: Any
    _death: Death | None = None

    def handle(self) -> None:
        client: socket.socket = self.request
        with socket.create_connection(("127.0.0.1", self.server.target_port)) as self._target:
            with self.server.lock:
                self.server.relays.add(self)
            _relay(client, self._target)
            with self.server.lock:
                self.server.relays.discard(self)
        if self._death == Death.RESET and client.recv(1):
            # Closed like this, a socket sends RST.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while self._death == Death.SILENT and client.recv(65536):
            pass

    def die(self, death: Death) -> None:
        self._death = death
        self._target.shutdown(socket.SHUT_RDWR)


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Passes on what each sends, until one of them closes."""
    ends = {one: other, other: one}
    try:
        while True:
            for end in select.select(list(ends), [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                ends[end].sendall(data)
    except ConnectionError:
        return


@contextmanager
def forgetful_proxy(target_port: int, address: tuple[str, int] = ANY_PORT) -> Iterator[ForgetfulProxy]:
    """A proxy to a port of 127.0.0.1."""
    with ForgetfulProxy(target_port, address) as proxy:
        Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            proxy.forget_connections(Death.CLOSED)
