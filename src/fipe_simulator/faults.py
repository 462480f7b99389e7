"""Faults that users of the source have reported, injected at a rate, and the ceiling of its calls."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from threading import Lock
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer that the server will send."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()


class Fault(StrEnum):
    """A way in which the source has failed."""

    NOTHING_FOUND = "nothing_found"
    NOTHING_FOUND_SPACED = "nothing_found_spaced"
    INVALID_PARAMETERS = "invalid_parameters"
    EMPTY_BODY = "empty_body"
    BYTE_ORDER_MARK = "byte_order_mark"
    TRUNCATED_JSON = "truncated_json"
    CLOUDFLARE_PAGE = "cloudflare_page"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_REQUESTS_RETRY_AFTER = "too_many_requests_retry_after"
    FORBIDDEN = "forbidden"
    STATUS_500 = "status_500"
    STATUS_502 = "status_502"
    STATUS_503 = "status_503"
    STATUS_520 = "status_520"
    STATUS_524 = "status_524"
    TIMEOUT = "timeout"


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Faults(_Setting):
    """Which faults occur how often.

    Whether a fault occurs depends on the seed, the call with its parameters, and how often it was tried. So
    the n-th try of a call ends the same way in every run, in any order of calls.
    """

    rates: dict[Fault, Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict, description="share of the calls, 0 to 1, for each fault; their sum is at most 1"
    )
    seed: int = 0
    hold_seconds: float = Field(
        default=60, gt=0, le=3600, description="how long a timeout holds the connection"
    )
    retry_after_seconds: int = Field(default=1, ge=0, description="what Retry-After says")

    @model_validator(mode="after")
    def _sum_is_a_share(self) -> Self:
        total = math.fsum(self.rates.values())
        if total > 1 + 1e-9:
            raise ValueError(f"the rates of the faults add up to {total:g}: lower them to 1 or less in total")
        return self

    @classmethod
    def of(cls, *faults: Fault, rate: float, seed: int = 0, hold_seconds: float = 60) -> Self:
        """The given faults (every one if none is given), each at the same rate."""
        return cls(rates=dict.fromkeys(faults or Fault, rate), seed=seed, hold_seconds=hold_seconds)

    def draw(self, question: bytes, attempt: int) -> Fault | None:
        """The fault of the given try (from 1) of a call with its parameters, if any."""
        digest = blake2b(b"%d %d %s" % (self.seed, attempt, question), digest_size=8).digest()
        chance = int.from_bytes(digest, "big") / 2**64
        for fault, rate in self.rates.items():
            chance -= rate
            if chance < 0:
                return fault
        return None


def _page(title: str, body: str = "") -> bytes:
    head = f"<!DOCTYPE html><html><head><title>{title}</title></head>"
    return f"{head}<body><h1>{title}</h1>{body}</body></html>".encode()


def failure(status: int, reason: str) -> Reply:
    """An HTTP error with an HTML page."""
    return Reply(status, _page(f"{status} {reason}"), HTML_TYPE)


TOO_MANY_REQUESTS = failure(429, "Too Many Requests")
FORBIDDEN = failure(403, "Forbidden")

_CHALLENGE = (
    '<form id="challenge-form" method="POST"></form>'
    '<script id="cf-chl-opt">window._cf_chl_opt={cType:"managed",cZone:"veiculos.fipe.org.br"};</script>'
)

_FAILED: dict[Fault, Reply] = {
    Fault.NOTHING_FOUND: Reply(200, b'{"codigo":"0","erro":"nadaencontrado"}'),
    Fault.NOTHING_FOUND_SPACED: Reply(200, b'{"codigo":"0","erro":"Nada encontrado"}'),
    Fault.INVALID_PARAMETERS: Reply(200, '{"codigo":"2","erro":"Parâmetros inválidos"}'.encode()),
    Fault.EMPTY_BODY: Reply(200, b""),
    Fault.CLOUDFLARE_PAGE: Reply(200, _page("Just a moment...", _CHALLENGE), HTML_TYPE),
    Fault.TOO_MANY_REQUESTS: TOO_MANY_REQUESTS,
    Fault.FORBIDDEN: FORBIDDEN,
    Fault.STATUS_500: failure(500, "Internal Server Error"),
    Fault.STATUS_502: failure(502, "Bad Gateway"),
    Fault.STATUS_503: failure(503, "Service Unavailable"),
    Fault.STATUS_520: failure(520, "Web server is returning an unknown error"),
    Fault.STATUS_524: failure(524, "A timeout occurred"),
}


def with_retry_after(reply: Reply, seconds: float) -> Reply:
    """The reply with Retry-After, in whole seconds, rounded up."""
    return replace(reply, headers=(*reply.headers, ("Retry-After", str(math.ceil(seconds)))))


def spoil(fault: Fault, faults: Faults, answer: Callable[[], Reply]) -> Reply | None:
    """What the source sends instead of the true answer; None for a timeout."""
    match fault:
        case Fault.TIMEOUT:
            return None
        case Fault.BYTE_ORDER_MARK:
            reply = answer()
            return replace(reply, body=b"\xef\xbb\xbf" + reply.body)
        case Fault.TRUNCATED_JSON:
            reply = answer()
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        case Fault.TOO_MANY_REQUESTS_RETRY_AFTER:
            return with_retry_after(TOO_MANY_REQUESTS, faults.retry_after_seconds)
        case _:
            return _FAILED[fault]


class Ceiling(_Setting):
    """How many calls the source accepts: a bucket of `calls` tokens, refilled evenly over `per_seconds`.

    The call that finds the bucket empty is answered 429, and so are all calls in the next `block_seconds`;
    then the bucket is full again. FIPE accepts about 50 calls per minute, and ends a block after 60 s.
    """

    calls: float = Field(default=50, ge=1)
    per_seconds: float = Field(default=60, gt=0)
    block_seconds: float = Field(default=60, ge=0)
    retry_after: bool = Field(default=True, description="whether a 429 says when to try again")


class Gate:
    """Enforces a ceiling. Safe for concurrent threads."""

    def __init__(self, ceiling: Ceiling | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self.set(ceiling)

    def set(self, ceiling: Ceiling | None) -> None:
        """Set another ceiling (None: no ceiling); this ends a running block and fills the bucket."""
        with self._lock:
            self.ceiling = ceiling
            self._tokens = ceiling.calls if ceiling else 0.0
            self._filled_at = self._clock()
            self._blocked_until: float | None = None

    def refuse(self) -> Reply | None:
        """Count one call: None if it may pass, otherwise the 429 to answer with."""
        with self._lock:
            if self.ceiling is None:
                return None
            wait = self._seconds_to_wait(self.ceiling)
            if not wait:
                return None
            return (
                with_retry_after(TOO_MANY_REQUESTS, wait) if self.ceiling.retry_after else TOO_MANY_REQUESTS
            )

    def _seconds_to_wait(self, ceiling: Ceiling) -> float:
        now = self._clock()
        if self._blocked_until is not None:
            if now < self._blocked_until:
                return self._blocked_until - now
            self._blocked_until, self._tokens, self._filled_at = None, ceiling.calls, now
        rate = ceiling.calls / ceiling.per_seconds
        self._tokens = min(ceiling.calls, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        if not ceiling.block_seconds:
            return (1 - self._tokens) / rate
        self._blocked_until = now + ceiling.block_seconds
        return ceiling.block_seconds


def describe(setting: BaseModel | None) -> Any:
    """A setting as JSON values, None as null."""
    return setting and setting.model_dump(mode="json")
