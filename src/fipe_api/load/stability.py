"""Whether a month needs another load. A month fills up over days, so it is loaded until nothing changes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from fipe_api.aws.clients import invoke
from fipe_api.messages import Reference

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

STALLED_AFTER = timedelta(hours=2)
"""A load that has written nothing for this long no longer keeps the next one from starting."""


class LoadStatusError(RuntimeError):
    """FipeLoadStatus failed, so it is unknown whether the month needs another load."""


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
    """Why not to load a month now: it is stable, or a load of it is running. None if it needs a load.

    Args:
        client: a Lambda client.
        function: the name of FipeLoadStatus.
        reference: the month.

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
        return f"{reference.month:%Y-%m}: a load is running"
    complete = next((load for load in loads if load.complete), None)
    if complete is not None and complete.stable:
        return f"{reference.month:%Y-%m} is stable: nothing to load"
    return None
