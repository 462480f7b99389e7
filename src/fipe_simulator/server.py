"""The HTTP server: the official API at /api/veiculos, the mirror at /api/v2, the control at /_simulator."""

import json
import socket
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from fipe_simulator.answers import INVALID_PARAMETERS, OfficialApi, Quirks
from fipe_simulator.catalogue import Catalogue
from fipe_simulator.faults import FORBIDDEN, Ceiling, Faults, Gate, Reply, describe, spoil
from fipe_simulator.parallelum import DailyLimit, Parallelum

API_PATH = ("api", "veiculos")
MIRROR_PATH = ("api", "v2")
CONTROL_PATH = "_simulator"
Share = Annotated[float, Field(ge=0, le=1)]
_MAX_BODY_BYTES = 64 * 1024


class Statistics(BaseModel):
    """Calls and answers since the start; control calls are not counted."""

    total: int
    calls: dict[str, int]
    """By name of the call; `unknown` for any other path."""
    statuses: dict[int, int]
    """By HTTP status; 0 when the connection was held and closed without an answer."""
    faults: dict[str, int]
    """By name of the injected fault."""
    refused: int
    """Calls above the ceiling, answered 429."""


class _BadRequestError(Exception):
    """A malformed request; the connection cannot be used any more."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class FipeSimulator:
    """A FIPE server on this machine, for as long as the `with` block lasts (or from start() to stop()).

    Args:
        catalogue: what it publishes: exactly these prices for the catalogue's own month, which is the newest;
            for earlier months what months.catalogue_for_month makes of them.
        port: 0 means any free one.
        ceiling: how many calls it accepts; None means any number.
        faults: what goes wrong how often.
        quirks: oddities of correct answers.
        published: the share of the newest month's models that is published, 0 to 1. FIPE fills a month over
            its first days.

    Raises:
        OSError: the port is taken.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        port: int = 0,
        ceiling: Ceiling | None = None,
        faults: Faults | None = None,
        quirks: Quirks | None = None,
        published: float = 1,
    ) -> None:
        self.catalogue = catalogue
        self._quirks = quirks or Quirks()
        self.published = published
        self.mirror_limit = DailyLimit(None)
        """How many calls per day the mirror takes from all clients together."""
        self._gate = Gate(ceiling)
        self._faults = faults or Faults()
        self._lock = Lock()
        self._attempts: Counter[bytes] = Counter()
        self._counts: Counter[tuple[str, str | int]] = Counter()
        self._stopping = Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = Thread(
            target=self._server.serve_forever, args=(0.05,), name="fipe-simulator", daemon=True
        )

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Serve from a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close every connection, held ones too."""
        self._stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    @property
    def origin(self) -> str:
        """`http://localhost:PORT`."""
        return f"http://localhost:{self._server.server_port}"

    @property
    def url(self) -> str:
        """The base URL for clients, `http://localhost:PORT/api/veiculos`."""
        return f"{self.origin}/{'/'.join(API_PATH)}"

    @property
    def mirror_url(self) -> str:
        """The base URL of the mirror, `http://localhost:PORT/api/v2`, without ceiling and faults."""
        return f"{self.origin}/{'/'.join(MIRROR_PATH)}"

    @property
    def published(self) -> float:
        """The share of the newest month's models that is published; it can be changed at any time."""
        return self._published

    @published.setter
    def published(self, share: float) -> None:
        self._published = share
        self._api = OfficialApi(self.catalogue, self._quirks, share)
        self._mirror = Parallelum(self._api)

    @property
    def faults(self) -> Faults:
        """What goes wrong how often; it can be changed at any time."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        with self._lock:
            self._faults = faults
            self._attempts.clear()

    @property
    def ceiling(self) -> Ceiling | None:
        """How many calls are accepted; setting it ends a running block."""
        return self._gate.ceiling

    @ceiling.setter
    def ceiling(self, ceiling: Ceiling | None) -> None:
        self._gate.set(ceiling)

    def statistics(self) -> Statistics:
        """Calls and answers so far."""
        with self._lock:
            counts = dict(self._counts)
        by_kind: dict[str, dict[Any, int]] = {"call": {}, "status": {}, "fault": {}, "refused": {}}
        for (kind, name), count in counts.items():
            by_kind[kind][name] = count
        return Statistics(
            total=sum(by_kind["call"].values()),
            calls=by_kind["call"],
            statuses=by_kind["status"],
            faults=by_kind["fault"],
            refused=sum(by_kind["refused"].values()),
        )

    def respond(self, method: str, target: str, body: bytes, user_agent: str) -> Reply | None:
        """The reply to an HTTP request; None: close the connection without one."""
        path = tuple(part for part in target.partition("?")[0].split("/") if part)
        if path[:1] == (CONTROL_PATH,):
            return self._control(method, path[1:], body)
        if path[:2] == MIRROR_PATH:
            return self._ask_mirror(method, "/".join(path[2:]), target.partition("?")[2])
        call = path[-1] if path[:-1] == API_PATH and path[-1] in self._api.calls else None
        reply = self._official(method, call, body, user_agent)
        self._count(("call", call or "unknown"), ("status", reply.status if reply else 0))
        return reply

    def _ask_mirror(self, method: str, path: str, query: str) -> Reply:
        if method != "GET":
            reply = _json_reply({"error": "only GET"}, status=405, headers=(("Allow", "GET"),))
        elif not self._mirror_takes_one_more():
            reply = _json_reply({"error": "rate limit exceeded, subscribe for more"}, status=429)
        else:
            answer = self._mirror.answer(path, dict(parse_qsl(query)))
            reply = _json_reply(answer.value, status=answer.status)
        self._count(("call", "Parallelum"), ("status", reply.status))
        return reply

    def _mirror_takes_one_more(self) -> bool:
        with self._lock:
            return self.mirror_limit.takes_one_more()

    def _official(self, method: str, call: str | None, body: bytes, user_agent: str) -> Reply | None:
        if call is None:
            return _json_reply({"erro": "no such call"}, status=404)
        refusal = self._gate.refuse()
        if refusal:
            self._count(("refused", call))
            return refusal
        if self._quirks.browsers_only and not user_agent.startswith("Mozilla/"):
            return FORBIDDEN
        if method != "POST":
            return _json_reply({"erro": "only POST"}, status=405, headers=(("Allow", "POST"),))
        answer = partial(self._answer, call, body)
        fault = self._draw(call, body)
        if fault is None:
            return answer()
        self._count(("fault", fault.value))
        reply = spoil(fault, self._faults, answer)
        if reply is None:
            self._stopping.wait(self._faults.hold_seconds)
        return reply

    def _answer(self, call: str, body: bytes) -> Reply:
        try:
            parameters = _parameters(body)
        except ValueError:
            return _json_reply(INVALID_PARAMETERS)
        return _json_reply(self._api.answer(call, parameters))

    def _draw(self, call: str, body: bytes) -> Any:
        faults = self._faults
        if not faults.rates:
            return None
        question = call.encode() + b" " + body
        with self._lock:
            self._attempts[question] += 1
            attempt = self._attempts[question]
        return faults.draw(question, attempt)

    def _count(self, *what: tuple[str, str | int]) -> None:
        with self._lock:
            for each in what:
                self._counts[each] += 1

    def _control(self, method: str, path: tuple[str, ...], body: bytes) -> Reply:
        match method, path:
            case "GET", ("stats",):
                return _json_reply(self.statistics().model_dump(mode="json"))
            case "GET", ("faults",):
                return _json_reply(describe(self.faults))
            case "GET", ("ceiling",):
                return _json_reply(describe(self.ceiling))
            case "GET", ("published",):
                return _json_reply(self.published)
            case "PUT", ("published",):
                return self._put(body, TypeAdapter(Share), partial(setattr, self, "published"))
            case "PUT", ("faults",):
                return self._put(body, TypeAdapter(Faults), partial(setattr, self, "faults"))
            case "PUT", ("ceiling",):
                return self._put(body, TypeAdapter(Ceiling | None), partial(setattr, self, "ceiling"))
            case _:
                return _json_reply({"error": "GET stats, GET or PUT faults, ceiling, published"}, status=404)

    @staticmethod
    def _put(body: bytes, setting: TypeAdapter[Any], put: Callable[[Any], None]) -> Reply:
        try:
            value = setting.validate_json(body)
        except ValidationError as error:
            return _json_reply({"error": str(error)}, status=400)
        put(value)
        return _json_reply(describe(value) if isinstance(value, BaseModel) else value)


def _json_reply(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status, body, headers=headers)


def _parameters(body: bytes) -> dict[str, Any]:
    """The parameters of a call, from a form or from a JSON object, whichever the body is.

    Raises:
        ValueError: neither a form nor a JSON object.
    """
    text = body.decode()
    if not text.lstrip().startswith("{"):
        return dict(parse_qsl(text, keep_blank_values=True))
    try:
        parameters: dict[str, Any] = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return parameters


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections that stay open: reads a request, asks the simulator, writes the reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # sends the status line, headers and body together
    server: "_Server"

    def _respond(self) -> None:
        try:
            body = self._body()
        except _BadRequestError as error:
            self.close_connection = True
            self._send(_json_reply({"erro": str(error)}, error.status))
            return
        reply = self.server.simulator.respond(
            self.command, self.path, body, self.headers.get("User-Agent", "")
        )
        if reply is None:
            self.close_connection = True
        else:
            self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _respond  # noqa: N815

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise _BadRequestError(411, "Content-Length is missing: send it with the body")
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


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, address: tuple[str, int], simulator: FipeSimulator) -> None:
        self.simulator = simulator
        self._connections: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End the open connections, which would be served on after the end otherwise."""
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
