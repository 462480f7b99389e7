"""The paths and answers of Parallelum v2, so that its clients need only another base URL.

Source: Parallelum's own description of the API, github.com/deividfortuna/fipe, v2/api.json.
"""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from fipe_query import parallelum_questions as questions
from fipe_query.cached_route import REVALIDATE, CachedRoute
from fipe_query.connections import Pool, Row
from fipe_query.failures import answer_failures
from fipe_query.months import Month, month_of_code, newest_month
from fipe_query.parallelum_answers import (
    Item,
    NotLocated,
    PriceOfMonth,
    Reference,
    VehicleDetail,
    VehicleHistory,
    Year,
    brazilian,
    fuel_acronym,
    month_in_words,
    reference_code,
    year_label,
)

LARGEST_INTEGER = 2**31 - 1


class VehicleType(StrEnum):
    """Parallelum's names of the vehicle types."""

    CARS = "cars"
    MOTORCYCLES = "motorcycles"
    TRUCKS = "trucks"

    @property
    def number(self) -> int:
        """FIPE's number."""
        return list(VehicleType).index(self) + 1


class NotLocatedError(Exception):
    """There is no such thing; `what` names it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


async def _pool(request: Request) -> Pool:
    pool: Pool = request.app.state.pool
    return pool


Database = Annotated[Pool, Depends(_pool)]
ReferenceCode = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
Code = Annotated[int, Path(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Brand = Annotated[Code, Path(alias="brandId", description="The code of the brand.", examples=[59])]
Model = Annotated[Code, Path(alias="modelId", description="The code of the model.", examples=[5940])]
FipeCode = Annotated[
    str,
    Path(alias="fipeCode", pattern=r"^[0-9]{6}-?[0-9]$", description="The FIPE code.", examples=["005340-6"]),
]
YearId = Annotated[
    str,
    Path(
        alias="yearId",
        pattern=r"^[0-9]{1,5}-[0-9]{1,5}$",
        description="The model year (32000: zero km) and the code of the fuel.",
        examples=["2014-3"],
    ),
]
Type = Annotated[VehicleType, Path(alias="vehicleType", description="The vehicle type.", examples=["cars"])]
WHAT = {"brandId": "brand", "modelId": "model", "fipeCode": "fipe code", "yearId": "year"}


def _asked_month(
    response: Response,
    pool: Database,
    reference: Annotated[
        ReferenceCode | None,
        BeforeValidator(
            lambda written: written or None, json_schema_input_type=ReferenceCode | Literal[""] | None
        ),
        Query(
            description="The code of a month of /references; without it, the newest complete month.",
            examples=[334],
        ),
    ] = None,
) -> Month:
    month = newest_month(pool) if reference is None else month_of_code(pool, reference)
    if month is None:
        raise NotLocatedError("reference")
    response.headers["Cache-Control"] = month.cache_control
    return month


AskedMonth = Annotated[Month, Depends(_asked_month)]

router = APIRouter(
    route_class=CachedRoute,
    tags=["Parallelum v2"],
    responses={404: {"model": NotLocated, "description": "There is no such thing in this month."}},
)


@router.get("/references", operation_id="GetReferences")
def references(pool: Database) -> list[Reference]:
    """The reference months, the newest first. The newest is complete, if any is."""
    newest = newest_month(pool)
    found = pool.rows(questions.REFERENCES, month=newest.month) if newest else []
    return [
        Reference(code=reference_code(each.month, each.code), month=month_in_words(each.month))
        for each in found
    ]


@router.get("/{vehicleType}/brands", operation_id="GetBrandsByType")
def brands(pool: Database, vehicle_type: Type, month: AskedMonth) -> list[Item]:
    """The brands of a vehicle type."""
    return _items("brands", _ask(pool, questions.BRANDS, vehicle_type, month))


@router.get("/{vehicleType}/brands/{brandId}/models", operation_id="GetModelsByBrand")
def models(pool: Database, vehicle_type: Type, brand: Brand, month: AskedMonth) -> list[Item]:
    """The models of a brand."""
    return _items("brand", _ask(pool, questions.MODELS, vehicle_type, month, brand=brand))


@router.get("/{vehicleType}/brands/{brandId}/models/{modelId}/years", operation_id="GetYearsByModel")
def years_of_model(
    pool: Database, vehicle_type: Type, brand: Brand, model: Model, month: AskedMonth
) -> list[Year]:
    """The model years of a model, the newest first."""
    found = _ask(pool, questions.YEARS_OF_MODEL, vehicle_type, month, brand=brand, model=model)
    return _years("model", vehicle_type, found)


@router.get("/{vehicleType}/brands/{brandId}/models/{modelId}/years/{yearId}", operation_id="GetFipeInfo")
def price_of_model(
    pool: Database, vehicle_type: Type, brand: Brand, model: Model, year: YearId, month: AskedMonth
) -> VehicleDetail:
    """The price of a vehicle, by the codes of its brand and model."""
    found = _ask(pool, questions.PRICE_OF_MODEL, vehicle_type, month, brand=brand, model=model, **_year(year))
    return VehicleDetail(**_detail(vehicle_type, found))


@router.get("/{vehicleType}/brands/{brandId}/years", operation_id="GetYearsByBrand")
def years_of_brand(pool: Database, vehicle_type: Type, brand: Brand, month: AskedMonth) -> list[Year]:
    """The model years that any model of a brand has, the newest first."""
    return _years(
        "brand", vehicle_type, _ask(pool, questions.YEARS_OF_BRAND, vehicle_type, month, brand=brand)
    )


@router.get("/{vehicleType}/brands/{brandId}/years/{yearId}/models", operation_id="GetYearByModel")
def models_of_year(
    pool: Database, vehicle_type: Type, brand: Brand, year: YearId, month: AskedMonth
) -> list[Item]:
    """The models of a brand that have a model year."""
    found = _ask(pool, questions.MODELS_OF_YEAR, vehicle_type, month, brand=brand, **_year(year))
    return _items("year", found)


@router.get("/{vehicleType}/{fipeCode}/years", operation_id="GetYearsByFipeCode")
def years_of_code(pool: Database, vehicle_type: Type, code: FipeCode, month: AskedMonth) -> list[Year]:
    """The model years of a FIPE code, the newest first."""
    found = _ask(pool, questions.YEARS_OF_CODE, vehicle_type, month, fipe_code=code)
    return _years("fipe code", vehicle_type, found)


@router.get("/{vehicleType}/{fipeCode}/years/{yearId}", operation_id="GetInfoByFipeCode")
def price_of_code(
    pool: Database, vehicle_type: Type, code: FipeCode, year: YearId, month: AskedMonth
) -> VehicleDetail:
    """The price of a vehicle, by its FIPE code."""
    found = _ask(pool, questions.PRICE_OF_CODE, vehicle_type, month, fipe_code=code, **_year(year))
    return VehicleDetail(**_detail(vehicle_type, found))


@router.get("/{vehicleType}/{fipeCode}/years/{yearId}/history", operation_id="GetHistoryByFipeCode")
def history(
    response: Response, pool: Database, vehicle_type: Type, code: FipeCode, year: YearId, month: AskedMonth
) -> VehicleHistory:
    """A vehicle and all its prices up to the month, across renames and changes of fuel, the newest first.

    A vehicle that has left the table is named as in its last month.
    """
    # Months before the one that is asked for may still come.
    response.headers["Cache-Control"] = REVALIDATE
    found = _ask(pool, questions.HISTORY, vehicle_type, month, fipe_code=code, **_year(year))
    prices = [
        PriceOfMonth(
            month=month_in_words(each.reference_month),
            price=brazilian(each.price_brl),
            reference=reference_code(each.reference_month, each.reference_code),
        )
        for each in found
    ]
    return VehicleHistory(**_detail(vehicle_type, found), priceHistory=prices)


def create_parallelum() -> FastAPI:
    """The application with these paths; its state needs a pool and a cache."""
    app = FastAPI(
        title="FIPE, as Parallelum v2",
        summary="The paths and answers of Parallelum v2 over your own database.",
        version="2.0.0",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(router)
    app.add_middleware(_WithoutLastSlash)
    app.add_exception_handler(NotLocatedError, _not_located)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    answer_failures(app, lambda failure: _error(failure.status, failure.detail, failure.headers))
    return app


class _WithoutLastSlash:
    """Middleware for clients that end their paths with a slash: Parallelum answers them alike.

    Not a redirect: some clients, such as Java's HttpClient, follow none unless told to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].rstrip("/")}
        await self._app(scope, receive, send)


async def _not_located(_: Request, error: Exception) -> Response:
    assert isinstance(error, NotLocatedError)
    return _error(HTTPStatus.NOT_FOUND, f"failed to locate {error.what}")


async def _invalid(_: Request, error: Exception) -> Response:
    """What cannot be the code of anything is not there."""
    assert isinstance(error, RequestValidationError)
    name = str(error.errors()[0]["loc"][-1])
    what = "vehicle type" if name == "vehicleType" else WHAT.get(name, name)
    return _error(HTTPStatus.NOT_FOUND, f"failed to locate {what}")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _error(HTTPStatus.NOT_FOUND, "failed to locate path")
    return _error(error.status_code, str(error.detail), error.headers)


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status, dict(headers or {}))


def _ask(pool: Pool, question: str, vehicle_type: VehicleType, month: Month, **values: Any) -> list[Row]:
    return pool.rows(question, vehicle_type=vehicle_type.number, month=month.month, **values)


def _year(year: str) -> dict[str, int]:
    model_year, _, fuel_code = year.partition("-")
    return {"model_year": int(model_year), "fuel_code": int(fuel_code)}


def _items(what: str, found: list[Row]) -> list[Item]:
    if not found:
        raise NotLocatedError(what)
    return [Item(code=str(each.code), name=each.name) for each in found]


def _years(what: str, vehicle_type: VehicleType, found: list[Row]) -> list[Year]:
    if not found:
        raise NotLocatedError(what)
    return [
        Year(
            code=f"{each.model_year}-{each.fuel_code}",
            name=year_label(vehicle_type.number, each.model_year, each.fuel_code, each.fuel),
        )
        for each in found
    ]


def _detail(vehicle_type: VehicleType, found: list[Row]) -> dict[str, Any]:
    """The fields of the first row."""
    if not found:
        raise NotLocatedError("year")
    row = found[0]
    return {
        "vehicleType": vehicle_type.number,
        "price": brazilian(row.price_brl),
        "brand": row.brand,
        "model": row.model,
        "modelYear": row.model_year,
        "fuel": row.fuel,
        "codeFipe": row.fipe_code,
        "referenceMonth": month_in_words(row.reference_month),
        "fuelAcronym": fuel_acronym(row.fuel_code, row.fuel),
    }
