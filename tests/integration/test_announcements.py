"""What is told about loads: what the ledger notes, what FipeLoadStatus gives FipeAnnouncer, the figures."""

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import write_messages
from fipe_api.load import status
from fipe_api.load.announcement import Document
from fipe_api.messages import (
    CancellationMessage,
    ListEndedMessage,
    ModelYearFuel,
    Named,
    PriceMessage,
    Reference,
    to_json,
)
from tests.builders import (
    JUNE_2026,
    MAY_2026,
    SEARCHED_AT,
    AnyContext,
    any_brand_plan,
    any_fipe_code,
    any_price,
    any_price_message,
    any_run_plan,
)
from tests.databases import as_function, as_role

pytestmark = pytest.mark.both_postgres

CODES = [any_fipe_code() for _ in range(6)]
Prices = dict[int, dict[int, int]]
"""Prices in reais by model code and model year."""


@pytest.fixture(autouse=True)
def _environment(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_function(dsn, "fipe_status", monkeypatch)


def result(model: int, prices: dict[int, int], models: int, **given: Any) -> PriceMessage:
    """All prices of a model."""
    priced = tuple(
        any_price(model_year=year, price_brl=Decimal(price), fipe_code=CODES[model])
        for year, price in prices.items()
    )
    named = Named(code=model, name=f"Model {model}")
    return any_price_message(model=named, models_in_brand=models, prices=priced, **given)


def load(database: connection, prices: Prices, reference: Reference = JUNE_2026, **given: Any) -> UUID:
    """A whole load of a month, which has one brand; returns its run."""
    run = given.pop("run_id", None) or uuid4()
    whole_month = given.pop("whole_month", True)
    common = {"run_id": run, "reference": reference, **given}
    models = [(model, len(years)) for model, years in prices.items()]
    write_messages(
        database,
        [
            any_run_plan(whole_month=whole_month, **common),
            any_brand_plan(models=models, models_in_brand=len(models), **common),
            *(result(model, years, len(models), **common) for model, years in prices.items()),
        ],
    )
    return run


def ask(**question: Any) -> dict[str, Any]:
    """What FipeLoadStatus answers FipeAnnouncer, as Lambda would send it."""
    asked = json.loads(json.dumps({"announce": {"stage": "dev", **question}}, default=str))
    answer: dict[str, Any] = json.loads(json.dumps(status.handler(asked, AnyContext())))["announce"]
    return answer


def look_at(run: UUID, reference: Reference = JUNE_2026, **question: Any) -> dict[str, Any]:
    month = {"code": reference.code, "month": f"{reference.month}"}
    return ask(run_id=run, reference=month, **question)


def tell_all(told: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Tells what is untold; returns it, after what was told before."""
    told = [*told]
    answer = ask(told=[each["id"] for each in told])
    while answer["claimed"]:
        told.append(answer["claimed"])
        answer = ask(told=[told[-1]["id"]])
    assert answer["untold"] == 0
    return told


def kinds(told: Sequence[dict[str, Any]]) -> list[str]:
    return [each["kind"] for each in told]


def execute(database: connection, statement: str) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(statement)


# What is told -----------------------------------------------------------------------------------------------


def test_a_complete_load_is_told_once_with_its_figures(database: connection) -> None:
    load(database, {1: {2020: 100, 2021: 110}, 2: {2020: 50}}, MAY_2026)
    assert kinds(tell_all()) == ["load_complete"]
    run = load(database, {1: {2020: 101, 2021: 110, 2022: 130}, 3: {2021: 70}})
    (told,) = tell_all()
    assert told.pop("text").splitlines() == [
        "FIPE dev: 2026-06 is complete, 4 prices, in 0 s.",
        "Compared with 2026-05: 2 new, 1 gone, 1 with another price.",
        f"Run {run}.",
    ]
    assert UUID(told.pop("id"))
    assert told.pop("duration_seconds") in (0, 1)
    assert told == {
        "version": 1, "kind": "load_complete", "stage": "dev", "run_id": str(run),
        "reference_month": "2026-06", "reference_code": 334, "whole_month": True, "state": "complete",
        "prices": 4, "compared_with": "2026-05", "new": 2, "gone": 1, "changed": 1, "corrections": 0,
        "changed_since": None, "unpriced": 0, "missing": [], "watch": [], "months": None,
    }  # fmt: skip
    load(database, {1: {2020: 101, 2021: 110, 2022: 130}, 3: {2021: 70}}, run_id=run)
    assert tell_all() == []


def test_a_complete_month_tells_which_watch_rules_hold_each_once(database: connection) -> None:
    execute(
        database,
        "insert into fipe.watch_rule (fipe_code, model_year, below_brl, note)"
        f" values ('{CODES[1]}', 2020, 100, 'ours'), ('{CODES[2]}', null, 40, '')",
    )
    load(database, {1: {2020: 100, 2021: 90}, 2: {2020: 50}}, MAY_2026)
    assert [told["watch"] for told in tell_all()] == [[]]
    run = load(database, {1: {2020: 99, 2021: 90}, 2: {2020: 50}})
    (told,) = tell_all()
    ((rule, price, note),) = [(hit["rule_id"], hit["price_brl"], hit["note"]) for hit in told["watch"]]
    assert (rule, price, note) == (1, 99.0, "ours")
    assert f"- {told['watch'][0]['text']}" in told["text"].splitlines()
    load(database, {1: {2020: 98, 2021: 90}, 2: {2020: 39}}, run_id=run)
    (changed,) = tell_all()
    assert (changed["kind"], [hit["rule_id"] for hit in changed["watch"]]) == ("month_changed", [2])


def test_many_watch_rules_at_once_fit_into_a_message_of_sns(database: connection) -> None:
    execute(
        database,
        "insert into fipe.watch_rule (fipe_code, below_brl, note)"
        f" select '{CODES[1]}', 1000 + number, repeat('note ', 40) from generate_series(1, 300) as number",
    )
    load(database, {1: {2020: 100}})
    (told,) = tell_all()
    assert len(told["watch"]) == 26
    assert told["watch"][-1] == {"text": "275 more: `fipe watch check --month 2026-06` shows all"}
    assert told["text"].splitlines()[-2] == "- 275 more: `fipe watch check --month 2026-06` shows all"
    body, text = json.dumps(json.dumps(told)), json.dumps(told["text"])
    assert 4 * len(body) + 2 * len(text) < 256 * 1024


def test_the_first_month_is_compared_with_nothing(database: connection) -> None:
    load(database, {1: {2020: 100}})
    (told,) = tell_all()
    assert (told["compared_with"], told["new"], told["gone"], told["changed"]) == (None, None, None, None)
    assert "Compared" not in told["text"]


@pytest.mark.parametrize("seed", range(6))
def test_the_figures_are_those_of_a_plain_comparison(database: connection, seed: int) -> None:
    chance = Random(seed)

    def month() -> Prices:
        return {
            model: {
                year: chance.choice([100, 100, 101])
                for year in chance.sample(range(2015, 2022), chance.randint(1, 6))
            }
            for model in chance.sample(range(1, 6), 4)
        }

    before, now, corrected = month(), month(), month()
    load(database, before, MAY_2026)
    load(database, now)
    tell_all()
    load(database, corrected)
    (told,) = tell_all()
    flat_before, flat_now, flat_corrected = (
        {(model, year): price for model, years in prices.items() for year, price in years.items()}
        for prices in (before, now, corrected)
    )
    both = flat_before.keys() & flat_corrected.keys()
    assert told["prices"] == len(flat_corrected)
    assert told["new"] == len(flat_corrected.keys() - flat_before.keys())
    assert told["gone"] == len(flat_before.keys() - flat_corrected.keys())
    assert told["changed"] == sum(flat_before[key] != flat_corrected[key] for key in both)
    assert told["corrections"] == sum(
        key not in flat_corrected or flat_corrected[key] != price for key, price in flat_now.items()
    )


def test_a_load_of_a_part_says_so(database: connection) -> None:
    load(database, {1: {2020: 100}}, whole_month=False)
    (told,) = tell_all()
    assert told["text"].startswith("FIPE dev: a part of 2026-06 is complete, 1 price, in 0 s.")


def test_an_incomplete_load_is_told_with_what_is_missing_and_again_when_it_is_complete(
    database: connection,
) -> None:
    run = uuid4()
    common = {"run_id": run, "models_in_brand": 1, "model": Named(code=1, name="Gol")}
    rejected = (ModelYearFuel(model_year=2021, fuel_code=3),)
    plan = any_brand_plan(models=[(1, 2)], run_id=run)
    write_messages(database, [any_run_plan(run_id=run), plan, any_price_message(rejected=rejected, **common)])
    (told,) = tell_all()
    assert (told["kind"], told["state"], told["prices"]) == ("load_incomplete", "incomplete", 1)
    (line,) = told["missing"]
    assert line.startswith("cars, VW - VolksWagen: 1 price (Gol 2021 Diesel): no usable answer")
    assert f"- {line}" in told["text"]
    assert f"`fipe --stage dev resume {run}` asks for what is missing again." in told["text"]
    write_messages(database, [any_price_message(prices=(any_price(), any_price(model_year=2021)), **common)])
    assert kinds(tell_all()) == ["load_complete"]


def test_a_cancelled_load_is_not_told(database: connection) -> None:
    run = uuid4()
    rejected = (ModelYearFuel(model_year=2021, fuel_code=3),)
    write_messages(database, [CancellationMessage(run_id=run, changes=1, cancelled=True)])
    write_messages(database, [any_run_plan(run_id=run), any_price_message(run_id=run, rejected=rejected)])
    assert tell_all() == []


# Months that change afterwards ------------------------------------------------------------------------------


def test_changes_after_a_load_was_complete_are_told_together_until_somebody_tells_them(
    database: connection,
) -> None:
    run = load(database, {1: {2020: 100, 2021: 110}, 2: {2020: 50}})
    tell_all()
    for prices in ({2020: 101, 2021: 110}, {2020: 101}):
        write_messages(database, [result(1, prices, 2, run_id=run)])
    (told,) = tell_all()
    assert (told["kind"], told["run_id"], told["state"]) == ("month_changed", str(run), "complete")
    assert (told["changed_since"], told["corrections"], told["prices"]) == (2, 2, 2)
    assert told["text"].startswith("FIPE dev: 2026-06 has changed, 2 prices")
    write_messages(database, [result(2, {2020: 51}, 2, run_id=run)])
    (again,) = tell_all()
    assert (again["kind"], again["changed_since"]) == ("month_changed", 1)
    assert again["id"] != told["id"]


def test_what_says_nothing_new_changes_nothing(database: connection) -> None:
    run = load(database, {1: {2020: 100}})
    tell_all()
    write_messages(database, [result(1, {2020: 100}, 1, run_id=run)])
    assert tell_all() == []


def test_corrections_of_another_load_are_told_when_it_is_complete(database: connection) -> None:
    load(database, {1: {2020: 100}, 2: {2020: 50}})
    tell_all()
    load(database, {1: {2020: 101}, 2: {2020: 50}})
    (told,) = tell_all()
    assert (told["kind"], told["corrections"]) == ("load_complete", 1)
    assert "Corrected or withdrawn within the month: 1 price." in told["text"]


def test_changes_by_a_load_that_was_cancelled_are_told(database: connection) -> None:
    load(database, {1: {2020: 100}, 2: {2020: 50}})
    tell_all()
    run = uuid4()
    write_messages(database, [any_run_plan(run_id=run), result(1, {2020: 101}, 2, run_id=run)])
    assert tell_all() == []
    for changes, cancelled in ((1, True), (2, False), (3, True)):
        write_messages(database, [CancellationMessage(run_id=run, changes=changes, cancelled=cancelled)])
    (told,) = tell_all()
    assert (told["kind"], told["run_id"], told["changed_since"]) == ("month_changed", str(run), 1)


# Loads that stall -------------------------------------------------------------------------------------------


def test_a_load_that_gets_nothing_is_told_once(database: connection) -> None:
    run = uuid4()
    write_messages(database, [any_run_plan(run_id=run), result(1, {2020: 100}, 2, run_id=run)])
    answer = look_at(run, stalled_after=60.0)
    assert (answer["claimed"], answer["is_open"]) == (None, True)
    answer = look_at(run, stalled_after=0.0)
    told = answer["claimed"]
    assert (told["kind"], told["state"], told["prices"]) == ("load_stalled", "loading", 1)
    assert told["text"].startswith("FIPE dev: the load of 2026-06 has stalled, 1 price so far")
    assert "1 of 2 models have arrived" in told["text"]
    assert "`fipe --stage dev status` says whether the source is out" in told["text"]
    assert look_at(run, stalled_after=0.0, told=[told["id"]])["untold"] == 0


def test_a_load_whose_plan_does_not_arrive_stalls_too(database: connection) -> None:
    run = uuid4()
    began_at = datetime.now(UTC) - timedelta(hours=1)
    answer = look_at(run, began_at=began_at, stalled_after=60.0)
    assert answer["claimed"]["kind"] == "load_stalled"
    assert (answer["is_open"], 3590 < answer["quiet"] < 3700) == (True, True)
    write_messages(database, [CancellationMessage(run_id=run, changes=1, cancelled=True)])
    assert not look_at(run)["is_open"]


def test_a_load_that_was_resumed_a_moment_ago_has_not_stalled(database: connection) -> None:
    run = uuid4()
    write_messages(database, [any_run_plan(run_id=run)])
    execute(database, "update fipe.load_run set started_at = now() - interval '1 day'")
    answer = look_at(run, began_at=datetime.now(UTC), stalled_after=60.0)
    assert (answer["claimed"], answer["is_open"], answer["quiet"] < 60) == (None, True, True)


@pytest.mark.parametrize("waits_for", ["", "2026-05"])
def test_a_load_that_is_cancelled_or_waits_has_not_stalled(database: connection, waits_for: str) -> None:
    run = uuid4()
    told = CancellationMessage(run_id=run, changes=1, cancelled=True, waits_for=waits_for)
    write_messages(database, [any_run_plan(run_id=run), told])
    answer = look_at(run, stalled_after=0.0)
    assert (answer["claimed"], answer["is_open"]) == (None, bool(waits_for))


def test_one_look_sees_all_loads(database: connection) -> None:
    began_at = datetime.now(UTC) - timedelta(minutes=1)
    nothing = ask(began_at=began_at)
    assert (nothing["is_open"], 59 < nothing["quiet"] < 70) == (False, True)
    load(database, {1: {2020: 100}})
    write_messages(database, [any_run_plan(run_id=uuid4(), reference=MAY_2026)])
    answer = ask(began_at=began_at, stalled_after=0.0)
    assert (answer["is_open"], answer["untold"]) == (True, 2)
    assert answer["claimed"]["kind"] == "load_complete"
    assert kinds(tell_all([answer["claimed"]])) == ["load_complete", "load_stalled"]


# Lists of months --------------------------------------------------------------------------------------------


def test_the_end_of_a_list_of_months_is_told_once(database: connection) -> None:  # noqa: ARG001
    ended = ListEndedMessage(
        run_id=uuid4(),
        began_at=SEARCHED_AT,
        ended_at=SEARCHED_AT + timedelta(hours=50, minutes=7),
        complete=12,
        prices=1234567,
        incomplete=(("2024-03", "some results did not arrive"),),
        confirmed=3,
        left_out=(("2001-01", "the source lists no brands"),),
    )
    told = ask(ended_list=json.loads(to_json(ended)))["claimed"]
    assert told["kind"] == "backfill_ended"
    assert told["months"] == {
        "complete": 12,
        "incomplete": ["2024-03: some results did not arrive"],
        "confirmed": 3,
        "left_out": ["2001-01: the source lists no brands"],
    }
    assert told["text"].splitlines() == [
        "FIPE dev: the list of months has ended, 12 complete, in 50 h 7 min.",
        "Prices: 1,234,567.",
        "Imported months that a sample has confirmed: 3.",
        "Incomplete:",
        "- 2024-03: some results did not arrive",
        "Left out:",
        "- 2001-01: the source lists no brands",
        f"Run {ended.run_id}.",
    ]
    assert ask(ended_list=json.loads(to_json(ended)), told=[told["id"]])["claimed"] is None


# Claims -----------------------------------------------------------------------------------------------------


def test_what_is_claimed_and_not_told_is_told_later_as_it_was(database: connection) -> None:
    run = load(database, {1: {2020: 100}})
    claimed = ask()["claimed"]
    meanwhile = ask()
    assert (meanwhile["claimed"], meanwhile["untold"]) == (None, 1)
    write_messages(database, [result(1, {2020: 101}, 1, run_id=run)])
    execute(database, "update fipe.announcement set claimed_at = claimed_at - interval '3 minutes'")
    assert ask()["claimed"] == claimed
    assert kinds([ask(told=[claimed["id"]])["claimed"]]) == ["month_changed"]


def test_two_who_claim_at_once_get_different_ones(dsn: str, database: connection) -> None:
    load(database, {1: {2020: 100}})
    load(database, {1: {2020: 100}}, MAY_2026)
    with closing(psycopg2.connect(as_role(dsn, "fipe_status"))) as other, other.cursor() as cursor:
        cursor.execute("select id from fipe.announcement order by created_at limit 1 for update skip locked")
        ((locked,),) = cursor.fetchall()
        assert ask()["claimed"]["id"] != locked
        assert ask()["claimed"] is None


def test_a_subject_is_ascii_and_short() -> None:
    for kind in ("load_complete", "load_incomplete", "load_stalled", "month_changed"):
        document = Document(
            id=uuid4(), kind=kind, stage="prd", run_id=uuid4(), state="complete",  # type: ignore[arg-type]
            reference_month="2026-06", prices=1_000_000, changed_since=1_000_000,
        )  # fmt: skip
        assert len(document.subject) < 100
        assert document.subject.isascii()


def test_the_role_of_fipe_load_status_reads_no_price_and_writes_nothing_else(dsn: str) -> None:
    refused = (
        "select * from fipe.price",
        "update fipe.announcement set kind = 'load_complete'",
        "delete from fipe.announcement",
        "update fipe.load_run set completed_at = now()",
    )
    with closing(psycopg2.connect(as_role(dsn, "fipe_status"))) as session:
        session.autocommit = True
        for statement in refused:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), session.cursor() as cursor:
                cursor.execute(statement)


def test_a_reader_learns_no_more_by_the_figures(dsn: str) -> None:
    with closing(psycopg2.connect(as_role(dsn, "fipe_reader"))) as session, session.cursor() as cursor:
        refused = pytest.raises(psycopg2.errors.InsufficientPrivilege)
        with refused:
            cursor.execute("select * from fipe.month_figures('2026-06-01')")
