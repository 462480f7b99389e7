"""What a month's prices are, and what moved since the month before it."""

from datetime import date
from typing import TYPE_CHECKING, Any

from fipe_cli.report.rows import Rows, ask

if TYPE_CHECKING:
    from psycopg2.extensions import connection

MOVERS = 10
"""How many of the biggest rises, and as many falls."""
MODELS = 12
"""How many models are listed of those that are new, have new years, have lost years, or vanished."""
OLDEST = 25
"""The oldest age in years; older vehicles are counted with it."""
MONTHS = 13
"""Months of the index, the shown one included: a year."""
FEWEST = 5
"""A median of fewer vehicles says nothing."""

WHOLE = {"whole", "imported"}
"""What fipe.loaded says of months of which nothing is known to be missing."""


def read_market(session: "connection", month: date) -> dict[str, Any]:
    """Reads the month, and its comparison with the month before as fipe.month_before has it.

    Returns:
        `before` is None when there is no month to compare with. `passed_over` are the months between the two,
        which are not complete. `differences` is None unless both months are whole or imported: what
        was not loaded has not vanished.
    """
    (compared,) = ask(
        session,
        "select fipe.loaded(%s) as loaded, before.month as before, fipe.loaded(before.month) as before_loaded"
        " from (select fipe.month_before(%s, null) as month) as before",
        (month, _text(month)),
    )
    before = compared["before"]
    is_whole = {compared["loaded"], compared["before_loaded"]} <= WHOLE
    return {
        "month": month,
        "loaded": compared["loaded"],
        "before": before,
        "before_loaded": compared["before_loaded"] if before else None,
        "passed_over": _passed_over(session, month, before),
        "types": _types(session, month),
        "depreciation": _depreciation(session, month),
        "index": _index(session, month),
        "moves": _moves(session, month, before) if before else [],
        "spread": _spread(session, month, before) if before else [],
        "movers": _movers(session, month, before) if before else [],
        "differences": _differences(session, month, before) if before and is_whole else None,
    }


def _text(month: date) -> str:
    return f"{month:%Y-%m}"


def _passed_over(session: "connection", month: date, before: date | None) -> list[date]:
    return [
        row["month"]
        for row in ask(
            session,
            """
            select reference.month
            from fipe.reference_month as reference
            where reference.month < %s and reference.month > coalesce(%s, '-infinity'::date)
              and exists (select from fipe.price where price.reference_month = reference.month)
            order by reference.month
            """,
            (month, before),
        )
    ]


def _types(session: "connection", month: date) -> Rows:
    return ask(
        session,
        """
        select vehicle_type, count(distinct brand_code)::integer as brands,
               count(distinct (brand_code, model_code))::integer as models, count(*)::integer as prices,
               (count(*) filter (where zero_km))::integer as zero_km,
               (percentile_cont(0.5) within group (order by price_brl))::float as median,
               (percentile_cont(0.5) within group (order by price_brl) filter (where zero_km))::float
                   as median_zero_km,
               (percentile_cont(0.5) within group (order by price_brl) filter (where not zero_km))::float
                   as median_used
        from fipe.vehicle_price
        where reference_month = %s
        group by vehicle_type
        order by vehicle_type
        """,
        (month,),
    )


def _depreciation(session: "connection", month: date) -> Rows:
    return ask(
        session,
        """
        with vehicle as (
            select vehicle_type, brand_code, model_code, fuel_code, zero_km, price_brl,
                   extract(year from reference_month)::integer - model_year as age
            from fipe.vehicle_price
            where reference_month = %s
        )
        select used.vehicle_type, used.age, count(*)::integer as vehicles,
               100 * percentile_cont(0.5) within group (order by used.price_brl / new.price_brl) as percent
        from vehicle as used
        join vehicle as new using (vehicle_type, brand_code, model_code, fuel_code)
        where new.zero_km and not used.zero_km and new.price_brl > 0 and used.age between 0 and %s
        group by used.vehicle_type, used.age
        having count(*) >= %s
        order by used.vehicle_type, used.age
        """,
        (month, OLDEST, FEWEST),
    )


def _index(session: "connection", month: date) -> Rows:
    """How the same vehicles' prices moved from each whole month to the next, by type, zero km and used."""
    return ask(
        session,
        """
        with months as materialized (
            select reference.month
            from fipe.reference_month as reference
            where reference.month <= %(month)s and reference.month > %(month)s - interval '2 years'
              and exists (select from fipe.price where price.reference_month = reference.month)
              and fipe.loaded(reference.month) = any(%(whole)s)
            order by reference.month desc
            limit %(months)s
        ),
        pair as materialized (
            select month, lag(month) over (order by month) as before from months
        )
        select pair.before, pair.month, model.vehicle_type, vehicle.zero_km, count(*)::integer as vehicles,
               (percentile_cont(0.5) within group (order by (now.price_brl / before.price_brl)::float8))
                   as ratio
        from pair
        join fipe.price as now on now.reference_month = pair.month
        join fipe.price as before
            on before.reference_month = pair.before and before.vehicle_id = now.vehicle_id
        join fipe.vehicle on vehicle.id = now.vehicle_id
        join fipe.model on model.id = vehicle.model_id
        where now.price_brl > 0 and before.price_brl > 0
        group by pair.before, pair.month, model.vehicle_type, vehicle.zero_km
        having count(*) >= %(fewest)s
        order by model.vehicle_type, vehicle.zero_km, pair.month
        """,
        {"month": month, "months": MONTHS, "fewest": FEWEST, "whole": list(WHOLE)},
    )


MOVED = """
    with moved as materialized (
        select vehicle_type, brand, zero_km,
               case when not zero_km then least(greatest(
                   extract(year from reference_month)::integer - model_year, 0), %(oldest)s) end as age,
               (100 * (price_brl / price_before - 1))::float8 as change
        from fipe.price_changes(%(month)s, %(before)s)
        where price_before > 0 and price_brl > 0
    )
"""

MOVES = """
    select case grouping(vehicle_type, brand, zero_km, age)
                when 15 then 'all' when 7 then 'type' when 3 then 'brand' when 6 then 'age'
                when 5 then 'type and zero km' else 'zero km' end as by,
           vehicle_type, brand, zero_km, age, count(*)::integer as vehicles,
           (count(*) filter (where change > 0))::integer as rose,
           (count(*) filter (where change < 0))::integer as fell,
           percentile_cont(0.5) within group (order by change) as median
    from moved
    group by grouping sets (
        (), (vehicle_type), (vehicle_type, brand), (vehicle_type, age), (vehicle_type, zero_km), (zero_km)
    )
    order by vehicle_type nulls first, age, median desc, brand, zero_km
"""
SPREAD = """
    select vehicle_type,
           case when change < -5 then 0 when change < -2 then 1 when change < -1 then 2
                when change < 0 then 3 when change = 0 then 4 when change <= 1 then 5
                when change <= 2 then 6 when change <= 5 then 7 else 8 end as step,
           count(*)::integer as vehicles
    from moved
    group by 1, 2
    order by 1, 2
"""


def _moves(session: "connection", month: date, before: date) -> Rows:
    """How many rose and fell and the median change: of all, and by type, brand, age, and zero km."""
    return ask(
        session,
        MOVED + MOVES,
        {"month": _text(month), "before": _text(before), "oldest": OLDEST},
    )


def _spread(session: "connection", month: date, before: date) -> Rows:
    """How many vehicles moved how far, by type; step 0 fell by more than 5 %, step 4 stayed the same."""
    return ask(
        session,
        MOVED + SPREAD,
        {"month": _text(month), "before": _text(before), "oldest": OLDEST},
    )


def _movers(session: "connection", month: date, before: date) -> Rows:
    return ask(
        session,
        """
        select vehicle_type, brand, model, model_year, zero_km, fuel, fipe_code, price_before::float,
               price_brl::float, change_percent::float
        from fipe.biggest_movers(%s, %s, %s)
        """,
        (MOVERS, _text(month), _text(before)),
    )


def _differences(session: "connection", month: date, before: date) -> dict[str, Rows]:
    """What is new and what vanished: counted by type, and by model."""
    parameters = {"month": _text(month), "before": _text(before), "models": MODELS}
    return {
        "counts": ask(session, DIFFERENT + COUNTS, parameters),
        "models": ask(session, DIFFERENT + BY_MODEL, parameters),
    }


DIFFERENT = """
    with compared as materialized (
        select difference, vehicle_type, brand_code, brand, model_code, model, model_year, zero_km, fuel,
               coalesce(price_brl, price_before)::float as price,
               bool_and(difference in ('new', 'gone')) over (
                   partition by vehicle_type, brand_code, model_code
               ) as whole_model
        from fipe.two_months(%(month)s, %(before)s)
    ),
    different as (select * from compared where difference in ('new', 'gone'))
"""
COUNTS = """
    select difference, vehicle_type, count(*)::integer as vehicles,
           count(distinct (brand_code, model_code))::integer as models,
           (count(distinct (brand_code, model_code)) filter (where whole_model))::integer as whole_models,
           (count(*) filter (where zero_km))::integer as zero_km
    from different
    group by difference, vehicle_type
    order by difference, vehicle_type
"""
BY_MODEL = """
    select difference, vehicle_type, brand, model, whole_model, vehicles, zero_km, first_year, last_year,
           fuels, least, most
    from (
        select difference, vehicle_type, brand, model, whole_model, count(*)::integer as vehicles,
               bool_or(zero_km) as zero_km,
               min(model_year) filter (where not zero_km) as first_year,
               max(model_year) filter (where not zero_km) as last_year,
               string_agg(distinct fuel, ', ' order by fuel) as fuels,
               min(price) as least, max(price) as most,
               row_number() over (
                   partition by difference, whole_model
                   order by count(*) desc, max(price) desc, brand, model
               ) as place
        from different
        group by difference, vehicle_type, brand_code, brand, model_code, model, whole_model
    ) as listed
    where place <= %(models)s
    order by difference, whole_model desc, vehicle_type, brand, model
"""
