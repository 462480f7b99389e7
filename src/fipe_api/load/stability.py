"""Whether a month needs another load. A month fills up over days, so it is loaded until nothing changes."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.json import Decoder

from fipe_api.aws.clients import invoke
from fipe_api.load.state import LoadState
from fipe_api.messages import Moment, Reference

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

STALLED_AFTER = timedelta(hours=2)
"""A load that has written nothing for this long no longer keeps the next one from starting."""


class LoadStatusError(RuntimeError):
    """FipeLoadStatus failed, so it is unknown whether the month needs another load."""


class _Load(Struct):
    state: LoadState
    stable: bool
    last_write_at: Moment


class _Answer(Struct):
    loads: list[_Load]


_ANSWER = Decoder(_Answer)


def reason_to_wait(client: "LambdaClient", function: str, reference: Reference) -> str | None:
    """Why not to load a month now: it is stable, or a load of it is running. None if it needs a load.

    Only loads of the whole month count. The newest one that is not running decides: if it is incomplete, or
    found something new, the month needs another load.

    Args:
        client: a Lambda client.
        function: the name of FipeLoadStatus.
        reference: the month.

    Raises:
        LoadStatusError: the function failed.
    """
    answer = invoke(client, function, {"reference_code": reference.code, "whole_month": True})
    payload = answer["Payload"].read()
    if "FunctionError" in answer:
        raise LoadStatusError(f"{function}: {payload.decode(errors='replace')[:300]}")
    loads = _ANSWER.decode(payload).loads
    if any(load.state == LoadState.LOADING and not _has_stalled(load) for load in loads):
        return f"{reference.month:%Y-%m}: a load is running"
    if loads and loads[0].stable:
        return f"{reference.month:%Y-%m} is stable: nothing to load"
    return None


def _has_stalled(load: _Load) -> bool:
    return datetime.now(UTC) - load.last_write_at >= STALLED_AFTER
