"""When the table of the pace fails, calls wait, and no message fails.

DynamoDB may throttle or fail for minutes. The message that asks for its turn is not the cause.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from typing_extensions import override

from fipe_api.aws.observability import logger
from fipe_api.source import rate_control
from fipe_api.source.http_source import NotNowError
from fipe_api.source.pace import Pace, PaceAround
from fipe_api.source.rate_control import Outage

REST_SECONDS = 30.0
"""How long to leave a failing table alone. It is longer than a function waits itself, so the message waits in
the queue."""
THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"}
)
"""The error codes of client errors (HTTP 400) that pass by themselves. Source: DynamoDB developer guide,
"Error handling with DynamoDB"."""


class PaceTableError(NotNowError):
    """The table of the pace does not answer."""


class PaceTableMissingError(Exception):
    """The table of the pace is missing."""

    def __init__(self) -> None:
        super().__init__("the pace table is missing, and without it no loader calls a source")


class TolerantPace(PaceAround):
    """A pace whose table may fail for a while.

    What waiting does not mend, such as a missing table or permission, is raised: it fails the messages, so
    that somebody hears of it soon.

    Args:
        pace: a pace that is kept in DynamoDB.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace)
        self._resume_at = 0.0

    @override
    def reserve(self, patience: float) -> float:
        """Reserves the next call.

        A table that has just failed is not asked again for a while. Each failure takes seconds, and the
        messages of a batch would spend them one after the other.

        Raises:
            PaceTableError: the table does not answer, and nothing was reserved.
        """
        rest = self._resume_at - time.monotonic()
        if rest <= patience:
            with self._tolerated(REST_SECONDS):
                return max(rest, super().reserve(patience))
            rest = REST_SECONDS
        raise PaceTableError("the pace table does not answer", rest)

    # What a call has brought is worth more than what the pace learns from it: these lose no answer.

    @override
    def succeeded(self) -> None:
        with self._tolerated(0):
            super().succeeded()

    @override
    def throttled(self, retry_after: float | None) -> float:
        rest = retry_after or rate_control.USUAL_REST_SECONDS
        with self._tolerated(rest):
            return super().throttled(retry_after)
        return rest

    @override
    def unavailable(self, outage: Outage, first: float, longest: float) -> float:
        with self._tolerated(first):
            return super().unavailable(outage, first, longest)
        return first

    @contextmanager
    def _tolerated(self, rest: float) -> Iterator[None]:
        """Logs an error of the table that passes by itself; then this function rests for so many seconds."""
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            if not _passes(error):
                raise_if_missing(error)
                raise
            logger.warning("the pace table does not answer", error=str(error))
            self._resume_at = time.monotonic() + rest


def raise_if_missing(error: BotoCoreError | ClientError) -> None:
    """Raises PaceTableMissingError if this error of DynamoDB says so."""
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
        raise PaceTableMissingError from error


def _passes(error: BotoCoreError | ClientError) -> bool:
    """Whether DynamoDB throttled the request, failed at it, or could not be reached."""
    if isinstance(error, ClientError):
        is_server_error = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        return is_server_error or error.response["Error"]["Code"] in THROTTLED
    return isinstance(error, ConnectionError | HTTPClientError)
