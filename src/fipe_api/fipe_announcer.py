"""FipeAnnouncer: tells the stage's SNS topic what has happened to loads.

The ledger knows it, and no function beside the database reaches SNS. So each start of a load sends a message
that looks whether there is something to tell, and sends itself again, with a delay, until the load is over.
Without a load there is no such message, so nothing costs anything and nothing wakes the database.

An announcement that SNS has taken is marked as told. A function that dies between the two tells it again,
with the same id.
"""

import json
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, ValidationError, to_builtins
from msgspec.json import Decoder
from msgspec.structs import replace

from fipe_api.aws.batch import process_batch
from fipe_api.aws.clients import client, invoke
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import MAX_DELAY_SECONDS, Outgoing
from fipe_api.aws.self_check import answers_checks
from fipe_api.environment import announcer_environment
from fipe_api.load.announcement import Document
from fipe_api.load.outbox import publish, retry_soon
from fipe_api.load.stability import LoadStatusError
from fipe_api.messages import ANNOUNCEMENT_QUEUE, ListEndedMessage, LookMessage, to_json

FIRST_PAUSE_SECONDS = 1.0
PART_OF_LOAD = 10
"""The pause between two looks is this part of the time that the load has taken so far, up to SQS's longest
delay: so a load is told soon, whether it takes seconds or a day."""
LONGEST_PAUSE_SECONDS = 4 * 3600.0
"""While nothing arrives, the pauses grow with the time that nothing did: each look may wake the database."""
LATE_SECONDS = 1800.0
"""A load that is over is looked at for so long after its last result. What is resumed comes within this time,
and so do the answers to messages that SQS delivers twice."""
LOST_SECONDS = 4 * 86_400.0
"""A load that has got nothing for so long gets nothing any more: the queues have deleted its messages."""
UNTOLD_SECONDS = 60.0
"""When to look again at what another function has claimed, and may fail to tell."""
LOOKS_FAILED = "LooksFailed"
"""A metric. While it is counted, an alarm speaks, since this function cannot."""
FAILURES = 200
"""A look that fails is tried for about two days. Then the alarm of the DLQ goes off."""


class _Announced(Struct):
    claimed: Document | None
    untold: int
    is_open: bool
    quiet: float


class _Answer(Struct):
    announce: _Announced


_ANSWER = Decoder(_Answer)


@answers_checks(lambda _: {})
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:  # noqa: ARG001
    """Works on a batch of the announcement queue; returns which messages failed."""
    return process_batch(event, _work, publish, retry_soon)


def _work(body: str) -> list[Outgoing]:
    message = ANNOUNCEMENT_QUEUE.decode(body)
    if isinstance(message, ListEndedMessage):
        seen = _tell_all({"ended_list": message})
        return [_look_in(LookMessage(began_at=message.ended_at), UNTOLD_SECONDS)] if seen.untold else []
    now = datetime.now(UTC)
    if message.not_before and message.not_before > now:
        return [_look_in(message, (message.not_before - now).total_seconds())]
    try:
        seen = _tell_all(
            {"run_id": message.run_id, "reference": message.reference, "began_at": message.began_at}
        )
    except (BotoCoreError, ClientError, LoadStatusError) as error:
        metrics.add_metric(LOOKS_FAILED, "Count", 1)
        if message.failures >= FAILURES:
            raise
        logger.warning("cannot look at the ledger", run_id=str(message.run_id), error=str(error))
        failed = replace(message, failures=message.failures + 1)
        return [_look_in(failed, min(UNTOLD_SECONDS * failed.failures, MAX_DELAY_SECONDS))]
    pause = pause_after(seen.is_open, seen.quiet, (now - message.began_at).total_seconds())
    if pause is None and seen.untold:
        pause = UNTOLD_SECONDS
    # What SNS does not take stays untold.
    failures = message.failures if seen.untold else 0
    return [] if pause is None else [_look_in(replace(message, failures=failures), pause)]


def pause_after(is_open: bool, quiet: float, elapsed: float) -> float | None:
    """When to look again at a load, in seconds; None if it is over.

    Args:
        is_open: whether it still waits for results.
        quiet: for how many seconds it has got nothing.
        elapsed: seconds since it began, or was resumed.
    """
    if not is_open:
        return max(FIRST_PAUSE_SECONDS, quiet) if quiet < LATE_SECONDS else None
    if quiet >= LOST_SECONDS:
        return None
    usual = min(max(FIRST_PAUSE_SECONDS, elapsed / PART_OF_LOAD), MAX_DELAY_SECONDS)
    stalled = announcer_environment().stalled_hours * 3600
    longest = max(usual, stalled - quiet) if quiet < stalled else LONGEST_PAUSE_SECONDS
    return min(max(usual, quiet), longest)


def _look_in(message: LookMessage, seconds: float) -> Outgoing:
    """The message that looks next."""
    due = datetime.now(UTC) + timedelta(seconds=seconds) if seconds > MAX_DELAY_SECONDS else None
    return Outgoing(
        announcer_environment().sqs_input_url,
        to_json(replace(message, not_before=due)),
        ceil(min(seconds, MAX_DELAY_SECONDS)),
        goes_on=True,
    )


def _tell_all(look: dict[str, Any]) -> _Announced:
    """Tells all that is untold and that nobody else tells; returns what FipeLoadStatus answered last.

    Raises:
        LoadStatusError: FipeLoadStatus failed.
        ClientError, BotoCoreError: it cannot be invoked, or SNS did not take an announcement.
    """
    told: list[Any] = []
    while True:
        seen = _ask({**look, "told": told})
        if seen.claimed is None:
            return seen
        tell(seen.claimed)
        told = [seen.claimed.id]


def tell(document: Document) -> None:
    """Publishes an announcement to the stage's topic.

    Raises:
        ClientError, BotoCoreError: SNS did not take it, or its answer was lost.
    """
    environment = announcer_environment()
    text, body = document.text, json.dumps(to_builtins(document), ensure_ascii=False)
    client("sns").publish(
        TopicArn=environment.announcement_topic_arn,
        Subject=document.subject,
        MessageStructure="json",
        Message=json.dumps(
            {"default": text, "email": text, **dict.fromkeys(("sqs", "lambda", "http", "https"), body)}
        ),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value}
            for name, value in (("kind", document.kind), ("stage", document.stage))
        },
    )
    logger.info("told", announcement=str(document.id), kind=document.kind, run_id=str(document.run_id))
    metrics.add_metric("AnnouncementsTold", "Count", 1)


def _ask(look: dict[str, Any]) -> _Announced:
    environment = announcer_environment()
    question = {
        "stage": environment.stage,
        "stalled_after": environment.stalled_hours * 3600,
        **look,
    }
    answer = invoke(client("lambda"), environment.load_status_function, {"announce": to_builtins(question)})
    payload = answer["Payload"].read()
    try:
        return _ANSWER.decode(payload).announce
    except ValidationError as error:
        raise LoadStatusError(
            f"{environment.load_status_function}: {payload.decode(errors='replace')[:300]}"
        ) from error
