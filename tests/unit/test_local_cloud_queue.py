"""The local cloud's SQS queue: visibility, receipts, redrive, nothing lost or doubled under threads."""

import threading
import time
from collections import Counter

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sqs.exceptions import InvalidParameterValue, ReceiptHandleIsInvalid
from moto.sqs.models import Message

from local_cloud.aws.queues.message_queue import MessageNotInflight, StandardQueue


def a_queue(name: str = "work", **attributes: object) -> StandardQueue:
    return StandardQueue(name, "us-east-1", DEFAULT_ACCOUNT_ID, **attributes)


def a_queue_with_dead_letters(max_receives: int) -> tuple[StandardQueue, StandardQueue]:
    queue, dead = a_queue(), a_queue("dead")
    queue.dead_letter_queue = dead
    queue.redrive_policy = {"deadLetterTargetArn": dead.queue_arn, "maxReceiveCount": max_receives}
    return queue, dead


def put(queue: StandardQueue, *bodies: str, delay: int = 0) -> None:
    for body in bodies:
        message = Message(f"id-of-{body}", body)
        message.mark_sent(delay)
        queue.add_message(message)


def receive(queue: StandardQueue, count: int = 10, wait: float = 0, visibility: int = 30) -> list[Message]:
    return queue.receive(count, wait, visibility)


def counts(queue: StandardQueue) -> tuple[int, int, int]:
    return (
        queue.approximate_number_of_messages,
        queue.approximate_number_of_messages_not_visible,
        queue.approximate_number_of_messages_delayed,
    )


def test_gives_a_message_to_one_receiver_at_a_time() -> None:
    queue = a_queue()
    put(queue, "a", "b")
    assert [message.body for message in receive(queue)] == ["a", "b"]
    assert receive(queue) == []
    assert counts(queue) == (0, 2, 0)


def test_a_waiting_receiver_uses_the_visibility_timeout_that_was_set_meanwhile() -> None:
    queue = a_queue(VisibilityTimeout=60)
    waiting = threading.Thread(target=queue.receive, args=(10, 5))
    waiting.start()
    time.sleep(0.1)
    queue.visibility_timeout = 1
    put(queue, "a")
    waiting.join()
    (again,) = receive(queue, wait=5)
    assert again.approximate_receive_count == 2


def test_gives_a_message_again_after_its_visibility_timeout_and_counts_the_receives() -> None:
    queue = a_queue()
    put(queue, "a")
    receive(queue, visibility=1)
    (again,) = receive(queue, wait=5)
    assert again.approximate_receive_count == 2


def test_keeps_a_delayed_message_back() -> None:
    queue = a_queue()
    put(queue, "later", delay=1)
    assert counts(queue) == (0, 0, 1)
    assert receive(queue) == []
    assert [message.body for message in receive(queue, wait=5)] == ["later"]


def test_wakes_a_waiting_receiver_when_a_message_comes() -> None:
    queue = a_queue()
    threading.Timer(0.1, put, (queue, "a")).start()
    assert [message.body for message in receive(queue, wait=20)] == ["a"]


def test_deletes_by_the_newest_receipt_handle_only() -> None:
    queue = a_queue()
    put(queue, "a")
    (first,) = receive(queue)
    queue.change_visibility(first.receipt_handle, 0)
    (second,) = receive(queue)
    queue.delete_message(first.receipt_handle)
    assert counts(queue) == (0, 1, 0)
    queue.delete_message(second.receipt_handle)
    queue.delete_message(second.receipt_handle)
    assert counts(queue) == (0, 0, 0)


def test_refuses_a_receipt_handle_it_never_gave() -> None:
    with pytest.raises(ReceiptHandleIsInvalid):
        a_queue().delete_message("nonsense")


def test_shortens_and_lengthens_the_visibility_of_a_message_in_flight() -> None:
    queue = a_queue()
    put(queue, "short", "long")
    short, long = receive(queue, visibility=1)
    queue.change_visibility(short.receipt_handle, 0)
    queue.change_visibility(long.receipt_handle, 60)
    assert [message.body for message in receive(queue)] == ["short"]
    time.sleep(1.1)
    assert receive(queue) == []


def test_does_not_change_the_visibility_of_a_message_that_no_receiver_holds() -> None:
    queue = a_queue()
    put(queue, "a")
    (message,) = receive(queue)
    queue.change_visibility(message.receipt_handle, 0)
    with pytest.raises(MessageNotInflight):
        queue.change_visibility(message.receipt_handle, 10)
    queue.delete_message(message.receipt_handle)
    with pytest.raises(InvalidParameterValue):
        queue.change_visibility(message.receipt_handle, 10)


@pytest.mark.parametrize("by", ["timeout", "change of visibility"])
def test_moves_a_message_to_the_dead_letter_queue_after_its_last_receive(by: str) -> None:
    queue, dead = a_queue_with_dead_letters(max_receives=3)
    put(queue, "poison")
    for attempt in (1, 2, 3):
        (message,) = receive(queue, wait=5, visibility=1 if by == "timeout" else 30)
        assert message.approximate_receive_count == attempt
        if by != "timeout":
            queue.change_visibility(message.receipt_handle, 0)
    assert receive(queue, wait=1.5) == []
    assert counts(queue) == (0, 0, 0)
    assert [message.body for message in receive(dead)] == ["poison"]


def test_drops_a_message_that_is_older_than_its_retention() -> None:
    queue = a_queue(MessageRetentionPeriod=60)
    put(queue, "old")
    queue.messages[0].sent_timestamp -= 61_000
    assert receive(queue) == []
    assert counts(queue) == (0, 0, 0)


def test_empties_on_purge() -> None:
    queue = a_queue()
    put(queue, "a", "b")
    receive(queue, count=1)
    queue.purge()
    assert counts(queue) == (0, 0, 0)


def test_gives_the_message_attributes_that_were_asked_for() -> None:
    queue = a_queue()
    message = Message("id", "body")
    message.mark_sent()
    message.message_attributes = {"kept": {"DataType": "String"}, "left": {"DataType": "String"}}
    queue.add_message(message)
    (received,) = queue.receive(1, 0, 30, ["kept"])
    assert list(received.message_attributes) == ["kept"]


def test_loses_and_doubles_nothing_with_many_senders_and_receivers() -> None:
    queue, dead = a_queue_with_dead_letters(max_receives=100)
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def send(sender: int) -> None:
        put(queue, *(f"{sender}-{n}" for n in range(500)))

    def consume() -> None:
        while messages := receive(queue, wait=1):
            for message in messages:
                queue.delete_message(message.receipt_handle)
            with lock:
                seen.update(message.body for message in messages)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 2000
    assert set(seen.values()) == {1}
    assert counts(queue) == counts(dead) == (0, 0, 0)


def test_remembers_where_a_dead_message_came_from() -> None:
    queue, dead = a_queue_with_dead_letters(max_receives=1)
    put(queue, "a")
    receive(queue, visibility=0)
    assert receive(queue) == []
    (message,) = receive(dead)
    assert message.system_attributes["DeadLetterQueueSourceArn"] == queue.queue_arn
