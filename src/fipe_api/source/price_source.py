"""What a source of prices answers, and what an answer has to fulfil to be taken for the one asked for."""

from collections.abc import Iterable, Mapping, Sized
from typing import NamedTuple, Protocol, TypeVar

from fipe_api.messages import Named, PricedVehicle, Reference, VehicleType, YearFuel
from fipe_api.source.http_source import MalformedAnswerError, NoDataError

KNOWN_FUELS: Mapping[int, str] = {
    1: "Gasolina", 2: "Álcool", 3: "Diesel", 4: "Elétrico", 5: "Flex", 6: "Híbrido", 7: "Gás Natural",
}  # fmt: skip
_ALSO_UNDER_PETROL = (2, 5)
"""Tables up to about 2023 hold flexible vehicles under the code of petrol."""


Items = TypeVar("Items", bound=Sized)


class BrandModels(NamedTuple):
    """A brand's models, and the union of their year-fuel pairs; None where the source does not tell it."""

    models: tuple[Named, ...]
    years: tuple[YearFuel, ...] | None


class PriceAnswer(Protocol):
    """A price as a source tells it, its texts in FIPE's spelling."""

    price: str
    brand: str
    model: str
    model_year: int
    fuel: str
    fipe_code: str
    month: str
    vehicle_type: VehicleType


class PriceSource(Protocol):
    """The calls that a load needs.

    Each raises NotNowError when throttled, blocked, down or out of time, NoDataError when the source has
    nothing, and UnusableAnswerError when its answers stay unusable after a few attempts.
    """

    def references(self) -> list[Reference]:
        """All published tables, the newest month first (the codes are not in the order of the months)."""

    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        """The brands of one vehicle type in the reference month."""

    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        """The models of a brand, and every year-fuel pair that at least one of them has."""

    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[YearFuel, ...]:
        """The year-fuel pairs of one model."""

    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: YearFuel
    ) -> frozenset[int]:
        """The codes of the brand's models that have this year-fuel pair."""

    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: YearFuel
    ) -> PricedVehicle:
        """The price of one model year and fuel; checked to be of that month, vehicle, year and fuel."""


def check_price_answer(
    *,
    asked: tuple[object, ...],
    answered: tuple[object, ...],
    names: Iterable[tuple[str, str]],
    fuel: tuple[int, str],
) -> None:
    """Refuses the price of another vehicle.

    Args:
        asked: month, vehicle type and model year as asked.
        answered: the same as answered.
        names: pairs of a name as listed and as answered.
        fuel: the code as asked, the name as answered.

    Raises:
        MalformedAnswerError: a difference.
    """
    if asked != answered:
        raise MalformedAnswerError(
            f"asked for month, type and model year {_spelled(asked)}, answered {_spelled(answered)}"
        )
    for listed, told in names:
        if not _is_same_name(listed, told):
            raise MalformedAnswerError(f"asked for {listed!r}, answered {told!r}")
    code, name = fuel
    meant = next((known for known, fuel in KNOWN_FUELS.items() if _folded(fuel) == _folded(name)), code)
    if meant != code and not (code == 1 and meant in _ALSO_UNDER_PETROL):
        raise MalformedAnswerError(f"asked for the fuel {code}, answered {name!r}")


def some(items: Items) -> Items:
    """The items of a list; an empty one says the same as "nothing found".

    Raises:
        NoDataError: there are none.
    """
    if not items:
        raise NoDataError("an empty list")
    return items


def unique_names(items: Iterable[Named]) -> tuple[Named, ...]:
    """The items, each once: a code that is listed twice would be counted twice.

    Raises:
        MalformedAnswerError: one code with two names.
    """
    found: dict[int, Named] = {}
    for item in items:
        if found.setdefault(item.code, item) != item:
            raise MalformedAnswerError(f"code {item.code} with two names")
    return tuple(found.values())


def unique_references(references: Iterable[Reference]) -> list[Reference]:
    """The tables, each once, the newest month first.

    Raises:
        MalformedAnswerError: one code with two months, or one month with two codes.
    """
    found = set(references)
    if not len({each.code for each in found}) == len({each.month for each in found}) == len(found):
        raise MalformedAnswerError("a table with two months, or a month with two tables")
    return sorted(found, key=lambda reference: reference.month, reverse=True)


def unique_years(years: Iterable[YearFuel]) -> tuple[YearFuel, ...]:
    """The pairs, each once, in their order."""
    return tuple(dict.fromkeys(years))


def _is_same_name(listed: str, told: str) -> bool:
    """Whether two spellings differ in case, spaces or signs only, or one is the other, cut."""
    one, other = _folded(listed), _folded(told)
    return one.startswith(other) or other.startswith(one) if one and other else one == other


def _folded(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _spelled(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
