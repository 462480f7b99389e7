"""A TCP proxy on the loopback whose connections can die, as they do while Lambda has frozen a function."""

import ctypes
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SO_ATTACH_FILTER = 26
"""Linux's number of it; Python has no name for it."""
DROP_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A packet filter of one instruction: return, and keep no byte."""


class TcpProxy:
    """Passes on what comes to `port`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self._dead: list[socket.socket] = []
        self.accepted = 0
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def die_silently(self) -> None:
        """The connections that are open get no packet any more, so their clients get no answer."""
        instruction = ctypes.create_string_buffer(DROP_EVERYTHING)
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        for client in self._forget_clients():
            client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
            self._dead.append(client)  # open: the system would tell the other end that it is closed

    def die_loudly(self) -> None:
        """The connections that are open are reset."""
        for client in self._forget_clients():
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):  # it may have ended by itself
                client.shutdown(socket.SHUT_RD)
            client.close()

    def close(self) -> None:
        """Accepts nothing any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.die_loudly()
        for client in self._dead:
            client.close()

    def _forget_clients(self) -> list[socket.socket]:
        clients, self._clients = self._clients, []
        return clients

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                self._clients.append(client)
                server = socket.create_connection(self._target)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=_copy, args=ends, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    """A proxy in front of an address."""
    proxy = TcpProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
