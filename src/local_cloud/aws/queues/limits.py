"""What SQS refuses and moto accepts: sizes in bytes, characters, ranges of attributes.

Source: SQS API reference (SendMessage, SendMessageBatch, SetQueueAttributes) and "Amazon SQS quotas".
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from moto.sqs.exceptions import (
    BatchRequestTooLong,
    InvalidAttributeValue,
    InvalidParameterValue,
    MissingParameter,
    SQSException,
)

LARGEST_REQUEST_BYTES = 2**20
LONGEST_VISIBILITY_SECONDS = 12 * 3600

_RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, LARGEST_REQUEST_BYTES),
    "MessageRetentionPeriod": (60, 14 * 24 * 3600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, LONGEST_VISIBILITY_SECONDS),
}
_MOST_RECEIVES = 1000
_INVALID_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class InvalidMessageContents(SQSException):
    """The body has a character that XML cannot carry."""

    def __init__(self) -> None:
        """In the words of SQS."""
        super().__init__(
            "InvalidMessageContents",
            "Invalid characters found. Valid unicode characters are "
            "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
        )


def check_attributes(attributes: Mapping[str, Any]) -> None:
    """Check the attributes of a queue.

    Raises:
        InvalidAttributeValue: a number is out of its range.
        InvalidParameterValue: the redrive policy allows too few or too many receives.
    """
    for name, (lowest, highest) in _RANGES.items():
        if name in attributes and not lowest <= int(attributes[name]) <= highest:
            raise InvalidAttributeValue(name)
    policy = attributes.get("RedrivePolicy") or {}
    policy = json.loads(policy) if isinstance(policy, str) else policy
    receives = policy.get("maxReceiveCount")
    if receives is not None and not 1 <= int(receives) <= _MOST_RECEIVES:
        raise InvalidParameterValue(
            f"Value {json.dumps(policy)} for parameter RedrivePolicy is invalid. Reason: Invalid value for "
            f"maxReceiveCount: {receives}, valid values are from 1 to {_MOST_RECEIVES} both inclusive."
        )


def check_body(body: str, largest_bytes: int) -> None:
    """Check the body of a message for a queue whose MaximumMessageSize is `largest_bytes`.

    Raises:
        MissingParameter: it is empty.
        InvalidMessageContents: it has a character that SQS does not carry.
        InvalidParameterValue: it is too long.
    """
    if not body:
        raise MissingParameter("MessageBody")
    if _INVALID_CHARACTERS.search(body):
        raise InvalidMessageContents
    if len(body.encode()) > largest_bytes:
        raise InvalidParameterValue(
            f"One or more parameters are invalid. Reason: Message must be shorter than {largest_bytes} bytes."
        )


def check_batch(bodies: Iterable[str]) -> None:
    """Check the size of a batch.

    Raises:
        BatchRequestTooLong: its bodies are too long together.
    """
    size = sum(len(body.encode(errors="surrogatepass")) for body in bodies)
    if size > LARGEST_REQUEST_BYTES:
        raise BatchRequestTooLong(size)


def unacceptable_entries(entries: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The failures of a batch's entries whose body has characters that SQS does not carry, by their key."""
    error = InvalidMessageContents()
    return {
        key: {"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message}
        for key, entry in entries.items()
        if _INVALID_CHARACTERS.search(entry["MessageBody"])
    }
