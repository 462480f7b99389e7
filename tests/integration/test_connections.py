"""The functions' connections: closed after each invocation, and not waited for when they are dead."""

import json
from collections.abc import Iterator
from threading import Thread

import pytest

from fipe_api.aws import clients
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.queue_publisher import Outgoing, send_all
from fipe_simulator.faults import Reply
from fipe_simulator.http_server import HttpServer, json_reply
from tests.forgetful_proxy import Death, ForgetfulProxy, forgetful_proxy
from tests.local_cloud_support import eventually

QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/any"


class Queue:
    """SQS as far as these tests need it, with connections that stay open, behind a proxy."""

    def __init__(self, proxy: ForgetfulProxy, received: list[str]) -> None:
        self.proxy = proxy
        self.received = received

    def send(self, *bodies: str) -> None:
        assert send_all(clients.sqs_client(), [Outgoing(QUEUE_URL, body) for body in bodies]) == {}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    received: list[str] = []

    def answer(_method: str, _target: str, body: bytes, _agent: str) -> Reply:
        entries = json.loads(body)["Entries"]
        received.extend(entry["MessageBody"] for entry in entries)
        return json_reply({"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []})

    server = HttpServer(("127.0.0.1", 0), answer)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    with server, forgetful_proxy(server.server_address[1]) as proxy:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://localhost:{proxy.port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        clients.client.cache_clear()
        yield Queue(proxy, received)
        clients.client.cache_clear()
        server.shutdown()


def test_connections_are_kept_during_an_invocation_and_closed_after_it(queue: Queue) -> None:
    @connections_closed()
    def handler() -> int:
        queue.send("a")
        queue.send("b")
        return len(queue.proxy.relays)

    for _ in range(3):
        assert handler() == 1
        eventually(lambda: not queue.proxy.relays)
    assert queue.received == ["a", "b"] * 3


def test_connections_are_closed_after_an_invocation_that_failed(queue: Queue) -> None:
    @connections_closed()
    def handler() -> None:
        queue.send("a")
        raise ValueError("any")

    with pytest.raises(ValueError, match="any"):
        handler()
    eventually(lambda: not queue.proxy.relays)


@pytest.mark.parametrize("death", Death)
def test_what_is_sent_on_a_dead_connection_is_sent_again_on_a_new_one(
    queue: Queue, death: Death, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "TIMEOUT_SECONDS", 0.5)
    queue.send("a")
    assert queue.proxy.forget_connections(death) == 1
    queue.send("b", "c")
    assert queue.received == ["a", "b", "c"]
