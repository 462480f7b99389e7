"""Answers with an ETag, kept in memory for as long as nothing in the database has changed."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from threading import Lock
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from fipe_query.connections import Pool

BYTES_KEPT = 32 * 1024 * 1024
LARGEST_KEPT = 1024 * 1024

REVALIDATE = "no-cache"
"""A client may keep the answer, but asks each time whether it is still right."""
FOR_AN_HOUR = "public, max-age=3600"
"""For a month that is complete: only a correction changes it."""


class Answer(NamedTuple):
    """A successful answer, and the version of the database that it was read from or after."""

    version: str
    etag: str
    cache_control: str
    media_type: str
    body: bytes

    def to(self, request: Request) -> Response:
        """The answer to this request: without a body if the client has it already."""
        headers = {"ETag": self.etag, "Cache-Control": self.cache_control}
        if _has(request, self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers={**headers, "Content-Type": self.media_type})


class Asked(NamedTuple):
    """A path and its query, whole: a parsed URL leaves out line breaks and what follows a #."""

    path: str
    query: bytes


class AnswerCache:
    """The answers that were asked for last, up to a number of bytes."""

    def __init__(self, bytes_kept: int = BYTES_KEPT) -> None:
        self._bytes_kept = bytes_kept
        self._bytes = 0
        self._answers: OrderedDict[Asked, Answer] = OrderedDict()
        self._lock = Lock()

    def find(self, asked: Asked, version: str) -> Answer | None:
        """The answer to what is asked, if it was read from this version of the database."""
        with self._lock:
            answer = self._answers.get(asked)
            if answer is None or answer.version != version:
                return None
            self._answers.move_to_end(asked)
            return answer

    def keep(self, asked: Asked, answer: Answer) -> None:
        """Keep an answer in place of older ones."""
        if len(answer.body) > LARGEST_KEPT:
            return
        with self._lock:
            self._drop(asked)
            self._answers[asked] = answer
            self._bytes += _size(asked, answer)
            while self._bytes > self._bytes_kept:
                self._drop(next(iter(self._answers)))

    def _drop(self, asked: Asked) -> None:
        dropped = self._answers.pop(asked, None)
        if dropped:
            self._bytes -= _size(asked, dropped)


class CachedRoute(APIRoute):
    """A route whose successful answers are kept and have an ETag: a hash of what they say."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, asked only for what is not kept."""
        ask = super().get_route_handler()

        async def handler(request: Request) -> Response:
            pool: Pool = request.app.state.pool
            cache: AnswerCache = request.app.state.cache
            asked = Asked(request.scope["path"], request.scope["query_string"])
            # Before the answer is read: what is written in between makes the kept answer useless, not wrong.
            version = await run_in_threadpool(pool.version)
            answer = cache.find(asked, version)
            if answer is None:
                response = await ask(request)
                answer = _answer(version, response)
                cache.keep(asked, answer)
            return answer.to(request)

        return handler


def _answer(version: str, response: Response) -> Answer:
    body = bytes(response.body)
    # A weak one: compressed or not, it is the same answer.
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    cache_control = response.headers.get("cache-control", REVALIDATE)
    return Answer(version, etag, cache_control, response.headers["content-type"], body)


def _has(request: Request, etag: str) -> bool:
    given = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in given or "*" in given


def _size(asked: Asked, answer: Answer) -> int:
    return len(asked.path) + len(asked.query) + len(answer.body) + 500
