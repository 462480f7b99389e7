"""Sending within SQS's limits, on the SQS API; failures are made at the client's edge."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from fipe_api.aws import queue_publisher
from fipe_api.aws.queue_publisher import Outgoing, send_all
from tests.aws import client


@pytest.fixture
def sqs(endpoint: str) -> Any:
    return client("sqs", endpoint)


@pytest.fixture
def queue(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName=f"queue-{uuid.uuid4().hex}")["QueueUrl"])


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_publisher, "FIRST_BACKOFF_SECONDS", 0.001)


def bodies_in(sqs: Any, queue: str) -> list[str]:
    bodies: list[str] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
    return bodies


def watch_calls(sqs: Any) -> list[int]:
    """The number of entries of each batch sent from now on."""
    sizes: list[int] = []
    sqs.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch", lambda params, **_: sizes.append(len(params["Entries"]))
    )
    return sizes


def refuse(sqs: Any, wanted: Callable[[str], bool], *, sender_fault: bool) -> None:
    """Lets entries with wanted bodies never reach the queue, and answers that they failed."""
    refused: list[dict[str, Any]] = []

    def take_out(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        entries = params["Entries"]
        refused[:] = [entry for entry in entries if wanted(entry["MessageBody"])]
        # SQS takes no empty batch: an entry of its own keeps the call whole.
        filler = {"Id": "filler", "MessageBody": "filler"}
        return {**params, "Entries": [entry for entry in entries if entry not in refused] or [filler]}

    def report(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Failed"] = [
            {"Id": entry["Id"], "SenderFault": sender_fault, "Code": "Refused", "Message": "by the test"}
            for entry in refused
        ]

    sqs.meta.events.register("provide-client-params.sqs.SendMessageBatch", take_out)
    sqs.meta.events.register("after-call.sqs.SendMessageBatch", report)


def test_sends_every_message_in_batches_of_ten(sqs: Any, queue: str) -> None:
    sizes = watch_calls(sqs)
    assert send_all(sqs, [Outgoing(queue, f"message {number}") for number in range(23)]) == {}
    assert sizes == [10, 10, 3]
    assert sorted(bodies_in(sqs, queue)) == sorted(f"message {number}" for number in range(23))


def test_keeps_a_batch_within_the_bytes_of_a_call(sqs: Any, queue: str) -> None:
    sizes = watch_calls(sqs)
    bodies = ["é" * 60_000, "b" * 120_000, "c" * 120_000, "d" * 200_000, "e"]
    assert send_all(sqs, [Outgoing(queue, body) for body in bodies]) == {}
    assert sizes == [2, 1, 2]
    assert sorted(bodies_in(sqs, queue)) == sorted(bodies)


def test_sends_to_each_queue_what_is_for_it(sqs: Any, queue: str) -> None:
    other = sqs.create_queue(QueueName=f"other-{uuid.uuid4().hex}")["QueueUrl"]
    send_all(sqs, [Outgoing(queue, "one"), Outgoing(other, "two"), Outgoing(queue, "three")])
    assert (sorted(bodies_in(sqs, queue)), bodies_in(sqs, other)) == (["one", "three"], ["two"])


def test_hides_a_message_for_its_delay(sqs: Any, queue: str) -> None:
    send_all(sqs, [Outgoing(queue, "later", delay_seconds=3600), Outgoing(queue, "now")])
    assert bodies_in(sqs, queue) == ["now"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"


def test_sends_again_what_a_batch_failed_on_until_it_is_in_the_queue(sqs: Any, queue: str) -> None:
    refusals = iter([True, True, False])
    refuse(sqs, lambda body: body == "unlucky" and next(refusals), sender_fault=False)
    assert send_all(sqs, [Outgoing(queue, "lucky"), Outgoing(queue, "unlucky")]) == {}
    assert sorted(body for body in bodies_in(sqs, queue) if body != "filler") == ["lucky", "unlucky"]


def test_reports_what_keeps_failing_and_sends_the_rest(sqs: Any, queue: str) -> None:
    sizes = watch_calls(sqs)
    refuse(sqs, lambda body: body == "unlucky", sender_fault=False)
    failed = send_all(sqs, [Outgoing(queue, "lucky"), Outgoing(queue, "unlucky")])
    assert [str(failed[1])] == ["Refused: by the test"]
    assert len(failed) == 1
    assert len(sizes) == queue_publisher.ATTEMPTS
    assert [body for body in bodies_in(sqs, queue) if body != "filler"] == ["lucky"]


def test_does_not_send_again_what_is_the_senders_fault(sqs: Any, queue: str) -> None:
    sizes = watch_calls(sqs)
    refuse(sqs, lambda body: body == "wrong", sender_fault=True)
    assert list(send_all(sqs, [Outgoing(queue, "wrong"), Outgoing(queue, "right")])) == [0]
    assert len(sizes) == 1


def test_a_call_that_fails_as_a_whole_is_made_again(sqs: Any, queue: str) -> None:
    fails = iter([True, True, False])

    def fail(**_: Any) -> None:
        if next(fails):
            raise ReadTimeoutError(endpoint_url=queue)

    sqs.meta.events.register("before-call.sqs.SendMessageBatch", fail)
    assert send_all(sqs, [Outgoing(queue, "first"), Outgoing(queue, "second")]) == {}
    assert sorted(bodies_in(sqs, queue)) == ["first", "second"]


def test_messages_of_a_call_that_fails_again_and_again_are_reported_and_the_others_sent(
    sqs: Any, queue: str
) -> None:
    gone = queue.replace("queue-", "gone-")
    messages = [Outgoing(gone, "lost"), Outgoing(queue, "sent"), Outgoing(gone, "lost too")]
    failed = send_all(sqs, messages)
    assert sorted(failed) == [0, 2]
    assert "does not exist" in str(failed[0])
    assert bodies_in(sqs, queue) == ["sent"]
