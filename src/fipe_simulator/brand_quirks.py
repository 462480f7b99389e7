"""What the source has done wrong with some vehicles, again and again: one kind for each brand.

Faults come and go at random, and quirks stay: whoever asks again gets the same answer.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import cycle
from typing import Any

from fipe_simulator.answers import INVALID_PARAMETERS, NOTHING_FOUND
from fipe_simulator.catalogue import VEHICLE_TYPES, Catalogue, CatalogueRow
from fipe_simulator.faults import FORBIDDEN, Reply, failure
from fipe_simulator.http_server import json_reply

BrandKey = tuple[int, int]
"""Vehicle type and brand code."""

_PRICE, _YEARS, _MODELS_OF_YEAR = (
    "ConsultarValorComTodosParametros",
    "ConsultarAnoModelo",
    "ConsultarModelosAtravesDoAno",
)
_TRIES_DENIED = 3


class BrandQuirk(StrEnum):
    """What the source does with a brand. "First" means the first model of the brand in the catalogue."""

    CUT_PRICES = "cut_prices"
    """The prices of the first model are cut in the middle."""
    OTHER_MONTH = "other_month"
    """They have the label of another month."""
    OTHER_TYPE = "other_type"
    """They are of another vehicle type."""
    RENAMED_FIELD = "renamed_field"
    """They have `Preco` instead of `Valor`."""
    ENGLISH_AMOUNTS = "english_amounts"
    """They are written `70,851.00`."""
    INVALID_PARAMETERS = "invalid_parameters"
    """They are refused with `Parâmetros inválidos`."""
    NEVER_PRICED = "never_priced"
    """The first vehicle is listed, and its price is answered with `nadaencontrado`."""
    MODEL_WITHOUT_YEARS = "model_without_years"
    """The first model is listed, and has no model years."""
    PLAIN_NAMES = "plain_names"
    """Prices name brand and model in capital letters without accents, as the lists do not."""
    NO_BREAK_SPACES = "no_break_spaces"
    """Amounts have a no-break space after `R$`."""
    DENIED_AT_FIRST = "denied_at_first"
    """The first three tries of each price are answered with `nadaencontrado`."""
    REFUSED_IN_TURNS = "refused_in_turns"
    """Each price is answered 403, 500 and 200 in turns."""


UNUSABLE = frozenset(
    {
        BrandQuirk.CUT_PRICES,
        BrandQuirk.OTHER_MONTH,
        BrandQuirk.OTHER_TYPE,
        BrandQuirk.RENAMED_FIELD,
        BrandQuirk.ENGLISH_AMOUNTS,
        BrandQuirk.INVALID_PARAMETERS,
    }
)
"""No price of the first model ever has a usable answer."""


def quirks_of_brands(catalogue: Catalogue, wanted: Iterable[str]) -> dict[BrandKey, BrandQuirk]:
    """The brands' quirks from texts like `Fiat=cut_prices`; `all` gives each brand one, in their order.

    Raises:
        ValueError: a text is spelled differently, or the catalogue has no such brand.
    """
    brands = {
        (vehicle_type, code): name
        for vehicle_type in VEHICLE_TYPES
        for code, name in catalogue.brands(vehicle_type)
    }
    found: dict[BrandKey, BrandQuirk] = {}
    for text in wanted:
        if text == "all":
            found |= dict(zip(brands, cycle(BrandQuirk), strict=False))
            continue
        brand, _, quirk = text.rpartition("=")
        named = [key for key, name in brands.items() if name.casefold() == brand.casefold()]
        if quirk not in set(BrandQuirk) or not named:
            raise ValueError(
                f"invalid brand quirk {text!r}: use all, or BRAND=QUIRK with one of the catalogue's brands"
                f" and one of {', '.join(BrandQuirk)}"
            )
        found |= dict.fromkeys(named, BrandQuirk(quirk))
    return found


class BrandQuirks:
    """Changes the answers about some brands of a catalogue."""

    def __init__(self, catalogue: Catalogue, quirks: Mapping[BrandKey, BrandQuirk]) -> None:
        self._quirks = quirks
        self._first = {
            key: catalogue.rows_of_model(*key, catalogue.models(*key)[0][0])[0]
            for key in quirks
            if catalogue.models(*key)
        }

    def apply_to(self, parameters: Mapping[str, Any]) -> bool:
        """Whether the brand that a call asks about has a quirk."""
        return _brand(parameters) in self._first

    def obtainable(self, catalogue: Catalogue) -> list[CatalogueRow]:
        """The prices that a patient client gets in the end: all but those that never have a usable answer."""
        return [row for row in catalogue.rows if not self._keeps_back(row)]

    def _keeps_back(self, row: CatalogueRow) -> bool:
        key = row.vehicle_type, row.brand_code
        quirk, first = self._quirks.get(key), self._first.get(key)
        if quirk is None or first is None or row.model_code != first.model_code:
            return False
        return (
            quirk in UNUSABLE
            or quirk == BrandQuirk.MODEL_WITHOUT_YEARS
            or (quirk == BrandQuirk.NEVER_PRICED and row == first)
        )

    def change(self, call: str, parameters: Mapping[str, Any], attempt: int, reply: Reply) -> Reply:
        """What the source answers instead.

        Args:
            call: its name.
            parameters: what it asks.
            attempt: how often it was asked, this time included.
            reply: the true answer.
        """
        key = _brand(parameters)
        quirk = self._quirks.get(key)
        first = self._first.get(key)
        if quirk is None or first is None:
            return reply
        if quirk == BrandQuirk.MODEL_WITHOUT_YEARS:
            return _without_years(call, parameters, first.model_code, reply)
        if call != _PRICE:
            return reply
        if quirk == BrandQuirk.DENIED_AT_FIRST:
            return json_reply(NOTHING_FOUND) if attempt <= _TRIES_DENIED else reply
        if quirk == BrandQuirk.REFUSED_IN_TURNS:
            return (FORBIDDEN, failure(500, "Internal Server Error"), reply)[(attempt - 1) % 3]
        if quirk == BrandQuirk.NEVER_PRICED:
            asked = tuple(
                _number(parameters, name) for name in ("codigoModelo", "anoModelo", "codigoTipoCombustivel")
            )
            is_first = asked == (first.model_code, first.model_year, first.fuel_code)
            return json_reply(NOTHING_FOUND) if is_first else reply
        if quirk in UNUSABLE and _number(parameters, "codigoModelo") != first.model_code:
            return reply
        return _spoilt(quirk, reply)


def _without_years(call: str, parameters: Mapping[str, Any], model_code: int, reply: Reply) -> Reply:
    if call == _YEARS and _number(parameters, "codigoModelo") == model_code:
        return json_reply(NOTHING_FOUND)
    if call == _MODELS_OF_YEAR:
        answer = json.loads(reply.body)
        if isinstance(answer, list):
            return json_reply([model for model in answer if model["Value"] != str(model_code)])
    return reply


def _spoilt(quirk: BrandQuirk, reply: Reply) -> Reply:
    price: dict[str, Any] = json.loads(reply.body)
    if "Valor" not in price:
        return reply
    match quirk:
        case BrandQuirk.CUT_PRICES:
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        case BrandQuirk.INVALID_PARAMETERS:
            return json_reply(INVALID_PARAMETERS)
        case BrandQuirk.OTHER_MONTH:
            price["MesReferencia"] = "janeiro de 2001 "
        case BrandQuirk.OTHER_TYPE:
            price["TipoVeiculo"] = price["TipoVeiculo"] % 3 + 1
        case BrandQuirk.RENAMED_FIELD:
            price["Preco"] = price.pop("Valor")
        case BrandQuirk.ENGLISH_AMOUNTS:
            price["Valor"] = price["Valor"].removeprefix("R$ ").translate(str.maketrans(",.", ".,"))
        case BrandQuirk.PLAIN_NAMES:
            price |= {name: _plain(price[name]) for name in ("Marca", "Modelo")}
        case BrandQuirk.NO_BREAK_SPACES:
            price["Valor"] = price["Valor"].replace(" ", "\N{NO-BREAK SPACE}")
    return json_reply(price)


def _plain(name: str) -> str:
    marked = unicodedata.normalize("NFD", name.upper())
    return "".join(character for character in marked if not unicodedata.combining(character))


def _brand(parameters: Mapping[str, Any]) -> BrandKey:
    return _number(parameters, "codigoTipoVeiculo"), _number(parameters, "codigoMarca")


def _number(parameters: Mapping[str, Any], name: str) -> int:
    text = str(parameters.get(name, ""))
    return int(text) if text.isascii() and text.isdigit() else -1
