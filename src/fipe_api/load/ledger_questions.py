"""What a list of months asks the ledger, by FipeLoadStatus: the loaders cannot reach the database."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from fipe_api.aws.clients import client, invoke
from fipe_api.load.stability import STALLED_AFTER, LoadStatusError
from fipe_api.load.state import LoadState
from fipe_api.messages import Moment, SampledVehicle, VehicleType

__all__ = [
    "ImportedSample", "LoadStatusError", "Month", "Progress", "complete_loads", "confirmed_months",
    "imported_sample", "progress", "resume",
]  # fmt: skip

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


class ImportedSample(Struct):
    """Prices of an imported month, chosen at random.

    Attributes:
        imported: how many prices imports have added to the month, and replaced in it.
        vehicles: those that were chosen.
        brands: the names of all its brands, by vehicle type.
    """

    imported: int
    vehicles: tuple[SampledVehicle, ...]
    brands: dict[VehicleType, tuple[str, ...]]


class _Progress(Struct):
    progress: Progress


class _Complete(Struct):
    complete: dict[int, Moment]


class _Sample(Struct):
    sample: ImportedSample | None


class _Confirmed(Struct):
    confirmed: dict[date, int]


class _Resume(Struct):
    loads: list[Any]
    resume: list[dict[str, Any]]


_PROGRESS, _COMPLETE, _RESUME = Decoder(_Progress), Decoder(_Complete, strict=False), Decoder(_Resume)
_SAMPLE, _CONFIRMED = Decoder(_Sample, strict=False), Decoder(_Confirmed)


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


def imported_sample(
    function: str, month: date, size: int, seed: int, vehicle_types: Sequence[int]
) -> ImportedSample | None:
    """A random sample of a month that an import holds; None if none does.

    Args:
        function: FipeLoadStatus.
        month: the reference month.
        size: how many prices to choose.
        seed: the same chooses the same.
        vehicle_types: those that count.

    Raises:
        LoadStatusError: FipeLoadStatus failed.
    """
    wanted = {"month": month.isoformat(), "size": size, "seed": seed, "vehicle_types": list(vehicle_types)}
    return _ask(function, {"sample": wanted}, _SAMPLE).sample


def confirmed_months(function: str, vehicle_types: Sequence[int]) -> dict[date, int]:
    """The imported months that samples have confirmed, and how many prices were asked for.

    Raises:
        LoadStatusError: FipeLoadStatus failed.
    """
    return _ask(function, {"confirmed": {"vehicle_types": list(vehicle_types)}}, _CONFIRMED).confirmed


def _ask(function: str, question: Mapping[str, Any], decoder: Decoder[Answer]) -> Answer:
    answer = invoke(client("lambda"), function, question)
    payload = answer["Payload"].read()
    try:
        return decoder.decode(payload)
    except ValidationError as error:
        raise LoadStatusError(f"{function}: {payload.decode(errors='replace')[:300]}") from error
