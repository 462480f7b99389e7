"""The official FIPE API: its calls, and its answers in the project's own words.

The API is a set of POST calls under one base URL. Each call repeats the parameters of the level above it:
reference code, vehicle type, brand, model, model year and fuel. Many of its errors come with HTTP 200. FIPE's
Portuguese names are used in this module only.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct, field
from msgspec.json import Decoder
from typing_extensions import override

from fipe_api.environment import OFFICIAL_URL
from fipe_api.messages import (
    Code,
    ModelYear,
    ModelYearFuel,
    Named,
    PricedVehicle,
    Reference,
    Text,
    VehicleType,
)
from fipe_api.source import answers
from fipe_api.source.http_source import Call, HttpSource, InvalidParametersError, NoDataError
from fipe_api.source.price_source import BrandModels, PriceSource

VEHICLE_TYPE_NAMES: Mapping[VehicleType, str] = {1: "carro", 2: "moto", 3: "caminhao"}

Shape = TypeVar("Shape")
Answer = TypeVar("Answer")


class FipeApi(PriceSource):
    """The official API as a PriceSource.

    Args:
        http: makes the calls.
        base_url: the API's address, with or without a slash at the end.
    """

    def __init__(self, http: HttpSource, base_url: str = OFFICIAL_URL) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")

    @override
    def references(self) -> list[Reference]:
        return self._call("ConsultarTabelaDeReferencia", {}, _REFERENCES, answers.read_references)

    @override
    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        parameters = _parameters(reference, vehicle_type)
        return list(self._call("ConsultarMarcas", parameters, _NAMED_LIST, answers.read_named))

    @override
    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        def read(answer: _BrandModels) -> BrandModels:
            return BrandModels(answers.read_named(answer.models), answers.read_model_years(answer.years))

        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code)
        return self._call("ConsultarModelos", parameters, _BRAND_MODELS, read)

    @override
    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[ModelYearFuel, ...]:
        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code, codigoModelo=model_code)
        return self._call(
            "ConsultarAnoModelo",
            parameters,
            _YEAR_LIST,
            lambda answer: answers.read_model_years(answers.some(answer)),
        )

    @override
    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: ModelYearFuel
    ) -> frozenset[int]:
        def read(answer: list[_Named]) -> frozenset[int]:
            return frozenset(item.code for item in answers.some(answer))

        parameters = _parameters(
            reference,
            vehicle_type,
            codigoMarca=brand_code,
            ano=f"{year.model_year}-{year.fuel_code}",
            anoModelo=year.model_year,
            codigoTipoCombustivel=year.fuel_code,
        )
        return self._call("ConsultarModelosAtravesDoAno", parameters, _NAMED_LIST, read)

    def years_of_code(
        self, reference: Reference, vehicle_type: VehicleType, fipe_code: str
    ) -> tuple[ModelYearFuel, ...]:
        """The model years and fuels of a FIPE code, without codes of brand and model.

        Raises:
            FipeError: as the other calls; NoDataError if no vehicle of this type has the code.
        """
        return self._call(
            "ConsultarAnoModeloPeloCodigoFipe",
            _parameters(reference, vehicle_type, modeloCodigoExterno=fipe_code),
            _YEAR_LIST,
            lambda answer: answers.read_model_years(answers.some(answer)),
        )

    @override
    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: ModelYearFuel
    ) -> PricedVehicle:
        asked = answers.AskedVehicle(reference, vehicle_type, brand, model, year)
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
        return self._call(
            "ConsultarValorComTodosParametros",
            parameters,
            _PRICE,
            lambda answer: answers.read_price(answer, asked, "fipe"),
        )

    def price_of_code(self, asked: answers.AskedCode) -> answers.NamedPrice:
        """The price of one vehicle by its FIPE code, without codes of brand and model.

        Raises:
            FipeError: as the other calls.
        """
        parameters = _parameters(
            asked.reference,
            asked.vehicle_type,
            codigoMarca="",
            codigoModelo="",
            anoModelo=asked.year.model_year,
            codigoTipoCombustivel=asked.year.fuel_code,
            tipoVeiculo=VEHICLE_TYPE_NAMES[asked.vehicle_type],
            modeloCodigoExterno=asked.fipe_code,
            tipoConsulta="codigo",
        )
        return self._call(
            "ConsultarValorComTodosParametros",
            parameters,
            _PRICE,
            lambda answer: answers.read_price_of_code(answer, asked, "fipe"),
        )

    def _call(
        self,
        name: str,
        parameters: Mapping[str, str | int],
        shape: Decoder[Shape],
        read: Callable[[Shape], Answer],
    ) -> Answer:
        call = Call(name, "POST", f"{self._base_url}/{name}", parameters)
        return self._http.ask(call, lambda body: answers.read_answer(body, shape, read, _raise_refusal))


class _Reference(Struct):
    code: Code = field(name="Codigo")
    month: str = field(name="Mes")


class _Named(Struct):
    # FIPE writes the value as a number in one call and as a string in another.
    code: Code = field(name="Value")
    name: Text = field(name="Label")


class _Year(Struct):
    code: str = field(name="Value")


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


def _raise_refusal(body: bytes) -> None:
    """Raises the error that a refusal with HTTP 200 stands for; returns if the body is not a refusal."""
    try:
        refusal = _REFUSAL.decode(body)
    except (ValueError, RecursionError):
        return
    if re.sub(r"\s", "", refusal.text.lower()) == "nadaencontrado":
        raise NoDataError(refusal.text)
    raise InvalidParametersError(refusal.text)


def _parameters(reference: Reference, vehicle_type: VehicleType, **more: str | int) -> dict[str, str | int]:
    return {"codigoTabelaReferencia": reference.code, "codigoTipoVeiculo": vehicle_type, **more}
