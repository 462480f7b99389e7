"""The list of months that are loaded one at a time: how far it is, and what is left of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from fipe_api.load.backfill_list import BACKFILL_KEY, TRIES, MonthList, list_of
from fipe_api.load.request import brands_named, parse_request
from fipe_api.load.size import Size, brand_sizes, share_of_june_2026, sum_of, typical_size
from fipe_api.messages import Named
from fipe_cli.cloud import Cloud
from infrastructure import names

STUCK_AFTER = timedelta(hours=3)
"""Nothing moves a list on that was not looked at for so long. Two looks are 15 minutes apart, and
FipeModelLoader may be busy with the brands of a month for two hours."""


@dataclass(frozen=True)
class ListProgress:
    """How far a list is.

    Attributes:
        months: how many it has, without those with nothing to load.
        done: how many of them are complete.
        confirmed: how many of them are imported, and confirmed by a sample.
        at_work: the month that is being loaded, YYYY-MM; empty if there is none.
        to_come: how many were not begun.
        incomplete: how many ended incomplete.
        calls_to_come: calls to the source, about, for those to come.
        waits_for: the months of the load that goes first; empty if there is none.
        is_over: whether nothing will happen any more by itself.
        is_stopped: whether a person stopped it.
        is_stuck: whether nothing moves it on.
    """

    months: int
    done: int
    confirmed: int
    at_work: str
    to_come: int
    incomplete: int
    calls_to_come: float
    waits_for: str
    is_over: bool
    is_stopped: bool
    is_stuck: bool


def read_list(cloud: Cloud) -> MonthList | None:
    """The stage's list, even if it has ended; None if there never was one.

    Raises:
        CliError: the stage is not deployed.
    """
    table = names.pace_table(cloud.stage)
    key = {"source": {"S": BACKFILL_KEY}}
    try:
        answer = cloud.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
    except ClientError as error:
        raise cloud.explained(error, f"table {table}") from error
    return list_of(answer.get("Item"))


def progress_of(found: MonthList, now: datetime | None = None) -> ListProgress:
    """How far a list is."""
    at = now or datetime.now(UTC)
    looked_at = found.looked_at or found.began_at
    return ListProgress(
        months=sum(1 for _ in found.references()) - len(found.left_out),
        done=len(found.done),
        confirmed=len(found.confirmed),
        at_work=f"{found.at_work.reference.month:%Y-%m}" if found.at_work else "",
        to_come=len(found.to_come),
        incomplete=len(found.incomplete),
        calls_to_come=calls_to_come(found),
        waits_for=found.waits_for,
        is_over=found.is_over,
        is_stopped=found.stopped,
        is_stuck=not found.is_over and at - looked_at > STUCK_AFTER,
    )


def calls_to_come(found: MonthList) -> float:
    """Calls to the source, about, that the months to come take: by their age, and the size of those done.

    If samples may confirm them, it is as if they all did.
    """
    months = [each.month for each in found.to_come]
    if found.verify_sample:
        return sum(calls_in(month, found.request, found.verify_sample) for month in months)
    done = [each for each in found.done if each.prices]
    foreseen = sum(size_in(each.reference.month, found.request).prices for each in done)
    scale = sum(each.prices for each in done) / foreseen if foreseen else 1.0
    return scale * sum(size_in(month, found.request).calls for month in months)


def calls_in(month: date, request: dict[str, Any], sample: int = 0) -> float:
    """About how many calls a month takes; if samples of that size are asked for, those of one."""
    size = size_in(month, request)
    if not sample:
        return size.calls
    return min(sample, size.prices) + len(parse_request(request).vehicle_types)


def size_in(month: date, request: dict[str, Any]) -> Size:
    """About the size of a load of a month, without asking anybody."""
    wanted = parse_request(request)
    whole = _whole_size(
        tuple(sorted(wanted.vehicle_types)), wanted.brands, len(wanted.models) if wanted.models else 0
    )
    return whole.times(share_of_june_2026(month))


@cache
def _whole_size(types: Sequence[int], brands: tuple[int | str, ...] | None, models: int) -> Size:
    sizes: list[Size] = []
    for vehicle_type in types:
        known = {name: size for (kind, name), size in brand_sizes().items() if kind == vehicle_type}
        if brands is None:
            sizes += known.values()
            continue
        listed = [Named(code=0, name=name) for name in known]
        for want in brands:
            found = brands_named(listed, want) if isinstance(want, str) else []
            sizes += [known[brand.name] for brand in found]
            # A code belongs to a brand of one type.
            sizes += (
                [typical_size(vehicle_type)] if isinstance(want, int) and vehicle_type == types[0] else []
            )
    if models:
        sizes = [size.part(models) for size in sizes]
    return sum_of(sizes)


def is_final(tries: int) -> bool:
    """Whether a month that ended incomplete so often is not asked for again by itself."""
    return tries >= TRIES
