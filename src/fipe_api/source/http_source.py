"""Calls to a source over HTTP, paced, and tried again where that helps. Each gives an answer or a FipeError.

    FipeError
    ├── NoDataError                 the source says that it has nothing
    ├── UnusableAnswerError         it answered, but not what was asked
    │   ├── InvalidParametersError
    │   └── MalformedAnswerError
    ├── NotOfferedError             it does not offer this call or this reference
    └── NotNowError                 try again later
        ├── ThrottledError          429
        ├── BlockedError            403 or a challenge page
        └── SourceDownError         5xx, lost connections, timeouts

An answer counts only after it has been parsed, because many errors come with HTTP 200.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeVar

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from fipe_api.messages import Source
from fipe_api.source.pace import Pace

HEADERS = {
    # FIPE answers 403 to clients that do not look like a browser.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/138.0 Safari/537.36",
    "Referer": "https://veiculos.fipe.org.br/",
    "X-Requested-With": "XMLHttpRequest",
    "Accept": "application/json",
    # requests would also offer brotli where that package is installed, but FIPE's brotli answers were broken.
    "Accept-Encoding": "gzip, deflate",
}
CONNECT_TIMEOUT_SECONDS, TIMEOUT_SECONDS = 4.0, 20.0
"""For each address of the source, and for each part of its answer. A host may have two addresses; trying both
and the answer have to fit into the time that is left."""
ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
"""A longer wait is spent in the queue, where it costs nothing: the function ends."""
BLOCKED_SECONDS, LONGEST_BLOCKED_SECONDS = 120.0, 1800.0
"""The first pause after a block, and the longest; each block that follows doubles it."""
DOWN_SECONDS = (5.0, 600.0)
"""The same when the source is down."""
SOURCE_DOWN_STATUS = frozenset({500, 502, 503, 504, *range(520, 528)})
LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""The longest Retry-After that is kept. Sources have named days of the year 9999."""
MAX_ANSWER_TEXT = 4_000
"""How much of a rejected answer is kept."""

Answer = TypeVar("Answer")


class FipeError(Exception):
    """The source gave no usable answer to a call."""


class NoDataError(FipeError):
    """The source says that it has nothing for these parameters."""


class UnusableAnswerError(FipeError):
    """The source answered, but not what was asked. The answer goes to the quarantine and is never used."""


class InvalidParametersError(UnusableAnswerError):
    """The source refuses the parameters."""


class MalformedAnswerError(UnusableAnswerError):
    """The answer is not what the API documents, or it is for another month or vehicle."""


class NotOfferedError(FipeError):
    """The source does not have this call, or wants to be paid for this reference."""


class NotNowError(FipeError):
    """The source did not serve the call, or there was no time to make it. It has to be made later.

    Attributes:
        retry_in: seconds to wait before that.
    """

    def __init__(self, reason: str, retry_in: float) -> None:
        super().__init__(f"{reason}; try again in {retry_in:.0f} s")
        self.retry_in = retry_in


class ThrottledError(NotNowError):
    """The source answered 429: too many calls."""


class BlockedError(NotNowError):
    """The source serves nobody at this IP address for now: 403, or a challenge page."""


class SourceDownError(NotNowError):
    """Server errors, lost connections or timeouts, several in a row."""


class RejectedAnswer(NamedTuple):
    """An answer that was not what was asked, cut to MAX_ANSWER_TEXT, with its call."""

    source: Source
    call: str
    parameters: dict[str, str]
    answer: str
    reason: str


class Call(NamedTuple):
    """One call: its name, its address and its parameters."""

    name: str
    method: Literal["GET", "POST"]
    url: str
    parameters: Mapping[str, str | int]
    headers: Mapping[str, str] = HEADERS


class Observer:
    """Told of events that people want to see. This one ignores them."""

    def count(self, metric: str) -> None:
        """Counts an event: CallsThrottled, CallsBlocked, SourceDown or AnswersRejected."""

    def rejected(self, answer: RejectedAnswer) -> None:
        """Keeps an answer for the quarantine."""


class HttpSource:
    """Calls to one source, within the time that is left.

    Args:
        name: the source, as prices record it.
        session: an HTTP session; reused between invocations, because its connections are.
        pace: decides when each call may be made.
        seconds_left: how much time the caller has. No attempt starts that could take longer, except that a
            source may send its answer in pieces with long pauses between them.
        observer: told of throttling, blocks, outages and rejected answers.
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
        """What `parse` makes of the answer. It raises NoDataError or UnusableAnswerError if it cannot.

        Raises:
            NotNowError: the source throttles, blocks or is down, or the time is over.
            NotOfferedError: the source answered 401 or 402.
            NoDataError, UnusableAnswerError: every attempt ended so.
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
                # All of these have been seen to work at the next attempt.
                time.sleep(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))
        assert answered is not None
        answered.add_note(f"call: {call.name} {dict(call.parameters)}")
        raise answered

    def _wait_for_turn(self, *, is_answered: bool) -> None:
        # Once the source has said no, the other attempts have to follow in this invocation, or the round does
        # not count. So a long wait is worth it, but not a pause.
        longest = math.inf if is_answered and not self._pace.stopped else LONGEST_WAIT_SECONDS
        patience = min(longest, self._seconds_left() - TIMEOUT_SECONDS)
        if patience < 0:
            raise NotNowError("no time left in this invocation", retry_in=0)
        wait = self._pace.reserve(patience)
        if wait > patience:
            if self._pace.stopped == "blocked":
                raise BlockedError("blocked by the source", retry_in=wait)
            raise NotNowError("the pace allows no call for now", retry_in=wait)
        if wait > 0:
            time.sleep(wait)

    def _send(self, call: Call, *, is_last: bool) -> requests.Response | None:
        """The response; None when the call failed and another attempt is worth it."""
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
        # While stopped, one failed call proves that the outage continues: don't retry.
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
    """The beginning of a text, without NUL, which PostgreSQL cannot store."""
    return text[:MAX_ANSWER_TEXT].replace("\x00", "�")


def _retry_after(response: requests.Response) -> float | None:
    """Seconds from a Retry-After header, at least 1 and at most an hour; None without a usable one."""
    try:
        # Only parses: requests makes the call, and the pace decides about the next.
        seconds = Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):  # the last two: numbers too large for a date
        return None
    return min(max(1.0, seconds), LONGEST_RETRY_AFTER_SECONDS)
