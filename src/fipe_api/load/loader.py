"""What the three loaders share: the client of the source with its pace, and the way results are handed on."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import requests
from aws_lambda_powertools.utilities.typing import LambdaContext
from requests.utils import get_environ_proxies

from fipe_api.aws.clients import client
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing, SendError, send_all
from fipe_api.environment import ConsumerEnvironment, LoaderEnvironment, read_environment
from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import (
    BrandPlanMessage,
    ModelMessage,
    ModelQueueMessage,
    PriceQueueMessage,
    Reference,
    RejectedAnswerMessage,
    RunPlanMessage,
    Unfinished,
    to_json,
)
from fipe_api.source.fallback import DailyPace, WithFallback
from fipe_api.source.http_source import HttpSource, Observer, RejectedAnswer
from fipe_api.source.pace import Pace, SharedPace, Unpaced
from fipe_api.source.parallelum import ParallelumApi
from fipe_api.source.price_source import PriceSource

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from types_boto3_sqs import SQSClient

LONGEST_RETRY_DELAY_SECONDS = 900
TOKEN_SECONDS = 300
PARALLELUM: Literal["parallelum"] = "parallelum"
RESERVED_SECONDS = 10.0
"""Kept at the end of an invocation for handing on what is done."""


@cache
def environment() -> LoaderEnvironment:
    """The loader's configuration."""
    return read_environment(LoaderEnvironment)


@cache
def consumer_environment() -> ConsumerEnvironment:
    """The configuration of a loader that is fed from a queue."""
    return read_environment(ConsumerEnvironment)


@cache
def sqs_client() -> "SQSClient":
    """The SQS client of this execution environment."""
    return client("sqs")  # type: ignore[no-any-return]


class Reporter(Observer):
    """Counts what the calls of a run met, and sends answers that were rejected to the quarantine.

    Args:
        run_id: the run.
        reference: the reference that is worked on, if one is.
    """

    def __init__(self, run_id: UUID, reference: Reference | None) -> None:
        self._run_id = run_id
        self._reference = reference

    def count(self, metric: str) -> None:
        """See Observer."""
        metrics.add_metric(metric, "Count", 1)

    def rejected(self, answer: RejectedAnswer) -> None:
        """See Observer. An answer that cannot be sent is in the log all the same."""
        logger.warning("answer rejected", run_id=str(self._run_id), **answer._asdict())
        queue = environment().rejected_answers_url
        if queue:
            message = RejectedAnswerMessage(
                run_id=self._run_id,
                reference=self._reference,
                seen_at=datetime.now(UTC),
                **answer._asdict(),
            )
            for error in send_all(sqs_client(), [Outgoing(queue, to_json(message))]).values():
                logger.error("rejected answer not sent", error=str(error))


def price_source(context: LambdaContext, run_id: UUID, reference: Reference | None = None) -> PriceSource:
    """The source for one message: it watches the time that is left, and knows the run that it works for."""

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS

    settings = environment()
    reporter = Reporter(run_id, reference)
    rest = settings.blocked_rest_seconds
    url = settings.fipe_api_url
    official = FipeApi(HttpSource("fipe", _session(url), _pace(), seconds_left, reporter, rest), url)
    if not settings.parallelum_calls_per_day:
        return official
    url = settings.parallelum_url
    mirror = HttpSource(PARALLELUM, _session(url), _mirror_pace(), seconds_left, reporter, rest)
    return WithFallback(official, ParallelumApi(mirror, url, _mirror_token))


def outgoing(outcome: Sequence[ModelQueueMessage | PriceQueueMessage] | Unfinished) -> list[Outgoing]:
    """What a message's work sends: results to the next queue, plans to the ledger's, the rest to its own."""
    if isinstance(outcome, Unfinished):
        message = outcome.message
        # It may go on like this for days, without failing: so it is told each time.
        logger.info(
            "handed back",
            run_id=str(message.run_id),
            brand=message.brand.name,
            model=message.model.name if isinstance(message, ModelMessage) else None,
            rounds=message.rounds,
            retry_in=outcome.retry_in,
        )
        metrics.add_metric("MessagesHandedBack", "Count", 1)
        body = to_json(message)
        return [Outgoing(consumer_environment().sqs_input_url, body, ceil(outcome.retry_in))]
    return [Outgoing(_queue_of(message), to_json(message)) for message in outcome]


def publish(results: Sequence[Sequence[Outgoing]]) -> Mapping[int, SendError]:
    """Sends what each message resulted in.

    Returns:
        An error for each result of which a part could not be sent, by position.
    """
    flat = [(position, message) for position, result in enumerate(results) for message in result]
    failed = send_all(sqs_client(), [message for _, message in flat])
    return {flat[index][0]: error for index, error in failed.items()}


def retry_soon(record: "SQSRecord") -> None:
    """Makes a failed message visible after a delay that doubles with each receive.

    The queue's visibility timeout, which has to cover the longest invocation, would be a long wait.
    """
    receives = int(record.attributes.approximate_receive_count)
    delay = consumer_environment().retry_delay_seconds * 2 ** (receives - 1)
    sqs_client().change_message_visibility(
        QueueUrl=consumer_environment().sqs_input_url,
        ReceiptHandle=record.receipt_handle,
        VisibilityTimeout=min(delay, LONGEST_RETRY_DELAY_SECONDS),
    )


def _queue_of(message: ModelQueueMessage | PriceQueueMessage) -> str:
    is_plan = isinstance(message, RunPlanMessage | BrandPlanMessage)
    return environment().sqs_ledger_url if is_plan else environment().sqs_output_url


@cache
def _session(url: str) -> requests.Session:
    session = requests.Session()
    # The usual variables, read once instead of at each call: that alone is a tenth of a call's work.
    session.proxies = get_environ_proxies(url)
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    session.trust_env = False
    return session


@cache
def _mirror_pace() -> Pace:
    dynamodb, table = client("dynamodb"), environment().pace_table
    pace = SharedPace(dynamodb, table, None, PARALLELUM)
    budget = environment().parallelum_calls_per_day
    return DailyPace(pace, dynamodb, table, f"{PARALLELUM}-day", budget)


def _mirror_token() -> str:
    """The token, which is kept for some minutes, so that a rotation is noticed; empty without a secret."""
    arn = environment().parallelum_token_secret_arn
    if not arn:
        return ""
    # Imported here, since most loads never ask the mirror.
    from aws_lambda_powertools.utilities.parameters import GetParameterError, get_secret

    try:
        return str(get_secret(arn, max_age=TOKEN_SECONDS)).strip()
    except GetParameterError:
        logger.exception("the mirror's token cannot be read; it is asked without one")
        return ""


@cache
def _pace() -> Pace:
    table = environment().pace_table
    if not table:
        return Unpaced()
    return SharedPace(client("dynamodb"), table, environment().calls_per_minute)
