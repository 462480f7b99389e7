"""The official FIPE API: its calls, and its answers parsed and checked.

The API is a set of POST calls under one base URL; its parameters repeat down the hierarchy reference,
vehicle type, brand, model, year and fuel. It answers errors with HTTP 200 as often as not. FIPE's Portuguese
names stop at this module's border.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import TypeVar

from msgspec import Struct, convert, field
from msgspec.json import Decoder

from fipe_api.environment import OFFICIAL_URL
from fipe_api.messages import (
    Code,
    ModelYear,
    Named,
    PricedVehicle,
    Reference,
    Source,
    Text,
    VehicleType,
    YearFuel,
)
from fipe_api.source.http_source import (
    Call,
    HttpSource,
    InvalidParametersError,
    MalformedAnswerError,
    NoDataError,
)
from fipe_api.source.price_source import (
    BrandModels,
    PriceAnswer,
    check_price_answer,
    some,
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
            return unique_references(
                Reference(code=item.code, month=parse_month(item.month)) for item in some(answer)
            )

        return self._call("ConsultarTabelaDeReferencia", {}, _REFERENCES, read)

    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        """See PriceSource."""
        answer = self._call("ConsultarMarcas", _parameters(reference, vehicle_type), _NAMED_LIST, _named)
        return list(answer)

    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        """See PriceSource."""

        def read(answer: _BrandModels) -> BrandModels:
            return BrandModels(_named(answer.models), _years(answer.years))

        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code)
        return self._call("ConsultarModelos", parameters, _BRAND_MODELS, read)

    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[YearFuel, ...]:
        """See PriceSource."""

        def read(answer: list[_Year]) -> tuple[YearFuel, ...]:
            return some(_years(answer))

        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code, codigoModelo=model_code)
        return self._call("ConsultarAnoModelo", parameters, _YEAR_LIST, read)

    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: YearFuel
    ) -> frozenset[int]:
        """See PriceSource."""

        def read(answer: list[_Named]) -> frozenset[int]:
            return frozenset(item.value for item in some(answer))

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
            return read_price(answer, reference, vehicle_type, brand, model, year, "fipe")

        return self._call("ConsultarValorComTodosParametros", parameters, _PRICE, read)

    def _call(
        self,
        name: str,
        parameters: Mapping[str, str | int],
        shape: Decoder[Shape],
        read: Callable[[Shape], Answer],
    ) -> Answer:
        call = Call(name, "POST", f"{self._base_url}/{name}", parameters)
        return self._http.ask(call, lambda body: read_answer(body, shape, read))


def read_price(
    answer: PriceAnswer,
    reference: Reference,
    vehicle_type: VehicleType,
    brand: Named,
    model: Named,
    year: YearFuel,
    source: Source,
) -> PricedVehicle:
    """The price that was asked for, out of a source's answer.

    Raises:
        MalformedAnswerError: it is another vehicle's or month's.
        ValueError: it is spelled otherwise.
    """
    check_price_answer(
        asked=(reference.month, vehicle_type, year.model_year),
        answered=(parse_month(answer.month), answer.vehicle_type, answer.model_year),
        names=((brand.name, answer.brand), (model.name, answer.model)),
        fuel=(year.fuel_code, answer.fuel),
    )
    return PricedVehicle(
        model_year=year.model_year,
        fuel_code=year.fuel_code,
        fuel=answer.fuel,
        fipe_code=answer.fipe_code.strip(),  # sometimes padded
        price_brl=parse_price(answer.price),
        source=source,
    )


def parse_month(text: str) -> date:
    """The first day of a month that FIPE spells "agosto/2026 " in its list and "agosto de 2026 " in a price.

    Raises:
        ValueError: neither spelling, or no such month.
    """
    match = re.fullmatch(r"\s*(\w+)(?:/|\s+de\s+)([0-9]{4})\s*", text)
    if not match or match[1].lower() not in MONTHS:
        raise ValueError(f"not a month: {text!r}")
    return date(int(match[2]), MONTHS.index(match[1].lower()) + 1, 1)


_PRICE_TEXT = re.compile(r"\s*R\$\s*([0-9]{1,3}(?:\.[0-9]{3})*|[0-9]+),([0-9]{2})\s*")


def parse_price(text: str) -> Decimal:
    """Reais from "R$ 125.318,00".

    Raises:
        ValueError: anything else, a negative amount among it.
    """
    match = _PRICE_TEXT.fullmatch(text)
    if not match:
        raise ValueError(f"not a price: {text!r}")
    return Decimal(f"{match[1].replace('.', '')}.{match[2]}")


def parse_year_fuel(text: str) -> YearFuel:
    """A model year and fuel from "1992-1".

    Raises:
        ValueError: anything else.
    """
    match = re.fullmatch(r"\s*([0-9]{1,5})-([0-9]{1,5})\s*", text)
    if not match:
        raise ValueError(f"not a year and fuel: {text!r}")
    return convert({"model_year": int(match[1]), "fuel_code": int(match[2])}, YearFuel)


class _Reference(Struct):
    code: Code = field(name="Codigo")
    month: str = field(name="Mes")


class _Named(Struct):
    # The source writes the value as a number in one call and as a string in another.
    value: Code = field(name="Value")
    label: Text = field(name="Label")


class _Year(Struct):
    value: str = field(name="Value")


class _BrandModels(Struct):
    models: list[_Named] = field(name="Modelos")
    years: list[_Year] = field(name="Anos")


class _PriceAnswer(Struct):
    price: str = field(name="Valor")
    brand: Text = field(name="Marca")
    model: Text = field(name="Modelo")
    model_year: ModelYear = field(name="AnoModelo")
    fuel: Text = field(name="Combustivel")
    fipe_code: str = field(name="CodigoFipe")
    month: str = field(name="MesReferencia")
    vehicle_type: VehicleType = field(name="TipoVeiculo")


class _Refusal(Struct):
    code: str = field(name="codigo")
    text: str = field(name="erro")


# Not strict: a number may be written as a string.
_REFERENCES = Decoder(list[_Reference], strict=False)
_NAMED_LIST = Decoder(list[_Named], strict=False)
_YEAR_LIST = Decoder(list[_Year], strict=False)
_BRAND_MODELS = Decoder(_BrandModels, strict=False)
_PRICE = Decoder(_PriceAnswer, strict=False)
_REFUSAL = Decoder(_Refusal)


def read_answer(body: bytes, shape: Decoder[Shape], read: Callable[[Shape], Answer]) -> Answer:
    """What `read` makes of an answer in its shape.

    Raises:
        NoDataError, InvalidParametersError: it is a refusal that says so.
        MalformedAnswerError: it is anything else.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return read(shape.decode(body))
    except (ValueError, RecursionError) as error:
        _raise_refusal(body)
        raise MalformedAnswerError(str(error)) from error


def _raise_refusal(body: bytes) -> None:
    """Raises what a refusal with HTTP 200 means; returns when the body is none."""
    try:
        refusal = _REFUSAL.decode(body)
    except (ValueError, RecursionError):
        return
    if re.sub(r"\s", "", refusal.text.lower()) == "nadaencontrado":
        raise NoDataError(refusal.text)
    raise InvalidParametersError(refusal.text)


def _years(answer: Iterable[_Year]) -> tuple[YearFuel, ...]:
    return unique_years(parse_year_fuel(item.value) for item in answer)


def _named(answer: Iterable[_Named]) -> tuple[Named, ...]:
    return some(unique_names(Named(code=item.value, name=item.label) for item in answer))


def _parameters(reference: Reference, vehicle_type: VehicleType, **more: str | int) -> dict[str, str | int]:
    return {"codigoTabelaReferencia": reference.code, "codigoTipoVeiculo": vehicle_type, **more}
