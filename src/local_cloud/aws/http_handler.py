"""HTTP of the server: connections stay open, small answers leave at once, nothing is logged."""

from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler


class KeepAliveRequestHandler(MotoRequestHandler):
    """moto's handler, which closes the connection after each answer, with HTTP/1.1."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, *_: Any) -> None:
        """Thousands of requests a minute: their failures are in the clients' logs."""
