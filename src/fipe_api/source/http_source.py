"""Calls a source over HTTP, at the shared pace, and retries where that helps. A call returns or raises
FipeError.

    FipeError
    ├── NoDataError                 the source says that it has nothing
    ├── UnusableAnswerError         it answered something else than was asked
    │   ├── InvalidParametersError
    │   └── MalformedAnswerError
    ├── NotOfferedError             it does not offer this call or this month
    └── NotNowError                 try again later
        ├── ThrottledError          429
        ├── BlockedError            403 or a challenge page
        ├── SourceDownError         5xx, lost connections, timeouts
        └── PaceTableError          the table of the pace does not answer (tolerant_pace.py)

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
"""The time to connect to one address of the source, and to wait for the next part of its answer. A host may
have two addresses."""
ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
"""A longer wait is spent in the queue, where it costs nothing: the function ends."""
BLOCKED_SECONDS, LONGEST_BLOCKED_SECONDS = 120.0, 1800.0
"""The wait after the first block, and the longest wait; each further block doubles it."""
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
    """The source does not have this call, or wants to be paid for this reference month."""


class NotNowError(FipeError):
    """The source did not serve the call, or there was no time for it. Make it again later.

    Attributes:
        retry_in: seconds to wait first.
    """

    def __init__(self, reason: str, retry_in: float) -> None:
        super().__init__(f"{reason}; try again in {retry_in:.0f} s")
        self.retry_in = retry_in


class ThrottledError(NotNowError):
    """The source answered 429: too many calls."""


class BlockedError(NotNowError):
    """The source refuses this IP address for now: 403, or a challenge page."""


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
    """Receives the events that people want to see. This base class ignores them."""

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
        seconds_left: how much time the caller has. No attempt starts that could take longer. (An
            answer that arrives in pieces, each after a long wait, can still take longer.)
        observer: receives throttling, blocks, outages and rejected answers.
        blocked_seconds: seconds to wait after the first block; each further block doubles them.
    """

    def __init__(
        self,
        name: Source,
        session: requests.Session,
        pace: Pace,
        seconds_left: Callable[[], float],
        observer: Observer | None = None,
        blocked_seconds: float = BLOCKED_SECONDS,
    ) -> None:
        self.name = name
        self._session = session
        self._pace = pace
        self._seconds_left = seconds_left
        self._observer = observer or Observer()
        self._blocked_seconds = blocked_seconds

    def ask(self, call: Call, parse: Callable[[bytes], Answer]) -> Answer:
        """Makes a call, in up to three attempts.

        Args:
            call: the call.
            parse: turns the answer's body into the result; raises NoDataError or UnusableAnswerError if the
                body holds none.

        Returns:
            What `parse` returned.

        Raises:
            NotNowError: the source throttles, blocks or is down, the pace table does not answer, or this
                invocation has no time left.
            NotOfferedError: the source answered 401 or 402.
            NoDataError, UnusableAnswerError: no attempt brought a usable answer.
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
                # Each of these failures has been seen to disappear at the next attempt.
                time.sleep(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))
        assert answered is not None
        answered.add_note(f"call: {call.name} {dict(call.parameters)}")
        raise answered

    def _wait_for_turn(self, *, is_answered: bool) -> None:
        # After "nothing found", a round counts only if all its attempts happen in this invocation. So it is
        # worth waiting for them, except during an outage.
        longest = math.inf if is_answered and not self._pace.outage else LONGEST_WAIT_SECONDS
        patience = min(longest, self._seconds_left() - TIMEOUT_SECONDS)
        if patience < 0:
            raise NotNowError("no time left in this invocation", retry_in=0)
        wait = self._pace.reserve(patience)
        if wait > patience:
            if self._pace.outage == "blocked":
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
            raise ThrottledError("throttled by the source", self._pace.throttled(retry_after))
        if response.status_code == 403 or b"cf-chl-opt" in response.content:
            self._observer.count("CallsBlocked")
            wait = self._pace.unavailable("blocked", self._blocked_seconds, LONGEST_BLOCKED_SECONDS)
            raise BlockedError("blocked by the source", wait)
        if response.status_code in SOURCE_DOWN_STATUS:
            self._down(f"HTTP {response.status_code}", is_last)
            return None
        if response.status_code in (401, 402):
            raise NotOfferedError(f"HTTP {response.status_code}")
        return response

    def _down(self, reason: str, is_last: bool) -> None:
        self._observer.count("SourceDown")
        # During an outage, one failed call proves that it continues: don't retry.
        if is_last or self._pace.outage:
            wait = self._pace.unavailable("down", *DOWN_SECONDS)
            raise SourceDownError(f"the source is down ({reason})", wait)

    def _parsed(self, call: Call, response: requests.Response, parse: Callable[[bytes], Answer]) -> Answer:
        try:
            if response.is_redirect:
                # A POST that is redirected becomes a GET, which FIPE does not answer.
                where = f"HTTP {response.status_code} to {response.headers['Location']}"
                raise MalformedAnswerError(f"{where}: if the source has moved, deploy with its new address")
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
