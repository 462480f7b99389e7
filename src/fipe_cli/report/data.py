"""Reads what the report shows from the database, as plain values for JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError
from fipe_cli.month import check_month, find_month
from fipe_cli.report.fleet import read_fleet
from fipe_cli.report.market import read_market
from fipe_cli.report.rows import Rows, ask
from fipe_cli.report.vehicle import read_vehicle
from fipe_words import _
from infrastructure.names import METRICS_NAMESPACE

if TYPE_CHECKING:
    from psycopg2.extensions import connection

POINTS = 120
"""Points in the chart of prices over time."""
INCOMPLETE_BRANDS = 50
LARGEST_BRANDS = 15


def read_report(
    session: "connection", run_id: UUID | None, month: str, fipe_code: str, fleet: Path | None = None
) -> dict[str, Any]:
    """Reads everything on the page.

    Args:
        session: a session of the stage's database.
        run_id: the load to show; None for the newest of the month.
        month: the month to show, as 2026-06; empty for the last one of the run, or the newest without a run.
        fipe_code: the vehicle to show; empty for one that has many model years.
        fleet: a list of vehicles to show, as `fipe value` reads it; None for no fleet.

    Raises:
        CliError: the database has no prices, or does not know the run, the month or the vehicle; or
            the file is no fleet.
    """
    check_month("--month", month)
    if run_id and month:
        raise CliError(_("invalid options: use --run or --month, not both"), USAGE)
    shown = None if run_id else find_month(session, month or "latest")
    loads = ask(
        session,
        """
        select run_id::text, reference_code, reference_month, started_at, last_write_at, brands_expected,
               brands_complete, models_expected, models_received, prices, unpriced, rejected, state
        from fipe.load_status
        where run_id = coalesce(%s, (
            select run.run_id
            from fipe.load_run as run
            join fipe.reference_month as reference on reference.code = run.reference_code
            where reference.month = %s
            order by run.started_at desc
            limit 1
        ))
        order by reference_month
        """,
        (str(run_id) if run_id else None, shown),
    )
    if run_id and not loads:
        raise CliError(_("unknown run {run_id}: `fipe status` shows the newest", run_id=run_id), USAGE)
    shown = shown or loads[-1]["reference_month"]
    market = read_market(session, shown)
    return {
        "load": _load(session, loads) if loads else None,
        "market": market,
        "vehicle": read_vehicle(session, shown, market["before"], fipe_code),
        "imports": ask(session, "select * from fipe.import_status order by source", ()),
        "fleet": read_fleet(session, fleet, shown, market["before"]) if fleet else None,
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
        "arrivals": ask(
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
        "incomplete": ask(
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
        "brands": ask(
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
