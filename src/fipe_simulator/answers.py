"""The calls of the official API: from parameters to the JSON value that FIPE would answer.

Shapes, spellings and order follow recorded answers of November 2019 and those that public clients show.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from fipe_simulator.catalogue import VEHICLE_TYPES, Catalogue, ModelYear
from fipe_simulator.earlier_months import catalogue_for_month, published_part
from fipe_simulator.months import (
    MONTH_NAMES,
    Reference,
    published_references,
)

Json = dict[str, Any] | list[dict[str, Any]]
Parameters = Mapping[str, Any]
_T = TypeVar("_T")

NOTHING_FOUND: dict[str, Any] = {"codigo": "0", "erro": "nadaencontrado"}
INVALID_PARAMETERS: dict[str, Any] = {"codigo": "2", "erro": "Parâmetros inválidos"}

FUEL_ACRONYMS = {1: "G", 2: "Á", 3: "D", 4: "E", 5: "F", 6: "H"}
_TYPE_NAMES = {1: "carro", 2: "moto", 3: "caminhao"}
_WEEKDAYS = (
    "segunda-feira",
    "terça-feira",
    "quarta-feira",
    "quinta-feira",
    "sexta-feira",
    "sábado",
    "domingo",
)
_MOTORCYCLE = 2
_PETROL = 1
_MONTHS_KEPT = 12
"""A month of the real catalogue takes about 15 MB; a load of a range asks for a few months at a time."""


class Quirks(BaseModel):
    """Oddities that FIPE has shown at times and that a client must handle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_model_codes: bool = Field(default=False, description="ConsultarModelos gives Value as a string")
    padded_fipe_codes: bool = Field(default=False, description="CodigoFipe has a space before and after it")
    throttled_start: bool = Field(
        default=False, description="the first three calls are answered 429 with Retry-After: 1"
    )
    browsers_only: bool = Field(default=False, description="403 without a browser-like User-Agent")


class _InvalidParametersError(Exception):
    pass


class _NothingFoundError(Exception):
    pass


class OfficialApi:
    """Answers the calls of the official FIPE API from a catalogue, for its month and all earlier ones.

    Earlier months follow the rules of earlier_months.catalogue_for_month. Of the catalogue's month, the part
    that `share` says is published (earlier_months.published_part). Months after `newest` are not listed yet.
    """

    def __init__(
        self, catalogue: Catalogue, quirks: Quirks, share: float = 1, newest: date | None = None
    ) -> None:
        self.references = published_references(min(newest or catalogue.month, catalogue.month))
        self._quirks = quirks
        self._reference_of_code = {reference.code: reference for reference in self.references}
        self._lock = Lock()

        @lru_cache(maxsize=_MONTHS_KEPT)
        def of_month(month: date) -> Catalogue:
            if month == catalogue.month and share < 1:
                return published_part(catalogue, share)
            return catalogue_for_month(catalogue, month)

        self._of_month = of_month
        self.calls: dict[str, Callable[[Parameters], Json]] = {
            "ConsultarTabelaDeReferencia": self._references,
            "ConsultarMarcas": self._brands,
            "ConsultarModelos": self._models,
            "ConsultarAnoModelo": self._years_of_model,
            "ConsultarAnoModeloPeloCodigoFipe": self._years_of_code,
            "ConsultarModelosAtravesDoAno": self._models_of_year,
            "ConsultarValorComTodosParametros": self._price,
        }

    def answer(self, call: str, parameters: Parameters) -> Json:
        """The answer to a call of self.calls: its data, or one of FIPE's error objects.

        Codigo 2 means that parameters are missing, malformed or contradictory; codigo 0 that the month does
        not have what was asked for.
        """
        try:
            return self.calls[call](parameters)
        except _InvalidParametersError:
            return INVALID_PARAMETERS
        except _NothingFoundError:
            return NOTHING_FOUND

    def _references(self, _parameters: Parameters) -> Json:
        return [{"Codigo": reference.code, "Mes": reference.listed} for reference in self.references]

    def _brands(self, parameters: Parameters) -> Json:
        vehicle_type = _vehicle_type(parameters)
        _, catalogue = self._month(parameters)
        return _options(catalogue.brands(vehicle_type))

    def _models(self, parameters: Parameters) -> Json:
        key = _vehicle_type(parameters), _number(parameters, "codigoMarca")
        _, catalogue = self._month(parameters)
        value_type = str if self._quirks.text_model_codes else int
        return {
            "Modelos": [
                {"Label": name, "Value": value_type(code)} for code, name in _found(catalogue.models(*key))
            ],
            "Anos": _year_options(key[0], catalogue.model_years_of_brand(*key)),
        }

    def _years_of_model(self, parameters: Parameters) -> Json:
        key = (
            _vehicle_type(parameters),
            _number(parameters, "codigoMarca"),
            _number(parameters, "codigoModelo"),
        )
        _, catalogue = self._month(parameters)
        return _year_options(key[0], _found(catalogue.model_years_of_model(*key)))

    def _years_of_code(self, parameters: Parameters) -> Json:
        vehicle_type = _vehicle_type(parameters)
        _, catalogue = self._month(parameters)
        years = catalogue.model_years_of_code(vehicle_type, str(parameters.get("modeloCodigoExterno")))
        return _year_options(vehicle_type, _found(years))

    def _models_of_year(self, parameters: Parameters) -> Json:
        model_year, fuel_code = _number(parameters, "anoModelo"), _number(parameters, "codigoTipoCombustivel")
        if str(parameters.get("ano")) != f"{model_year}-{fuel_code}":
            raise _InvalidParametersError
        key = _vehicle_type(parameters), _number(parameters, "codigoMarca")
        _, catalogue = self._month(parameters)
        return _options(catalogue.models_of_model_year(*key, model_year, fuel_code))

    def _price(self, parameters: Parameters) -> Json:
        vehicle_type = _vehicle_type(parameters)
        if parameters.get("tipoVeiculo") != _TYPE_NAMES[vehicle_type]:
            raise _InvalidParametersError
        year = _number(parameters, "anoModelo"), _number(parameters, "codigoTipoCombustivel")
        reference, catalogue = self._month(parameters)
        if parameters.get("tipoConsulta") == "codigo":
            row = catalogue.price_of_code(vehicle_type, str(parameters.get("modeloCodigoExterno")), *year)
        elif parameters.get("tipoConsulta") == "tradicional":
            codes = _number(parameters, "codigoMarca"), _number(parameters, "codigoModelo")
            row = catalogue.price(vehicle_type, *codes, *year)
        else:
            raise _InvalidParametersError
        if row is None:
            raise _NothingFoundError
        key = (vehicle_type, row.brand_code, row.model_code, *year)
        return {
            "Valor": brazilian(row.price_brl),
            "Marca": row.brand,
            "Modelo": row.model,
            "AnoModelo": row.model_year,
            "Combustivel": row.fuel,
            "CodigoFipe": f" {row.fipe_code} " if self._quirks.padded_fipe_codes else row.fipe_code,
            "MesReferencia": reference.priced,
            "Autenticacao": _authentication(reference, key),
            "TipoVeiculo": row.vehicle_type,
            "SiglaCombustivel": FUEL_ACRONYMS.get(row.fuel_code, row.fuel[:1].upper()),
            "DataConsulta": _spelled(datetime.now()),
        }

    def _month(self, parameters: Parameters) -> tuple[Reference, Catalogue]:
        found = self.month_of_code(str(_number(parameters, "codigoTabelaReferencia")))
        if found is None:
            raise _NothingFoundError
        return found

    def month_of_code(self, code: str | None) -> tuple[Reference, Catalogue] | None:
        """The published month of a reference code, and its prices; the newest for None."""
        reference = self._reference_of_code.get(int(code)) if code else self.references[0]
        if reference is None:
            return None
        with self._lock:  # so that concurrent calls for a month compute it once
            return reference, self._of_month(reference.month)


_BRAZILIAN_SIGNS = str.maketrans(",.", ".,")


def brazilian(reais: Decimal) -> str:
    """`R$ 125.318,00`."""
    return f"R$ {reais:,.2f}".translate(_BRAZILIAN_SIGNS)


def _number(parameters: Parameters, name: str) -> int:
    """A whole number, from a JSON number or from the digits in a form."""
    text = str(parameters.get(name, ""))
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise _InvalidParametersError
    return int(text)


def _vehicle_type(parameters: Parameters) -> int:
    vehicle_type = _number(parameters, "codigoTipoVeiculo")
    if vehicle_type not in VEHICLE_TYPES:
        raise _InvalidParametersError
    return vehicle_type


def _found(items: list[_T]) -> list[_T]:
    if not items:
        raise _NothingFoundError
    return items


def _options(named: list[tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"Label": name, "Value": str(code)} for code, name in _found(named)]


def _year_options(vehicle_type: int, model_years: list[ModelYear]) -> list[dict[str, Any]]:
    return [
        {"Label": year_label(vehicle_type, each), "Value": f"{each.model_year}-{each.fuel_code}"}
        for each in model_years
    ]


def year_label(vehicle_type: int, year: ModelYear) -> str:
    """`1992 Gasolina`; only the year for a motorcycle on petrol."""
    if vehicle_type == _MOTORCYCLE and year.fuel_code == _PETROL:
        return str(year.model_year)
    return f"{year.model_year} {year.fuel}"


def _authentication(reference: Reference, key: tuple[int, ...]) -> str:
    """FIPE gives each price a short token of letters and digits; here it is computed from the question."""
    return blake2b(repr((reference.code, key)).encode(), digest_size=6).hexdigest()


def _spelled(moment: datetime) -> str:
    """`sábado, 20 de julho de 2024 12:42`."""
    return (
        f"{_WEEKDAYS[moment.weekday()]}, {moment.day} de {MONTH_NAMES[moment.month - 1]} de {moment.year}"
        f" {moment:%H:%M}"
    )
