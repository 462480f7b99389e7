"""A batch of SQS messages: each is worked on alone, then all results are handed on together.

Only a message that failed is reported, and becomes visible after a short retry delay: the queue's visibility
timeout has to cover the longest invocation, and would be a long wait.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from fipe_api.environment import ConsumerEnvironment
from fipe_api.observability import logger, metrics

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

Result = TypeVar("Result")

LONGEST_RETRY_DELAY_SECONDS = 900


def process_batch(
    event: dict[str, Any],
    work: Callable[[str], Result],
    hand_on: Callable[[Sequence[Result]], Mapping[int, Exception]],
    sqs: "SQSClient",
    environment: ConsumerEnvironment,
) -> PartialItemFailureResponse:
    """Answers an event of an SQS event source that asks for partial batch failures.

    Args:
        event: the event.
        work: takes a message's body; raises when that message failed.
        hand_on: takes the results of all messages that did not fail; answers the errors of those results
            that could not be handed on, by position.
        sqs: a client to change the visibility of failed messages.
        environment: the queue that the messages came from, and its first retry delay.
    """
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(records=event["Records"], handler=lambda record: work(record.body)):
        worked = [
            (SQSRecord(record), result)
            for outcome, result, record in processor.process()
            if outcome == "success"
        ]
        for position, error in hand_on([result for _, result in worked]).items():
            processor.failure_handler(worked[position][0], (type(error), error, error.__traceback__))
    for record, (_, failure, _) in zip(processor.fail_messages, processor.exceptions, strict=True):
        assert isinstance(record, SQSRecord)
        _retry_soon(record, failure, sqs, environment)
    metrics.add_metric("MessagesFailed", "Count", len(processor.fail_messages))
    return processor.response()


def _retry_soon(
    record: SQSRecord, failure: BaseException | None, sqs: "SQSClient", environment: ConsumerEnvironment
) -> None:
    receives = int(record.attributes.approximate_receive_count)
    delay = min(environment.retry_delay_seconds * 2 ** (receives - 1), LONGEST_RETRY_DELAY_SECONDS)
    logger.warning(
        "message failed",
        message_id=record.message_id,
        receives=receives,
        retry_in_seconds=delay,
        error=f"{type(failure).__name__}: {failure}",
        notes=getattr(failure, "__notes__", []),
    )
    sqs.change_message_visibility(
        QueueUrl=environment.sqs_input_url, ReceiptHandle=record.receipt_handle, VisibilityTimeout=delay
    )
