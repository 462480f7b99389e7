"""How the server speaks HTTP: it keeps connections open, sends small answers at once and logs nothing."""

from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler


class KeepAliveRequestHandler(MotoRequestHandler):
    """moto's handler with HTTP/1.1; moto's own closes the connection after each answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, *_: Any) -> None:
        """Log nothing: there are thousands of requests per minute, and clients log their failures."""
