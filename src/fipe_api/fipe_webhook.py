"""FipeWebhook: posts announcements to an address that the people of a stage have chosen.

It gets them from the stage's topic by a queue of its own, so a receiver that is slow or out keeps no load
waiting. Each post has the announcement's id, which stays the same when it is posted again, and with a key a
signature as Standard Webhooks has it (standardwebhooks.com, version 1.0.0 of the specification).

An answer of 2xx means that the receiver has it. 410 means that it wants no more: then the announcement is a
dead letter at once. All other answers, redirects included, and no answer within 10 seconds mean that it is
posted again, later and later; a receiver can say when (Retry-After). After the last attempt that the queue
allows it is a dead letter, too.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any

import requests
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import to_builtins
from msgspec.json import Decoder
from standardwebhooks import Webhook

from fipe_api.aws.batch import process_batch
from fipe_api.aws.clients import client, sqs_client
from fipe_api.aws.connections import closed_after_invocation, connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing
from fipe_api.aws.self_check import answers_checks
from fipe_api.environment import webhook_environment
from fipe_api.load.announcement import Document
from fipe_api.load.outbox import publish

TIMEOUT_SECONDS = 10.0
"""For the connection, and for the answer."""
LONGEST_DELAY_SECONDS = 3 * 3600
LONGEST_ASKED_SECONDS = 6 * 3600
"""A receiver may ask for a longer pause than we would make. SQS hides a message for 12 hours at most."""

_DOCUMENT = Decoder(Document)


class NotTakenError(Exception):
    """The receiver did not take an announcement.

    Attributes:
        asked_seconds: the pause that it asks for.
    """

    def __init__(self, reason: str, asked_seconds: float = 0) -> None:
        super().__init__(reason)
        self.asked_seconds = asked_seconds


@answers_checks(lambda _: {})
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:  # noqa: ARG001
    """Works on the one message of a batch of the webhook queue; returns whether it failed."""
    asked = [0.0]

    def work(body: str) -> list[Outgoing]:
        try:
            return _work(body)
        except NotTakenError as error:
            asked.append(error.asked_seconds)
            raise

    return process_batch(event, work, publish, lambda record: _post_later(record, asked[-1]))


def _work(body: str) -> list[Outgoing]:
    document = _DOCUMENT.decode(body)
    announcement = str(document.id)
    if _post(document) == HTTPStatus.GONE:
        logger.error("the receiver wants no more announcements (HTTP 410)", announcement=announcement)
        metrics.add_metric("WebhooksGone", "Count", 1)
        return [Outgoing(webhook_environment().webhook_dlq_url, body)]
    logger.info("announcement taken", announcement=announcement, kind=document.kind)
    metrics.add_metric("WebhooksTaken", "Count", 1)
    return []


def _post(document: Document) -> int:
    """Posts an announcement; returns the status: 2xx or 410.

    Raises:
        NotTakenError: the receiver gave another answer, or none. The reason never holds the address.
    """
    environment = webhook_environment()
    body = json.dumps(BODIES[environment.webhook_format](document), ensure_ascii=False)
    headers = {"Content-Type": "application/json", "User-Agent": "fipe-webhook/1"}
    if environment.webhook_secret_arn:
        headers |= signed(str(document.id), body, _secret(environment.webhook_secret_arn))
    url = environment.webhook_url
    try:
        with _session().post(
            _secret(url) if url.startswith("arn:") else url,
            body.encode(),
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,  # what it says beside the status is not read
        ) as answer:
            status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
    except requests.RequestException as error:
        # Its words may hold the address, which may be a secret.
        raise NotTakenError(f"no answer: {type(error).__name__}") from None
    if status == HTTPStatus.GONE or HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return status
    raise NotTakenError(f"HTTP {status}", asked_pause(retry_after))


def signed(message_id: str, body: str, key: str) -> dict[str, str]:
    """The headers that prove who sent a body, and when.

    Raises:
        ValueError: it is no key: whsec_ and base64.
    """
    now = datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(key).sign(message_id, now, body),
    }


def asked_pause(retry_after: str) -> float:
    """The seconds that a Retry-After asks for, which has a number or a date; 0 if it has neither."""
    try:
        if retry_after.isdecimal():
            seconds = float(retry_after)
        else:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0
    return min(max(seconds, 0), LONGEST_ASKED_SECONDS)


def _post_later(record: SQSRecord, asked_seconds: float) -> None:
    """Hides a message that failed, longer after each attempt."""
    environment = webhook_environment()
    attempts = int(record.attributes.approximate_receive_count)
    delay = min(environment.retry_delay_seconds * 2 ** (attempts - 1), LONGEST_DELAY_SECONDS)
    sqs_client().change_message_visibility(
        QueueUrl=environment.sqs_input_url,
        ReceiptHandle=record.receipt_handle,
        VisibilityTimeout=round(max(delay, asked_seconds)),
    )


def _document(document: Document) -> Any:
    return to_builtins(document)


def _slack(document: Document) -> Any:
    """Slack's incoming webhooks take a text, in which three characters have a meaning.

    Source: Slack developer documentation, "Sending messages using incoming webhooks" and "Formatting message
    text".
    """
    escaped = document.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped}


def _teams(document: Document) -> Any:
    """The webhooks of Teams' Workflows take Adaptive Cards only. One block per line: Teams joins lines.

    Source: Microsoft Teams documentation, "Create and send messages" (Workflows).
    """
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {"type": "TextBlock", "text": line, "wrap": True, "spacing": "None"}
                        for line in document.text.splitlines()
                    ],
                },
            }
        ],
    }


BODIES: dict[str, Callable[[Document], Any]] = {"json": _document, "slack": _slack, "teams": _teams}


def _secret(arn: str) -> str:
    """What a secret holds now: a new value counts at once."""
    return str(client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]).strip()


@cache
def _session() -> requests.Session:
    return closed_after_invocation(requests.Session())
