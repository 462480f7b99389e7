"""A batch of SQS messages: each is worked on alone, then all results are handed on together.

Powertools' BatchProcessor does the first half, but imports asyncio and all kinds of events.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fipe_api.observability import logger, metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

Result = TypeVar("Result")
Record = Mapping[str, Any]
"""A message as Lambda's SQS events hold it: messageId, receiptHandle, body, attributes."""


def process_batch(
    event: dict[str, Any],
    work: Callable[[str], Result],
    hand_on: Callable[[Sequence[Result]], Mapping[int, Exception]],
    retry: Callable[[Record], None] | None = None,
) -> "PartialItemFailureResponse":
    """Answers an event of an SQS event source that asks for partial batch failures: which messages failed.

    Args:
        event: the event.
        work: takes a message's body; raises when that message failed.
        hand_on: takes the results of all messages that did not fail; answers the errors of those results
            that could not be handed on, by position.
        retry: arranges when a failed message is tried again; without it, the queue's visibility timeout does.
    """
    records: list[Record] = event["Records"]
    results: dict[int, Result] = {}
    failures: dict[int, Exception] = {}
    for position, record in enumerate(records):
        try:
            results[position] = work(record["body"])
        except Exception as error:
            failures[position] = error
    worked = list(results)
    for index, failure in hand_on(list(results.values())).items():
        failures[worked[index]] = failure
    failed = [(records[position], failures[position]) for position in sorted(failures)]
    for record, failure in failed:
        logger.warning(
            "message failed",
            message_id=record["messageId"],
            receives=record["attributes"]["ApproximateReceiveCount"],
            error=f"{type(failure).__name__}: {failure}",
            notes=getattr(failure, "__notes__", []),
        )
        if retry is not None:
            retry(record)
    metrics.add_metric("MessagesFailed", "Count", len(failed))
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record, _ in failed]}
