"""Parallelum v2, a mirror of FIPE with the same codes and prices: GET calls, with a limit of calls per day.

The facts are from the mirror's documentation and its clients. Unlike FIPE's, its list of a brand's
models does not contain their model years. Its calls by model year, new in 2022, are not used here.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct, field
from msgspec.json import Decoder
from typing_extensions import override

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
from fipe_api.source.http_source import HEADERS, Call, HttpSource, NoDataError, NotOfferedError
from fipe_api.source.price_source import BrandModels, PriceSource

TOKEN_HEADER = "X-Subscription-Token"
VEHICLE_TYPE_NAMES: Mapping[VehicleType, str] = {1: "cars", 2: "motorcycles", 3: "trucks"}

Shape = TypeVar("Shape")
Answer = TypeVar("Answer")


class ParallelumApi(PriceSource):
    """The mirror as a PriceSource.

    Args:
        http: makes the calls.
        base_url: the API's address, with or without a slash at the end.
        token: returns the subscription's token, or an empty text.
    """

    def __init__(self, http: HttpSource, base_url: str, token: Callable[[], str] = str) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._token = token

    @override
    def references(self) -> list[Reference]:
        return self._call("references", {}, _REFERENCES, answers.read_references)

    @override
    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        path = f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands"
        return list(self._call(path, _of(reference), _NAMED_LIST, answers.read_named))

    @override
    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        path = f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands/{brand_code}/models"
        return BrandModels(self._call(path, _of(reference), _NAMED_LIST, answers.read_named), None)

    @override
    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[ModelYearFuel, ...]:
        path = f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands/{brand_code}/models/{model_code}/years"
        return self._call(
            path, _of(reference), _YEAR_LIST, lambda answer: answers.read_model_years(answers.some(answer))
        )

    @override
    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: ModelYearFuel
    ) -> frozenset[int]:
        raise NotOfferedError("the mirror is not asked for the models of a model year")

    @override
    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: ModelYearFuel
    ) -> PricedVehicle:
        asked = answers.AskedVehicle(reference, vehicle_type, brand, model, year)
        path = (
            f"{VEHICLE_TYPE_NAMES[vehicle_type]}/brands/{brand.code}/models/{model.code}"
            f"/years/{year.model_year}-{year.fuel_code}"
        )
        return self._call(
            path, _of(reference), _PRICE, lambda answer: answers.read_price(answer, asked, "parallelum")
        )

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
        return self._http.ask(call, lambda body: answers.read_answer(body, shape, read, _raise_refusal))


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


class _Refusal(Struct):
    error: str


# Not strict: the mirror writes codes as strings.
_REFERENCES = Decoder(list[_Reference], strict=False)
_NAMED_LIST = Decoder(list[_Named], strict=False)
_YEAR_LIST = Decoder(list[_Year], strict=False)
_PRICE = Decoder(_PriceAnswer, strict=False)
_REFUSAL = Decoder(_Refusal)


def _raise_refusal(body: bytes) -> None:
    """Raises NoDataError if the body says "failed to locate"; returns if it is not a refusal."""
    try:
        refusal = _REFUSAL.decode(body)
    except (ValueError, RecursionError):
        return
    raise NoDataError(refusal.error)


def _of(reference: Reference) -> Mapping[str, int]:
    return {"reference": reference.code}
