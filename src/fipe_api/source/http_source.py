"""Calls to a source over HTTP: paced, tried again where that helps, each with one of a few typed outcomes.

An answer counts only once it has been parsed: sources answer errors with HTTP 200 as often as not.
"""

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple, TypeVar

import requests

from fipe_api.messages import Source
from fipe_api.source.pace import Pace

HEADERS = {
    # A client that does not look like a browser is answered 403.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/138.0 Safari/537.36",
    "Referer": "https://veiculos.fipe.org.br/",
    "X-Requested-With": "XMLHttpRequest",
    "Accept": "application/json",
    # requests would offer brotli where the package is there; the source's brotli answers have been broken.
    "Accept-Encoding": "gzip, deflate",
}
CONNECT_TIMEOUT_SECONDS, TIMEOUT_SECONDS = 4.0, 20.0
"""For each address of the source, and for each part of its answer. A name may have two addresses, and both
have to fit, with the answer, into what the caller keeps of its time."""
ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
"""A longer wait for the pace is spent in the queue, where it costs nothing."""
BLOCKED_SECONDS, LONGEST_BLOCKED_SECONDS = 120.0, 1800.0
"""The pause after a block, and the longest that it doubles to."""
DOWN_SECONDS = (5.0, 600.0)
"""The same after server errors, lost connections and timeouts."""
SOURCE_DOWN_STATUS = frozenset({500, 502, 503, 504, *range(520, 528)})
LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""A source that names a later time is asked then all the same: it may have named a day of the year 9999."""
MAX_ANSWER_TEXT = 4_000

Answer = TypeVar("Answer")


class FipeError(Exception):
    """The source gave no usable answer to a call."""


class NoDataError(FipeError):
    """The source says that it has nothing for these parameters."""


class UnusableAnswerError(FipeError):
    """The source answered, but not what was asked: the answer is kept apart and never taken for right."""


class InvalidParametersError(UnusableAnswerError):
    """The source refuses the parameters."""


class MalformedAnswerError(UnusableAnswerError):
    """The answer is not what the API documents: a wrong shape, a wrong month, another vehicle."""


class NotOfferedError(FipeError):
    """The source does not offer this here: a call it has not, or a table it wants to be paid for."""


class NotNowError(FipeError):
    """The call was not made, or not served, and it is not its fault: to be done later.

    Attributes:
        retry_in: seconds until it makes sense to try again.
    """

    def __init__(self, reason: str, retry_in: float) -> None:
        super().__init__(f"{reason}; to be tried again in {retry_in:.0f} s")
        self.retry_in = retry_in


class ThrottledError(NotNowError):
    """Too many calls for now."""


class BlockedError(NotNowError):
    """The source serves nobody at this address for now."""


class SourceDownError(NotNowError):
    """A server error, a lost connection or a timeout, several times in a row."""


class RejectedAnswer(NamedTuple):
    """An answer that was not what was asked, with the call that gave it; the text is bounded."""

    source: Source
    call: str
    parameters: dict[str, str]
    answer: str
    reason: str


class Call(NamedTuple):
    """One call: its name, where it goes, and what it asks."""

    name: str
    method: Literal["GET", "POST"]
    url: str
    parameters: Mapping[str, str | int]
    headers: Mapping[str, str] = HEADERS


class Observer:
    """Is told what becomes visible outside: does nothing by itself."""

    def count(self, metric: str) -> None:
        """An event for a metric: CallsThrottled, CallsBlocked, SourceDown or AnswersRejected."""

    def rejected(self, answer: RejectedAnswer) -> None:
        """An answer to be kept apart."""


class HttpSource:
    """Calls to one source, within the time that is left for them.

    Args:
        name: the source, as prices record it.
        session: an HTTP session, reused between invocations for its connections.
        pace: decides when each call may be made.
        seconds_left: how long the caller may still work; no attempt starts that would outlast it, unless the
            source sends its answer in pieces with long pauses between.
        observer: is told of throttling, blocks, outages and answers that were rejected.
        blocked_rest: seconds of the first pause after a block.
    """

    def __init__(
        self,
        name: Source,
        session: requests.Session,
        pace: Pace,
        seconds_left: Callable[[], float],
        observer: Observer | None = None,
        blocked_rest: float = BLOCKED_SECONDS,
    ) -> None:
        self.name = name
        self._session = session
        self._pace = pace
        self._seconds_left = seconds_left
        self._observer = observer or Observer()
        self._blocked_rest = blocked_rest

    def ask(self, call: Call, parse: Callable[[bytes], Answer]) -> Answer:
        """What `parse` makes of the answer; it raises NoDataError or UnusableAnswerError when it is none.

        Raises:
            NotNowError: throttled, blocked, down, or out of time.
            NoDataError, UnusableAnswerError: the answer stayed so in a few attempts.
        """
        answered: FipeError | None = None
        for attempt in range(1, ATTEMPTS + 1):
            self._wait_for_turn(is_answered=answered is not None)
            response = self._send(call, is_last=attempt == ATTEMPTS)
            if response is not None:
                self._pace.succeeded()
                try:
                    return self._parsed(call, response, parse)
                except (NoDataError, UnusableAnswerError) as error:
                    answered = error
            if attempt < ATTEMPTS:
                # Each of these has been seen to pass.
                time.sleep(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))
        assert answered is not None
        answered.add_note(f"call: {call.name} {dict(call.parameters)}")
        raise answered

    def _wait_for_turn(self, *, is_answered: bool) -> None:
        # A round of denials counts when it is whole: a longer wait for the next is worth it, but not a pause.
        longest = math.inf if is_answered and not self._pace.stopped else LONGEST_WAIT_SECONDS
        patience = min(longest, self._seconds_left() - TIMEOUT_SECONDS)
        if patience < 0:
            raise NotNowError("the time of this invocation is used up", retry_in=0)
        wait = self._pace.reserve(patience)
        if wait > patience:
            if self._pace.stopped == "blocked":
                raise BlockedError("blocked by the source", retry_in=wait)
            raise NotNowError("the pace allows no call for now", retry_in=wait)
        if wait > 0:
            time.sleep(wait)

    def _send(self, call: Call, *, is_last: bool) -> requests.Response | None:
        """The response, unless the source is down; None when it is worth another attempt at once."""
        try:
            response = self._session.request(
                call.method,
                call.url,
                params=call.parameters if call.method == "GET" else None,
                data=call.parameters if call.method == "POST" else None,
                headers=call.headers,
                timeout=(CONNECT_TIMEOUT_SECONDS, TIMEOUT_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            self._down(type(error).__name__, is_last)
            return None
        retry_after = _retry_after(response)
        if response.status_code == 429 or (response.status_code == 503 and retry_after):
            self._observer.count("CallsThrottled")
            raise ThrottledError("throttled by the source", self._pace.refused(retry_after))
        if response.status_code == 403 or b"cf-chl-opt" in response.content:
            self._observer.count("CallsBlocked")
            rest = self._pace.pause("blocked", self._blocked_rest, LONGEST_BLOCKED_SECONDS)
            raise BlockedError("blocked by the source", rest)
        if response.status_code in SOURCE_DOWN_STATUS:
            self._down(f"HTTP {response.status_code}", is_last)
            return None
        if response.status_code in (401, 402):
            raise NotOfferedError(f"HTTP {response.status_code}")
        return response

    def _down(self, reason: str, is_last: bool) -> None:
        self._observer.count("SourceDown")
        # A probe that fails shows at once that nothing has changed.
        if is_last or self._pace.stopped:
            raise SourceDownError(f"the source is down ({reason})", self._pace.pause("down", *DOWN_SECONDS))

    def _parsed(self, call: Call, response: requests.Response, parse: Callable[[bytes], Answer]) -> Answer:
        try:
            if response.status_code not in (200, 404):
                raise MalformedAnswerError(f"HTTP {response.status_code}")
            return parse(response.content)
        except UnusableAnswerError as error:
            parameters = {name: str(value) for name, value in call.parameters.items()}
            text = response.content[: 4 * MAX_ANSWER_TEXT].decode(errors="replace")
            rejected = RejectedAnswer(self.name, call.name, parameters, _bounded(text), _bounded(str(error)))
            self._observer.count("AnswersRejected")
            self._observer.rejected(rejected)
            raise


def _bounded(text: str) -> str:
    """The beginning of a text, without what PostgreSQL cannot store."""
    return text[:MAX_ANSWER_TEXT].replace("\x00", "�")


def _retry_after(response: requests.Response) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None without a usable one."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 7:
        return _bounded_wait(float(value))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return _bounded_wait((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _bounded_wait(seconds: float) -> float:
    return min(max(1.0, seconds), LONGEST_RETRY_AFTER_SECONDS)
