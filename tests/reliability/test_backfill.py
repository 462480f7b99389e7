"""Lists of months: loaded one at a time, among faults, in the order that was asked for."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fipe_api.database.writer import PriceRow
from fipe_api.load.backfill_list import BACKFILL_KEY, MonthList, list_of
from fipe_cli.backfill import Overview
from fipe_cli.imports.run import Options, import_files
from fipe_cli.ledger import read_part, run_in, snapshot
from fipe_simulator import Fault, Faults
from fipe_simulator.earlier_months import catalogue_for_month
from tests.aws import make_pace_table
from tests.fipex import write_csv
from tests.local_cloud_support import eventually
from tests.reliability.pipeline import FUNCTIONS, STAGES, Pipeline

LONG = pytest.mark.faults
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


def until_done(pipeline: Pipeline, count: int, seconds: float = 240) -> None:
    """Waits until so many months have ended; some may be incomplete and come again at the end."""

    def ended() -> bool:
        found = list_in(pipeline)
        return len(found.done) + len(found.incomplete) >= count

    eventually(ended, seconds)


def until_ended(pipeline: Pipeline, seconds: float = 300) -> MonthList:
    found: MonthList = eventually(lambda: found if (found := list_in(pipeline)).ended_at else None, seconds)
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


@LONG
def test_24_months_among_faults_and_restarts_and_a_new_table_in_the_middle(pipeline: Pipeline) -> None:
    chance = random.Random(24)
    pipeline.simulator.faults = Faults.of(*FAULTS, rate=0.03 / len(FAULTS), seed=24)
    pipeline.queue_faults(duplicates=0.2, failed_sends=0.1, any_order=True, seed=24)
    pipeline.hold_messages(10)
    run_id = pipeline.ask_to_start(reference=MONTHS)["run_id"]
    show(pipeline, "begun")
    until_done(pipeline, 3)
    for _ in range(3):
        pipeline.kill_a_worker(chance)
        time.sleep(0.5)
    until_done(pipeline, 6)
    show(pipeline, "functions were killed; the database restarts now")
    with pipeline.stopped_database():
        time.sleep(2)
    until_done(pipeline, 10)
    pipeline.simulator.newest = date(2026, 6, 1)
    with pipeline.paused("model"):
        other = pipeline.ask_to_start(reference="latest", until_stable=True)["run_id"]
        eventually(lambda: list_in(pipeline).waits_for == NEW_MONTH, 60)
        waiting = list_in(pipeline).at_work
        shown = show(pipeline, "the table of 2026-06 has appeared")
        assert "waits for the load of 2026-06" in shown
        if waiting:
            eventually(lambda: "waits for the load of 2026-06" in reasons(pipeline, run_id), 30)
    eventually(lambda: state_of(pipeline, other) == ["complete"], 60)
    begun = [reference for (reference,) in pipeline.query(BEGUN, run_id)]
    eventually(lambda: not list_in(pipeline).waits_for, 60)
    assert waiting is None or begun[-1] == waiting.reference.code, "no other month was begun"
    show(pipeline, "the load of 2026-06 is complete")
    until_done(pipeline, 14)
    pipeline.end_sessions()
    pipeline.kill_a_worker(chance, "model_loader")
    until_done(pipeline, 18)
    pipeline.calm()
    found = until_ended(pipeline)
    show(pipeline, "ended")
    pipeline.redrive()
    pipeline.until_idle()
    assert (found.incomplete, found.left_out, len(found.done)) == ((), (), 24)
    wanted = [date(2024 + number // 12, number % 12 + 1, 1) for number in range(5, 29)]
    assert [month for (month,) in pipeline.query(MONTHS_BEGUN, run_id)] == wanted[::-1]
    assert set(state_of(pipeline, run_id)) == {"complete"}
    assert_months_equal_to_the_source(pipeline, *wanted, date(2026, 6, 1))


def test_a_stopped_list_starts_nothing_and_goes_on_when_it_is_resumed(pipeline: Pipeline) -> None:
    run_id = pipeline.ask_to_start(reference="2026-02..2026-05", brands=[brand_of(pipeline)])["run_id"]
    until_done(pipeline, 1)
    assert pipeline.ask_to_start(run_id=run_id, cancel=True)["cancelled"]
    pipeline.until_idle()
    stopped = list_in(pipeline)
    assert stopped.stopped
    assert len(stopped.done) < 4
    pipeline.ask_to_start(run_id=run_id, go_on=True)
    # Twice: what moves it on by two messages would begin two months at once.
    pipeline.ask_to_start(run_id=run_id, go_on=True)
    found = until_ended(pipeline, 60)
    assert months(each.reference for each in found.done) == ["2026-05", "2026-04", "2026-03", "2026-02"]
    pipeline.until_idle()


def test_a_second_start_adds_its_months_and_other_brands_are_refused(pipeline: Pipeline) -> None:
    first = pipeline.ask_to_start(reference="2026-03..2026-05", brands=[brand_of(pipeline)])
    second = pipeline.ask_to_start(reference="2026-01..2026-03,2025-12", brands=[brand_of(pipeline)])
    assert second["run_id"] == first["run_id"]
    answer = pipeline.cloud.invoke("FipeManufacturerLoader", {"reference": "2026-01..2026-02"})
    assert "run " + first["run_id"] in answer["Payload"].read().decode()
    found = until_ended(pipeline, 60)
    assert sorted(months(found.references())) == [
        "2025-12", "2026-01", "2026-02", "2026-03", "2026-04", "2026-05",
    ]  # fmt: skip
    pipeline.until_idle()


def test_what_is_complete_is_skipped_and_a_brand_that_a_month_lacks_stops_nothing(pipeline: Pipeline) -> None:
    brand = brand_of(pipeline)
    pipeline.ask_to_start(reference="2024-05..2024-05", brands=[brand])
    until_ended(pipeline, 60)
    answer = pipeline.ask_to_start(reference="2024-04..2024-05", brands=[brand], skip_complete=True)
    assert (answer["skipped"], [month["month"] for month in answer["references"]]) == (
        ["2024-05"],
        ["2024-04"],
    )
    until_ended(pipeline, 60)
    newest = [row for row in pipeline.simulator.catalogue.rows if row.brand_code == brand]
    oldest_year = min(row.model_year for row in newest)
    if oldest_year > 2002:
        answer = pipeline.ask_to_start(reference="2001-01..2001-01,2024-03", brands=[brand])
        found = until_ended(pipeline, 60)
        assert [each.why for each in found.left_out] == ["the source lists none of the wanted brands"]
    pipeline.until_idle()


@LONG
def test_messages_that_were_lost_are_asked_for_again_at_the_end_of_the_list(pipeline: Pipeline) -> None:
    with pipeline.paused("model"):
        run_id = pipeline.ask_to_start(reference="2026-04..2026-05", brands=[brand_of(pipeline)])["run_id"]
        eventually(lambda: pipeline.cloud.counts(pipeline.queues["model"])["visible"] > 0, 30)
        lost = pipeline.take_all(pipeline.queues["model"])
    found = until_ended(pipeline, 120)
    assert lost
    assert months(each.reference for each in found.done) == ["2026-04", "2026-05"]
    assert set(state_of(pipeline, run_id)) == {"complete"}
    pipeline.until_idle()


# Imported months that a sample confirms ---------------------------------------------------------------------

JANUARY_TO_MAY = [date(2026, month, 1) for month in range(1, 6)]
EVERYTHING = 1_000


def import_months(pipeline: Pipeline, folder: Path, wrong: date, months: list[date]) -> Decimal:
    """Imports months as FIPEX publishes them, but for one price; returns that one."""
    for month in months:
        rows = [
            PriceRow(month, 0, *row) for row in catalogue_for_month(pipeline.simulator.catalogue, month).rows
        ]
        if month == wrong:
            right = rows[7].price_brl
            rows[7] = rows[7]._replace(price_brl=right + 1)
        file = write_csv(folder / f"{month}.csv", rows)
        with closing(pipeline.connect()) as session:
            (imported,) = import_files(session, [file], Options(), Console(quiet=True))
        assert imported.written.added == len(rows)
    return right


def sources(pipeline: Pipeline) -> dict[date, set[str]]:
    found: dict[date, set[str]] = {}
    for month, source in pipeline.query("select distinct reference_month, source from fipe.vehicle_price"):
        found.setdefault(month, set()).add(source)
    return found


def confirmed_in_database(pipeline: Pipeline) -> list[date]:
    pipeline.until_idle()
    return [
        month for (month,) in pipeline.query("select reference_month from fipe.confirmed_month order by 1")
    ]


def assert_imported_prices_are_those_of_the_source(pipeline: Pipeline, *months: date) -> None:
    """As the months of loads, but that the files have no codes of brands and models."""
    columns = "vehicle_type, brand, model, model_year, fuel_code, fuel, fipe_code, price_brl"
    for month in months:
        rows = pipeline.query(f"select {columns} from fipe.vehicle_price where reference_month = %s", month)
        published = catalogue_for_month(pipeline.simulator.catalogue, month).rows
        names = columns.split(", ")
        assert sorted(rows) == sorted(tuple(getattr(row, name) for name in names) for row in published), month


def test_imported_months_are_confirmed_and_one_with_a_wrong_price_is_loaded(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    wrong, imported = date(2026, 4, 1), JANUARY_TO_MAY[2:]
    right = import_months(pipeline, tmp_path, wrong, imported)
    answer = pipeline.ask_to_start(reference="2026-02..2026-05", verify_sample=EVERYTHING)
    assert (answer["sample_of"], answer["brands_sent"]) == ("2026-05", 0)
    found = until_ended(pipeline, 90)
    words = show(pipeline, "ended")
    assert months(each.reference for each in found.confirmed) == ["2026-05", "2026-03"]
    assert months(each.reference for each in found.done) == ["2026-04", "2026-02"]
    (differing,) = found.differing
    assert f"R$ {right + 1:,.2f}".translate(str.maketrans(",.", ".,")) + " in the import" in differing.why
    assert "confirmed: 2026-05, 2026-03; " in words
    assert_months_equal_to_the_source(pipeline, wrong, date(2026, 2, 1))
    assert_imported_prices_are_those_of_the_source(pipeline, *JANUARY_TO_MAY[1:])
    assert confirmed_in_database(pipeline) == [date(2026, 3, 1), date(2026, 5, 1)]
    assert sources(pipeline) == {
        month: {"fipex"} if month.month in (3, 5) else {"fipe"} for month in JANUARY_TO_MAY[1:]
    }
    pipeline.until_idle()


@LONG
def test_samples_among_faults_and_restarts_and_a_new_table_in_the_middle(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    chance = random.Random(5)
    wrong = date(2026, 2, 1)
    import_months(pipeline, tmp_path, wrong, JANUARY_TO_MAY)
    pipeline.simulator.faults = Faults.of(*FAULTS, rate=0.1 / len(FAULTS), seed=5)
    pipeline.queue_faults(duplicates=0.3, failed_sends=0.1, any_order=True, seed=5)
    run_id = pipeline.ask_to_start(reference="2026-01..2026-05", verify_sample=EVERYTHING)["run_id"]

    def answered(count: int) -> bool:
        work = list_in(pipeline).at_work
        return work is not None and work.sample is not None and work.sample.answered >= count

    eventually(lambda: answered(5), 60)
    show(pipeline, "a sample is asked for")
    assert pipeline.ask_to_start(run_id=run_id, cancel=True)["cancelled"]
    pipeline.until_idle()
    stopped = list_in(pipeline)
    assert stopped.stopped
    assert len(stopped.confirmed) < 4
    show(pipeline, "stopped")
    pipeline.ask_to_start(run_id=run_id, go_on=True)
    eventually(lambda: answered(5), 60)
    for _ in range(3):
        pipeline.kill_a_worker(chance, "model_loader")
        time.sleep(0.5)
    with pipeline.stopped_database():
        time.sleep(2)
    pipeline.simulator.newest = date(2026, 6, 1)
    with pipeline.paused("model"):
        other = pipeline.ask_to_start(reference="latest", until_stable=True)["run_id"]
        eventually(lambda: list_in(pipeline).waits_for == NEW_MONTH, 60)
        show(pipeline, "the table of 2026-06 has appeared")
    eventually(lambda: state_of(pipeline, other) == ["complete"], 60)
    pipeline.calm()
    found = until_ended(pipeline)
    show(pipeline, "ended")
    pipeline.redrive()
    pipeline.until_idle()
    assert months(each.reference for each in found.confirmed) == ["2026-05", "2026-04", "2026-03", "2026-01"]
    assert confirmed_in_database(pipeline) == [month for month in JANUARY_TO_MAY if month != wrong]
    assert months(each.reference for each in found.done) == ["2026-02"]
    assert months(each.reference for each in found.differing) == ["2026-02"]
    assert_months_equal_to_the_source(pipeline, wrong, date(2026, 6, 1))
    assert_imported_prices_are_those_of_the_source(pipeline, *JANUARY_TO_MAY)
    assert [reference for (reference,) in pipeline.query(BEGUN, run_id)] == [found.done[0].reference.code], (
        "no other month was loaded"
    )


BEGUN = "select reference_code from fipe.load_run where run_id = %s order by id"
MONTHS_BEGUN = (
    "select month from fipe.load_run join fipe.reference_month on code = reference_code"
    " where run_id = %s order by load_run.id"
)


def state_of(pipeline: Pipeline, run_id: str) -> list[str]:
    return [
        state for (state,) in pipeline.query("select state from fipe.load_status where run_id = %s", run_id)
    ]


def reasons(pipeline: Pipeline, run_id: str) -> set[str]:
    return {
        why for (why,) in pipeline.query("select reason from fipe.load_missing where run_id = %s", run_id)
    }


def brand_of(pipeline: Pipeline) -> int:
    return pipeline.simulator.catalogue.rows[0].brand_code


def show(pipeline: Pipeline, when: str) -> str:
    """What `fipe backfill` says now; printed, too."""
    found = list_in(pipeline)
    with closing(pipeline.connect()) as session, session:
        run, of_list = read_part(found, found.run_id, partial(run_in, session))
    seen = snapshot(run, waiting=dict.fromkeys(STAGES, 0), dead={}, of_list=of_list)
    words = "\n".join(Overview(found, seen if run.loads else None, {}, None).words())
    print(f"\n--- {when}\n{words}")
    return words
