"""The shapes of a source's answers, and the checks that an answer must pass before it is used.

Sources sometimes answer with another month, another vehicle, an empty list, repetitions, or an error with
HTTP 200. All sources share these checks; only the names of the fields differ.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from datetime import date
from decimal import Decimal
from typing import NamedTuple, NoReturn, Protocol, TypeVar

from msgspec import convert
from msgspec.json import Decoder

from fipe_api.messages import (
    ModelYearFuel,
    Named,
    PricedVehicle,
    Reference,
    Source,
    VehicleType,
    without_accents,
)
from fipe_api.source.http_source import MalformedAnswerError, NoDataError

MONTHS = (
    "janeiro", "fevereiro", "março", "abril", "maio", "junho",
    "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
)  # fmt: skip
KNOWN_FUELS: Mapping[int, str] = {
    1: "Gasolina", 2: "Álcool", 3: "Diesel", 4: "Elétrico", 5: "Flex", 6: "Híbrido", 7: "Gás Natural",
}  # fmt: skip
PETROL = 1
_ALSO_UNDER_PETROL = (2, 5)
"""Months up to about 2023 list alcohol and flex vehicles under the code of petrol."""
_PRICE_TEXT = re.compile(r"\s*R\$\s*([0-9]{1,3}(?:\.[0-9]{3})*|[0-9]+),([0-9]{2})\s*")

Items = TypeVar("Items", bound=Sized)
Shape = TypeVar("Shape")
Answer = TypeVar("Answer")


class ReferenceAnswer(Protocol):
    """A reference month as a source lists it, in FIPE's spelling."""

    code: int
    month: str


class NamedAnswer(Protocol):
    """A brand or a model as a source lists it."""

    code: int
    name: str


class ModelYearAnswer(Protocol):
    """A model year and fuel as a source lists it, like "1992-1"."""

    code: str


class PriceAnswer(Protocol):
    """A price as a source gives it, its texts in FIPE's spelling."""

    price: str
    brand: str
    model: str
    model_year: int
    fuel: str
    fipe_code: str
    month: str
    vehicle_type: VehicleType


class AskedVehicle(NamedTuple):
    """The vehicle whose price is asked for, in one reference month."""

    reference: Reference
    vehicle_type: VehicleType
    brand: Named
    model: Named
    year: ModelYearFuel


class AskedCode(NamedTuple):
    """A FIPE code's model year and fuel whose price is asked for, in one reference month."""

    reference: Reference
    vehicle_type: VehicleType
    fipe_code: str
    year: ModelYearFuel


class NamedPrice(NamedTuple):
    """A price with the names of its brand and model."""

    brand: str
    model: str
    price: PricedVehicle


def read_answer(
    body: bytes,
    shape: Decoder[Shape],
    read: Callable[[Shape], Answer],
    raise_refusal: Callable[[bytes], None],
) -> Answer:
    """Decodes an answer and turns it into the project's own types.

    Args:
        body: the answer.
        shape: decodes it.
        read: turns it into the project's own types; raises ValueError if it cannot be right.
        raise_refusal: raises the error that an answer of another shape stands for, if it is a known one.

    Raises:
        FipeError: what raise_refusal raises.
        MalformedAnswerError: any other answer.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return read(shape.decode(body))
    except (ValueError, RecursionError) as error:
        raise_refusal(body)
        raise MalformedAnswerError(str(error)) from error


def read_references(answer: Sequence[ReferenceAnswer]) -> list[Reference]:
    """The reference months, each once, the newest first.

    Raises:
        NoDataError: there are none.
        MalformedAnswerError: one code with two months, or one month with two codes.
        ValueError: a text that is not a month.
    """
    found = {Reference(code=item.code, month=parse_month(item.month)) for item in some(answer)}
    if not len({each.code for each in found}) == len({each.month for each in found}) == len(found):
        raise MalformedAnswerError("one reference code with two months, or one month with two codes")
    return sorted(found, key=lambda reference: reference.month, reverse=True)


def read_named(answer: Sequence[NamedAnswer]) -> tuple[Named, ...]:
    """The brands or models, each once: a code that is listed twice would be counted twice.

    Raises:
        NoDataError: there are none.
        MalformedAnswerError: one code with two names.
    """
    found: dict[int, Named] = {}
    for item in some(answer):
        named = Named(code=item.code, name=item.name)
        if found.setdefault(named.code, named) != named:
            raise MalformedAnswerError(f"code {named.code} with two names")
    return tuple(found.values())


def read_model_years(answer: Iterable[ModelYearAnswer]) -> tuple[ModelYearFuel, ...]:
    """The model years and fuels, each once, in the source's order; there may be none.

    Raises:
        ValueError: one is spelled differently.
    """
    return tuple(dict.fromkeys(parse_model_year_fuel(item.code) for item in answer))


def read_price(answer: PriceAnswer, asked: AskedVehicle, source: Source) -> PricedVehicle:
    """The price that was asked for.

    Raises:
        MalformedAnswerError: it is the price of another vehicle or month.
        ValueError: a text is spelled differently.
    """
    _check_vehicle(answer, asked)
    return PricedVehicle(
        model_year=asked.year.model_year,
        fuel_code=asked.year.fuel_code,
        fuel=answer.fuel,
        fipe_code=answer.fipe_code.strip(),  # FIPE pads some codes with spaces
        price_brl=parse_price(answer.price),
        source=source,
    )


def read_price_of_code(answer: PriceAnswer, asked: AskedCode, source: Source) -> NamedPrice:
    """The price that was asked for by FIPE code, with the names that the source gives.

    Raises:
        MalformedAnswerError: it is the price of another vehicle or month.
        ValueError: a text is spelled differently.
    """
    _check_equal("month", f"{asked.reference.month:%Y-%m}", f"{parse_month(answer.month):%Y-%m}")
    _check_equal("vehicle type", asked.vehicle_type, answer.vehicle_type)
    _check_equal("FIPE code", asked.fipe_code, answer.fipe_code.strip())
    _check_equal("model year", asked.year.model_year, answer.model_year)
    if not _is_same_fuel(asked.year.fuel_code, answer.fuel):
        _refuse("fuel", asked.year.fuel_code, repr(answer.fuel))
    price = PricedVehicle(
        model_year=asked.year.model_year,
        fuel_code=asked.year.fuel_code,
        fuel=answer.fuel,
        fipe_code=asked.fipe_code,
        price_brl=parse_price(answer.price),
        source=source,
    )
    return NamedPrice(answer.brand, answer.model, price)


def some(items: Items) -> Items:
    """The items of a list. An empty list means the same as "nothing found".

    Raises:
        NoDataError: there are none.
    """
    if not items:
        raise NoDataError("an empty list")
    return items


def parse_month(text: str) -> date:
    """The first day of a month, which FIPE writes "agosto/2026 " in its list, "agosto de 2026 " in a price.

    Raises:
        ValueError: any other text.
    """
    match = re.fullmatch(r"\s*(\w+)(?:/|\s+de\s+)([0-9]{4})\s*", text)
    if not match or match[1].lower() not in MONTHS:
        raise ValueError(f"not a month: {text!r}")
    return date(int(match[2]), MONTHS.index(match[1].lower()) + 1, 1)


def parse_price(text: str) -> Decimal:
    """Reais from "R$ 125.318,00".

    Raises:
        ValueError: any other text; negative amounts are refused too.
    """
    match = _PRICE_TEXT.fullmatch(text)
    if not match:
        raise ValueError(f"not a price: {text!r}")
    return Decimal(f"{match[1].replace('.', '')}.{match[2]}")


def parse_model_year_fuel(text: str) -> ModelYearFuel:
    """A model year and fuel from "1992-1".

    Raises:
        ValueError: any other text.
    """
    match = re.fullmatch(r"\s*([0-9]{1,5})-([0-9]{1,5})\s*", text)
    if not match:
        raise ValueError(f"not a model year and fuel: {text!r}")
    return convert({"model_year": int(match[1]), "fuel_code": int(match[2])}, ModelYearFuel)


def _check_vehicle(answer: PriceAnswer, asked: AskedVehicle) -> None:
    """Refuses the price of another month, vehicle type, model year, brand, model or fuel."""
    _check_equal("month", f"{asked.reference.month:%Y-%m}", f"{parse_month(answer.month):%Y-%m}")
    _check_equal("vehicle type", asked.vehicle_type, answer.vehicle_type)
    _check_equal("model year", asked.year.model_year, answer.model_year)
    for what, listed, answered in (
        ("brand", asked.brand.name, answer.brand),
        ("model", asked.model.name, answer.model),
    ):
        if not is_same_name(listed, answered):
            _refuse(what, repr(listed), repr(answered))
    if not _is_same_fuel(asked.year.fuel_code, answer.fuel):
        _refuse("fuel", asked.year.fuel_code, repr(answer.fuel))


def _check_equal(what: str, asked: object, answered: object) -> None:
    if asked != answered:
        _refuse(what, asked, answered)


def _refuse(what: str, asked: object, answered: object) -> NoReturn:
    raise MalformedAnswerError(f"the answer is for another {what}: asked {asked}, answered {answered}")


def _is_same_fuel(code: int, name: str) -> bool:
    """Whether a fuel's name fits its code. An unknown name fits any code."""
    named = next((known for known, fuel in KNOWN_FUELS.items() if _letters(fuel) == _letters(name)), code)
    return named == code or (code == PETROL and named in _ALSO_UNDER_PETROL)


def is_same_name(listed: str, answered: str) -> bool:
    """Whether two names differ only in case, accents, spaces or signs, or one begins the other."""
    one, other = _letters(listed), _letters(answered)
    return one.startswith(other) or other.startswith(one) if one and other else one == other


def _letters(name: str) -> str:
    """The letters and digits of a name, in lower case and without accents."""
    return "".join(character for character in without_accents(name).casefold() if character.isalnum())
