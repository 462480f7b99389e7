"""The month that the benchmarks load: the real June 2026 if its file is there, otherwise a generated one like
it."""

import os
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

from fipe_simulator import SAMPLE_MONTH, Catalogue, CatalogueRow, read_catalogue

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_MONTH = Path(
    os.environ.get("FIPE_REAL_MONTH", REPOSITORY.parent / "shared/fipe/catalogue-2026-06.tsv.gz")
)
SEED = 2026
ZERO_KM = 32000
NEWEST_YEAR = 2027
FUELS = {1: "Gasolina", 3: "Diesel", 5: "Flex"}


class Shape(NamedTuple):
    """The size of June 2026 for one vehicle type, and its fuels with their weights."""

    vehicle_type: int
    first_digit: str
    brands: int
    models: int
    prices: int
    zero_km: int
    steepness: float
    fuels: dict[int, int]


# The steepness is chosen so that a load takes about as many calls as June 2026 does (54,752).
SHAPES = (
    Shape(1, "0", 107, 7_286, 30_117, 975, 0.18, {1: 86, 3: 10, 5: 4}),
    Shape(2, "8", 100, 1_979, 8_847, 517, 0.19, {1: 97, 5: 3}),
    Shape(3, "5", 29, 1_973, 11_368, 376, 0.42, {3: 100}),
)


@cache
def month() -> Catalogue:
    """The month's prices."""
    return read_catalogue(REAL_MONTH) if REAL_MONTH.is_file() else generated_month()


def month_description() -> str:
    """Names the month, for the document."""
    return "the real June 2026" if REAL_MONTH.is_file() else "a generated month of the size of June 2026"


def generated_month() -> Catalogue:
    """A month with as many brands, models and prices as June 2026; the same at every call."""
    return Catalogue(SAMPLE_MONTH, [row for shape in SHAPES for row in _rows(shape)])


def _rows(shape: Shape) -> Iterator[CatalogueRow]:
    dice = random.Random(SEED + shape.vehicle_type)
    models_of_brands = _split(shape.models, [2 ** (-shape.steepness * rank) for rank in range(shape.brands)])
    years_of_models = iter(_split(shape.prices, [dice.expovariate(1) + 0.3 for _ in range(shape.models)]))
    zero_km_models = set(dice.sample(range(shape.models), shape.zero_km))
    numbers = count()
    for brand_code, models in enumerate(models_of_brands, start=1):
        for _ in range(models):
            number = next(numbers)
            years = next(years_of_models)
            newest = NEWEST_YEAR - min(int(dice.expovariate(1 / 9)), 30)
            model_years = [newest - age for age in range(years)]
            if number in zero_km_models:
                model_years[0] = ZERO_KM
            (fuel_code,) = dice.choices(list(shape.fuels), list(shape.fuels.values()))
            value = dice.lognormvariate(10.8, 0.8)
            for age, model_year in enumerate(model_years):
                yield CatalogueRow(
                    vehicle_type=shape.vehicle_type,
                    brand_code=brand_code,
                    brand=f"Brand {shape.vehicle_type}-{brand_code}",
                    model_code=10_000 * shape.vehicle_type + number,
                    model=f"Model {number} 2.0 16V Turbo Aut. 4p",
                    model_year=model_year,
                    fuel_code=fuel_code,
                    fuel=FUELS[fuel_code],
                    fipe_code=fipe_code(f"{shape.first_digit}{number:05}"),
                    price_brl=_reais(value * 0.93**age),
                )


def _split(total: int, weights: Sequence[float]) -> list[int]:
    """Splits a total in proportion to weights; each part is at least 1."""
    spare = total - len(weights)
    bounds = [0]
    reached = 0.0
    for weight in weights:
        reached += weight
        bounds.append(round(spare * reached / sum(weights)))
    return [1 + end - start for start, end in pairwise(bounds)]


def fipe_code(digits: str) -> str:
    """A FIPE code with its check digit."""
    total = sum(weight * int(digit) for weight, digit in zip(range(7, 1, -1), digits, strict=True))
    return f"{digits}-{(11 - total % 11) % 11 % 10}"


def _reais(value: float) -> Decimal:
    return Decimal(max(100, round(value))).quantize(Decimal("0.01"))
