"""Whether a month needs another load: it fills up over days, so it is loaded until that brings nothing."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from fipe_api.aws.clients import invoke
from fipe_api.messages import Reference

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

STALLED_AFTER = timedelta(hours=2)
"""A load that has written nothing for so long does not hold back the next one."""


class LoadStatusError(RuntimeError):
    """FipeLoadStatus could not tell how the month stands."""


class _Load(Struct):
    complete: bool
    whole_table: bool | None
    stable: bool
    changed: int
    shrunk: bool
    last_write_at: Annotated[datetime, Meta(tz=True)]


class _Answer(Struct):
    loads: list[_Load]


_ANSWER = Decoder(_Answer)


def reason_to_wait(client: "LambdaClient", function: str, reference: Reference) -> str | None:
    """Why a reference is not to be loaded now, or None: it is stable, or a load of it is still at work.

    Args:
        client: a Lambda client.
        function: the name of FipeLoadStatus.
        reference: the month in question.

    Raises:
        LoadStatusError: the function failed.
    """
    answer = invoke(client, function, {"reference_code": reference.code})
    payload = answer["Payload"].read()
    if "FunctionError" in answer:
        raise LoadStatusError(f"{function}: {payload.decode(errors='replace')[:300]}")
    loads = [load for load in _ANSWER.decode(payload).loads if load.whole_table]
    if not loads:
        return None
    newest = loads[0]
    if not newest.complete and datetime.now(UTC) - newest.last_write_at < STALLED_AFTER:
        return f"{reference.month:%Y-%m}: a load is at work"
    complete = next((load for load in loads if load.complete), None)
    if complete is not None and complete.stable:
        return f"{reference.month:%Y-%m} is stable: nothing to load"
    return None
