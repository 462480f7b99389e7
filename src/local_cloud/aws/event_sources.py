"""Event source mappings from SQS: poll a queue, invoke a function with batches, delete what succeeded.

Semantics from the Lambda developer guide, "Using Lambda with Amazon SQS": batch size, batching window or
payload limit ends a batch, whichever comes first. When the function fails, the whole batch stays in the queue
until its visibility timeout; with ReportBatchItemFailures only the messages stay that the function names.
Like the service's own pollers, these reach the queue directly, not over HTTP.
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local_cloud.aws.queues.faults import delete_fails, receive_fails
from local_cloud.aws.queues.message_queue import StandardQueue
from local_cloud.aws.runner.environment import Outcome
from local_cloud.aws.runner.function_runner import RunnerStoppedError, ThrottledError
from local_cloud.aws.runner.limits import LARGEST_EVENT_BYTES

logger = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 5
"""How many batches run at once without a MaximumConcurrency: Lambda starts with as many pollers."""

_RECEIVE_LIMIT = 10
_PAUSE_AFTER_FAILURE_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 1.0  # after that, a poller checks whether its mapping has changed


class QueuePoller:
    """Polls for one event source mapping, in a thread of its own."""

    def __init__(
        self,
        mapping: Any,
        queue: StandardQueue,
        invoke: Callable[[bytes], Outcome],
        is_deleted: Callable[[], bool],
    ) -> None:
        """Poll for moto's `mapping` until it is deleted; reads its settings before each batch."""
        self._mapping = mapping
        self._queue = queue
        self._invoke = invoke
        self._is_deleted = is_deleted
        self._stopping = threading.Event()
        self._slots = _Slots()
        self._running = 0
        self._counting = threading.Lock()
        self._workers = ThreadPoolExecutor(max_workers=1000, thread_name_prefix=f"esm-{mapping.uuid[:8]}")
        self._leftover: list[Any] = []
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Receive no more messages. Batches that run already continue to their end."""
        self._stopping.set()

    @property
    def mapping_id(self) -> str:
        """The id of the event source mapping."""
        return str(self._mapping.uuid)

    @property
    def is_alive(self) -> bool:
        """Whether it polls, or will once its mapping is enabled."""
        return self._thread.is_alive()

    @property
    def running_batches(self) -> int:
        """How many batches the function works on now."""
        return self._running

    def _poll(self) -> None:
        while not self._stopping.is_set() and not self._is_deleted():
            if not self._is_enabled():
                self._stopping.wait(0.2)
                continue
            if not self._slots.take(self._concurrency(), _LONGEST_WAIT_SECONDS):
                continue
            batch = self._gather()
            if batch:
                self._count(1)
                self._workers.submit(self._deliver, batch)
            else:
                self._slots.give_back()
        self._workers.shutdown(wait=False)

    def _is_enabled(self) -> bool:
        return str(self._mapping.enabled).lower() == "true"

    def _concurrency(self) -> int:
        return int((self._mapping.scaling_config or {}).get("MaximumConcurrency", DEFAULT_CONCURRENCY))

    def _gather(self) -> list[Any]:
        """Receive until the batch or its payload is full, or the window since its first message is over."""
        batch, self._leftover = self._leftover, []
        size = sum(_payload_bytes(message) for message in batch)
        window = float(self._mapping.max_batch_window or 0)
        until = time.monotonic() + window
        while len(batch) < self._mapping.batch_size and not self._stopping.is_set():
            if receive_fails():
                self._stopping.wait(_PAUSE_AFTER_FAILURE_SECONDS)
                break
            wait = min(until - time.monotonic(), _LONGEST_WAIT_SECONDS) if batch else _LONGEST_WAIT_SECONDS
            received = self._queue.receive(
                min(_RECEIVE_LIMIT, self._mapping.batch_size - len(batch)),
                max(0.0, wait),
                attribute_names=["All"],
            )
            if received and not batch:
                until = time.monotonic() + window
            for message in received:
                size += _payload_bytes(message)
                (batch if size <= LARGEST_EVENT_BYTES or not batch else self._leftover).append(message)
            window_over = time.monotonic() >= until
            if self._leftover or (not received and (not batch or window_over)) or (window_over and window):
                break
        return batch

    def _deliver(self, batch: Sequence[Any]) -> None:
        try:
            event = {"Records": [_record(message, self._queue) for message in batch]}
            outcome = self._invoke(json.dumps(event, ensure_ascii=False).encode())
            failed = self._failed_ids(outcome, {message.id for message in batch})
            for message in batch:
                if message.id not in failed and not delete_fails():
                    self._queue.delete_message(message.receipt_handle)
        except (ThrottledError, RunnerStoppedError):
            pass  # the messages become visible again after their timeout
        except Exception:
            logger.exception("event source %s of %s", self._mapping.uuid, self._queue.name)
        finally:
            self._count(-1)
            self._slots.give_back()

    def _count(self, change: int) -> None:
        with self._counting:
            self._running += change

    def _failed_ids(self, outcome: Outcome, ids: set[str]) -> set[str]:
        if outcome.is_error:
            return ids
        if "ReportBatchItemFailures" not in (self._mapping.function_response_types or ()):
            return set()
        return failed_message_ids(outcome.payload, ids)


def failed_message_ids(response: bytes, ids: set[str]) -> set[str]:
    """The ids of the messages that a response with batchItemFailures leaves in the queue.

    An empty response, null or an empty list means that all succeeded. A malformed response, or one that names
    a message from outside the batch, means that all failed.
    """
    try:
        document = json.loads(response or b"null")
    except ValueError:
        return ids
    if document is None:
        return set()
    if not isinstance(document, dict):
        return ids
    failures = document.get("batchItemFailures")
    if failures is None:
        return set()
    if not isinstance(failures, list):
        return ids
    named = [failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures]
    if not all(isinstance(name, str) and name in ids for name in named):
        return ids
    return {str(name) for name in named}


class _Slots:
    """Counts running batches, up to a limit that may change."""

    def __init__(self) -> None:
        self.taken = 0
        self._condition = threading.Condition()

    def take(self, limit: int, timeout: float) -> bool:
        with self._condition:
            if not self._condition.wait_for(lambda: self.taken < limit, timeout):
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        with self._condition:
            self.taken -= 1
            self._condition.notify()


def _payload_bytes(message: Any) -> int:
    return len(message.body.encode()) + 1024  # a generous estimate of the record around the body


def _record(message: Any, queue: StandardQueue) -> dict[str, Any]:
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.approximate_receive_count),
            "SentTimestamp": str(message.sent_timestamp),
            "SenderId": message.sender_id,
            "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
        },
        "messageAttributes": {
            name: _message_attribute(value) for name, value in message.message_attributes.items()
        },
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.queue_arn,
        "awsRegion": queue.region,
    }


def _message_attribute(value: dict[str, Any]) -> dict[str, Any]:
    names = {"StringValue": "stringValue", "BinaryValue": "binaryValue", "DataType": "dataType"}
    shaped = {ours: value[theirs] for theirs, ours in names.items() if value.get(theirs) is not None}
    if isinstance(shaped.get("binaryValue"), bytes):
        shaped["binaryValue"] = base64.b64encode(shaped["binaryValue"]).decode()
    return {**shaped, "stringListValues": [], "binaryListValues": []}
