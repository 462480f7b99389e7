"""What the functions answer to `fipe check`, and the messages that it sends through dead letter queues.

The event `{"check": {}}` starts no work: the function answers what it is and what it reaches. A message with
the body `{"check": "<id>"}` is dropped by the function that receives it, with a line in its log.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Literal

from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import DecodeError, Struct, to_builtins
from msgspec.json import Decoder

from fipe_api.aws.observability import logger

KEY = "check"
DROPPED = "message of a check dropped"
PACKAGES = ("botocore", "urllib3", "requests", "msgspec", "psycopg2")

SourceState = Literal["answered", "throttled", "blocked", "down", "no turn", "unusable", "not asked"]


class SourceFacts(Struct):
    """How a source answered a call for its list of months.

    Attributes:
        name: fipe or parallelum.
        url: where it was called.
        state: how the call ended. "no turn" means that the shared pace had no call left for it, and "not
            asked" that the pace itself failed.
        words: the newest month, or the error.
    """

    name: str
    url: str
    state: SourceState
    words: str


class DatabaseFacts(Struct):
    """How a sign-in to the database went, and what the function did there.

    Attributes:
        user: the role that signed in.
        sslmode: what libpq was told.
        tls: the version of TLS; empty without TLS.
        done: what worked, in words.
        error: what did not; empty if all did.
    """

    user: str
    sslmode: str
    tls: str = ""
    done: str = ""
    error: str = ""


class Facts(Struct):
    """What a function answers to a check."""

    python: str
    packages: dict[str, str]
    sources: list[SourceFacts] = []
    database: DatabaseFacts | None = None


class _CheckMessage(Struct, forbid_unknown_fields=True):
    check: str


_CHECK_MESSAGE = Decoder(_CheckMessage)

Handler = Callable[[Any, Any], Any]

Look = Callable[[LambdaContext], Mapping[str, Any]]
"""Looks at what a function reaches; returns attributes of Facts."""


def answers_checks(look: Look) -> Callable[[Handler], Handler]:
    """Decorates a handler: it answers a check with Facts, and handles every other event as before."""

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        def handle(event: Any, context: Any) -> Any:
            if not (isinstance(event, dict) and event.keys() == {KEY}):
                return handler(event, context)
            loaded = {name: sys.modules[name] for name in PACKAGES if name in sys.modules}
            versions = {name: str(module.__version__).split()[0] for name, module in loaded.items()}
            return to_builtins(Facts(platform.python_version(), versions, **look(context)))

        return handle

    return decorate


def is_dropped(record: Mapping[str, Any]) -> bool:
    """Whether a record of an SQS event is a message of a check; then its id is logged."""
    message = _check_message(record["body"])
    if message is None:
        return False
    logger.info(DROPPED, check=message.check)
    return True


def is_check(body: str) -> bool:
    """Whether this is the body of a check's message."""
    return _check_message(body) is not None


def _check_message(body: str) -> _CheckMessage | None:
    if not body.startswith(f'{{"{KEY}"'):
        return None
    try:
        return _CHECK_MESSAGE.decode(body)
    except (DecodeError, RecursionError):
        return None


def sslmode() -> str:
    """What libpq does about TLS; without the variable, it encrypts if the server can."""
    return os.environ.get("PGSSLMODE", "prefer")
