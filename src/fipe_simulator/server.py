"""The simulator: the official API at /api/veiculos, the mirror at /api/v2, the control at /_simulator."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from threading import Event, Lock, Thread
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from fipe_simulator.answers import INVALID_PARAMETERS, OfficialApi, Quirks
from fipe_simulator.brand_quirks import BrandKey, BrandQuirk, BrandQuirks
from fipe_simulator.catalogue import Catalogue
from fipe_simulator.faults import (
    FORBIDDEN,
    TOO_MANY_REQUESTS,
    Ceiling,
    Faults,
    Gate,
    Reply,
    describe,
    spoil,
    with_retry_after,
)
from fipe_simulator.http_server import HttpServer, json_reply
from fipe_simulator.parallelum import DailyLimit, Parallelum

API_PATH = ("api", "veiculos")
MIRROR_PATH = ("api", "v2")
CONTROL_PATH = "_simulator"
THROTTLED_CALLS = 3
Share = Annotated[float, Field(ge=0, le=1)]


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


class FipeSimulator:
    """A FIPE server on this machine, for as long as the `with` block lasts (or from start() to stop()).

    Args:
        catalogue: what it publishes: exactly these prices for the catalogue's own month, which is the newest;
            for earlier months what earlier_months.catalogue_for_month makes of them.
        port: 0 means any free one.
        ceiling: how many calls it accepts; None means any number.
        faults: what goes wrong how often.
        quirks: oddities of correct answers.
        brand_quirks: what it does wrong with some brands, by vehicle type and brand code.
        published: the share of the newest month's models that is published, 0 to 1. FIPE fills a month over
            its first days.
        newest: the newest month that is published so far; the catalogue's own month by default.

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
        brand_quirks: Mapping[BrandKey, BrandQuirk] | None = None,
        published: float = 1,
        newest: date | None = None,
    ) -> None:
        self.catalogue = catalogue
        self._newest = newest
        self.brand_quirks = BrandQuirks(catalogue, brand_quirks or {})
        self._quirks = quirks or Quirks()
        self.published = published
        self.mirror_limit = DailyLimit(None)
        """How many calls per day the mirror takes from all clients together."""
        self._gate = Gate(ceiling)
        self._faults = faults or Faults()
        self._lock = Lock()
        self._attempts: Counter[bytes] = Counter()
        self._asked: Counter[bytes] = Counter()
        self._counts: Counter[tuple[str, str | int]] = Counter()
        self._stopping = Event()
        self._server = HttpServer(("127.0.0.1", port), self.respond)
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
        self._publish()

    @property
    def newest(self) -> date:
        """The newest month that is published; a later one can appear at any time."""
        return self._newest or self.catalogue.month

    @newest.setter
    def newest(self, month: date) -> None:
        self._newest = month
        self._publish()

    def _publish(self) -> None:
        self._api = OfficialApi(self.catalogue, self._quirks, self._published, self.newest)
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
            reply = json_reply({"error": "only GET"}, status=405, headers=(("Allow", "GET"),))
        elif not self._mirror_takes_one_more():
            reply = json_reply({"error": "rate limit exceeded, subscribe for more"}, status=429)
        else:
            answer = self._mirror.answer(path, dict(parse_qsl(query)))
            reply = json_reply(answer.value, status=answer.status)
        self._count(("call", "Parallelum"), ("status", reply.status))
        return reply

    def _mirror_takes_one_more(self) -> bool:
        with self._lock:
            return self.mirror_limit.takes_one_more()

    def _official(self, method: str, call: str | None, body: bytes, user_agent: str) -> Reply | None:
        if call is None:
            return json_reply({"erro": "no such call"}, status=404)
        refusal = self._gate.refuse()
        if refusal:
            self._count(("refused", call))
            return refusal
        if self._quirks.throttled_start and self.statistics().total < THROTTLED_CALLS:
            return with_retry_after(TOO_MANY_REQUESTS, 1)
        if self._quirks.browsers_only and not user_agent.startswith("Mozilla/"):
            return FORBIDDEN
        if method != "POST":
            return json_reply({"erro": "only POST"}, status=405, headers=(("Allow", "POST"),))
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
            return json_reply(INVALID_PARAMETERS)
        reply = json_reply(self._api.answer(call, parameters))
        if not self.brand_quirks.apply_to(parameters):
            return reply
        question = call.encode() + b" " + body
        with self._lock:
            self._asked[question] += 1
            attempt = self._asked[question]
        return self.brand_quirks.change(call, parameters, attempt, reply)

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
                return json_reply(self.statistics().model_dump(mode="json"))
            case "GET", ("faults",):
                return json_reply(describe(self.faults))
            case "GET", ("ceiling",):
                return json_reply(describe(self.ceiling))
            case "GET", ("published",):
                return json_reply(self.published)
            case "PUT", ("published",):
                return self._put(body, TypeAdapter(Share), partial(setattr, self, "published"))
            case "PUT", ("faults",):
                return self._put(body, TypeAdapter(Faults), partial(setattr, self, "faults"))
            case "PUT", ("ceiling",):
                return self._put(body, TypeAdapter(Ceiling | None), partial(setattr, self, "ceiling"))
            case _:
                return json_reply({"error": "GET stats, GET or PUT faults, ceiling, published"}, status=404)

    @staticmethod
    def _put(body: bytes, setting: TypeAdapter[Any], put: Callable[[Any], None]) -> Reply:
        try:
            value = setting.validate_json(body)
        except ValidationError as error:
            return json_reply({"error": str(error)}, status=400)
        put(value)
        return json_reply(describe(value) if isinstance(value, BaseModel) else value)


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
