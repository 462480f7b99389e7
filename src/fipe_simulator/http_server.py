"""HTTP/1.1 over connections that stay open: requests in, replies out."""

import json
import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from fipe_simulator.faults import Reply

_MAX_BODY_BYTES = 64 * 1024

Respond = Callable[[str, str, bytes, str], Reply | None]
"""From method, target, body and User-Agent to the reply."""


def json_reply(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A reply with a JSON value as its body."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status, body, headers=headers)


class _BadRequestError(Exception):
    """A malformed request; the connection cannot be used any more."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections that stay open: reads a request, asks the simulator, writes the reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # sends the status line, headers and body together
    server: "HttpServer"

    def _respond(self) -> None:
        try:
            body = self._body()
        except _BadRequestError as error:
            self.close_connection = True
            self._send(json_reply({"erro": str(error)}, error.status))
            return
        reply = self.server.respond(self.command, self.path, body, self.headers.get("User-Agent", ""))
        if reply is None:
            self.close_connection = True
        else:
            self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _respond  # noqa: N815

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise _BadRequestError(411, "Transfer-Encoding is not supported: send a Content-Length")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise _BadRequestError(400, "Content-Length is not a number: send the size of the body in bytes")
        if len(length) > 9 or int(length) > _MAX_BODY_BYTES:
            raise _BadRequestError(413, f"the body is too long: send at most {_MAX_BODY_BYTES} bytes")
        return self.rfile.read(int(length))

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the statistics count the calls, and one line per call would hide everything else."""


class HttpServer(ThreadingHTTPServer):
    """Answers requests with what `respond` gives; None closes the connection without an answer."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, address: tuple[str, int], respond: Respond) -> None:
        self.respond = respond
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection as open."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Note the connection as closed."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the open connections; otherwise they would still be served after the end."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client has closed it already

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnects early; report anything else, which is a defect."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
