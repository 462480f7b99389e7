"""What the source denied: in an earlier load, and until when this one asks again."""

import time
from functools import lru_cache
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from fipe_api.aws.clients import client, invoke
from fipe_api.aws.observability import logger
from fipe_api.environment import loader_environment
from fipe_api.messages import ModelMessage, ModelYearFuel, Reference

DENIED_KEY = "denied"
"""The key of the item; its attribute `until` holds milliseconds since 1970."""


class _Answer(Struct):
    unpriced: frozenset[tuple[int, int, int, int, int]]


_ANSWER = Decoder(_Answer)


def denied_before(message: ModelMessage) -> frozenset[ModelYearFuel]:
    """Vehicles of a model for which an earlier load was denied a price nine times.

    FIPE lists some vehicles for years without ever giving a price. Such a denial is believed after one round.
    """
    key = (message.vehicle_type, message.brand.code, message.model.code)
    return frozenset(
        ModelYearFuel(model_year=model_year, fuel_code=fuel_code)
        for *model, model_year, fuel_code in _denied_up_to(message.reference, message.run_id)
        if tuple(model) == key
    )


@lru_cache(maxsize=4)
def _denied_up_to(
    reference: Reference,
    run_id: UUID,  # noqa: ARG001  each load asks once per execution environment, if something is denied
) -> frozenset[tuple[int, int, int, int, int]]:
    """Those of all models, in the year up to this month."""
    function = loader_environment().load_status_function
    if not function:
        return frozenset()
    try:
        answer = invoke(client("lambda"), function, {"unpriced_up_to": f"{reference.month}"})
        return _ANSWER.decode(answer["Payload"].read()).unpriced
    except (BotoCoreError, ClientError, DecodeError):
        # Without this knowledge, the load asks more often.
        logger.exception("cannot read what was denied before")
        return frozenset()


def note_denied(seconds: float) -> None:
    """Notes that denied answers are asked for again until so many seconds from now.

    It is kept beside the shared pace, where `fipe status` already looks for what makes a load wait. A failure
    is logged, and changes nothing.
    """
    table = loader_environment().pace_table
    if not table:
        return
    until = round(1000 * (time.time() + seconds))
    dynamodb = client("dynamodb")
    try:
        dynamodb.update_item(
            TableName=table,
            Key={"source": {"S": DENIED_KEY}},
            UpdateExpression="SET #until = :until",
            ConditionExpression="attribute_not_exists(#until) OR #until < :until",
            ExpressionAttributeNames={"#until": "until"},
            ExpressionAttributeValues={":until": {"N": str(until)}},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        pass  # something else waits for longer
    except (BotoCoreError, ClientError):
        logger.exception("cannot note until when denied answers are asked for again")
