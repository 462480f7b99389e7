"""How the loaders send their results: to the next queue, to the ledger, or back to their own queue."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

from fipe_api.aws.clients import sqs_client
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing, SendError, send_all
from fipe_api.environment import consumer_environment, loader_environment
from fipe_api.load.denials import note_denied
from fipe_api.messages import (
    BrandMessage,
    BrandPlanMessage,
    Message,
    ModelMessage,
    RunPlanMessage,
    Unfinished,
    to_json,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

LONGEST_RETRY_DELAY_SECONDS = 900


def outgoing(outcome: Sequence[Message] | Unfinished) -> list[Outgoing]:
    """The messages to send after the work on one message.

    Results go to the next queue and plans to the ledger's. Unfinished work goes back to its own queue.
    """
    if isinstance(outcome, Unfinished):
        return [handed_back(outcome, consumer_environment().sqs_input_url)]
    return [Outgoing(_queue_of(message), to_json(message)) for message in outcome]


def publish(results: Sequence[Sequence[Outgoing]]) -> Mapping[int, SendError]:
    """Sends the results of several messages together. What goes on with the work is sent after the rest.

    Returns:
        The error of each result that could not be sent whole, by its position.
    """
    failed: dict[int, SendError] = {}
    for goes_on in (False, True):
        flat = [
            (position, message)
            for position, result in enumerate(results)
            for message in result
            if message.goes_on is goes_on and position not in failed
        ]
        errors = send_all(sqs_client(), [message for _, message in flat])
        failed |= {flat[index][0]: error for index, error in errors.items()}
    return failed


def retry_soon(record: "SQSRecord") -> None:
    """Makes a failed message visible after a delay that doubles with each receive.

    Without this, the message would stay hidden for the queue's visibility timeout, which is long because it
    has to cover the longest invocation.
    """
    receives = int(record.attributes.approximate_receive_count)
    delay = consumer_environment().retry_delay_seconds * 2 ** (receives - 1)
    sqs_client().change_message_visibility(
        QueueUrl=consumer_environment().sqs_input_url,
        ReceiptHandle=record.receipt_handle,
        VisibilityTimeout=min(delay, LONGEST_RETRY_DELAY_SECONDS),
    )


def handed_back(unfinished: Unfinished, queue_url: str) -> Outgoing:
    """Unfinished work as a fresh message, which does not count the receives so far."""
    message = unfinished.message
    # A message can be sent back for days without ever failing, so each time is logged and counted.
    logger.info(
        "handed back",
        run_id=str(message.run_id),
        brand=message.brand.name if isinstance(message, BrandMessage | ModelMessage) else None,
        model=message.model.name if isinstance(message, ModelMessage) else None,
        rounds=getattr(message, "rounds", None),
        retry_in=unfinished.retry_in,
    )
    metrics.add_metric("MessagesHandedBack", "Count", 1)
    if unfinished.denied_until is not None:
        note_denied(unfinished.denied_until)
    return Outgoing(queue_url, to_json(message), ceil(unfinished.retry_in), goes_on=True)


def _queue_of(message: Message) -> str:
    is_plan = isinstance(message, RunPlanMessage | BrandPlanMessage)
    return loader_environment().sqs_ledger_url if is_plan else loader_environment().sqs_output_url
