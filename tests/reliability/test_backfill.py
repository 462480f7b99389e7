"""Lists of months: loaded one at a time, among faults, in the order that was asked for."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest

from fipe_api.load.backfill_list import BACKFILL_KEY, MonthList, list_of
from fipe_simulator import Fault, Faults
from fipe_simulator.earlier_months import catalogue_for_month
from tests.aws import make_pace_table
from tests.local_cloud_support import eventually
from tests.reliability.pipeline import FUNCTIONS, Pipeline

MONTHS, NEW_MONTH = "2024-06..2026-05", "2026-06"
FAULTS = [Fault.TOO_MANY_REQUESTS, Fault.STATUS_503, Fault.EMPTY_BODY, Fault.NOTHING_FOUND]
COLUMNS = (
    "vehicle_type, brand_code, brand, model_code, model, model_year, fuel_code, fuel, fipe_code, price_brl"
)


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline whose loaders share a table, where they keep the list; 2026-05 is its newest month."""
    database = pipeline.cloud.client("dynamodb")
    make_pace_table(database, "pace")
    pipeline.simulator.newest = date(2026, 5, 1)
    try:
        with ExitStack() as changed:
            for loader in ("FipeManufacturerLoader", *(name for name, _ in FUNCTIONS.values())):
                changed.enter_context(pipeline.variables(loader, PACE_TABLE="pace"))
            yield pipeline
    finally:
        pipeline.simulator.newest = pipeline.simulator.catalogue.month
        database.delete_table(TableName="pace")


def list_in(pipeline: Pipeline) -> MonthList:
    item = pipeline.cloud.client("dynamodb").get_item(
        TableName="pace", Key={"source": {"S": BACKFILL_KEY}}, ConsistentRead=True
    )["Item"]
    found = list_of(item)
    assert found is not None
    return found


def months(references: Any) -> list[str]:
    return [f"{each.month:%Y-%m}" for each in references]


def until_done(pipeline: Pipeline, count: int, seconds: float = 120) -> MonthList:
    found: MonthList = eventually(
        lambda: found if len((found := list_in(pipeline)).done) >= count else None, seconds
    )
    return found


def until_ended(pipeline: Pipeline, seconds: float = 300) -> MonthList:
    found: MonthList = eventually(
        lambda: found if (found := list_in(pipeline)).ended_at else None, seconds
    )
    return found


def assert_months_equal_to_the_source(pipeline: Pipeline, *wanted: date) -> None:
    for month in wanted:
        rows = pipeline.query(f"select {COLUMNS} from fipe.vehicle_price where reference_month = %s", month)
        published = catalogue_for_month(pipeline.simulator.catalogue, month).rows
        assert set(rows) == {tuple(row) for row in published}, month


def test_months_are_loaded_one_at_a_time(pipeline: Pipeline) -> None:
    answer = pipeline.ask_to_start(reference="2026-03..2026-05")
    assert [month["month"] for month in answer["references"]] == ["2026-03", "2026-04", "2026-05"]
    assert (answer["to_come"], answer["brands_sent"] > 0) == (2, True)
    found = until_ended(pipeline, 60)
    assert months(each.reference for each in found.done) == ["2026-05", "2026-04", "2026-03"]
    assert_months_equal_to_the_source(pipeline, date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1))
    assert_one_at_a_time(pipeline, answer["run_id"])
    pipeline.until_idle()


def assert_one_at_a_time(pipeline: Pipeline, run_id: str) -> None:
    overlapping = pipeline.query(
        "select earlier.reference_code, later.reference_code from fipe.load_run as earlier"
        " join fipe.load_run as later on later.run_id = earlier.run_id and later.id > earlier.id"
        " where earlier.run_id = %s and (earlier.ended_at is null or earlier.ended_at > later.started_at)",
        run_id,
    )
    assert overlapping == []
