"""Clients that keep the server of `fipe serve` waiting lose their places, and shut nobody out."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from itertools import cycle

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fipe_query.server import CONNECTIONS, PATIENCE, SECONDS_TO_FINISH, Awaited, create_server
from tests.api_server import running

SLOW_CLIENTS = 250
MOMENT = 0.2
"""Seconds: how long the server waits here."""
LARGE = b"a" * 100_000
"""More than the system takes here for a client that reads nothing."""

Client = Callable[[socket.socket], None]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was sent; /large says much, /late begins late."""
    request = Request(scope, receive)
    try:
        body = await request.body()
    except ClientDisconnect:
        return
    if request.url.path == "/late":
        await asyncio.sleep(2 * MOMENT)
    await PlainTextResponse(LARGE if request.url.path == "/large" else body)(scope, receive, send)


def says_nothing(_: socket.socket) -> None:
    pass


def sends_half_a_head(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")


def sends_half_a_body(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")


def sends_half_a_chunk(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nhalf")


def sends_half_a_second_head(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX-Slow: ")


def asks_no_more(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def does_not_read(client: socket.socket) -> None:
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")


def does_not_read_the_last_answer(client: socket.socket) -> None:
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def sends_nothing_to_be_read(client: socket.socket) -> None:
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 100)


SLOW: list[Client] = [
    says_nothing, sends_half_a_head, sends_half_a_body, sends_half_a_chunk, sends_half_a_second_head,
    asks_no_more, does_not_read, does_not_read_the_last_answer, sends_nothing_to_be_read,
]  # fmt: skip
DRIPPING: list[Client] = [sends_half_a_head, sends_half_a_body, sends_half_a_chunk, sends_half_a_second_head]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as port:
        yield port


@contextmanager
def serving() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener:
        # Otherwise the system itself takes three megabytes for a client that reads nothing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with running(create_server(app), listener):
            yield listener.getsockname()[1]


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for awaited in Awaited:
        monkeypatch.setitem(PATIENCE, awaited, MOMENT)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        yield client


def ask(port: int, body: str = "hello") -> str:
    client = HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("POST", "/", body)
    answer = client.getresponse()
    said = answer.read().decode()
    client.close()
    return f"{answer.status} {said}"


def read_to_the_end(client: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    read = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65536):
            read += part
    return read


@pytest.mark.parametrize(
    "kinds", [SLOW, *([kind] for kind in SLOW)], ids=["all", *(kind.__name__ for kind in SLOW)]
)
def test_slow_clients_shut_nobody_out(port: int, kinds: list[Client]) -> None:
    with ExitStack() as crowd:
        for number, kind in zip(range(SLOW_CLIENTS), cycle(kinds), strict=False):
            kind(crowd.enter_context(connected(port)))
            if number % 25 == 0 or number > CONNECTIONS:
                assert ask(port) == "200 hello"


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_client_loses_its_place(port: int, kind: Client) -> None:
    with connected(port) as client:
        kind(client)
        time.sleep(2.5 * MOMENT)
        read = read_to_the_end(client)
    assert len(read) < len(LARGE)


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("kind", DRIPPING)
def test_a_byte_now_and_then_is_not_enough(port: int, kind: Client) -> None:
    with connected(port) as client:
        kind(client)
        began = time.monotonic()
        client.settimeout(MOMENT / 10)
        read = b""
        with suppress(ConnectionError):
            while time.monotonic() < began + 20:
                client.sendall(b"a")
                with suppress(TimeoutError):
                    if not (part := client.recv(65536)):
                        break
                    read += part
        assert time.monotonic() - began < 10
    assert b"408" in read


@pytest.mark.usefixtures("_hurried")
def test_who_waits_for_the_server_keeps_the_place(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_to_the_end(client).startswith(b"HTTP/1.1 200")


def test_each_request_has_its_own_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for awaited in Awaited:
        monkeypatch.setitem(PATIENCE, awaited, 5 * MOMENT)
    with connected(port) as client:
        for _ in range(3):
            for part in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na", b"bc"):
                time.sleep(MOMENT)
                client.sendall(part)
            answer = HTTPResponse(client)
            answer.begin()
            assert answer.read() == b"abc"


def test_a_large_answer_that_is_read_comes_whole(port: int) -> None:
    with connected(port) as client:
        does_not_read_the_last_answer(client)
        assert read_to_the_end(client).endswith(LARGE)


def test_nobody_waits_at_the_end_for_what_a_client_has_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as crowd:
        with serving() as port:
            for kind in (says_nothing, *DRIPPING, asks_no_more):
                kind(crowd.enter_context(connected(port)))
            assert ask(port) == "200 hello"
            began = time.monotonic()
        assert time.monotonic() - began < SECONDS_TO_FINISH
    assert not caplog.messages
