"""Parallelum v2, a mirror of FIPE with the same codes and rows: GET calls, a limit a day, a token or none.

Source of facts: the mirror's documentation and its clients. It has no call for the models of a year,
and tells no union of a brand's years.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct, field
from msgspec.json import Decoder

from fipe_api.fipe_api_service import parse_month, parse_year_fuel, read_answer, read_price
from fipe_api.messages import (
    Code,
    ModelYear,
    Named,
    PricedVehicle,
    Reference,
    Text,
    VehicleType,
    YearFuel,
)
from fipe_api.source.http_source import (
    HEADERS,
    Call,
    HttpSource,
    MalformedAnswerError,
    NoDataError,
    NotOfferedError,
)
from fipe_api.source.price_source import (
    BrandModels,
    some,
    unique_names,
    unique_references,
    unique_years,
)

TOKEN_HEADER = "X-Subscription-Token"
VEHICLE_TYPE_NAMES: Mapping[VehicleType, str] = {1: "cars", 2: "motorcycles", 3: "trucks"}

Shape = TypeVar("Shape")
Answer = TypeVar("Answer")


class ParallelumApi:
    """The mirror as a PriceSource.

    Args:
        http: makes the calls.
        base_url: where the API is, with or without a slash at its end.
        token: gives the subscription's token; empty without one.
    """

    def __init__(self, http: HttpSource, base_url: str, token: Callable[[], str] = str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._token = token

    def references(self) -> list[Reference]:
        """See PriceSource."""

        def read(answer: list[_Reference]) -> list[Reference]:
            return unique_references(
                Reference(code=item.code, month=parse_month(item.month)) for item in some(answer)
            )

        return self._call("references", {}, _REFERENCES, read)

    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        """See PriceSource."""
        path = f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands"
        return list(self._call(path, _of(reference), _NAMED_LIST, _named))

    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        """See PriceSource."""
        path = f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands/{brand_code}/models"
        return BrandModels(self._call(path, _of(reference), _NAMED_LIST, _named), None)

    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[YearFuel, ...]:
        """See PriceSource."""
        path = f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands/{brand_code}/models/{model_code}/years"

        def read(answer: list[_Year]) -> tuple[YearFuel, ...]:
            return unique_years(parse_year_fuel(item.code) for item in some(answer))

        return self._call(path, _of(reference), _YEAR_LIST, read)

    def models_of_year(
        self,
        reference: Reference,  # noqa: ARG002 - the protocol's
        vehicle_type: VehicleType,  # noqa: ARG002
        brand_code: int,  # noqa: ARG002
        year: YearFuel,  # noqa: ARG002
    ) -> frozenset[int]:
        """Raises NotOfferedError."""
        raise NotOfferedError("Parallelum does not tell the models of a year")

    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: YearFuel
    ) -> PricedVehicle:
        """See PriceSource."""
        kind = VEHICLE_TYPE_NAMES[vehicle_type]
        pair = f"{year.model_year}-{year.fuel_code}"
        path = f"{kind}/brands/{brand.code}/models/{model.code}/years/{pair}"

        def read(answer: _PriceAnswer) -> PricedVehicle:
            return read_price(answer, reference, vehicle_type, brand, model, year, "parallelum")

        return self._call(path, _of(reference), _PRICE, read)

    def _call(
        self,
        path: str,
        parameters: Mapping[str, int],
        shape: Decoder[Shape],
        read: Callable[[Shape], Answer],
    ) -> Answer:
        headers = {"User-Agent": HEADERS["User-Agent"], "Accept": "application/json"}
        if token := self._token():
            headers[TOKEN_HEADER] = token
        call = Call(path, "GET", f"{self._base_url}/{path}", parameters, headers)
        return self._http.ask(call, lambda body: _read_answer(body, shape, read))


class _Reference(Struct):
    code: Code
    month: str


class _Named(Struct):
    code: Code
    name: Text


class _Year(Struct):
    code: str


class _PriceAnswer(Struct):
    vehicle_type: VehicleType = field(name="vehicleType")
    price: str
    brand: Text
    model: Text
    model_year: ModelYear = field(name="modelYear")
    fuel: Text
    fipe_code: str = field(name="codeFipe")
    month: str = field(name="referenceMonth")


class _Failure(Struct):
    error: str


# Not strict: codes are written as strings.
_REFERENCES = Decoder(list[_Reference], strict=False)
_NAMED_LIST = Decoder(list[_Named], strict=False)
_YEAR_LIST = Decoder(list[_Year], strict=False)
_PRICE = Decoder(_PriceAnswer, strict=False)
_FAILURE = Decoder(_Failure)


def _read_answer(body: bytes, shape: Decoder[Shape], read: Callable[[Shape], Answer]) -> Answer:
    """See read_answer; what the mirror fails to locate is no data."""
    try:
        return read_answer(body, shape, read)
    except MalformedAnswerError:
        with suppress(ValueError, RecursionError):
            raise NoDataError(_FAILURE.decode(body).error) from None
        raise


def _named(answer: list[_Named]) -> tuple[Named, ...]:
    return unique_names(Named(code=item.code, name=item.name) for item in some(answer))


def _of(reference: Reference) -> Mapping[str, int]:
    return {"reference": reference.code}
