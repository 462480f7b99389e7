"""Reads what the report shows from the database, as plain values for JSON."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg2.extras import RealDictCursor

from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError
from fipe_cli.month import check_month, find_month
from infrastructure.names import METRICS_NAMESPACE

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Rows = list[dict[str, Any]]

POINTS = 120
"""Points in the chart of prices over time."""
MOVERS = 10
INCOMPLETE_BRANDS = 50
LARGEST_BRANDS = 15
OLDEST = 25
"""The oldest age in years on the depreciation curve."""


def read_report(session: "connection", run_id: UUID | None, month: str, fipe_code: str) -> dict[str, Any]:
    """Reads everything on the page.

    Args:
        session: a session of the stage's database.
        run_id: the load to show; None for the newest, of the month if one is given.
        month: the month to show, as 2026-06; empty for the last one of the load.
        fipe_code: the vehicle to show; empty for one that has many model years.

    Raises:
        CliError: the database has no prices, or does not know the run, the month or the vehicle.
    """
    check_month("--month", month)
    if run_id and month:
        raise CliError("invalid options: use --run or --month, not both", USAGE)
    shown = find_month(session, month) if month else None
    loads = _ask(
        session,
        """
        select run_id::text, reference_code, reference_month, started_at, last_write_at, brands_expected,
               brands_complete, models_expected, models_received, prices, unpriced, rejected, state
        from fipe.load_status
        where run_id = coalesce(%s, (
            select run.run_id
            from fipe.load_run as run
            join fipe.reference_month as reference on reference.code = run.reference_code
            where %s is null or reference.month = %s
            order by run.started_at desc
            limit 1
        ))
        order by reference_month
        """,
        (str(run_id) if run_id else None, shown, shown),
    )
    if run_id and not loads:
        raise CliError(f"unknown run {run_id}: `fipe status` shows the newest", USAGE)
    shown = shown or (loads[-1]["reference_month"] if loads else find_month(session, "latest"))
    return {
        "load": _load(session, loads) if loads else None,
        "month": _month(session, shown),
        "vehicle": _vehicle(session, shown, fipe_code),
        "imports": _ask(session, "select * from fipe.import_status order by source", ()),
    }


def calls_throttled(cloud: Cloud, load: dict[str, Any]) -> int | None:
    """Asks CloudWatch how many calls were throttled during the load; None if it has no metrics."""
    if cloud.local and not cloud.endpoint:
        return None
    watch = cloud.client("cloudwatch")
    of_stage = [
        metric
        for metric in watch.list_metrics(Namespace=METRICS_NAMESPACE)["Metrics"]
        if any(dimension["Value"].endswith(f"-{cloud.stage}") for dimension in metric["Dimensions"])
    ]
    if not of_stage:
        return None
    throttled = [metric for metric in of_stage if metric["MetricName"] == "CallsThrottled"]
    began = min(month["started_at"] for month in load["months"])
    ended = max(month["last_write_at"] for month in load["months"])
    counted = [
        watch.get_metric_statistics(
            **metric, StartTime=began, EndTime=ended, Period=3600, Statistics=["Sum"]
        )["Datapoints"]
        for metric in throttled
    ]
    return sum(int(point["Sum"]) for points in counted for point in points)


def _load(session: "connection", loads: Rows) -> dict[str, Any]:
    run = (loads[0]["run_id"],)
    return {
        "run_id": loads[0]["run_id"],
        "months": loads,
        "arrivals": _ask(
            session,
            """
            with came as (
                select model.received_at, model.prices,
                       extract(epoch from model.received_at - min(model.received_at) over ()) as seconds
                from fipe.load_run as run
                join fipe.load_model as model on model.load_run_id = run.id
                where run.run_id = %s
            ),
            binned as (
                select ceil(seconds / greatest(1, (select max(seconds) from came)) * %s) as bin,
                       max(seconds) as seconds, sum(prices) as prices
                from came
                group by 1
            )
            select round(seconds)::integer as seconds, (sum(prices) over (order by bin))::integer as prices
            from binned
            order by bin
            """,
            (*run, POINTS),
        ),
        "incomplete": _ask(
            session,
            """
            select to_char(reference.month, 'YYYY-MM') as month, brand.vehicle_type,
                   coalesce(brand.brand, named.brand) as brand,
                   brand.models_received, brand.models_expected, brand.rejected
            from fipe.load_brand_status as brand
            join fipe.reference_month as reference on reference.code = brand.reference_code
            left join lateral (
                select model.brand from fipe.model
                where (model.vehicle_type, model.brand_code) = (brand.vehicle_type, brand.brand_code)
                order by model.id desc
                limit 1
            ) as named on true
            where brand.run_id = %s and not brand.complete
            order by brand.models_expected - brand.models_received desc, brand.rejected desc
            limit %s
            """,
            (*run, INCOMPLETE_BRANDS),
        ),
        "brands": _ask(
            session,
            """
            select brand.vehicle_type, coalesce(brand.brand, named.brand) as brand,
                   sum(brand.models_received)::integer as received,
                   sum(brand.models_expected)::integer as expected,
                   sum(brand.prices)::integer as prices
            from fipe.load_brand_status as brand
            join lateral (
                select model.brand from fipe.model
                where (model.vehicle_type, model.brand_code) = (brand.vehicle_type, brand.brand_code)
                order by model.id desc
                limit 1
            ) as named on true
            where brand.run_id = %s
            group by 1, 2
            order by prices desc
            limit %s
            """,
            (*run, LARGEST_BRANDS),
        ),
    }


def _month(session: "connection", month: date) -> dict[str, Any]:
    return {
        "month": month,
        "types": _ask(
            session,
            """
            select vehicle_type, count(distinct brand_code)::integer as brands,
                   count(distinct (brand_code, model_code))::integer as models, count(*)::integer as prices,
                   (count(*) filter (where zero_km))::integer as zero_km,
                   percentile_cont(0.5) within group (order by price_brl)::float as median
            from fipe.vehicle_price
            where reference_month = %s
            group by vehicle_type
            order by vehicle_type
            """,
            (month,),
        ),
        "movers": _ask(
            session,
            """
            select month_before, reference_month, brand, model, model_year, zero_km, fuel, fipe_code,
                   price_before::float, price_brl::float, change_percent::float
            from fipe.biggest_movers(%s, %s)
            """,
            (MOVERS, f"{month:%Y-%m}"),
        ),
        "depreciation": _ask(
            session,
            """
            with vehicle as (
                select vehicle_type, brand_code, model_code, fuel_code, zero_km, price_brl,
                       extract(year from reference_month)::integer - model_year as age
                from fipe.vehicle_price
                where reference_month = %s
            )
            select used.vehicle_type, used.age, count(*)::integer as vehicles,
                   100 * percentile_cont(0.5) within group (order by used.price_brl / new.price_brl)
                       as percent
            from vehicle as used
            join vehicle as new using (vehicle_type, brand_code, model_code, fuel_code)
            where new.zero_km and not used.zero_km and new.price_brl > 0 and used.age between 0 and %s
            group by used.vehicle_type, used.age
            order by used.vehicle_type, used.age
            """,
            (month, OLDEST),
        ),
    }


def _vehicle(session: "connection", month: date, fipe_code: str) -> dict[str, Any]:
    if not fipe_code:
        found = _ask(
            session,
            """
            select fipe_code
            from fipe.vehicle_price
            where reference_month = %s
            group by fipe_code
            order by bool_or(zero_km) desc, count(*) desc, fipe_code
            limit 1
            """,
            (month,),
        )
        if not found:
            raise CliError(
                f"{month:%Y-%m} has no prices yet: `fipe status` shows how far its load is; or choose --run",
                USAGE,
            )
        fipe_code = found[0]["fipe_code"]
    history = _ask(
        session,
        """
        select to_char(reference_month, 'YYYY-MM') as month, brand, model, model_year, zero_km, fuel,
               price_brl::float as price
        from fipe.price_history(%s)
        """,
        (fipe_code,),
    )
    if not history:
        raise CliError(f"unknown FIPE code {fipe_code}: fipe.search_models(words) finds codes by name", USAGE)
    return {
        "fipe_code": fipe_code,
        "brand": history[-1]["brand"],
        "model": history[-1]["model"],
        "history": history,
        "by_age": _ask(
            session,
            """
            select model_year, zero_km, age_years as age, fuel, price_brl::float as price,
                   percent_of_newest::float as percent
            from fipe.depreciation(%s, %s)
            """,
            (fipe_code, f"{month:%Y-%m}"),
        ),
    }


def _ask(session: "connection", question: str, parameters: Sequence[Any] = ()) -> Rows:
    with session.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(question, parameters)
        return [dict(row) for row in cursor.fetchall()]
