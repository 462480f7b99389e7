"""Patches of moto's SQS."""

import functools
from typing import Any

from moto.core.responses import ActionResult
from moto.sqs import models as sqs
from moto.sqs.responses import SQSResponse

from local_cloud.aws.moto_patches.members import add, replace
from local_cloud.aws.queues.faults import split_entries
from local_cloud.aws.queues.limits import check_batch, check_body, unacceptable_entries
from local_cloud.aws.queues.message_moves import MessageMoves
from local_cloud.aws.queues.message_queue import StandardQueue


def index_queues() -> None:
    """moto's queue slows down with its depth and is not thread-safe; see queues.message_queue."""
    moto_queue = sqs.Queue
    replace(sqs, Queue=StandardQueue)

    def receive_message(
        self: Any,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Any]:
        queue = self.get_queue(queue_name)
        found: list[Any] = queue.receive(
            count, wait_seconds_timeout, visibility_timeout, message_attribute_names or []
        )
        return found

    def change_message_visibility(
        self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int
    ) -> None:
        self.get_queue(queue_name).change_visibility(receipt_handle, int(visibility_timeout))

    def purge_queue(self: Any, queue_name: str) -> None:
        self.get_queue(queue_name).purge()

    def update_from_template(
        original_resource: Any,
        new_resource_name: str,  # noqa: ARG001
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Any:
        attributes = {
            name: value
            for name, value in cloudformation_json["Properties"].items()
            if name in StandardQueue.BASE_ATTRIBUTES
        }
        backend = sqs.sqs_backends[account_id][region_name]
        return backend.set_queue_attributes(original_resource.name, attributes)

    replace(
        sqs.SQSBackend,
        receive_message=receive_message,
        change_message_visibility=change_message_visibility,
        purge_queue=purge_queue,
    )
    # When a template changes a queue, moto updates only two of its attributes.
    replace(moto_queue, update_from_cloudformation_json=staticmethod(update_from_template))


def inject_queue_faults() -> None:
    """Apply the faults that are set to batches as they are sent; see queues.faults."""
    send = sqs.SQSBackend.send_message_batch

    def send_message_batch(
        self: Any, queue_name: str, entries: dict[str, dict[str, Any]]
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        taken, twice, failed = split_entries(entries)
        messages, refused = send(self, queue_name, taken) if taken else ([], [])
        if twice:
            send(self, queue_name, twice)
        return messages, [*refused, *failed]

    replace(sqs.SQSBackend, send_message_batch=send_message_batch)


def refuse_what_sqs_refuses() -> None:
    """moto counts characters where SQS counts bytes, and accepts any character; see queues.limits."""
    validate = sqs.SQSBackend._validate_message
    send_batch = sqs.SQSBackend.send_message_batch

    def validate_message(self: Any, queue: Any, message_body: str, *args: Any, **kwargs: Any) -> None:
        check_body(message_body, queue.maximum_message_size)
        validate(self, queue, message_body, *args, **kwargs)

    def send_message_batch(
        self: Any, queue_name: str, entries: dict[str, dict[str, Any]]
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        check_batch(entry["MessageBody"] for entry in entries.values())
        failed = unacceptable_entries(entries)
        accepted = {key: entry for key, entry in entries.items() if key not in failed}
        messages, refused = send_batch(self, queue_name, accepted)
        return messages, [*failed.values(), *refused]

    replace(sqs.SQSBackend, _validate_message=validate_message, send_message_batch=send_message_batch)


def move_messages() -> None:
    """moto has no StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask."""

    @functools.cache
    def moves(backend: Any) -> MessageMoves:
        return MessageMoves(lambda: {queue.queue_arn: queue for queue in backend.queues.values()})

    def start_message_move_task(self: Any) -> ActionResult:
        handle = moves(self.sqs_backend).start(
            self._get_param("SourceArn"),
            self._get_param("DestinationArn"),
            self._get_param("MaxNumberOfMessagesPerSecond"),
        )
        return ActionResult({"TaskHandle": handle})

    def list_message_move_tasks(self: Any) -> ActionResult:
        tasks = moves(self.sqs_backend).list(self._get_param("SourceArn"), self._get_param("MaxResults"))
        return ActionResult({"Results": tasks})

    def cancel_message_move_task(self: Any) -> ActionResult:
        moved = moves(self.sqs_backend).cancel(self._get_param("TaskHandle"))
        return ActionResult({"ApproximateNumberOfMessagesMoved": moved})

    add(
        SQSResponse,
        start_message_move_task=start_message_move_task,
        list_message_move_tasks=list_message_move_tasks,
        cancel_message_move_task=cancel_message_move_task,
    )
