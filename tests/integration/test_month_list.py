"""Lists of months, look by look: on the DynamoDB API and the simulator, with a ledger of the test's."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.json import encode
from msgspec.structs import replace

from fipe_api.aws import clients
from fipe_api.environment import LoaderEnvironment, loader_environment
from fipe_api.load import backfill, ledger_questions, sample, start
from fipe_api.load.backfill_list import BACKFILL_KEY, AskedSample, DoneMonth, Lists, MonthList
from fipe_api.load.ledger_questions import ImportedSample, LoadStatusError, Month, Progress
from fipe_api.load.request import LoadRequestError, parse_request
from fipe_api.load.start import Started
from fipe_api.load.state import LoadState
from fipe_api.messages import (
    BackfillMessage,
    BrandMessage,
    CancellationMessage,
    ConfirmationMessage,
    ListEndedMessage,
    Reference,
    SampledName,
    SampledVehicle,
    StartMessage,
    Unfinished,
    to_json,
)
from fipe_api.source import factory
from fipe_api.source.factory import official_source, price_source
from fipe_cli.month_list import progress_of
from fipe_simulator import CatalogueRow, Fault, Faults, FipeSimulator, catalogue_for_month
from tests.aws import client, make_pace_table
from tests.builders import AnyContext

pytestmark = pytest.mark.usefixtures("short_backoff")

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
        self.imported: dict[str, list[CatalogueRow]] = {}
        self.chosen: list[tuple[Any, ...]] = []
        self.confirmed: dict[date, int] = {}
        self.ask_anew()

    def ask_anew(self) -> None:
        """Forgets what the source refused."""
        self.dynamodb.delete_item(TableName=self.table, Key={"source": {"S": "fipe"}})
        for each in (factory._pace, factory._session):
            each.cache_clear()
        self.source = price_source(AnyContext(), uuid.uuid4())
        self.official = official_source(AnyContext(), uuid.uuid4(), None)

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
        return backfill.move(message, self.source, self.environment, official=self.official)

    def imported_sample(
        self, _: str, month: date, size: int, seed: int, types: Sequence[int]
    ) -> ImportedSample | None:
        """What FipeLoadStatus answers, but that it takes the first prices and not some."""
        self.chosen.append((f"{month:%Y-%m}", size, seed, types))
        rows = self.imported.get(f"{month:%Y-%m}")
        if rows is None:
            return None
        brands: dict[Any, tuple[str, ...]] = {
            kind: tuple({row.brand for row in rows if row.vehicle_type == kind}) for kind in types
        }
        return ImportedSample(len(rows), tuple(map(sampled, rows[:size])), brands)

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
    # A source that is down is left alone for 5 s: longer than a start waits itself.
    monkeypatch.setattr(start, "LONGEST_WAIT_SECONDS", 1)
    stage = Stage(table)
    monkeypatch.setattr(ledger_questions, "progress", stage.progress)
    monkeypatch.setattr(ledger_questions, "resume", lambda *_: stage.lacking)
    monkeypatch.setattr(ledger_questions, "imported_sample", stage.imported_sample)
    monkeypatch.setattr(ledger_questions, "confirmed_months", lambda *_: stage.confirmed)
    monkeypatch.setattr(ledger_questions, "complete_loads", lambda *_: {})
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
    (news,) = last.messages
    assert isinstance(news, ListEndedMessage)
    assert (news.run_id, news.complete, news.prices) == (stage.list.run_id, 3, 45)
    assert (news.incomplete, news.left_out) == ((), ())
    # Delivered again: the function may have died before it was sent.
    assert stage.move(next_of(third)) == Started([news], last.answer)
    assert stage.move(replace(next_of(third), token=uuid.uuid4())) == Started([], last.answer)


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
    stage.ask_anew()
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


def test_a_start_that_is_delivered_again_leaves_out_no_other_month(
    stage: Stage, simulator: FipeSimulator
) -> None:
    stage.others = ["2026-07"]
    begun = stage.begin("2001-01..2001-01,2026-06", brands=["BYD"], oldest_first=True)
    stage.others = []
    simulator.faults = Faults.of(Fault.STATUS_503, rate=1)
    refused = stage.move(next_of(begun))
    assert next_of(refused).start is not None
    simulator.faults = Faults()
    stage.ask_anew()
    once, twice = stage.move(next_of(refused)), stage.move(next_of(refused))
    assert brands(once) == brands(twice) == {"2026-06"}
    assert [f"{each.reference.month:%Y-%m}" for each in stage.list.left_out] == ["2001-01"]


# Imported months that a sample confirms ---------------------------------------------------------------------


def sampled(row: CatalogueRow) -> SampledVehicle:
    name = SampledName(row.fuel, row.brand, row.model, row.price_brl)
    return SampledVehicle(row.vehicle_type, row.fipe_code, row.model_year, row.fuel_code, (name,))  # type: ignore[arg-type]


def published(simulator: FipeSimulator, month: str) -> list[CatalogueRow]:
    return catalogue_for_month(simulator.catalogue, date.fromisoformat(f"{month}-01")).rows


@pytest.fixture
def imported(stage: Stage, simulator: FipeSimulator, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage with two imported months, that asks for two prices at a time."""
    stage.imported = {month: published(simulator, month) for month in ("2026-05", "2026-06")}
    stage.state = None
    monkeypatch.setattr(sample, "PART", 2)
    return stage


def followed(stage: Stage, moved: Started, looks: int = 20) -> Started:
    """Moves the list on until it has ended or has begun to load a month."""
    for _ in range(looks):
        if moved.unfinished is None or brands(moved):
            return moved
        moved = stage.move(next_of(moved))
    raise AssertionError("it does not end")


def test_an_imported_month_is_confirmed_by_a_sample_and_not_loaded(
    imported: Stage, simulator: FipeSimulator
) -> None:
    begun = imported.begin("2026-05..2026-06", verify_sample=5)
    assert (brands(begun), begun.answer["sample_of"], begun.answer["to_come"]) == (set(), "2026-06", 1)
    calls = simulator.statistics().calls
    assert "ConsultarValorComTodosParametros" not in calls
    part = imported.move(next_of(begun))
    assert imported.list.at_work is not None
    assert imported.list.at_work.sample == AskedSample(chosen=5, answered=2)
    ended = followed(imported, part)
    assert ended.unfinished is None
    found = imported.list
    assert [(f"{each.reference.month:%Y-%m}", each.prices) for each in found.confirmed] == [
        ("2026-06", 5), ("2026-05", 5),
    ]  # fmt: skip
    assert (found.done, found.differing, found.ended_at is None) == ((), (), False)
    assert simulator.statistics().calls["ConsultarValorComTodosParametros"] == 10
    assert imported.chosen[0][2] != imported.chosen[1][2], "each month has a sample of its own"
    assert len(to_json(next_of(part))) < 100_000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price_brl": Decimal("1234.5")}, "R$ 1.234,50 in the import, R$ 22.020,00 in the official API"),
        ({"model": "Other"}, "{0.brand}, Other, {0.fuel} in the import, {0.brand}, {0.model}, {0.fuel} in the"
                             " official API"),
        ({"fuel": "Diesel"}, "{0.brand}, {0.model}, Diesel in the import, {0.brand}, {0.model}, {0.fuel} in"
                             " the official API"),
    ],
)  # fmt: skip
def test_a_month_in_which_a_price_differs_is_loaded(
    imported: Stage, change: dict[str, Any], why: str
) -> None:
    right = imported.imported["2026-06"]
    imported.imported["2026-06"] = [*right[:3], right[3]._replace(**change), *right[4:]]
    loads = followed(imported, imported.begin("2026-05..2026-06", verify_sample=5))
    assert brands(loads) == {"2026-06"}
    (found,) = imported.list.differing
    assert found.why.endswith(why.format(right[3]))
    assert found.why.startswith(right[3].fipe_code)
    imported.state = LoadState.COMPLETE
    assert followed(imported, imported.move(next_of(loads))).unfinished is None
    found_list = imported.list
    assert [f"{each.reference.month:%Y-%m}" for each in found_list.done] == ["2026-06"]
    assert [f"{each.reference.month:%Y-%m}" for each in found_list.confirmed] == ["2026-05"]
    assert progress_of(found_list).months == 2


def test_a_vehicle_that_fipe_denies_counts_after_three_rounds(imported: Stage) -> None:
    right = imported.imported["2026-06"]
    imported.imported["2026-06"] = [right[0]._replace(model_year=1951), *right[1:]]
    moved, waits = imported.begin("2026-06..2026-06", verify_sample=3), []
    while moved.unfinished and not brands(moved):
        waits.append(moved.unfinished.retry_in)
        moved = imported.move(next_of(moved))
    assert waits == [0, 0, 60, 180]
    assert imported.list.differing[0].why.endswith(": the official API does not have it")


def test_a_month_that_lacks_a_brand_is_loaded(imported: Stage, simulator: FipeSimulator) -> None:
    lacks = imported.imported["2026-06"][0].brand
    imported.imported["2026-06"] = [row for row in imported.imported["2026-06"] if row.brand != lacks]
    followed(imported, imported.begin("2026-06..2026-06", verify_sample=3))
    assert imported.list.differing[0].why.endswith(f", {lacks}: the import does not have this brand")
    assert "ConsultarValorComTodosParametros" not in simulator.statistics().calls


def test_a_month_that_no_import_has_is_loaded(imported: Stage) -> None:
    del imported.imported["2026-06"]
    assert brands(imported.begin("2026-05..2026-06", verify_sample=3)) == {"2026-06"}
    work = imported.list.at_work
    assert work is not None
    assert work.sample is None


def test_a_source_that_refuses_in_the_middle_is_asked_for_the_rest(
    imported: Stage, simulator: FipeSimulator
) -> None:
    part = imported.move(next_of(imported.begin("2026-06..2026-06", verify_sample=5)))
    simulator.faults = Faults.of(Fault.STATUS_503, rate=1)
    refused = imported.move(next_of(part))
    assert refused.unfinished is not None
    assert refused.unfinished.retry_in > 0
    asked = imported.asked
    waits = imported.move(next_of(refused))
    assert imported.asked == asked, "nobody asks the database meanwhile"
    simulator.faults = Faults()
    imported.ask_anew()
    assert followed(imported, waits).unfinished is None
    assert [each.prices for each in imported.list.confirmed] == [5]
    assert len(imported.chosen) == 1


def test_another_load_goes_before_the_rest_of_a_sample(imported: Stage) -> None:
    part = imported.move(next_of(imported.begin("2026-06..2026-06", verify_sample=5)))
    imported.others = ["2026-07"]
    held = imported.move(next_of(part))
    assert (imported.list.waits_for, next_of(held).sample) == ("2026-07", next_of(part).sample)
    imported.others = []
    assert followed(imported, held).unfinished is None
    assert [each.prices for each in imported.list.confirmed] == [5]
    assert len(imported.chosen) == 1


def test_a_stopped_sample_begins_again_with_the_same_prices(imported: Stage) -> None:
    part = imported.move(next_of(imported.begin("2026-06..2026-06", verify_sample=5)))
    run_id = imported.list.run_id
    backfill.stop(run_id, imported.environment)
    assert imported.move(next_of(part)).unfinished is None
    gone_on = backfill.go_on(run_id, imported.source, imported.environment)
    assert followed(imported, gone_on).unfinished is None
    assert len(imported.list.confirmed) == 1
    first, again = imported.chosen
    assert first == again


def test_messages_of_a_sample_may_come_twice(imported: Stage) -> None:
    moved = imported.begin("2026-05..2026-06", verify_sample=5)
    for _ in range(20):
        if moved.unfinished is None:
            break
        message = next_of(moved)
        moved, twin = imported.move(message), imported.move(message)
        if twin.unfinished:  # both were sent; the first that comes goes on
            moved, late = twin, moved
            after = imported.move(next_of(moved))
            assert imported.move(next_of(late)).unfinished is None
            moved = after
    assert imported.list.ended_at is not None
    assert len(imported.list.confirmed) == 2


def test_the_ledger_is_told_of_a_confirmed_month_even_if_it_was_not_the_first_time(imported: Stage) -> None:
    moved = imported.begin("2026-06..2026-06", verify_sample=3)
    while not imported.list.confirmed:
        message = next_of(moved)
        moved = imported.move(message)
    (told,) = moved.messages
    assert isinstance(told, ConfirmationMessage)
    assert (told.prices_asked, told.imported, told.vehicle_types) == (
        3, len(imported.imported["2026-06"]), (1, 2, 3),
    )  # fmt: skip
    assert told in imported.move(message).messages


def test_what_samples_have_confirmed_is_asked_again_only_with_more_prices(imported: Stage) -> None:
    imported.confirmed = {date(2026, 6, 1): 5}
    begun = imported.begin("2026-05..2026-06", verify_sample=5, skip_complete=True)
    assert (begun.answer["skipped"], begun.answer["sample_of"]) == (["2026-06"], "2026-05")
    assert imported.begin("2026-06..2026-06", skip_complete=True).answer["skipped"] == []
    more = imported.begin("2026-06..2026-06", verify_sample=6, skip_complete=True)
    assert more.answer["skipped"] == []
    imported.confirmed[date(2026, 6, 1)] = 6
    nothing = imported.begin("2026-06..2026-06", verify_sample=6, skip_complete=True)
    assert nothing.answer["nothing_to_load"] == "2026-06 is confirmed"


def test_a_later_start_changes_the_sample_only_if_it_names_one(imported: Stage) -> None:
    imported.begin("2026-06..2026-06", verify_sample=5)
    imported.begin("2026-05..2026-06")
    assert (imported.list.verify_sample, len(imported.list.to_come)) == (5, 1)
    imported.begin("2026-05..2026-06", verify_sample=0)
    assert imported.list.verify_sample == 0


@pytest.mark.parametrize(
    "payload",
    [
        {"reference": "2026-06", "verify_sample": 5}, {"verify_sample": 5},
        {"reference": "2026-05..2026-06", "verify_sample": 5, "brands": ["Fiat"]},
        {"reference": "2026-05..2026-06", "verify_sample": 1001},
    ],
)  # fmt: skip
def test_a_sample_is_for_whole_months_of_a_list(payload: dict[str, Any]) -> None:
    with pytest.raises(LoadRequestError, match=r"^invalid verify_sample"):
        parse_request(payload)


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
