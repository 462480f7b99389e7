"""The Lambda Runtime API of one execution environment: HTTP on a loopback port, spoken by awslambdaric.

Source: AWS Lambda developer guide, "Using the Lambda runtime API for custom runtimes" (version 2018-06-01).
"""

import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PREFIX = "/2018-06-01/runtime/"


@dataclass(frozen=True)
class Answer:
    """What the runtime answered to an invocation, or reported about its own start, as JSON."""

    payload: bytes
    is_error: bool


@dataclass
class Invocation:
    """One event on its way through an environment."""

    request_id: str
    event: bytes
    function_arn: str
    timeout_seconds: float
    taken_at: "Future[float]" = field(default_factory=Future)
    """time.monotonic() when the runtime took the event: the function's time starts there."""
    answer: "Future[Answer]" = field(default_factory=Future)


class RuntimeApi:
    """Gives invocations to one runtime and takes its answers."""

    def __init__(
        self, on_answer: Callable[[], None], freeze: Callable[[], None], thaw: Callable[[], None]
    ) -> None:
        """Listen on a free port.

        `on_answer` is called before an answer is passed on, `freeze` when the runtime has nothing to do, and
        `thaw` when an invocation comes.
        """
        self.init_error: Future[Answer] = Future()
        self.ready_at: float | None = None
        """time.monotonic() when the runtime first asked for an invocation: its code is loaded."""
        self._on_answer = on_answer
        self._freeze = freeze
        self._thaw = thaw
        self._freezing = threading.Lock()
        """Held so that no invocation arrives between finding none and freezing."""
        self._waiting: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._current: Invocation | None = None
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """host:port, the value of AWS_LAMBDA_RUNTIME_API."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def submit(self, invocation: Invocation) -> None:
        """Queue an invocation; the runtime takes it when it asks for the next one."""
        with self._freezing:
            self._waiting.put(invocation)
            self._thaw()

    def close(self) -> None:
        """Stop listening; a runtime that still waits gets no answer."""
        self._waiting.put(None)
        self._server.shutdown()
        self._server.server_close()

    def next(self) -> Invocation | None:
        """Wait for the next invocation, with the runtime frozen, and mark it as taken; None once closed."""
        self.ready_at = self.ready_at or time.monotonic()
        with self._freezing:
            if self._waiting.empty():
                self._freeze()
        invocation = self._waiting.get()
        if invocation is not None:
            self._current = invocation
            invocation.taken_at.set_result(time.monotonic())
        return invocation

    def answer(self, request_id: str, answer: Answer) -> bool:
        """Pass on an answer; False when it is not for the current invocation."""
        current = self._current
        if current is None or current.request_id != request_id:
            return False
        self._current = None
        self._on_answer()
        if not current.answer.done():
            current.answer.set_result(answer)
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, *_: object) -> None:
        """Report nothing: a runtime that ends breaks its connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # the runtime keeps its connection open
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path != _PREFIX + "invocation/next":
            self._reply(HTTPStatus.NOT_FOUND)
            return
        invocation = self.server.api.next()
        if invocation is None:
            self.close_connection = True
            return
        deadline = int((time.time() + invocation.timeout_seconds) * 1000)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        }
        self._reply(HTTPStatus.OK, invocation.event, headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.removeprefix(_PREFIX).split("/")
        match parts:
            case ["init", "error"]:
                if not self.server.api.init_error.done():
                    self.server.api.init_error.set_result(Answer(body, is_error=True))
                known = True
            case ["invocation", request_id, ("response" | "error") as kind]:
                known = self.server.api.answer(request_id, Answer(body, is_error=kind == "error"))
            case _:
                known = False
        self._reply(
            HTTPStatus.ACCEPTED if known else HTTPStatus.BAD_REQUEST, b'{"status":"OK"}' if known else b"{}"
        )

    def log_message(self, *_: object) -> None:
        """Log nothing: the functions' own logs say what matters."""

    def _reply(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def error_document(error_type: str, message: str) -> bytes:
    """The payload of an invocation whose runtime gave no answer, in Lambda's words."""
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()
