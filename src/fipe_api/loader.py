"""What the three loaders share: the client of the source with its pace, and the way results are handed on."""

from collections.abc import Mapping, Sequence
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

import boto3
import requests
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from requests.utils import get_environ_proxies

from fipe_api.environment import ConsumerEnvironment, LoaderEnvironment, read_environment
from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import ModelQueueMessage, PriceQueueMessage, Unfinished
from fipe_api.pace import Pace, SharedPace, Unpaced
from fipe_api.queue_publisher import Outgoing, SendError, send_all

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

LONGEST_RETRY_DELAY_SECONDS = 900
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
    return boto3.client("sqs")


def fipe_api(context: LambdaContext) -> FipeApi:
    """The client of the source, for one invocation: it watches the time that is left."""
    return FipeApi(
        _session(),
        environment().fipe_api_url,
        _pace(),
        lambda: context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS,
    )


def outgoing(outcome: Sequence[ModelQueueMessage | PriceQueueMessage] | Unfinished) -> list[Outgoing]:
    """What a message's work sends: results to the next queue, or what is left of it to its own queue."""
    if isinstance(outcome, Unfinished):
        body = outcome.message.model_dump_json()
        return [Outgoing(consumer_environment().sqs_input_url, body, ceil(outcome.retry_in))]
    return [Outgoing(environment().sqs_output_url, message.model_dump_json()) for message in outcome]


def publish(results: Sequence[Sequence[Outgoing]]) -> Mapping[int, SendError]:
    """Sends what each message resulted in.

    Returns:
        An error for each result of which a part could not be sent, by position.
    """
    flat = [(position, message) for position, result in enumerate(results) for message in result]
    failed = send_all(sqs_client(), [message for _, message in flat])
    return {flat[index][0]: error for index, error in failed.items()}


def retry_soon(record: SQSRecord) -> None:
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


@cache
def _session() -> requests.Session:
    session = requests.Session()
    # The usual proxy variables, read once instead of at each call: that alone is a tenth of a call's work.
    session.proxies = get_environ_proxies(environment().fipe_api_url)
    session.trust_env = False
    return session


@cache
def _pace() -> Pace:
    rate = environment().fipe_calls_per_minute
    if rate == "max":
        return Unpaced()
    return SharedPace(boto3.client("dynamodb"), environment().pace_table, rate)
