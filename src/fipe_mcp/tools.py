"""The tools: what an assistant can ask of the prices, and how it asks.

Assistants read the docstrings and descriptions to choose a tool and its arguments. A tool that is called with
an invalid argument answers with its description, so each says what the argument may be.
"""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Generic

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field

from fipe_query import v1_answers as answers
from fipe_query import v1_questions as questions
from fipe_query.connections import Pool
from fipe_query.months import first_day, month_asked
from fipe_query.v1_answers import (
    ASKED_MONTH,
    LARGEST_FLEET,
    LARGEST_OFFSET,
    LARGEST_PAGE,
    NAMED_MONTH,
    NO_NUL,
    WRITTEN_CODE,
    Item,
    VehicleType,
)
from fipe_query.v1_history import History, histories
from fipe_query.v1_lookups import is_known, month_state, next_offset, one_more, valuation

FipeCode = Annotated[
    str,
    Field(
        pattern=WRITTEN_CODE,
        description="A FIPE code: six digits, a hyphen and a check digit, such as 005340-6. It names a"
        " version of a model, with all its model years and fuels. `search` finds it.",
    ),
]
Month = Annotated[
    str,
    Field(
        pattern=ASKED_MONTH,
        description="A month like 2026-06, or latest: the newest complete one. `months` lists them.",
    ),
]
ModelYear = Annotated[
    int | None,
    Field(
        ge=1900,
        le=32000,
        description="A model year, such as 2014; 32000 for zero km, FIPE's word for new; null for all.",
    ),
]
Offset = Annotated[
    int,
    Field(ge=0, le=LARGEST_OFFSET, description="0, or the next_offset of the answer before, to go on there."),
]
Limit = Annotated[
    int, Field(ge=1, le=LARGEST_PAGE, description=f"At most so many items: 1 to {LARGEST_PAGE:,}.")
]


LARGEST_HISTORY = 1000
"""Prices. An assistant reads each of them; one model year has one or two a month."""


class Part(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next_offset: int | None = Field(description="The offset of the next part; null in the last one.")


class Prices(BaseModel):
    """The prices of a FIPE code in a month."""

    month: answers.Month
    vehicles: list[answers.Vehicle] = Field(description="By model year, the newest first, and fuel.")


class Histories(BaseModel):
    """The vehicles of a FIPE code, each with its prices by month."""

    vehicles: list[History] = Field(description="By model year, the newest first, and fuel.")


class Tools:
    """The tools over a database; each public method is one.

    Args:
        pool: answers their questions.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def search(
        self,
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=200,
                pattern=NO_NUL,
                description="Words of brand and model, or their beginnings, such as amarok high; or a FIPE"
                " code. 1 to 200 characters. Leave out years and prices.",
            ),
        ],
        vehicle_type: Annotated[
            VehicleType | None, Field(description="car, motorcycle or truck; null for all.")
        ] = None,
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> Part[answers.Found]:
        """Find vehicles by name: brands, models, their FIPE codes and model years. The first step.

        Accents and case do not matter, nor does a wrong letter if nothing fits better. Each item is a model
        of the FIPE table, Brazil's reference prices of cars, motorcycles and trucks. The price is that of its
        newest model year only: ask `price` for others.
        """
        found = self._pool.rows(
            questions.SEARCH,
            search=query,
            vehicle_type=vehicle_type and vehicle_type.number,
            **one_more(limit, offset),
        )
        items = [answers.Found(**row._asdict()) for row in found[:limit]]
        return Part(items=items, next_offset=next_offset(found, limit, offset))

    def price(self, fipe_code: FipeCode, model_year: ModelYear = None, month: Month = "latest") -> Prices:
        """What a FIPE code costs in one month, in reais: a price for each model year and fuel.

        A model year that is sold with several fuels has a price for each: choose by fuel.
        """
        asked = self._month(month)
        found = self._pool.rows(questions.PRICES, fipe_code=fipe_code, month=asked)
        if not found:
            self._refuse_unknown(fipe_code)
            raise ToolError(
                f"{fipe_code} has no prices in {asked:%Y-%m}: `history` shows the months that have some"
            )
        chosen = [row for row in found if model_year in (None, row.model_year)]
        if not chosen:
            raise ToolError(
                f"{fipe_code} has no model year {model_year} in {asked:%Y-%m}:"
                f" it has {_listed(row.model_year for row in found)}"
            )
        return Prices(month=asked, vehicles=[answers.Vehicle(**row._asdict()) for row in chosen])

    def history(
        self,
        fipe_code: FipeCode,
        model_year: ModelYear = None,
        since: Annotated[
            str | None,
            Field(
                pattern=NAMED_MONTH,
                description="Only this month, like 2025-06, and later ones; null for all.",
            ),
        ] = None,
    ) -> Histories:
        """How the price of a vehicle changed: its names once, and its prices by month, the oldest first.

        Follows a vehicle across new names and changes of fuel. Name a model year, or `since`: a code with 20
        model years has thousands of prices, and an answer has at most 1,000.
        """
        found = self._pool.rows(
            questions.HISTORY,
            fipe_code=fipe_code,
            model_year=model_year,
            since=first_day(since) if since else None,
        )
        if not found:
            self._refuse_unknown(fipe_code)
            which = f" of model year {model_year}" if model_year else ""
            when = f" since {since}" if since else ""
            raise ToolError(f"{fipe_code} has no prices{which}{when}: ask for all, or see `price`")
        if len(found) > LARGEST_HISTORY:
            raise ToolError(
                f"{fipe_code} has {len(found):,} prices there, and an answer has at most {LARGEST_HISTORY:,}:"
                " name a model_year, or a later since"
            )
        return Histories(vehicles=histories(found))

    def valuation(
        self,
        vehicles: Annotated[
            list[answers.FleetVehicle],
            Field(
                min_length=1,
                max_length=LARGEST_FLEET,
                description=f"1 to {LARGEST_FLEET:,} vehicles, each with code, year and, where a code has"
                " several, fuel, as text.",
            ),
        ],
        month: Month = "latest",
        since: Annotated[
            str | None,
            Field(
                pattern=NAMED_MONTH, description="An earlier month, like 2025-06, to compare with; or null."
            ),
        ] = None,
    ) -> answers.Valuation:
        """What a list of vehicles is worth together, and each one, in the order of the list.

        For fleets, and for a vehicle that is to be compared with an earlier month or with its zero-km price.
        A vehicle without a price has a note that says why, and choices: the fuels or model years there are.
        """
        asked = self._month(month)
        return valuation(self._pool, vehicles, asked, self._month(since) if since else None)

    def months(self, limit: Limit = 12, offset: Offset = 0) -> Part[answers.MonthState]:
        """Which months the database has, the newest first, and whether each is complete."""
        found = self._pool.rows(questions.MONTHS, **one_more(limit, offset))
        items = [month_state(row) for row in found[:limit]]
        return Part(items=items, next_offset=next_offset(found, limit, offset))

    def _month(self, written: str) -> date:
        found = month_asked(self._pool, written)
        if found is None:
            asked = "" if written == "latest" else f" of {written}: `months` lists the months that have some"
            raise ToolError(f"there are no prices{asked}")
        return found.month

    def _refuse_unknown(self, fipe_code: str) -> None:
        if not is_known(self._pool, fipe_code):
            raise ToolError(f"no vehicle has ever had the FIPE code {fipe_code}: `search` finds codes")


def _listed(model_years: Iterable[int]) -> str:
    return ", ".join("32000 (zero km)" if year == 32000 else str(year) for year in dict.fromkeys(model_years))
