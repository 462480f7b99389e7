"""A slash at the end of a path is ignored, as Parallelum ignores it: clients write `/cars/brands/`."""

from starlette.types import ASGIApp, Receive, Scope, Send


class IgnoreLastSlash:
    """Hands a request on as if its path had no slash at the end.

    A redirect would not do: some clients, such as Java's HttpClient, do not follow one unless told to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)
