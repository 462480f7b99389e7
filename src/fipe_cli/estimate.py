"""How large brands are, as far as the database knows."""

from datetime import date
from typing import TYPE_CHECKING

from fipe_api.load.size import Size, Sizes, brand_key

if TYPE_CHECKING:
    from psycopg2.extensions import connection


def sizes_in(session: "connection", month: date) -> Sizes:
    """The sizes of the brands in the nearest month that the database holds; empty if it holds none."""
    with session.cursor() as cursor:
        cursor.execute(
            """
            select vehicle_type, brand, count(distinct model_code),
                   1 + least(count(distinct model_code), count(distinct (model_year, fuel_code))), count(*)
            from fipe.vehicle_price
            where reference_month = (select month from fipe.reference_month order by abs(month - %s) limit 1)
            group by vehicle_type, brand
            """,
            (month,),
        )
        return {
            brand_key(vehicle_type, brand): Size(*size) for vehicle_type, brand, *size in cursor.fetchall()
        }
