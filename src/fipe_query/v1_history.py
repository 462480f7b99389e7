"""The history of a FIPE code: a vehicle's names are said once, and its prices by month."""

from datetime import date
from itertools import groupby

from pydantic import BaseModel, Field

from fipe_query.connections import Row
from fipe_query.v1_answers import Brand, Fuel, Model, ModelYear, Reais, Type


class Published(BaseModel):
    """What FIPE called a vehicle, from when to when."""

    brand: Brand
    model: Model
    fuel: Fuel
    first_month: date = Field(examples=["2014-01-01"])
    last_month: date = Field(examples=["2026-06-01"])


class History(BaseModel):
    """A vehicle through all its months, across new names and changes of fuel; named as in the last one."""

    vehicle_type: Type
    brand: Brand
    model: Model
    model_year: ModelYear
    zero_km: bool
    fuel: Fuel
    published: list[Published] = Field(description="Its names and fuels, the oldest first.")
    prices: dict[date, Reais] = Field(
        description="Its prices in reais by month, the oldest first.",
        examples=[{"2026-05-01": 126904.00, "2026-06-01": 125318.00}],
    )


def histories(rows: list[Row]) -> list[History]:
    """One history per vehicle.

    Args:
        rows: of fipe.price_history; those of a vehicle follow one another, by month.
    """
    vehicles: list[list[Row]] = []
    for row in rows:
        if vehicles and _goes_on(vehicles[-1][-1], row):
            vehicles[-1].append(row)
        else:
            vehicles.append([row])
    return [_history(each) for each in vehicles]


def _goes_on(last: Row, row: Row) -> bool:
    same = (last.model_year, last.fuel) == (row.model_year, row.fuel)
    return same and bool(last.reference_month < row.reference_month)


def _history(rows: list[Row]) -> History:
    newest = rows[-1]
    runs = [list(run) for _, run in groupby(rows, lambda row: (row.brand, row.model, row.published_fuel))]
    return History(
        vehicle_type=newest.vehicle_type,
        brand=newest.brand,
        model=newest.model,
        model_year=newest.model_year,
        zero_km=newest.zero_km,
        fuel=newest.fuel,
        published=[
            Published(
                brand=run[0].brand,
                model=run[0].model,
                fuel=run[0].published_fuel,
                first_month=run[0].reference_month,
                last_month=run[-1].reference_month,
            )
            for run in runs
        ],
        prices={row.reference_month: row.price_brl for row in rows},
    )
