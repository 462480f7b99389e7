"""The whole application, for a server and for Lambda."""

import re

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fipe_page.application import add_page
from fipe_query import v1
from fipe_query.cached_route import AnswerCache
from fipe_query.connections import Pool
from fipe_query.parallelum import create_parallelum
from fipe_query.problems import DescribedApi, answer_problems

PARALLELUM = "/api/v2"
WORTH_COMPRESSING = 16 * 1024
"""Bytes. A list of vehicles repeats the names of its fields and brands: it becomes a tenth."""


def create_application(pool: Pool) -> FastAPI:
    """The application: the project's own paths under /v1, Parallelum's under /api/v2, and the page.

    Args:
        pool: answers its questions.
    """
    app = DescribedApi(
        title="FIPE",
        summary="The prices of the FIPE table, month by month, over your own database.",
        version="1.0.0",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(v1.router)
    app.include_router(v1.valuations)
    parallelum = create_parallelum()
    app.router.routes.append(_Below(PARALLELUM, parallelum))
    add_page(app)
    cache = AnswerCache()
    for each in (app, parallelum):
        each.state.pool, each.state.cache = pool, cache
    answer_problems(app)
    app.add_middleware(GZipMiddleware, minimum_size=WORTH_COMPRESSING, compresslevel=5)
    # What it says is public, and it knows no cookies: pages of any origin may ask.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["ETag"],
    )
    app.add_middleware(_HeadAsGet)
    return app


class _HeadAsGet:
    """Middleware that answers a HEAD as a GET, without the body: FastAPI's routes know only GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


class _Below(Mount):
    """All paths below one; Mount itself leaves out those with a line break."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, app)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)
