"""Whether a run is cancelled. Each loader looks before it works on a message, and drops those of such a run.

The loaders cannot reach the database, so this is kept beside the shared pace, and the ledger is told by a
message. Results that wait in the price queue are written all the same: they were paid for with calls.

A list of months gives way to another load in the same way: its run is cancelled for a while, so that none of
its messages stands in the queues before those of the other load.
"""

import time
from typing import TYPE_CHECKING
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError

from fipe_api.aws.clients import client
from fipe_api.aws.observability import logger, metrics
from fipe_api.environment import loader_environment
from fipe_api.load.request import LoadRequestError
from fipe_api.messages import (
    BrandMessage,
    CancellationMessage,
    CodesMessage,
    ModelQueueMessage,
    StartMessage,
)
from fipe_api.source.tolerant_pace import PaceTableMissingError, raise_if_missing

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

FRESH_SECONDS = 5.0
"""A run that was not cancelled is looked at again after this time."""

_not_cancelled_at: dict[UUID, float] = {}


def cancel(run_id: UUID) -> CancellationMessage:
    """Cancels a run; returns what tells the ledger. Repeating it changes nothing.

    Raises:
        LoadRequestError: the loaders share no table in which they could see it.
        PaceTableMissingError: the table is gone.
    """
    told = _change(run_id, cancelled=True)
    if told is None:
        raise LoadRequestError("this stage cannot cancel a load: its loaders have no PACE_TABLE")
    return told


def hold(run_id: UUID, waits_for: str) -> CancellationMessage | None:
    """Has a run wait for another load; returns what tells the ledger. Repeating it changes nothing.

    Args:
        run_id: the run.
        waits_for: the other load's months, for people.
    """
    return _change(run_id, cancelled=True, waits_for=waits_for)


def lift(run_id: UUID) -> CancellationMessage | None:
    """Ends the cancellation of a run; returns what tells the ledger, or None if it never was cancelled."""
    return _change(run_id, cancelled=False) if _read(run_id) else None


def is_cancelled(run_id: UUID) -> bool:
    """Whether a run is cancelled, and was not resumed since."""
    item = _read(run_id)
    return item is not None and item["cancelled"]["BOOL"]


def is_dropped(message: StartMessage | CodesMessage | BrandMessage | ModelQueueMessage) -> bool:
    """Whether the message belongs to a cancelled run, so that there is nothing to do; says so in the log.

    An answer of no may be FRESH_SECONDS old. An answer of yes never is: the run may have been resumed. Where
    the table does not answer, the message is worked on: its results do no harm.
    """
    run_id = message.run_id
    if time.monotonic() - _not_cancelled_at.get(run_id, -FRESH_SECONDS) < FRESH_SECONDS:
        return False
    try:
        cancelled = is_cancelled(run_id)
    except (BotoCoreError, ClientError, PaceTableMissingError) as error:
        logger.warning("cannot tell whether the run is cancelled", run_id=str(run_id), error=str(error))
        cancelled = False
    if not cancelled:
        _not_cancelled_at.clear()  # usually one run is at work, so this keeps few of them
        _not_cancelled_at[run_id] = time.monotonic()
        return False
    logger.info(
        "dropped: its run is cancelled, or gives way to another load",
        run_id=str(run_id),
        brand=None if isinstance(message, StartMessage | CodesMessage) else message.brand.name,
    )
    metrics.add_metric("MessagesDropped", "Count", 1)
    return True


def cancellation_key(run_id: UUID) -> str:
    """The key of a run's item; its attribute `cancelled` says whether the run is cancelled."""
    return f"run-{run_id}"


def _read(run_id: UUID) -> dict[str, "AttributeValueTypeDef"] | None:
    table = loader_environment().pace_table
    if not table:
        return None
    key: dict[str, AttributeValueTypeDef] = {"source": {"S": cancellation_key(run_id)}}
    dynamodb: DynamoDBClient = client("dynamodb")
    try:
        return dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
    except ClientError as error:
        raise_if_missing(error)
        raise


def _change(run_id: UUID, *, cancelled: bool, waits_for: str = "") -> CancellationMessage | None:
    """Notes whether a run is cancelled, and counts each change; None without a table."""
    table = loader_environment().pace_table
    if not table:
        return None
    dynamodb: DynamoDBClient = client("dynamodb")
    try:
        item = dynamodb.update_item(
            TableName=table,
            Key={"source": {"S": cancellation_key(run_id)}},
            UpdateExpression="SET cancelled = :cancelled, waits_for = :waits_for ADD changes :one",
            ConditionExpression="attribute_not_exists(cancelled) OR cancelled <> :cancelled"
            " OR waits_for <> :waits_for",
            ExpressionAttributeValues={
                ":cancelled": {"BOOL": cancelled},
                ":waits_for": {"S": waits_for},
                ":one": {"N": "1"},
            },
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )["Attributes"]
    except dynamodb.exceptions.ConditionalCheckFailedException as unchanged:
        item = unchanged.response["Item"]  # type: ignore[typeddict-item]
    except ClientError as error:
        raise_if_missing(error)
        raise
    changes = int(item["changes"]["N"])
    return CancellationMessage(run_id=run_id, changes=changes, cancelled=cancelled, waits_for=waits_for)
