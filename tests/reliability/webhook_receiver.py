"""A receiver of announcements, as its people would write it: it checks signatures, and knows what it has."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from standardwebhooks import Webhook

from tests.http_server import http_server, send_json

Answer = Callable[[BaseHTTPRequestHandler], None]
"""What it does after it has looked at a post."""


class Receiver:
    """Attributes: url, where it listens; accepted, the announcements that it has, each once; posts, all ids
    that were posted; refused, what was wrong with posts that it did not believe.
    """

    def __init__(self, key: str) -> None:
        self.url = ""
        self._webhook = Webhook(key)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets everything; answers at once from now on."""
        self.accepted: dict[str, dict[str, Any]] = {}
        self.posts: list[str] = []
        self.refused: list[str] = []
        self.answers: Callable[[int], Answer] = lambda _: takes

    def reply(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Looks at a post, and answers as `answers` says for its place among those with the same id."""
        try:
            document = self._webhook.verify(body, dict(request.headers))
        except Exception as error:
            self.refused.append(repr(error))
            send_json(request, {}, 401)
            return
        name = request.headers["webhook-id"]
        with self._lock:
            self.posts.append(name)
            answer = self.answers(self.posts.count(name))
            if answer is not fails:
                self.accepted.setdefault(name, document)
        answer(request)


def takes(request: BaseHTTPRequestHandler) -> None:
    send_json(request, {})


def fails(request: BaseHTTPRequestHandler) -> None:
    send_json(request, {}, 503, **{"Retry-After": "0"})


def is_slow(request: BaseHTTPRequestHandler) -> None:
    """It has taken it, but its answer comes too late."""
    time.sleep(1.0)
    send_json(request, {})


def breaks_off(request: BaseHTTPRequestHandler) -> None:
    """It has taken it, and its answer is lost."""
    request.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def webhook_receiver(key: str) -> Iterator[Receiver]:
    """A receiver that listens while the block runs."""
    receiver = Receiver(key)
    with http_server(receiver.reply) as url:
        receiver.url = f"{url}/announcements"
        yield receiver
