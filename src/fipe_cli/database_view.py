"""What the database holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from fipe_words import marked

if TYPE_CHECKING:
    from psycopg2.extensions import connection

VEHICLE_TYPES = {1: marked("cars"), 2: marked("motorcycles"), 3: marked("trucks")}


@dataclass(frozen=True)
class TypeTotals:
    """What the database holds for a reference month and vehicle type."""

    reference_month: date
    vehicle_type: str
    brands: int
    models: int
    prices: int


def totals(session: "connection", reference_codes: Sequence[int]) -> list[TypeTotals]:
    """What the database holds for these references."""
    statement = """
        select reference_month, vehicle_type, count(distinct brand_code),
               count(distinct (brand_code, model_code)), count(*)
        from fipe.vehicle_price
        where reference_month = any(array(select month from fipe.reference_month where code = any(%s)))
        group by reference_month, vehicle_type
        order by reference_month, vehicle_type"""
    with session.cursor() as cursor:
        cursor.execute(statement, (list(reference_codes),))
        return [
            TypeTotals(month, VEHICLE_TYPES[vehicle_type], brands, models, prices)
            for month, vehicle_type, brands, models, prices in cursor.fetchall()
        ]
