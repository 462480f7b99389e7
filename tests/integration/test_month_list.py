"""Lists of months, look by look: on the DynamoDB API and the simulator, with a ledger of the test's."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.json import encode
from msgspec.structs import replace

from fipe_api.aws import clients
from fipe_api.environment import LoaderEnvironment, loader_environment
from fipe_api.load import backfill, ledger_questions
from fipe_api.load.backfill_list import BACKFILL_KEY, DoneMonth, Lists, MonthList
from fipe_api.load.ledger_questions import LoadStatusError, Month, Progress
from fipe_api.load.request import LoadRequestError
from fipe_api.load.start import Started
from fipe_api.load.state import LoadState
from fipe_api.messages import (
    BackfillMessage,
    BrandMessage,
    CancellationMessage,
    Reference,
    StartMessage,
    Unfinished,
)
from fipe_api.source import factory
from fipe_api.source.factory import price_source
from fipe_cli.month_list import progress_of
from fipe_simulator import Fault, Faults, FipeSimulator
from tests.aws import client, make_pace_table
from tests.builders import AnyContext

LATER = timedelta(hours=3)
CACHED = (loader_environment, clients.client, factory._session, factory._pace)


class Stage:
    """The list, and a ledger that says what the test wants."""

    def __init__(self, table: str) -> None:
        self.dynamodb = clients.client("dynamodb")
        self.table = table
        self.state: LoadState | None = LoadState.LOADING
        self.others: list[str] = []
        self.fails = False
        self.asked = 0
        self.lacking: list[dict[str, Any]] | None = []
        self.written_ago = timedelta(0)
        self.source = price_source(AnyContext(), uuid.uuid4())

    @property
    def environment(self) -> LoaderEnvironment:
        return loader_environment()

    @property
    def list(self) -> MonthList:
        found = Lists(self.dynamodb, self.table).found
        assert found is not None
        return found

    def begin(self, reference: str, **payload: Any) -> Started:
        message = StartMessage(run_id=uuid.uuid4(), request={"reference": reference, **payload})
        return backfill.begin(message, self.source, self.environment)

    def move(self, message: BackfillMessage) -> Started:
        return backfill.move(message, self.source, self.environment)

    def progress(self, *_: Any) -> Progress:
        self.asked += 1
        if self.fails:
            raise LoadStatusError("the database is down")
        written = datetime.now(UTC) - self.written_ago
        return Progress(self.state and Month(self.state, 15, written), self.others)


@pytest.fixture
def stage(endpoint: str, simulator: FipeSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    table = f"pace-{uuid.uuid4().hex}"
    make_pace_table(client("dynamodb", endpoint), table)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SQS_OUTPUT_URL": "out",
        "SQS_LEDGER_URL": "ledger",
        "FIPE_API_URL": simulator.url,
        "FIPE_CALLS_PER_MINUTE": "max",
        "PACE_TABLE": table,
        "LOAD_STATUS_FUNCTION": "FipeLoadStatus",
    }.items():
        monkeypatch.setenv(name, value)
    for each in CACHED:
        each.cache_clear()
    stage = Stage(table)
    monkeypatch.setattr(ledger_questions, "progress", stage.progress)
    monkeypatch.setattr(ledger_questions, "resume", lambda *_: stage.lacking)
    yield stage
    simulator.faults = Faults()
    for each in CACHED:
        each.cache_clear()


def next_of(started: Started) -> BackfillMessage:
    assert started.unfinished is not None
    message = started.unfinished.message
    assert isinstance(message, BackfillMessage)
    return message


def brands(started: Started) -> set[str]:
    """The months whose brands were sent."""
    return {f"{each.reference.month:%Y-%m}" for each in started.messages if isinstance(each, BrandMessage)}


def test_a_list_begins_with_the_newest_month_and_goes_on_when_it_is_complete(stage: Stage) -> None:
    begun = stage.begin("2026-04..2026-06", brands=["Fiat"])
    assert begun.answer["to_come"] == 2
    assert [(month["month"], month["brands"]) for month in begun.answer["references"]] == [
        ("2026-04", 0), ("2026-05", 0), ("2026-06", 1),
    ]  # fmt: skip
    assert brands(begun) == {"2026-06"}
    waited = stage.move(next_of(begun))
    assert brands(waited) == set()
    assert waited.unfinished is not None
    assert waited.unfinished.retry_in > begun.unfinished.retry_in  # type: ignore[union-attr]
    stage.state = LoadState.COMPLETE
    second = stage.move(next_of(waited))
    assert brands(second) == {"2026-05"}
    third = stage.move(next_of(second))
    last = stage.move(next_of(third))
    assert (last.unfinished, stage.list.ended_at is not None) == (None, True)
    assert [f"{each.reference.month:%Y-%m}" for each in stage.list.done] == ["2026-06", "2026-05", "2026-04"]
    assert stage.move(next_of(third)) == Started([], last.answer)


def test_the_oldest_month_may_be_first(stage: Stage) -> None:
    assert brands(stage.begin("2026-01..2026-03,2025-06", brands=["Fiat"], oldest_first=True)) == {"2025-06"}


def test_of_two_messages_of_one_turn_one_moves_the_list_on(stage: Stage) -> None:
    first = next_of(stage.begin("2026-04..2026-06", brands=["Fiat"]))
    twin = replace(first, token=uuid.uuid4())
    stage.state = LoadState.COMPLETE
    assert brands(stage.move(first)) == {"2026-05"}
    assert stage.move(twin).unfinished is None
    assert len(stage.list.done) == 1


def test_a_message_that_is_delivered_again_begins_the_same_month_again(stage: Stage) -> None:
    first = next_of(stage.begin("2026-04..2026-06", brands=["Fiat"]))
    stage.state = LoadState.COMPLETE
    once, twice = stage.move(first), stage.move(first)
    assert brands(once) == brands(twice) == {"2026-05"}
    # Both have sent the next message; one of them goes on.
    stage.state = LoadState.LOADING
    assert stage.move(next_of(once)).unfinished is not None
    assert stage.move(next_of(twice)).unfinished is None


def test_gives_way_to_another_load_and_goes_on_with_what_is_missing(stage: Stage) -> None:
    begun = stage.begin("2026-04..2026-05", brands=["Fiat"])
    stage.others = ["2026-06"]
    held = stage.move(next_of(begun))
    (told,) = held.messages
    assert isinstance(told, CancellationMessage)
    assert (told.cancelled, told.waits_for, stage.list.waits_for) == (True, "2026-06", "2026-06")
    still = stage.move(next_of(held))
    assert still.messages == [told]
    stage.others, stage.lacking = [], [{"run_id": str(told.run_id), "reference": 333, "brands": [1]}]
    back = stage.move(next_of(still))
    lifted, again = back.messages
    assert isinstance(lifted, CancellationMessage)
    assert (lifted.cancelled, lifted.changes, lifted.waits_for) == (False, 2, "")
    assert isinstance(again, StartMessage)
    assert (again.request, stage.list.waits_for) == (stage.lacking[0], "")


def test_a_list_whose_first_month_has_to_wait_says_so(stage: Stage) -> None:
    stage.others = ["2026-06"]
    begun = stage.begin("2026-04..2026-05")
    assert begun.answer["waiting"] == "the load of 2026-06 goes first"
    assert (brands(begun), stage.list.at_work) == (set(), None)
    stage.others = []
    assert brands(stage.move(next_of(begun))) == {"2026-05"}


def test_a_month_that_stays_incomplete_is_tried_three_times_and_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "QUIET_SECONDS", 0)
    moved = stage.begin("2026-05..2026-06", brands=["Fiat"])
    stage.state = LoadState.INCOMPLETE
    looks = 0
    while moved.unfinished and looks < 20:
        moved = stage.move(next_of(moved))
        looks += 1
    assert stage.list.ended_at is not None
    assert [(f"{each.reference.month:%Y-%m}", each.tries) for each in stage.list.incomplete] == [
        ("2026-06", 3), ("2026-05", 3),
    ]  # fmt: skip


def test_a_month_without_results_for_long_gives_its_place_to_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = stage.begin("2026-05..2026-06", brands=["Fiat"])
    monkeypatch.setattr(backfill, "STALLED_SECONDS", 0)
    assert brands(stage.move(next_of(begun))) == {"2026-05"}
    assert [each.why for each in stage.list.incomplete] == ["some results did not arrive"]


def test_an_outage_asks_the_ledger_nothing(stage: Stage) -> None:
    begun = stage.begin("2026-05..2026-06", brands=["Fiat"])
    factory._pace().unavailable("down", 600, 1800)
    asked = stage.asked
    waits = stage.move(next_of(begun))
    assert waits.unfinished is not None
    assert (stage.asked, waits.unfinished.retry_in > 500) == (asked, True)


def test_a_start_that_the_source_does_not_answer_goes_on_with_the_same_month(
    stage: Stage, simulator: FipeSimulator
) -> None:
    begun = stage.begin("2026-05..2026-06")
    stage.state = LoadState.COMPLETE
    simulator.faults = Faults.of(Fault.STATUS_503, rate=1)
    refused = stage.move(next_of(begun))
    assert (brands(refused), next_of(refused).start is None) == (set(), False)
    simulator.faults = Faults()
    factory._pace.cache_clear()
    factory._session.cache_clear()
    stage.dynamodb.delete_item(TableName=stage.table, Key={"source": {"S": "fipe"}})
    stage.source = price_source(AnyContext(), uuid.uuid4())
    assert brands(stage.move(next_of(refused))) == {"2026-05"}


def test_what_it_asks_may_fail_for_as_long_as_it_takes(stage: Stage) -> None:
    begun = stage.begin("2026-05..2026-06", brands=["Fiat"])
    message = next_of(begun)
    stage.fails = True
    assert stage.move(message) == Started([], stage.move(message).answer, Unfinished(message, 60))
    stage.fails, stage.state = False, LoadState.COMPLETE
    assert brands(stage.move(message)) == {"2026-05"}


def test_a_stopped_list_drops_its_message_and_goes_on_with_a_new_one(stage: Stage) -> None:
    begun = stage.begin("2026-05..2026-06", brands=["Fiat"])
    run_id = stage.list.run_id
    backfill.stop(run_id, stage.environment)
    assert stage.move(next_of(begun)).unfinished is None
    stage.lacking = [{"run_id": str(run_id), "reference": 334}]
    gone_on = backfill.go_on(run_id, stage.source, stage.environment)
    assert [each.request for each in gone_on.messages if isinstance(each, StartMessage)] == stage.lacking
    with pytest.raises(LoadRequestError, match="is not that of the list of months"):
        backfill.go_on(uuid.uuid4(), stage.source, stage.environment)


def test_a_brand_that_no_month_has_is_refused_before_anything_starts(stage: Stage) -> None:
    with pytest.raises(LoadRequestError, match="did you mean Fiat"):
        stage.begin("2026-01..2026-06", brands=["Fait"])
    assert Lists(stage.dynamodb, stage.table).found is None


def test_other_brands_are_refused_until_the_list_is_over(stage: Stage) -> None:
    stage.begin("2026-05..2026-06", brands=["Fiat"])
    run_id = stage.list.run_id
    with pytest.raises(LoadRequestError, match=f"run {run_id} is loading a list of months with other"):
        stage.begin("2026-01..2026-02")
    stage.begin("2026-03..2026-05", brands=["Fiat"])
    assert (stage.list.run_id, len(stage.list.to_come)) == (run_id, 3)
    backfill.stop(run_id, stage.environment)
    stage.begin("2026-01..2026-02")
    assert stage.list.run_id != run_id


def test_a_list_that_nothing_looks_at_is_stuck(stage: Stage) -> None:
    stage.begin("2026-05..2026-06", brands=["Fiat"])
    assert not progress_of(stage.list).is_stuck
    assert progress_of(stage.list, datetime.now(UTC) + 2 * LATER).is_stuck


def test_a_list_of_all_months_fits_in_its_item_many_times() -> None:
    """DynamoDB takes items of 400 KB."""
    months = [Reference(code=code, month=date(2001 + code // 12, code % 12 + 1, 1)) for code in range(309)]
    now = datetime.now(UTC)
    done = tuple(DoneMonth(reference=each, prices=50_332, ended_at=now) for each in months)
    whole = MonthList(run_id=uuid.uuid4(), request={"vehicle_types": [1, 2, 3]}, began_at=now, done=done)
    assert len(encode(whole)) < 40_000
    assert BACKFILL_KEY == "backfill"
