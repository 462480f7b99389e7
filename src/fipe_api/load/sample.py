"""A random sample of a month's prices, and what it says of the month.

Months that an import holds can be confirmed by a sample: the official API is asked for some of their prices,
by FIPE code. A call takes one price, so 200 of them take 5 minutes where the whole month takes a day.
"""

import hashlib
import math
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from msgspec.structs import replace

from fipe_api.load.request import list_brands
from fipe_api.load.rounds import ROUNDS, next_round
from fipe_api.messages import ModelYearFuel, Sample, SampledName, SampledVehicle, VehicleType
from fipe_api.source.answers import AskedCode, is_same_name
from fipe_api.source.http_source import NoDataError, NotNowError, UnusableAnswerError
from fipe_api.source.price_source import CodeSource

CONFIDENCE = 0.95
PART = 20
"""How many prices one message asks for: after half a minute, it sees whether it is stopped or another load
goes first."""
ZERO_KM = 32000
_SWAPPED = str.maketrans(",.", ".,")
_TYPES: dict[VehicleType, str] = {1: "cars", 2: "motorcycles", 3: "trucks"}


class Asked(NamedTuple):
    """How far a sample has come.

    Attributes:
        sample: what is left to ask.
        retry_in: seconds to wait before that.
        denied_until: how many seconds from now what was denied is asked again at the latest, if that is all
            that is left.
        difference: what differs, in words; empty as long as all is alike. The rest need not be asked.
    """

    sample: Sample
    retry_in: float = 0.0
    denied_until: float | None = None
    difference: str = ""


def seed_of(run_id: UUID, month: date) -> int:
    """What makes a run choose the same prices of a month each time, and others of another month."""
    digest = hashlib.blake2b(f"{run_id} {month}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def ask_part(sample: Sample, source: CodeSource) -> Asked:
    """Asks for the brands of each vehicle type first, and then for some prices.

    "Nothing found" and unusable answers count only after several rounds, as in a load.
    """
    left, doubted = list(sample.left), list(sample.doubted)
    brands = dict(sample.brands)

    def progress() -> Sample:
        return replace(sample, brands=brands, left=tuple(left), doubted=tuple(doubted))

    try:
        for kind, names in sample.brands.items():
            known = set(names)
            lacking = [each for each in list_brands(sample.reference, kind, source) if each.name not in known]
            for brand in lacking:
                if not any(is_same_name(brand.name, name) for name in names):
                    why = f"{_TYPES[kind]}, {brand.name}: the import does not have this brand"
                    return Asked(progress(), difference=why)
            del brands[kind]
        for vehicle in sample.left[:PART]:
            difference = _difference(sample, vehicle, source)
            left.remove(vehicle)
            if difference is None:
                doubted.append(vehicle)
            elif difference:
                return Asked(progress(), difference=difference)
    except NotNowError as refused:
        return Asked(progress(), refused.retry_in)
    if left or not doubted:
        return Asked(progress())
    again = next_round(sample.rounds, made_progress=False)
    assert again is not None, "the last round leaves no doubts"
    left, doubted = doubted, []
    return Asked(replace(progress(), rounds=again.rounds), again.retry_in, again.last_in)


def right_share(answered: int, wrong: int) -> float:
    """How much of the whole is right at least, with CONFIDENCE: the bound by Clopper and Pearson."""
    low, high = wrong / answered, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if _at_most(wrong, answered, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return 1 - high


def _difference(sample: Sample, vehicle: SampledVehicle, source: CodeSource) -> str | None:
    """What differs, in words; empty if nothing does, and None if the answer does not count yet."""
    is_last = sample.rounds == ROUNDS - 1
    year = ModelYearFuel(model_year=vehicle.model_year, fuel_code=vehicle.fuel_code)
    asked = AskedCode(sample.reference, vehicle.vehicle_type, vehicle.fipe_code, year)
    first = vehicle.stands_as[0]
    zero_km = vehicle.model_year == ZERO_KM
    named = f"{vehicle.fipe_code} {'zero km' if zero_km else vehicle.model_year} {first.fuel}"
    try:
        brand, model, price = source.price_of_code(asked)
    except NoDataError:
        return f"{named}: the official API does not have it" if is_last else None
    except UnusableAnswerError:
        return f"{named}: no usable answer came" if is_last else None
    # A name is alike if a load of that name would take the answer for its own.
    alike = [each for each in vehicle.stands_as if _is_alike(each, brand, model, price.fuel)]
    if not alike:
        here, there = f"{first.brand}, {first.model}, {first.fuel}", f"{brand}, {model}, {price.fuel}"
    elif alike[0].price_brl != price.price_brl:
        here, there = _reais(alike[0].price_brl), _reais(price.price_brl)
    else:
        return ""
    return f"{named}: {here} in the import, {there} in the official API"


def _reais(price: Decimal) -> str:
    """A price as FIPE writes it."""
    return f"R$ {price:,.2f}".translate(_SWAPPED)


def _is_alike(here: SampledName, *answered: str) -> bool:
    return all(map(is_same_name, (here.brand, here.model, here.fuel), answered))


def _at_most(wrong: int, answered: int, share: float) -> float:
    """How likely a sample has no more wrong prices, if this share of all is wrong."""
    if not 0 < share < 1:
        return float(share <= 0 or wrong == answered)
    one, other = math.log(share), math.log1p(-share)
    ways = math.lgamma(answered + 1)
    return math.fsum(
        math.exp(
            ways
            - math.lgamma(count + 1)
            - math.lgamma(answered - count + 1)
            + count * one
            + (answered - count) * other
        )
        for count in range(wrong + 1)
    )
