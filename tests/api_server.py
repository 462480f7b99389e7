"""The API over HTTP, on a port of this machine."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import requests
import uvicorn
from psycopg2.extensions import connection

from fipe_query.application import create_application
from fipe_query.connections import Pool
from fipe_query.server import CONNECTIONS, create_server
from tests.databases import as_role


class Api:
    """A running API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, path: str, **options: Any) -> requests.Response:
        return self._session.get(self.url + path, timeout=30, **options)

    def head(self, path: str, **options: Any) -> requests.Response:
        return self._session.head(self.url + path, timeout=30, **options)

    def options(self, path: str, **options: Any) -> requests.Response:
        return self._session.options(self.url + path, timeout=30, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self._session.post(self.url + path, timeout=30, **options)


@contextmanager
def serving(dsn: str, connections: int = 4) -> Iterator[Api]:
    """The API over a database, as fipe_reader, whose token each new connection signs anew."""

    def connect() -> connection:
        return psycopg2.connect(as_role(dsn, "fipe_reader"))

    with (
        closing(Pool(connect, connections)) as pool,
        socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener,
        running(create_server(create_application(pool)), listener) as url,
    ):
        yield Api(url)


@contextmanager
def running(server: uvicorn.Server, listener: socket.socket) -> Iterator[str]:
    """Runs a server on a socket of this machine; gives its URL."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
