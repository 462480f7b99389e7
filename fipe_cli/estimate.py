"""What a load will cost: its calls, and the time they take at the current rate."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

from fipe_api.messages import BrandMessage

BRAND_SIZES = Path(__file__).with_name("brand_sizes.tsv")
"""How large each brand was in June 2026: a whole month of 50,332 prices, counted."""


@dataclass(frozen=True)
class Size:
    """How large a brand, or a load, is.

    Attributes:
        models: models that have a price.
        discovery_calls: calls to the source that find the models and their years.
        prices: prices, each of which is a call.
    """

    models: float
    discovery_calls: float
    prices: float

    @property
    def calls(self) -> float:
        """All calls to the source."""
        return self.discovery_calls + self.prices

    def minutes(self, calls_per_minute: float | None) -> float | None:
        """How long the calls take, or None without a limit."""
        return self.calls / calls_per_minute if calls_per_minute else None


@cache
def brand_sizes() -> dict[tuple[int, str], Size]:
    """The sizes by vehicle type and name in small letters."""
    with BRAND_SIZES.open(encoding="utf-8", newline="") as file:
        return {
            (int(row["vehicle_type"]), row["brand"].casefold()): Size(
                int(row["models"]), int(row["discovery_calls"]), int(row["prices"])
            )
            for row in csv.DictReader(file, delimiter="\t")
        }


@cache
def typical_size(vehicle_type: int | None = None) -> Size:
    """The mean of all brands, or of those of one vehicle type."""
    sizes = [size for (kind, _), size in brand_sizes().items() if vehicle_type in (None, kind)]
    return Size(
        mean(size.models for size in sizes),
        mean(size.discovery_calls for size in sizes),
        mean(size.prices for size in sizes),
    )


def size_of(messages: Iterable[BrandMessage]) -> Size:
    """The size of a load of these brands. A brand that was not there in June 2026 counts as a typical one; a
    brand of which only some models are wanted, as those models.
    """
    sizes = [_size(message) for message in messages]
    return Size(
        sum(size.models for size in sizes),
        sum(size.discovery_calls for size in sizes),
        sum(size.prices for size in sizes),
    )


def _size(message: BrandMessage) -> Size:
    known = brand_sizes().get((message.vehicle_type, message.brand.name.strip().casefold()))
    whole = known or typical_size(message.vehicle_type)
    wanted = len(message.wanted_models)
    if not wanted or wanted >= whole.models:
        return whole
    return Size(wanted, 1 + wanted, whole.prices * wanted / whole.models)
