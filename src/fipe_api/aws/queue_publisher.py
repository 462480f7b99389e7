"""Sends messages to SQS in batches, within its limits, and sends failed entries again."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef, SendMessageBatchRequestEntryTypeDef

MAX_ENTRIES = 10
MAX_BATCH_BYTES = 262_144
"""256 KiB per call, the limit that SQS had for years; every region and emulator accepts it."""
MAX_DELAY_SECONDS = 900
ATTEMPTS = 5
FIRST_BACKOFF_SECONDS = 0.1


class Outgoing(NamedTuple):
    """A message for a queue; it becomes visible after a delay in seconds (SQS allows 900).

    With `goes_on` it goes on with the work whose other results are sent before it.
    """

    queue_url: str
    body: str
    delay_seconds: int = 0
    goes_on: bool = False


class SendError(Exception):
    """SQS refused a message, or failed on it several times."""


def send_all(client: "SQSClient", messages: Sequence[Outgoing]) -> dict[int, SendError]:
    """Sends messages, in as few calls as the limits allow. What failed is sent again: entries or whole calls.

    Returns:
        The error of each message that could not be sent, by its position; empty if all were sent.
    """
    failed: dict[int, SendError] = {}
    for queue_url in {message.queue_url: None for message in messages}:
        positions = [position for position, message in enumerate(messages) if message.queue_url == queue_url]
        for batch in _batches(positions, messages):
            failed |= _send_batch(client, queue_url, batch, messages)
    return failed


def _batches(positions: Iterable[int], messages: Sequence[Outgoing]) -> Iterator[list[int]]:
    batch: list[int] = []
    batch_bytes = 0
    for position in positions:
        size = len(messages[position].body.encode())
        if batch and (len(batch) == MAX_ENTRIES or batch_bytes + size > MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(position)
        batch_bytes += size
    if batch:
        yield batch


def _send_batch(
    client: "SQSClient", queue_url: str, positions: Iterable[int], messages: Sequence[Outgoing]
) -> dict[int, SendError]:
    pending = {position: SendError("not sent") for position in positions}
    rejected: dict[int, SendError] = {}
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_BACKOFF_SECONDS * 2**attempt)
        entries = [_entry(position, messages[position]) for position in pending]
        try:
            answer = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
        except (BotoCoreError, ClientError) as error:
            # The messages may have arrived; sending one twice does no harm.
            pending = dict.fromkeys(pending, SendError(str(error)))
            continue
        failed = answer.get("Failed", [])
        # SenderFault means that the entry itself is wrong, so sending it again would not help.
        rejected |= {int(entry["Id"]): _error(entry) for entry in failed if entry["SenderFault"]}
        pending = {int(entry["Id"]): _error(entry) for entry in failed if not entry["SenderFault"]}
        if not pending:
            break
    return rejected | pending


def _error(entry: "BatchResultErrorEntryTypeDef") -> SendError:
    return SendError(f"{entry['Code']}: {entry.get('Message', '')}")


def _entry(position: int, message: Outgoing) -> "SendMessageBatchRequestEntryTypeDef":
    return {
        "Id": str(position),
        "MessageBody": message.body,
        "DelaySeconds": min(message.delay_seconds, MAX_DELAY_SECONDS),
    }
