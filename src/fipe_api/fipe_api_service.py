"""The official FIPE API: its calls, and its answers parsed and checked.

The API is a set of POST calls under one base URL; its parameters repeat down the hierarchy reference,
vehicle type, brand, model, year and fuel. It answers errors with HTTP 200 as often as not. FIPE's Portuguese
names stop at this module's border.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sized
from datetime import date
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from fipe_api.environment import OFFICIAL_URL
from fipe_api.http_source import (
    Call,
    HttpSource,
    InvalidParametersError,
    MalformedAnswerError,
    NoDataError,
)
from fipe_api.messages import (
    Code,
    FipeCode,
    ModelYear,
    Named,
    Price,
    PricedVehicle,
    Reference,
    Text,
    VehicleType,
    YearFuel,
)
from fipe_api.price_source import (
    BrandModels,
    check_price_answer,
    unique_names,
    unique_references,
    unique_years,
)

MONTHS = (
    "janeiro", "fevereiro", "março", "abril", "maio", "junho",
    "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
)  # fmt: skip
VEHICLE_TYPE_NAMES: Mapping[VehicleType, str] = {1: "carro", 2: "moto", 3: "caminhao"}


Shape = TypeVar("Shape")
Answer = TypeVar("Answer")
Items = TypeVar("Items", bound=Sized)


class FipeApi:
    """The official API as a PriceSource.

    Args:
        http: makes the calls.
        base_url: where the API is, with or without a slash at its end.
    """

    def __init__(self, http: HttpSource, base_url: str = OFFICIAL_URL) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")

    def references(self) -> list[Reference]:
        """See PriceSource."""

        def read(answer: list[_Reference]) -> list[Reference]:
            return unique_references(Reference(code=item.code, month=item.month) for item in _some(answer))

        return self._call("ConsultarTabelaDeReferencia", {}, _REFERENCES, read)

    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        """See PriceSource."""
        answer = self._call("ConsultarMarcas", _parameters(reference, vehicle_type), _NAMED_LIST, _named)
        return list(answer)

    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        """See PriceSource."""

        def read(answer: _BrandModels) -> BrandModels:
            return BrandModels(_named(answer.models), unique_years(item.value for item in answer.years))

        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code)
        return self._call("ConsultarModelos", parameters, _BRAND_MODELS, read)

    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[YearFuel, ...]:
        """See PriceSource."""

        def read(answer: list[_Year]) -> tuple[YearFuel, ...]:
            return _some(unique_years(item.value for item in answer))

        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code, codigoModelo=model_code)
        return self._call("ConsultarAnoModelo", parameters, _YEAR_LIST, read)

    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: YearFuel
    ) -> frozenset[int]:
        """See PriceSource."""

        def read(answer: list[_Named]) -> frozenset[int]:
            return frozenset(item.value for item in _some(answer))

        parameters = _parameters(
            reference,
            vehicle_type,
            codigoMarca=brand_code,
            ano=f"{year.model_year}-{year.fuel_code}",
            anoModelo=year.model_year,
            codigoTipoCombustivel=year.fuel_code,
        )
        return self._call("ConsultarModelosAtravesDoAno", parameters, _NAMED_LIST, read)

    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: YearFuel
    ) -> PricedVehicle:
        """See PriceSource."""
        parameters = _parameters(
            reference,
            vehicle_type,
            codigoMarca=brand.code,
            codigoModelo=model.code,
            anoModelo=year.model_year,
            codigoTipoCombustivel=year.fuel_code,
            tipoVeiculo=VEHICLE_TYPE_NAMES[vehicle_type],
            modeloCodigoExterno="",
            tipoConsulta="tradicional",
        )

        def read(answer: _PriceAnswer) -> PricedVehicle:
            check_price_answer(
                asked=(reference.month, vehicle_type, year.model_year),
                answered=(answer.month, answer.vehicle_type, answer.model_year),
                names=((brand.name, answer.brand), (model.name, answer.model)),
                fuel=(year.fuel_code, answer.fuel),
            )
            return PricedVehicle(
                model_year=year.model_year,
                fuel_code=year.fuel_code,
                fuel=answer.fuel,
                fipe_code=answer.fipe_code,
                price_brl=answer.price,
            )

        return self._call("ConsultarValorComTodosParametros", parameters, _PRICE, read)

    def _call(
        self,
        name: str,
        parameters: Mapping[str, str | int],
        shape: TypeAdapter[Shape],
        read: Callable[[Shape], Answer],
    ) -> Answer:
        call = Call(name, "POST", f"{self._base_url}/{name}", parameters)
        return self._http.ask(call, lambda body: read(parse_answer(body, shape)))


def parse_month(text: object) -> date:
    """The first day of a month that FIPE spells "agosto/2026 " in its list and "agosto de 2026 " in a price.

    Raises:
        ValueError: neither spelling, or no such month.
    """
    match = isinstance(text, str) and re.fullmatch(r"\s*(\w+)(?:/|\s+de\s+)([0-9]{4})\s*", text)
    if not match or match[1].lower() not in MONTHS:
        raise ValueError(f"not a month: {text!r}")
    return date(int(match[2]), MONTHS.index(match[1].lower()) + 1, 1)


_PRICE_TEXT = re.compile(r"\s*R\$\s*([0-9]{1,3}(?:\.[0-9]{3})*|[0-9]+),([0-9]{2})\s*")


def parse_price(text: object) -> Decimal:
    """Reais from "R$ 125.318,00".

    Raises:
        ValueError: anything else, a negative amount among it.
    """
    match = isinstance(text, str) and _PRICE_TEXT.fullmatch(text)
    if not match:
        raise ValueError(f"not a price: {text!r}")
    return Decimal(f"{match[1].replace('.', '')}.{match[2]}")


def parse_year_fuel(text: object) -> YearFuel:
    """A model year and fuel from "1992-1".

    Raises:
        ValueError: anything else.
    """
    match = isinstance(text, str) and re.fullmatch(r"\s*([0-9]{1,5})-([0-9]{1,5})\s*", text)
    if not match:
        raise ValueError(f"not a year and fuel: {text!r}")
    return YearFuel(model_year=int(match[1]), fuel_code=int(match[2]))


def strip_spaces(value: object) -> object:
    """A text without the spaces around it; anything else as it is."""
    return value.strip() if isinstance(value, str) else value


class _Reference(BaseModel):
    code: Code = Field(alias="Codigo")
    month: Annotated[date, BeforeValidator(parse_month)] = Field(alias="Mes")


class _Named(BaseModel):
    # The source writes the value as a number in one call and as a string in another.
    value: Code = Field(alias="Value")
    label: Text = Field(alias="Label")


class _Year(BaseModel):
    value: Annotated[YearFuel, BeforeValidator(parse_year_fuel)] = Field(alias="Value")


class _BrandModels(BaseModel):
    models: list[_Named] = Field(alias="Modelos")
    years: list[_Year] = Field(alias="Anos")


class _PriceAnswer(BaseModel):
    price: Annotated[Price, BeforeValidator(parse_price)] = Field(alias="Valor")
    brand: Text = Field(alias="Marca")
    model: Text = Field(alias="Modelo")
    model_year: ModelYear = Field(alias="AnoModelo")
    fuel: Text = Field(alias="Combustivel")
    # Sometimes padded with spaces.
    fipe_code: Annotated[FipeCode, BeforeValidator(strip_spaces)] = Field(alias="CodigoFipe")
    month: Annotated[date, BeforeValidator(parse_month)] = Field(alias="MesReferencia")
    vehicle_type: VehicleType = Field(alias="TipoVeiculo")


class _Refusal(BaseModel):
    code: str = Field(alias="codigo")
    text: str = Field(alias="erro")


_REFERENCES = TypeAdapter(list[_Reference])
_NAMED_LIST = TypeAdapter(list[_Named])
_YEAR_LIST = TypeAdapter(list[_Year])
_BRAND_MODELS = TypeAdapter(_BrandModels)
_PRICE = TypeAdapter(_PriceAnswer)


def parse_answer(body: bytes, shape: TypeAdapter[Shape]) -> Shape:
    """The answer in its shape.

    Raises:
        NoDataError, InvalidParametersError: it is a refusal that says so.
        MalformedAnswerError: it is anything else.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        _raise_refusal(body)
        problem = error.errors()[0]
        place = "".join(f"{part}: " for part in problem["loc"])
        raise MalformedAnswerError(f"{place}{problem['msg']}") from error


def _raise_refusal(body: bytes) -> None:
    """Raises what a refusal with HTTP 200 means; returns when the body is none."""
    try:
        refusal = _Refusal.model_validate_json(body)
    except ValidationError:
        return
    if re.sub(r"\s", "", refusal.text.lower()) == "nadaencontrado":
        raise NoDataError(refusal.text)
    raise InvalidParametersError(refusal.text)


def _named(answer: Iterable[_Named]) -> tuple[Named, ...]:
    return _some(unique_names(Named(code=item.value, name=item.label) for item in answer))


def _some(items: Items) -> Items:
    """The items of a list; an empty one says the same as "nothing found"."""
    if not items:
        raise NoDataError("an empty list")
    return items


def _parameters(reference: Reference, vehicle_type: VehicleType, **more: str | int) -> dict[str, str | int]:
    return {"codigoTabelaReferencia": reference.code, "codigoTipoVeiculo": vehicle_type, **more}
