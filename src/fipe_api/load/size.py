"""How large a load is: how many calls it needs, how long they take, and whether the queues keep it that
long."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from fipe_api.load.request import LoadRequestError
from fipe_api.messages import BrandMessage, folded

BRAND_SIZES = Path(__file__).with_name("brand_sizes.tsv")
"""How large each brand was in June 2026, counted from that month's 50,332 prices."""

FIRST_MONTH_PRICES = 11_107
"""Prices of January 2001, the fewest of all months."""
MINUTES_PER_DAY = 24 * 60


@dataclass(frozen=True)
class Size:
    """How large a brand, or a load, is.

    Attributes:
        models: models with a price.
        discovery_calls: calls that find the models and their model years.
        prices: prices; each takes one call.
    """

    models: float
    discovery_calls: float
    prices: float

    @property
    def calls(self) -> float:
        """All calls to the source."""
        return self.discovery_calls + self.prices

    def times(self, count: float) -> "Size":
        """The size of this many loads of this size, or of a part of one."""
        return Size(self.models * count, self.discovery_calls * count, self.prices * count)

    def part(self, models: int) -> "Size":
        """The size if only so many models are wanted."""
        if models >= self.models:
            return self
        return Size(models, 1 + models, self.prices * models / self.models)

    def minutes(self, calls_per_minute: float | None) -> float | None:
        """How long the calls take, or None without a limit."""
        return self.calls / calls_per_minute if calls_per_minute else None


Sizes = Mapping[tuple[int, str], Size]
"""Sizes of brands, by brand_key."""


@cache
def brand_sizes() -> Sizes:
    """The sizes of June 2026."""
    with BRAND_SIZES.open(encoding="utf-8", newline="") as file:
        return {
            brand_key(int(row["vehicle_type"]), row["brand"]): Size(
                int(row["models"]), int(row["discovery_calls"]), int(row["prices"])
            )
            for row in csv.DictReader(file, delimiter="\t")
        }


@cache
def typical_size(vehicle_type: int | None = None) -> Size:
    """The mean of all brands, or of those of one vehicle type."""
    sizes = [size for (kind, _), size in brand_sizes().items() if vehicle_type in (None, kind)]
    whole = sum_of(sizes)
    return whole.times(1 / len(sizes))


def size_of(messages: Iterable[BrandMessage], known: Sizes | None = None) -> Size:
    """The size of a load of these brands.

    A brand counts with its size in `known`, otherwise with its size in June 2026, otherwise as a typical
    brand of its vehicle type. If only some of its models are wanted, only those count.
    """
    return sum_of([_size(message, known or {}) for message in messages])


def refuse_what_expires(size: Size, calls_per_minute: float | None, retention_days: int) -> None:
    """Refuses a load whose last messages would wait longer than their queue keeps them.

    SQS deletes such messages silently; they do not reach the dead letter queue.

    Raises:
        LoadRequestError: the load takes too long.
    """
    days = (size.minutes(calls_per_minute) or 0) / MINUTES_PER_DAY
    if days > retention_days:
        raise LoadRequestError(
            "about {calls:,} calls take {days:.1f} days at {limit:g} per minute, but the queues keep a"
            " message for {retention} days: load fewer months at a time, or deploy with a larger"
            " retention_days",
            calls=round(size.calls),
            days=days,
            limit=calls_per_minute,
            retention=retention_days,
        )


def share_of_june_2026(month: date) -> float:
    """How large a month is, as a share of June 2026: in January 2001 FIPE had 11,107 prices.

    In a straight line between them, 309 months have 30,720 prices on average. They really had 30,773.
    """
    first, last = date(2001, 1, 1), date(2026, 6, 1)
    share = FIRST_MONTH_PRICES / whole_month().prices
    return max(share, share + (1 - share) * ((month - first) / (last - first)))


@cache
def whole_month() -> Size:
    """The size of June 2026."""
    return sum_of(list(brand_sizes().values()))


def month_size(month: date, vehicle_types: Collection[int]) -> Size:
    """About the size of some vehicle types in a month."""
    sizes = [size for (kind, _), size in brand_sizes().items() if kind in vehicle_types]
    return sum_of(sizes).times(share_of_june_2026(month))


def brand_key(vehicle_type: int, brand: str) -> tuple[int, str]:
    """The key of a brand in Sizes: the vehicle type, and the name as names are compared."""
    return vehicle_type, folded(brand)


def _size(message: BrandMessage, known: Sizes) -> Size:
    key = brand_key(message.vehicle_type, message.brand.name)
    whole = known.get(key) or brand_sizes().get(key) or typical_size(message.vehicle_type)
    wanted = len(message.wanted_models)
    return whole.part(wanted) if wanted else whole


def sum_of(sizes: Sequence[Size]) -> Size:
    """The size of several together."""
    return Size(
        sum(size.models for size in sizes),
        sum(size.discovery_calls for size in sizes),
        sum(size.prices for size in sizes),
    )
