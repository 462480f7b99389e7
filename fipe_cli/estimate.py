"""What a load will cost: its calls, and the time they take at the current rate."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from fipe_api.messages import BrandMessage, folded

if TYPE_CHECKING:
    from psycopg2.extensions import connection

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


Sizes = Mapping[tuple[int, str], Size]
"""By vehicle type and name in small letters."""


@cache
def brand_sizes() -> Sizes:
    """The sizes of June 2026."""
    with BRAND_SIZES.open(encoding="utf-8", newline="") as file:
        return {
            _key(int(row["vehicle_type"]), row["brand"]): Size(
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


def sizes_in(session: "connection", month: date) -> Sizes:
    """The sizes of the brands in the month nearest to `month` that the database holds; empty without one."""
    with session.cursor() as cursor:
        cursor.execute(
            """
            select vehicle_type, brand, count(distinct model_code),
                   1 + least(count(distinct model_code), count(distinct (model_year, fuel_code))), count(*)
            from fipe.vehicle_price
            where reference_month = (select month from fipe.reference_month order by abs(month - %s) limit 1)
            group by vehicle_type, brand
            """,
            (month,),
        )
        return {_key(vehicle_type, brand): Size(*size) for vehicle_type, brand, *size in cursor.fetchall()}


def size_of(messages: Iterable[BrandMessage], known: Sizes | None = None) -> Size:
    """The size of a load of these brands.

    Each brand counts as large as in `known`; if it is not there, as in June 2026; if it was not there either,
    as a typical one of its type. A brand of which only some models are wanted counts as those models.
    """
    sizes = [_size(message, known or {}) for message in messages]
    return Size(
        sum(size.models for size in sizes),
        sum(size.discovery_calls for size in sizes),
        sum(size.prices for size in sizes),
    )


def _size(message: BrandMessage, known: Sizes) -> Size:
    key = _key(message.vehicle_type, message.brand.name)
    whole = known.get(key) or brand_sizes().get(key) or typical_size(message.vehicle_type)
    wanted = len(message.wanted_models)
    if not wanted or wanted >= whole.models:
        return whole
    return Size(wanted, 1 + wanted, whole.prices * wanted / whole.models)


def _key(vehicle_type: int, brand: str) -> tuple[int, str]:
    return vehicle_type, folded(brand)
