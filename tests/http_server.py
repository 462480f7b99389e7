"""HTTP servers on loopback that answer as a test says."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def http_server(reply: Reply) -> Iterator[str]:
    """Serves on a free port of loopback; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            reply(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

        do_POST = do_GET = do_PUT  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def send_json(request: BaseHTTPRequestHandler, body: Any, status: int = 200, **headers: str) -> None:
    payload = json.dumps(body).encode()
    request.send_response(status)
    for name, value in {"Content-Length": str(len(payload)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(payload)


def asleep(request: BaseHTTPRequestHandler) -> None:
    """What Lambda answers for a function that was not invoked for weeks."""
    words = {
        "Type": "User",
        "Message": "The function is inactive and its VPC connection is no longer available",
    }
    send_json(request, words, 502, **{"x-amzn-ErrorType": "ResourceNotReadyException"})
