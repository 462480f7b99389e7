"""The redrive of a dead letter queue by SQS itself: the MessageMoveTask calls, which moto lacks.

Semantics from the SQS API reference and the developer guide, "Configure a dead-letter queue redrive".
"""

import base64
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from moto.core.utils import unix_time_millis
from moto.sqs.exceptions import InvalidParameterValue, SQSException
from moto.sqs.models import Message

from local_cloud.aws.queues.message_queue import DEAD_LETTER_SOURCE, StandardQueue

HIGHEST_RATE = 500
"""Messages per second: the highest rate of a task, and its rate here when none is given."""
MOST_LISTED = 10


class ResourceNotFound(SQSException):
    """The queue or the task does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceNotFoundException", message)


class UnsupportedOperation(SQSException):
    """The state of the queue or the task does not allow this."""

    def __init__(self, message: str) -> None:
        super().__init__("AWS.SimpleQueueService.UnsupportedOperation", message)


@dataclass
class _Task:
    source: StandardQueue
    destination: StandardQueue | None
    rate: int | None
    to_move: int
    started_at: int = field(default_factory=lambda: int(unix_time_millis()))
    moved: int = 0
    status: Literal["RUNNING", "COMPLETED", "CANCELLED", "FAILED"] = "RUNNING"
    failure: str | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def handle(self) -> str:
        names = {"taskId": self.id, "sourceArn": self.source.queue_arn}
        return base64.b64encode(json.dumps(names).encode()).decode()

    def described(self) -> dict[str, Any]:
        """An entry of ListMessageMoveTasks; it has the handle only while the task runs."""
        entry = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source.queue_arn,
            "DestinationArn": self.destination.queue_arn if self.destination else None,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started_at,
        }
        return {name: value for name, value in entry.items() if value is not None}


class MessageMoves:
    """The move tasks of all queues of a region; at most one per dead letter queue runs at a time."""

    def __init__(self, queues: Callable[[], dict[str, StandardQueue]]) -> None:
        """`queues` gives the queues by their ARN, as they are now."""
        self._queues = queues
        self._lock = threading.Lock()
        self._tasks: list[_Task] = []

    def start(self, source_arn: str, destination_arn: str | None, rate: int | None) -> str:
        """Move the visible messages of a dead letter queue in the background; returns the task's handle.

        Without a destination each message goes back to the queue that it came from.

        Raises:
            SQSException: SQS would refuse this call.
        """
        source = self._queue(source_arn, "SourceArn")
        destination = self._queue(destination_arn, "DestinationArn") if destination_arn else None
        if destination is source:
            raise InvalidParameterValue("Source queue arn and destination queue arn cannot be the same.")
        if rate is not None and not 1 <= rate <= HIGHEST_RATE:
            raise InvalidParameterValue(
                f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. "
                f"Reason: Must be between 1 and {HIGHEST_RATE}, if provided."
            )
        if all(queue.dead_letter_queue is not source for queue in self._queues().values()):
            raise InvalidParameterValue("Source queue must be configured as a Dead Letter Queue.")
        with self._lock:
            if any(task.status == "RUNNING" for task in self._tasks if task.source is source):
                raise UnsupportedOperation(
                    "There is already a task running. "
                    "Only one active task is allowed for a source queue arn at a given time."
                )
            task = _Task(source, destination, rate, source.approximate_number_of_messages)
            self._tasks.append(task)
        threading.Thread(target=self._run, args=(task,), name=f"move {source.name}", daemon=True).start()
        return task.handle

    def list(self, source_arn: str, limit: int | None) -> list[dict[str, Any]]:
        """The newest tasks of a queue, newest first: one, or up to `limit` (ten at most)."""
        source = self._queue(source_arn, "SourceArn")
        limit = 1 if limit is None else limit
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidParameterValue(
                f"Value {limit} for parameter MaxResults is invalid. "
                f"Reason: Must be between 1 and {MOST_LISTED}, if provided."
            )
        tasks = [task for task in self._tasks if task.source is source]
        return [task.described() for task in reversed(tasks[-limit:])]

    def cancel(self, handle: str) -> int:
        """Stop a task; returns how many messages it has moved. They stay moved."""
        task = next((task for task in self._tasks if task.handle == handle), None)
        if task is None:
            raise ResourceNotFound("Task does not exist.")
        with self._lock:
            if task.status != "RUNNING":
                raise UnsupportedOperation("Only active tasks can be cancelled.")
            task.status = "CANCELLED"
        task.cancelled.set()
        return task.moved

    def _queue(self, arn: str, parameter: str) -> StandardQueue:
        try:
            return self._queues()[arn]
        except KeyError:
            raise ResourceNotFound(
                f"The resource that you specified for the {parameter} parameter doesn't exist."
            ) from None

    def _run(self, task: _Task) -> None:
        while task.moved < task.to_move and (dead := task.source.take_visible()) is not None:
            destination = task.destination or self._origin(dead)
            if destination is None:  # it was sent directly to the dead letter queue
                task.source.add_message(dead)
                self._end(task, "FAILED", "CouldNotDetermineMessageSource")
                return
            destination.add_message(_renewed(dead))
            task.moved += 1
            if task.cancelled.wait(1 / (task.rate or HIGHEST_RATE)):
                return
        self._end(task, "COMPLETED")

    def _origin(self, message: Message) -> StandardQueue | None:
        return self._queues().get(message.system_attributes.get(DEAD_LETTER_SOURCE, ""))

    def _end(self, task: _Task, status: Literal["COMPLETED", "FAILED"], failure: str | None = None) -> None:
        with self._lock:
            if task.status == "RUNNING":
                task.status, task.failure = status, failure


def _renewed(message: Message) -> Message:
    """A moved message is a new one: it has a new id, it is sent now and was never received."""
    attributes = {
        name: value for name, value in message.system_attributes.items() if name != DEAD_LETTER_SOURCE
    }
    renewed = Message(str(uuid.uuid4()), message.body, attributes)
    renewed.message_attributes = message.message_attributes
    renewed.mark_sent()
    return renewed
