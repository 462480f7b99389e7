"""The project's own paths, under /v1."""

import re
from datetime import date
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from starlette.exceptions import HTTPException

from fipe_query import v1_answers as answers
from fipe_query import v1_questions as questions
from fipe_query.cached_route import REVALIDATE, CachedRoute
from fipe_query.connections import Pool, Row
from fipe_query.months import Month, first_day, month_asked
from fipe_query.parallelum import Database
from fipe_query.problems import problem_responses
from fipe_query.v1_answers import (
    ASKED_MONTH,
    LARGEST_BODY,
    LARGEST_OFFSET,
    LARGEST_PAGE,
    NAMED_MONTH,
    NO_NUL,
    WRITTEN_CODE,
    Page,
    VehicleType,
)
from fipe_query.v1_history import History, histories
from fipe_query.v1_lookups import is_known, month_state, next_offset, one_more, valuation

_A_MONTH = "A month like 2026-06, or latest: the newest complete month."

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="At most so many items.")]
Offset = Annotated[int, Query(ge=0, le=LARGEST_OFFSET, description="Pass over so many items.")]
TypeFilter = Annotated[VehicleType | None, Query(alias="type", description="Only this vehicle type.")]
BrandFilter = Annotated[
    str | None,
    Query(
        max_length=100,
        pattern=NO_NUL,
        description="Only brands that have these whole words in their names.",
        examples=["volkswagen"],
    ),
]
FipeCode = Annotated[str, Path(pattern=WRITTEN_CODE, description="The FIPE code.", examples=["005340-6"])]
YearFilter = Annotated[
    int | None,
    Query(ge=1900, le=32000, description="Only this model year; 32000 means zero km.", examples=[2014]),
]


class By(StrEnum):
    """What a month is counted by."""

    TYPE = "type"
    BRAND = "brand"


def _found(response: Response, pool: Pool, written: str) -> Month:
    """The month that has prices. Raises HTTPException when it has none."""
    month = month_asked(pool, written)
    if month is None:
        asked = "" if written == "latest" else f" of {written}: /v1/months lists the months"
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there are no prices{asked}")
    response.headers["Cache-Control"] = month.cache_control
    return month


def _month_of_path(
    response: Response,
    pool: Database,
    month: Annotated[str, Path(pattern=ASKED_MONTH, description=_A_MONTH, examples=["2026-06"])],
) -> Month:
    return _found(response, pool, month)


def _month_of_query(
    response: Response,
    pool: Database,
    month: Annotated[str, Query(pattern=ASKED_MONTH, description=_A_MONTH, examples=["2026-06"])] = "latest",
) -> Month:
    return _found(response, pool, month)


def _month_before(
    response: Response,
    pool: Database,
    month: Annotated[Month, Depends(_month_of_path)],
    since: Annotated[
        str | None,
        Query(
            pattern=NAMED_MONTH,
            description="The earlier month; by default the last one before that is complete.",
            examples=["2026-05"],
        ),
    ] = None,
) -> date | None:
    """The month to compare with; None if there is none."""
    if since is None:
        # It is another one as soon as a month in between is loaded.
        response.headers["Cache-Control"] = REVALIDATE
        ((before,),) = pool.rows(questions.MONTH_BEFORE, month=month.month)
        found: date | None = before
        return found
    earlier = _found(response, pool, since)
    if month.cache_control == REVALIDATE:
        response.headers["Cache-Control"] = REVALIDATE
    return earlier.month


PathMonth = Annotated[Month, Depends(_month_of_path)]
QueryMonth = Annotated[Month, Depends(_month_of_query)]
MonthBefore = Annotated[date | None, Depends(_month_before)]


def _refuse_unknown_parameters(request: Request) -> None:
    """Raises HTTPException for a name that the path does not know, which is often misspelt."""
    asked_for = get_flat_params(request.scope["route"].dependant)
    known = {each.alias for each in asked_for if isinstance(each.field_info, params.Query)}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        taken = ", ".join(sorted(known)) or "none"
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"unknown parameter {unknown[0]}: this path takes {taken}"
        )


router = APIRouter(
    prefix="/v1",
    route_class=CachedRoute,
    dependencies=[Depends(_refuse_unknown_parameters)],
    responses=problem_responses(404, 422, 503, 504),
    tags=["FIPE"],
)
TOO_LARGE: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than 1 MiB.", "content": {"text/plain": {}}}
}
# A limit for the whole application would break off answers to those who send a large body with a GET.
valuations = APIRouter(
    prefix="/v1",
    dependencies=[Depends(_refuse_unknown_parameters)],
    responses=problem_responses(400, 404, 422, 503, 504) | TOO_LARGE,
    tags=["FIPE"],
    max_body_size=LARGEST_BODY,
)


@router.get("/months")
def list_months(
    request: Request, pool: Database, limit: Limit = 100, offset: Offset = 0
) -> Page[answers.MonthState]:
    """The months that have prices, the newest first, and how far each is loaded."""
    found = pool.rows(questions.MONTHS, **one_more(limit, offset))
    rows, following = _page(request, found, limit, offset)
    return Page(items=[month_state(row) for row in rows], next=following)


@router.get("/search")
def search(
    request: Request,
    pool: Database,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=200,
            pattern=NO_NUL,
            description="Beginnings of words of brand and model, or a FIPE code.",
            examples=["amarok high"],
        ),
    ],
    vehicle_type: TypeFilter = None,
    limit: Limit = 20,
    offset: Offset = 0,
) -> Page[answers.Found]:
    """Models by what is typed. Accents and case do not matter; nor a wrong letter, if nothing fits better."""
    kind = vehicle_type and vehicle_type.number
    found = pool.rows(questions.SEARCH, search=q, vehicle_type=kind, **one_more(limit, offset))
    rows, following = _page(request, found, limit, offset)
    return Page(items=[answers.Found(**row._asdict()) for row in rows], next=following)


@router.get("/vehicles/{fipe_code}/prices")
def prices(pool: Database, fipe_code: FipeCode, month: QueryMonth) -> list[answers.Vehicle]:
    """The prices of a FIPE code in a month, by model year and fuel; none if the month does not have it."""
    found = pool.rows(questions.PRICES, fipe_code=fipe_code, month=month.month)
    if not found:
        _refuse_unknown(pool, fipe_code)
    return [answers.Vehicle(**row._asdict()) for row in found]


@router.get("/vehicles/{fipe_code}/history")
def history(
    pool: Database,
    fipe_code: FipeCode,
    model_year: YearFilter = None,
    since: Annotated[
        str | None,
        Query(pattern=NAMED_MONTH, description="Only this month and later ones.", examples=["2025-06"]),
    ] = None,
) -> list[History]:
    """The vehicles of a FIPE code, the newest model year first, each with its prices in all months."""
    _refuse_unknown(pool, fipe_code)
    first = first_day(since) if since else None
    return histories(pool.rows(questions.HISTORY, fipe_code=fipe_code, model_year=model_year, since=first))


@router.get("/vehicles/{fipe_code}/depreciation")
def depreciation(pool: Database, fipe_code: FipeCode, month: QueryMonth) -> answers.Depreciation:
    """The prices of a FIPE code in a month by age, in percent of the newest."""
    _refuse_unknown(pool, fipe_code)
    found = pool.rows(questions.DEPRECIATION, fipe_code=fipe_code, month=month.month)
    aged = [answers.Aged(**row._asdict()) for row in found]
    return answers.Depreciation(month=month.month, vehicles=aged)


@router.get("/months/{month}/changes")
def changes(
    request: Request,
    pool: Database,
    month: PathMonth,
    before: MonthBefore,
    difference: Annotated[answers.Difference | None, Query(description="Only these vehicles.")] = None,
    vehicle_type: TypeFilter = None,
    brand: BrandFilter = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[answers.Change]:
    """The vehicles of a month and of an earlier one, each once: new, gone, changed or unchanged."""
    found = pool.rows(
        questions.CHANGES,
        month=month.month,
        before=before,
        difference=difference,
        vehicle_type=vehicle_type and vehicle_type.number,
        brand=brand,
        **one_more(limit, offset),
    )
    rows, following = _page(request, found, limit, offset)
    return Page(items=[answers.Change(**row._asdict()) for row in rows], next=following)


@router.get("/months/{month}/movers")
def movers(
    pool: Database,
    month: PathMonth,
    before: MonthBefore,
    vehicle_type: TypeFilter = None,
    brand: BrandFilter = None,
    limit: Annotated[
        int, Query(ge=1, le=LARGEST_PAGE, description="At most so many in each direction.")
    ] = 10,
) -> answers.Movers:
    """The vehicles whose prices rose most, and those whose prices fell most. Prices of zero are left out."""
    found = pool.rows(
        questions.MOVERS,
        month=month.month,
        before=before,
        vehicle_type=vehicle_type and vehicle_type.number,
        brand=brand,
        limit=limit,
    )
    moved = [answers.Mover(**row._asdict()) for row in found]
    return answers.Movers(
        month=month.month,
        month_before=before,
        rose=[each for each in moved if each.change_brl > 0],
        fell=[each for each in moved if each.change_brl < 0],
    )


@router.get("/months/{month}/summary")
def summary(
    response: Response,
    pool: Database,
    month: PathMonth,
    by: Annotated[By | None, Query(description="One item per vehicle type or brand.")] = None,
) -> list[answers.Summary]:
    """How many vehicles are new, gone and so on since the month before; none if there is no such month."""
    # The months before it, which nobody names, may still come.
    response.headers["Cache-Control"] = REVALIDATE
    found = pool.rows(questions.SUMMARY, month=month.month, by=by)
    return [answers.Summary(**row._asdict()) for row in found]


@valuations.post("/valuations")
def value(response: Response, pool: Database, fleet: answers.Fleet) -> answers.Valuation:
    """The prices of up to 1,000 vehicles, in their order, as people write them; and what they add up to."""
    month = _found(response, pool, fleet.month)
    since = _found(response, pool, fleet.since).month if fleet.since else None
    del response.headers["Cache-Control"]
    return valuation(pool, fleet.vehicles, month.month, since)


def _refuse_unknown(pool: Pool, fipe_code: str) -> None:
    if not is_known(pool, fipe_code):
        raise HTTPException(
            HTTPStatus.NOT_FOUND, f"no vehicle has ever had the FIPE code {fipe_code}: /v1/search finds codes"
        )


def _page(request: Request, found: list[Row], limit: int, offset: int) -> tuple[list[Row], str | None]:
    """The rows of a page, and the path of the next one."""
    following = next_offset(found, limit, offset)
    if following is None:
        return found[:limit], None
    url = request.url.include_query_params(limit=limit, offset=following)
    return found[:limit], re.sub(r"^[a-z]+://[^/]+", "", str(url))
