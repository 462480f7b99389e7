"""Hands out the page, with the rules that keep the browser from asking anybody else."""

from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from fipe_page import FILES, START

STYLE_OF_CHARTS = "sha256-+TfQir1nvDucAdvE6XUQBt4ayUjpAWkbw2kCdSfekHM="
"""The style element that Observable Plot puts into each chart. After `make charts` it may be another one: the
browser then names its digest."""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:;"
    f" style-src 'self' '{STYLE_OF_CHARTS}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""No-cache: a browser may keep the files, but asks each time whether they are still right."""


def add_page(app: Starlette) -> None:
    """Answer / with the page, and /page/... with the files that it is made of, compressed.

    Args:
        app: the application, whose paths under /v1 and /api/v2 the page asks.
    """
    app.add_route("/", _start, include_in_schema=False)
    app.mount("/page", GZipMiddleware(_Files(directory=FILES), minimum_size=1000))


async def _start(_: Request) -> Response:
    return FileResponse(START, headers=HEADERS)


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response
