"""Chooses prices of a month at random."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg2.extensions import connection

# All names under which a chosen vehicle stands: FIPE answers with one of them. A seed chooses the same again.
SELECT_SAMPLE = """
with chosen as (
    select vehicle_type, fipe_code, model_year, fuel_code
    from (
        select distinct vehicle_type, fipe_code, model_year, fuel_code
        from fipe.vehicle_price
        where reference_month = %(month)s and vehicle_type = any(%(types)s::smallint[])
    ) as vehicle
    order by hashtextextended(concat_ws(' ', vehicle_type, fipe_code, model_year, fuel_code), %(seed)s)
    limit %(size)s
)
select vehicle_type, fipe_code, model_year, fuel_code, fuel, brand, model, price_brl
from fipe.vehicle_price
join chosen using (vehicle_type, fipe_code, model_year, fuel_code)
where reference_month = %(month)s
order by 1, 2, 3, 4, 5, 6, 7
"""


def choose(
    session: "connection", month: date, size: int, seed: int, types: Sequence[int] = (1, 2, 3)
) -> list[list[tuple[Any, ...]]]:
    """Vehicles that have a price in a month, at most `size` of them.

    Returns:
        For each vehicle a row per name that it stands under: vehicle type, FIPE code, model year, fuel code,
        fuel, brand, model and price in reais.
    """
    with session.cursor() as cursor:
        cursor.execute(SELECT_SAMPLE, {"month": month, "size": size, "seed": seed, "types": list(types)})
        chosen: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for row in cursor.fetchall():
            chosen.setdefault(row[:4], []).append(row)
    return list(chosen.values())
