"""Invoking a function: one that was not invoked for weeks is activated first."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fipe_api.aws import clients
from tests.aws import client
from tests.http_server import asleep, http_server, send_json

Invoke = Callable[..., Any]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Gives a function that invokes another, which goes through the states given; then it answers."""
    waiting: list[str] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.command == "GET":
            send_json(request, {"State": waiting.pop(0)})
        elif waiting:
            asleep(request)
        elif json.loads(body) == {}:
            send_json(request, {}, 404, **{"x-amzn-ErrorType": "ResourceNotFoundException"})
        else:
            send_json(request, json.loads(body))

    monkeypatch.setattr(clients, "WAKING_DELAY_SECONDS", 0)
    with http_server(answer) as endpoint:

        def invoke(payload: dict[str, Any], *states: str) -> Any:
            waiting[:] = states
            answer = clients.invoke(client("lambda", endpoint), "FipeLoadStatus-dev", payload)
            return json.load(answer["Payload"])

        yield invoke


def test_the_answer_is_the_functions(invoke: Invoke) -> None:
    assert invoke({"run_id": "1"}) == {"run_id": "1"}


def test_an_inactive_function_is_waited_for_and_invoked_again(invoke: Invoke) -> None:
    assert invoke({"run_id": "1"}, "Inactive", "Pending", "Active") == {"run_id": "1"}


@pytest.mark.parametrize("status", [202, 404, 502])
def test_a_function_that_a_queue_feeds_is_woken_with_an_empty_batch_and_not_waited_for(status: int) -> None:
    asked: list[tuple[str | None, Any]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        asked.append((request.headers["X-Amz-Invocation-Type"], json.loads(body)))
        if status == 502:
            asleep(request)
        else:
            send_json(request, {}, status)

    with http_server(answer) as endpoint:
        clients.wake(client("lambda", endpoint), "FipeSomaIngestor-dev")
    assert set(map(str, asked)) == {str(("Event", {"Records": []}))}


def test_a_lambda_that_does_not_answer_keeps_no_load_from_starting() -> None:
    clients.wake(client("lambda", "http://127.0.0.1:1"), "FipeSomaIngestor-dev")


def test_another_error_is_raised_at_once(invoke: Invoke) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        invoke({})
