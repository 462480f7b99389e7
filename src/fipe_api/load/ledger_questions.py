"""What a list of months asks the ledger, by FipeLoadStatus: the loaders cannot reach the database."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from fipe_api.aws.clients import client, invoke
from fipe_api.load.stability import STALLED_AFTER, LoadStatusError
from fipe_api.load.state import LoadState
from fipe_api.messages import Moment

__all__ = ["LoadStatusError", "Month", "Progress", "complete_loads", "progress", "resume"]

Answer = TypeVar("Answer")


class Month(Struct):
    """How far a month of a run is."""

    state: LoadState
    prices: int
    last_write_at: Moment


class Progress(Struct):
    """How far a run is, and what else is at work.

    Attributes:
        month: the month that was asked for; None if the ledger does not know it.
        others: the months, YYYY-MM, that other runs are loading.
    """

    month: Month | None
    others: list[str]


class _Progress(Struct):
    progress: Progress


class _Complete(Struct):
    complete: dict[int, Moment]


class _Resume(Struct):
    loads: list[Any]
    resume: list[dict[str, Any]]


_PROGRESS, _COMPLETE, _RESUME = Decoder(_Progress), Decoder(_Complete, strict=False), Decoder(_Resume)


def progress(function: str, run_id: UUID, reference_code: int | None) -> Progress:
    """How far a month of a run is, and which months other runs are loading.

    Raises:
        LoadStatusError: FipeLoadStatus failed.
    """
    question = {
        "run_id": str(run_id),
        "reference_code": reference_code,
        "progress_after": STALLED_AFTER.total_seconds(),
    }
    return _ask(function, question, _PROGRESS).progress


def resume(function: str, run_id: UUID, reference_code: int) -> list[dict[str, Any]] | None:
    """Payloads that load what a month of a run lacks; None if the ledger does not know it.

    Raises:
        LoadStatusError: FipeLoadStatus failed.
    """
    question = {"run_id": str(run_id), "reference_code": reference_code, "resume": True}
    answer = _ask(function, question, _RESUME)
    return answer.resume if answer.loads else None


def complete_loads(function: str, wanted: Mapping[str, Any]) -> dict[int, Moment]:
    """The reference codes that have a complete load of all that is wanted, and when its newest began.

    Raises:
        LoadStatusError: FipeLoadStatus failed.
    """
    return _ask(function, {"complete": wanted}, _COMPLETE).complete


def _ask(function: str, question: Mapping[str, Any], decoder: Decoder[Answer]) -> Answer:
    answer = invoke(client("lambda"), function, question)
    payload = answer["Payload"].read()
    try:
        return decoder.decode(payload)
    except ValidationError as error:
        raise LoadStatusError(f"{function}: {payload.decode(errors='replace')[:300]}") from error
