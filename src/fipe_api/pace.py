"""One pace for all: how often the source may be called, shared by every function that works on a load."""

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

SOURCE = "fipe"


class Pace(Protocol):
    """Gives out the moments at which calls may be made."""

    def reserve(self, patience: float) -> float:
        """Reserves the next call if it may be made within `patience` seconds.

        Returns:
            Seconds until the call may be made; when that is more than `patience`, nothing was reserved.
        """

    def pause(self, seconds: float) -> None:
        """Lets nobody call for so many seconds."""


class Unpaced:
    """No rate of its own; only a pause that the source asked for is kept, by this execution environment."""

    def __init__(self) -> None:
        self._resume_at = 0.0

    def reserve(self, patience: float) -> float:  # noqa: ARG002 - the protocol's
        """See Pace."""
        return max(0.0, self._resume_at - time.monotonic())

    def pause(self, seconds: float) -> None:
        """See Pace."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)


class SharedPace:
    """A rate for all concurrent functions together: one DynamoDB item holds the moment of the next call.

    Args:
        client: a DynamoDB client.
        table: the table's name; its partition key is the string `source`.
        calls_per_minute: the budget of the whole load.
    """

    def __init__(self, client: "DynamoDBClient", table: str, calls_per_minute: float) -> None:
        self._client = client
        self._table = table
        self._interval_ms = round(60_000 / calls_per_minute)

    def reserve(self, patience: float) -> float:
        """See Pace."""
        while True:
            now = _now_ms()
            next_call = self._take_next(now, now + int(patience * 1000))
            if next_call is not None and next_call >= now:
                return (next_call - now) / 1000
            if self._set_next(now + self._interval_ms, only_if_before=now):
                return 0.0

    def pause(self, seconds: float) -> None:
        """See Pace."""
        until = _now_ms() + round(seconds * 1000)
        self._set_next(until, only_if_before=until)

    def _take_next(self, earliest: int, latest: int) -> int | None:
        """The moment of the next call, taken if it lies between the two; None when there is none yet."""
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"source": {"S": SOURCE}},
                UpdateExpression="SET next_call = next_call + :interval",
                ConditionExpression="next_call BETWEEN :earliest AND :latest",
                ExpressionAttributeValues={
                    ":interval": {"N": str(self._interval_ms)},
                    ":earliest": {"N": str(earliest)},
                    ":latest": {"N": str(latest)},
                },
                ReturnValues="UPDATED_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
            item = answer["Attributes"]
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            item = refused.response.get("Item", {})  # type: ignore[assignment]
        return int(item["next_call"]["N"]) if "next_call" in item else None

    def _set_next(self, moment: int, *, only_if_before: int) -> bool:
        """Moves the next call to a moment, unless it lies at or after another one; tells whether it did."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"source": {"S": SOURCE}},
                UpdateExpression="SET next_call = :moment",
                ConditionExpression="attribute_not_exists(next_call) OR next_call < :before",
                ExpressionAttributeValues={
                    ":moment": {"N": str(moment)},
                    ":before": {"N": str(only_if_before)},
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
