"""Works on a batch of SQS messages one by one, then sends all results together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import BotoCoreError, ClientError

from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.self_check import is_dropped

Result = TypeVar("Result")


def process_batch(
    event: dict[str, Any],
    work: Callable[[str], Result],
    hand_on: Callable[[Sequence[Result]], Mapping[int, Exception]],
    retry: Callable[[SQSRecord], None] | None = None,
) -> PartialItemFailureResponse:
    """Works on a batch. Messages of a check are dropped first.

    Args:
        event: an event of an SQS event source that reports partial batch failures.
        work: takes a message's body; raises if the message failed.
        hand_on: takes the results of all messages that did not fail; returns the error of each result that
            could not be handed on, by position.
        retry: decides when a failed message is tried again; without it, the visibility timeout does.

    Returns:
        Which messages failed, as Lambda wants it.
    """
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    records = [record for record in event["Records"] if not is_dropped(record)]
    with processor(records=records, handler=lambda record: work(record.body)):
        worked = [
            (SQSRecord(record), result)
            for outcome, result, record in processor.process()
            if outcome == "success"
        ]
        for position, error in hand_on([result for _, result in worked]).items():
            processor.failure_handler(worked[position][0], (type(error), error, error.__traceback__))
    for record, (_, failure, _) in zip(processor.fail_messages, processor.exceptions, strict=True):
        assert isinstance(record, SQSRecord)
        logger.warning(
            "message failed",
            message_id=record.message_id,
            receives=record.attributes.approximate_receive_count,
            error=f"{type(failure).__name__}: {failure}",
            notes=getattr(failure, "__notes__", []),
        )
        if retry is not None:
            _retry(record, retry)
    metrics.add_metric("MessagesFailed", "Count", len(processor.fail_messages))
    return processor.response()


def _retry(record: SQSRecord, retry: Callable[[SQSRecord], None]) -> None:
    """Decides when a message is tried again; if SQS fails at that, the visibility timeout decides."""
    try:
        retry(record)
    except (BotoCoreError, ClientError) as error:
        # Not raised: it would fail the messages that succeeded, too.
        logger.warning("cannot retry soon", message_id=record.message_id, error=str(error))
