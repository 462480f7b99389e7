"""The tools over HTTP, beside the API, for assistants that start no process.

Source: Model Context Protocol, Specification, "Streamable HTTP".
"""

from functools import cached_property
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fipe_query.connections import Pool
from fipe_query.v1_answers import LARGEST_BODY

if TYPE_CHECKING:
    from fipe_mcp.server import PriceServer

PATH = "/mcp"


def add_tools(app: Starlette, pool: Pool, host: str) -> None:
    """Answer assistants at /mcp.

    Args:
        app: the application, whose limits hold.
        pool: answers their questions.
        host: the address that it listens on. On this machine's own, pages of other origins are refused.
    """
    app.router.routes.append(Route(PATH, _Endpoint(pool, host), methods=["POST"], include_in_schema=False))


class _Endpoint:
    """Answers each request for itself: there are no sessions, and so nothing to keep or to end."""

    def __init__(self, pool: Pool, host: str) -> None:
        self._pool = pool
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = await run_in_threadpool(lambda: self._server)
        app = server.streamable_http_app(
            streamable_http_path=PATH,
            stateless_http=True,
            json_response=True,
            host=self._host,
            max_request_body_size=LARGEST_BODY,
        )
        async with server.session_manager.run():
            await app(scope, receive, send)

    @cached_property
    def _server(self) -> "PriceServer":
        # Not before the first question of an assistant: `fipe serve` starts sooner.
        from fipe_mcp.server import PriceServer

        return PriceServer(self._pool)
