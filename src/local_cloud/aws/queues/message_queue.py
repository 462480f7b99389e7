"""A standard SQS queue for moto: each operation is atomic and takes the same time at any depth.

moto keeps the messages of a queue in one list, scans the list for each receive, delete and count, and locks
only the append. With thousands of messages and several threads that is slow, and messages get lost or double.
Here every message is in exactly one place (visible, in flight or delayed) and is found by its receipt handle;
one lock protects them all. Semantics follow the SQS developer guide, with visibility and redrive.
"""

import copy
import heapq
import itertools
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from moto import settings
from moto.core.utils import unix_time_millis
from moto.sqs import models as sqs
from moto.sqs.exceptions import InvalidParameterValue, ReceiptHandleIsInvalid, SQSException

from local_cloud.aws.queues.faults import next_message_id
from local_cloud.aws.queues.limits import LONGEST_VISIBILITY_SECONDS, check_attributes

DEAD_LETTER_SOURCE = "DeadLetterQueueSourceArn"
"""The attribute of a message in a dead letter queue that names the queue it came from."""


class MessageNotInflight(SQSException):
    """The message is in the queue, but no receiver holds it."""

    code = "MessageNotInflight"

    def __init__(self) -> None:
        """SQS does not say which message it was."""
        super().__init__("The specified message isn't in flight.")


class StandardQueue(sqs.Queue):
    """moto's queue with its messages indexed; unlike moto's, it invokes no function on a send."""

    def __init__(self, name: str, region: str, account_id: str, **kwargs: Any) -> None:
        """See moto's Queue. Raises InvalidParameterValue for a FIFO queue."""
        self._visible: OrderedDict[str, sqs.Message] = OrderedDict()
        self._in_flight: dict[str, sqs.Message] = {}
        self._delayed: dict[str, sqs.Message] = {}
        # A heap of times, with stale entries for messages whose time has changed since.
        self._due: list[tuple[float, int, sqs.Message]] = []
        self._serial = itertools.count()
        self._message_of: dict[str, sqs.Message] = {}
        self.message_retention_period: int
        self.visibility_timeout: int
        super().__init__(name, region, account_id, **kwargs)
        if self.fifo_queue:
            raise InvalidParameterValue("The local cloud has no FIFO queues: use a standard queue.")

    def _set_attributes(self, attributes: dict[str, Any], now: float | None = None) -> None:
        """Set the given attributes; moto's own version also drops a policy that is not among them."""
        check_attributes(attributes)
        super()._set_attributes({"Policy": getattr(self, "policy", None), **attributes}, now)

    @property
    def physical_resource_id(self) -> str:
        """The queue's URL at this endpoint, so that an output can be used as it is."""
        return f"http://localhost:{settings.moto_server_port()}/{self.account_id}/{self.name}"

    # Counts, as GetQueueAttributes shows them

    @property
    def approximate_number_of_messages(self) -> int:
        """Messages that can be received now."""
        with self._messages_lock:
            self._release_due()
            return len(self._visible)

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        """Messages in flight."""
        with self._messages_lock:
            self._release_due()
            return len(self._in_flight)

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        """Messages whose delay has not passed."""
        with self._messages_lock:
            self._release_due()
            return len(self._delayed)

    @property
    def messages(self) -> list[sqs.Message]:
        """The messages that can be received now."""
        with self._messages_lock:
            self._release_due()
            return list(self._visible.values())

    # What senders and receivers do

    def add_message(self, message: sqs.Message) -> None:
        """Add a message; it is visible once its delay has passed."""
        with self._messages_lock:
            if message.delayed:
                self._delayed[message.id] = message
                self._schedule(message.delayed_until, message)
            else:
                self._visible[message.id] = message
            self._messages_lock.notify_all()

    def receive(
        self,
        count: int,
        wait_seconds: float,
        visibility_seconds: int | None = None,
        attribute_names: Sequence[str] = (),
    ) -> list[sqs.Message]:
        """Up to `count` messages (copies, with the attributes asked for), waiting up to `wait_seconds`.

        They stay invisible for `visibility_seconds`, or for the queue's visibility timeout at that moment.
        A message that was received maxReceiveCount times already goes to the dead letter queue instead.
        """
        until = time.monotonic() + wait_seconds
        while True:
            with self._messages_lock:
                invisible = self.visibility_timeout if visibility_seconds is None else visibility_seconds
                received, dead = self._take(count, invisible)
                if not received and not dead:
                    remaining = until - time.monotonic()
                    if remaining <= 0:
                        return []
                    self._messages_lock.wait(min(remaining, self._seconds_to_next_due()))
            if self.dead_letter_queue is not None:
                for message in dead:  # after the lock is released: the other queue has its own
                    message.system_attributes[DEAD_LETTER_SOURCE] = self.queue_arn
                    self.dead_letter_queue.add_message(message)
            if received:
                return [_copy_with_attributes(message, attribute_names) for message in received]

    def take_visible(self) -> sqs.Message | None:
        """Remove and return a message that can be received now, for a move task; None when there is none."""
        with self._messages_lock:
            self._release_due()
            if not self._visible:
                return None
            _, message = self._visible.popitem(last=False)
            self._forget_handle(message)
            return message

    def delete_message(self, receipt_handle: str) -> None:
        """Delete the message; a handle that is not the newest of its message does nothing, as in SQS."""
        with self._messages_lock:
            message = self._message_of.pop(receipt_handle, None)
            if message is not None:
                self._visible.pop(message.id, None)
                self._in_flight.pop(message.id, None)
                message.visible_at = 0.0
                self.deleted_messages.add(receipt_handle)
            elif receipt_handle not in self.deleted_messages:
                raise ReceiptHandleIsInvalid

    def change_visibility(self, receipt_handle: str, seconds: int) -> None:
        """Make a message in flight visible again in `seconds` from now."""
        with self._messages_lock:
            self._release_due()
            message = self._message_of.get(receipt_handle)
            if message is None and receipt_handle not in self.deleted_messages:
                raise ReceiptHandleIsInvalid
            if message is None:
                raise InvalidParameterValue(
                    f"Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: "
                    "Message does not exist or is not available for visibility timeout change."
                )
            if message.id not in self._in_flight:
                raise MessageNotInflight
            if not 0 <= seconds <= LONGEST_VISIBILITY_SECONDS:
                raise InvalidParameterValue(
                    f"Value {seconds} for parameter VisibilityTimeout is invalid. "
                    f"Reason: Must be >= 0 and <= {LONGEST_VISIBILITY_SECONDS}."
                )
            message.change_visibility(seconds)
            self._schedule(message.visible_at, message)
            self._release_due()
            self._messages_lock.notify_all()

    def purge(self) -> None:
        """Drop every message."""
        with self._messages_lock:
            for place in (self._visible, self._in_flight, self._delayed, self._due, self._message_of):
                place.clear()

    # Inside the lock

    def _take(self, count: int, visibility_seconds: int) -> tuple[list[sqs.Message], list[sqs.Message]]:
        self._release_due()
        received: list[sqs.Message] = []
        dead: list[sqs.Message] = []
        oldest = unix_time_millis() - self.message_retention_period * 1000
        while self._visible and len(received) < count:
            message = self._visible.pop(next_message_id(self._visible))
            if (message.sent_timestamp or 0) < oldest:
                self._forget_handle(message)
            elif self._is_spent(message):
                self._forget_handle(message)
                dead.append(message)
            else:
                self._hand_out(message, visibility_seconds)
                received.append(message)
        return received, dead

    def _is_spent(self, message: sqs.Message) -> bool:
        policy = self.redrive_policy
        if self.dead_letter_queue is None or not policy:
            return False
        return bool(message.approximate_receive_count >= policy["maxReceiveCount"])

    def _hand_out(self, message: sqs.Message, visibility_seconds: int) -> None:
        self._forget_handle(message)
        message.mark_received(visibility_timeout=visibility_seconds)
        assert message.receipt_handle is not None
        self._message_of[message.receipt_handle] = message
        if visibility_seconds:
            self._in_flight[message.id] = message
            self._schedule(message.visible_at, message)
        else:
            self._visible[message.id] = message

    def _forget_handle(self, message: sqs.Message) -> None:
        if message.receipt_handle is not None:
            self._message_of.pop(message.receipt_handle, None)
            self.deleted_messages.add(message.receipt_handle)

    def _schedule(self, due: float, message: sqs.Message) -> None:
        heapq.heappush(self._due, (due, next(self._serial), message))

    def _release_due(self) -> None:
        now = unix_time_millis()
        while self._due and self._due[0][0] <= now:
            due, _, message = heapq.heappop(self._due)
            for place, current in (
                (self._in_flight, message.visible_at),
                (self._delayed, message.delayed_until),
            ):
                if current == due and place.pop(message.id, None) is not None:
                    self._visible[message.id] = message

    def _seconds_to_next_due(self) -> float:
        return max(0.001, (self._due[0][0] - unix_time_millis()) / 1000) if self._due else float("inf")


def _copy_with_attributes(message: sqs.Message, names: Sequence[str]) -> sqs.Message:
    clone = copy.copy(message)
    sqs._filter_message_attributes(clone, list(names))
    return clone
