"""What keeps the API from answering, and what to tell the client; nothing of the program's inside."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

import psycopg2
from fastapi import FastAPI, Request, Response
from psycopg2.errors import QueryCanceled

from fipe_query.connections import STATEMENT_SECONDS, BusyError

RETRY = {"Retry-After": "5"}

logger = logging.getLogger(__name__)


class Failure(NamedTuple):
    """Why there is no answer."""

    status: HTTPStatus
    detail: str
    headers: Mapping[str, str]


BUSY = Failure(HTTPStatus.SERVICE_UNAVAILABLE, "too many questions at once: try again later", RETRY)
TOO_LONG = Failure(
    HTTPStatus.GATEWAY_TIMEOUT,
    f"the database took more than {STATEMENT_SECONDS} seconds for this question: ask for less",
    {},
)
NO_DATABASE = Failure(HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer: try again later", RETRY)
UNEXPECTED = Failure(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server: its log says more", {})


def answer_failures(app: FastAPI, answer: Callable[[Failure], Response]) -> None:
    """Have an application answer failures in its own form.

    Args:
        app: the application.
        answer: puts a failure into that form.
    """

    async def handler(_: Request, error: Exception) -> Response:
        return answer(failure_of(error))

    for kind in (BusyError, psycopg2.Error, Exception):
        app.add_exception_handler(kind, handler)


def failure_of(error: Exception) -> Failure:
    """What to tell the client of an error; the log says what happened."""
    if isinstance(error, BusyError):
        return BUSY
    if isinstance(error, QueryCanceled):
        return TOO_LONG
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        logger.error("the database cannot be reached: %s", str(error).strip())
        return NO_DATABASE
    logger.error("a question failed", exc_info=error)
    return UNEXPECTED
