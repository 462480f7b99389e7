"""The ledger of loads against a real PostgreSQL: what it expects, misses, completes, compares and resumes."""

import json
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from msgspec.structs import replace
from psycopg2.extensions import connection

from fipe_api.database.writer import write_messages
from fipe_api.load.plan import brand_plans, run_plans
from fipe_api.load.request import LoadRequest, parse_request
from fipe_api.messages import (
    CancellationMessage,
    ModelYearFuel,
    Named,
    PlannedBrand,
    PriceMessage,
    PriceQueueMessage,
    Reference,
    to_json,
)
from tests.builders import (
    JUNE_2026,
    MAY_2026,
    RUN,
    SEARCHED_AT,
    any_brand_message,
    any_brand_plan,
    any_empty_brand_message,
    any_model_message,
    any_moment,
    any_named,
    any_price,
    any_price_message,
    any_run_plan,
)

pytestmark = pytest.mark.both_postgres


def rows(database: connection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with database, database.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def whole_load(
    sizes: Sequence[int], reference: Reference = JUNE_2026, prices: int = 1, **given: Any
) -> list[PriceQueueMessage]:
    """Plan, brands' plans and results of a load of the whole table: a brand for each number of models.

    Brands and models have the same codes in each load, so that months can be compared.
    """
    run = {"run_id": uuid4(), "reference": reference, "brands_in_run": len(sizes), **given}
    brands = [Named(code=100 + number, name=f"Brand {number}") for number in range(len(sizes))]
    planned = tuple(PlannedBrand(vehicle_type=1, brand=brand) for brand in brands)
    messages: list[PriceQueueMessage] = [any_run_plan(brands=planned, **run)]
    for brand, size in zip(brands, sizes, strict=True):
        common = {"brand": brand, "models_in_brand": size, **run}
        if not size:
            messages.append(any_empty_brand_message(**{**common, "models_in_brand": 0}))
            continue
        codes = [1000 * brand.code + number for number in range(size)]
        messages.append(any_brand_plan(models=tuple((code, prices) for code in codes), **common))
        messages += [
            any_price_message(
                model=Named(code=code, name=f"Model {code}"),
                prices=tuple(any_price(model_year=2000 + year) for year in range(prices)),
                **common,
            )
            for code in codes
        ]
    return messages


def missing(database: connection) -> list[tuple[Any, ...]]:
    return rows(
        database,
        "select brand, model_code, vehicles from fipe.load_missing order by brand_code, model_code",
    )


def test_names_every_brand_and_model_that_has_not_come(database: connection) -> None:
    fiat, ford, audi = (Named(code=code, name=name) for code, name in ((1, "Fiat"), (2, "Ford"), (3, "Audi")))
    planned = tuple(PlannedBrand(vehicle_type=1, brand=brand) for brand in (fiat, ford, audi))
    common = {"brands_in_run": 3}
    write_messages(database, [any_run_plan(brands=planned, **common)])
    assert missing(database) == [("Fiat", None, None), ("Ford", None, None), ("Audi", None, None)]
    of_ford = {"brand": ford, "models_in_brand": 3, **common}
    write_messages(
        database,
        [
            any_brand_plan(models=((21, 4), (22, 1), (23, 2)), **of_ford),
            any_price_message(model=Named(code=22, name="Ka"), **of_ford),
            any_empty_brand_message(brand=audi, **common),
        ],
    )
    assert missing(database) == [("Fiat", None, None), ("Ford", 21, 4), ("Ford", 23, 2)]
    reasons = rows(database, "select brand, reason from fipe.load_missing order by brand_code, model_code")
    assert "manufacturer DLQ" in reasons[0][1]
    assert "the model or the price DLQ" in reasons[1][1]


def test_says_what_it_cannot_name_while_the_plans_have_not_come(database: connection) -> None:
    write_messages(database, [any_price_message(brands_in_run=5, models_in_brand=7)])
    assert sorted(reason for (reason,) in rows(database, "select reason from fipe.load_missing")) == [
        "1 of 7 models have arrived; what has come of the brand's plan does not name the others",
        "4 of 5 brands are not known: the run's plan, or a part of it, has not arrived",
    ]


@pytest.mark.parametrize("seed", range(5))
def test_ends_alike_in_any_order_and_with_any_repetition(database: connection, seed: int) -> None:
    messages = whole_load([3, 0, 2])
    chance = random.Random(seed)
    mixed = chance.sample([*messages, *messages], 2 * len(messages))
    completed = []
    while mixed:
        batch = [mixed.pop() for _ in range(min(len(mixed), chance.randint(1, 5)))]
        completed += write_messages(database, batch).news.completed
    assert [(load.reference_code, load.changed) for load in completed] == [(334, 5)]
    assert missing(database) == []
    assert rows(
        database,
        "select brands_expected, brands_complete, models_expected, models_received, prices,"
        " vehicles_expected, changed, complete, whole_month, stable from fipe.load_status",
    ) == [(3, 3, 5, 5, 5, 5, 5, True, True, False)]


def test_a_load_completes_exactly_once_whichever_writers_bring_its_last_results(
    dsn: str, database: connection
) -> None:
    for round_number in range(15):
        messages = whole_load([4, 4])
        write_messages(database, messages[:-4])

        def write(message: PriceQueueMessage) -> int:
            with closing(psycopg2.connect(dsn)) as own:
                return len(write_messages(own, [message]).news.completed)

        with ThreadPoolExecutor(4) as writers:
            assert sum(writers.map(write, messages[-4:])) == 1, f"round {round_number}"
    assert rows(database, "select count(*), bool_and(complete) from fipe.load_status") == [(15, True)]


def test_a_load_that_changes_nothing_is_stable(database: connection) -> None:
    write_messages(database, whole_load([2, 1]))
    write_messages(database, whole_load([2, 1]))
    assert rows(database, "select changed, stable from fipe.load_status order by started_at") == [
        (3, False),
        (0, True),
    ]


def test_a_load_of_a_part_is_never_called_stable(database: connection) -> None:
    for _ in range(2):
        plan, *results = whole_load([2])
        write_messages(database, [replace(plan, whole_month=False), *results])
    assert rows(database, "select bool_or(stable), bool_and(complete) from fipe.load_status") == [
        (False, True)
    ]


def test_believes_the_longer_list_when_a_repeated_search_found_more_models(database: connection) -> None:
    common = {"brand": any_named(), "brands_in_run": 1}
    first, second, third = (any_price_message(models_in_brand=2, **common) for _ in range(3))
    longer = replace(third, models_in_brand=3)
    assert write_messages(database, [first]).news.completed == ()
    assert write_messages(database, [longer]).news.completed == ()
    assert len(write_messages(database, [second]).news.completed) == 1


def test_tells_a_month_that_lost_more_than_a_month_does(database: connection) -> None:
    write_messages(database, whole_load([20, 30, 4], MAY_2026))
    news = write_messages(database, whole_load([20, 15, 4], JUNE_2026)).news
    assert [(load.brands, load.prices_before, load.prices) for load in news.shrunk] == [(1, 54, 39)]
    assert rows(
        database,
        "select brand_code, models_before, models, shrunk from fipe.month_comparison order by brand_code",
    ) == [(100, 20, 20, False), (101, 30, 15, True), (102, 4, 4, False), (None, 54, 39, True)]
    write_messages(database, whole_load([20, 15, 4], JUNE_2026))
    assert rows(
        database, "select shrunk, changed, stable from fipe.load_status where reference_code = 334"
    ) == [
        (True, 39, False),
        (True, 0, False),
    ]
    assert write_messages(database, whole_load([20, 30, 4], JUNE_2026)).news.shrunk == ()


@pytest.mark.parametrize(
    ("brands", "is_shrunk"),
    [
        ([20, 12, 7], False),
        ([20, 10, 8], False),  # 5%: finished months have lost up to 4.7%
        ([18, 11, 8], True),  # 7.5%: about half way to the 12% that a month lacked on its first day
    ],
)
def test_only_what_no_finished_month_loses_is_a_sign_of_an_unfinished_table(
    database: connection, brands: list[int], is_shrunk: bool
) -> None:
    write_messages(database, whole_load([20, 12, 8], MAY_2026, prices=5))
    assert bool(write_messages(database, whole_load(brands, JUNE_2026, prices=5)).news.shrunk) is is_shrunk


def test_a_whole_brand_that_is_gone_is_a_sign_of_an_unfinished_table(database: connection) -> None:
    write_messages(database, whole_load([15, 1], MAY_2026, prices=5))
    assert write_messages(database, whole_load([15], JUNE_2026, prices=5)).news.shrunk


def test_compares_only_once_the_plan_has_told_that_the_table_is_whole(database: connection) -> None:
    write_messages(database, whole_load([20], MAY_2026))
    plan, *results = whole_load([10], JUNE_2026)
    assert write_messages(database, results).news.shrunk == ()
    assert len(write_messages(database, [plan]).news.shrunk) == 1
    assert write_messages(database, [plan]).news.shrunk == ()


def resumed(database: connection) -> list[dict[str, Any]]:
    found = [payload for (payload,) in rows(database, "select fipe.resume_payloads(%s)", str(RUN))]
    return sorted(found, key=json.dumps)


def test_resumes_with_the_missing_brands_and_models_only(database: connection) -> None:
    messages = whole_load([3, 2, 0, 1], run_id=RUN)
    lost = [
        message
        for message in messages
        if isinstance(message, PriceMessage) and message.model.code in (100_001, 100_002)
    ]
    of_lost_brand = [
        message for message in messages if getattr(message, "brand", Named(code=0, name="")).code == 101
    ]
    write_messages(
        database, [message for message in messages if message not in lost and message not in of_lost_brand]
    )
    assert resumed(database) == [
        {
            "run_id": str(RUN),
            "reference": 334,
            "vehicle_types": [1],
            "brands": [100],
            "missing_models": [100_001, 100_002],
        },
        {"run_id": str(RUN), "reference": 334, "vehicle_types": [1], "brands": [101]},
    ]
    # What the resumed loaders send: fewer brands and models, the same run.
    again = [replace(message, brands_in_run=1, models_in_brand=2) for message in lost]
    assert write_messages(database, again).news.completed == ()
    assert len(write_messages(database, of_lost_brand).news.completed) == 1
    assert resumed(database) == []


def test_a_price_without_a_usable_answer_leaves_the_load_incomplete_and_is_named(
    database: connection,
) -> None:
    uno = Named(code=7, name="Uno")
    years = tuple(ModelYearFuel(model_year=year, fuel_code=5) for year in (2014, 32_000))
    lacking = any_price_message(model=uno, rejected=years)
    (ended,) = write_messages(database, [any_run_plan(), lacking]).news.ended
    assert (ended.state, ended.rejected, ended.unpriced) == ("incomplete", 2, 0)
    assert write_messages(database, [lacking]).news.ended == (), "it is told once"
    assert rows(database, "select state, complete, rejected, stable from fipe.load_status") == [
        ("incomplete", False, 2, False)
    ]
    assert rows(
        database, "select brand_code, model, model_year, fuel_code, reason from fipe.load_missing order by 3"
    ) == [
        (59, "Uno", year, 5, "no usable answer came: see fipe.rejected_answer") for year in (2014, 32_000)
    ]  # fmt: skip
    (payload,) = resumed(database)
    assert (payload["brands"], payload["missing_models"]) == ([59], [7])
    assert parse_request(payload).missing_models == (7,)
    # What the resumed load brings.
    prices = tuple(any_price(model_year=year.model_year, fuel_code=5) for year in years)
    whole = replace(lacking, prices=(*lacking.prices, *prices), rejected=(), asked_at=any_moment())
    (ended,) = write_messages(database, [whole]).news.ended
    assert (ended.state, ended.rejected) == ("complete", 0)
    assert missing(database) == resumed(database) == []


def test_what_fipe_lists_and_denies_is_told_and_keeps_no_load_from_being_complete(
    database: connection,
) -> None:
    denied = (ModelYearFuel(model_year=2014, fuel_code=5),)
    message = any_price_message(model=Named(code=7, name="Uno"), unpriced=denied)
    (ended,) = write_messages(database, [any_run_plan(), message]).news.ended
    assert (ended.state, ended.unpriced) == ("complete", 1)
    assert missing(database) == []
    assert rows(database, "select brand_code, model, model_year, fuel_code from fipe.load_unpriced") == [
        (59, "Uno", 2014, 5)
    ]


def test_a_model_that_is_listed_without_model_years_is_told(database: connection) -> None:
    message = any_price_message(model=Named(code=7, name="Uno"), prices=())
    (ended,) = write_messages(database, [any_run_plan(), message]).news.ended
    assert (ended.state, ended.unpriced) == ("complete", 0)
    assert rows(database, "select model, model_year from fipe.load_unpriced") == [("Uno", None)]


def test_of_two_results_of_a_load_the_one_with_more_usable_answers_counts(database: connection) -> None:
    year = (ModelYearFuel(model_year=2014, fuel_code=5),)
    usable = any_price_message(model=Named(code=7, name="Uno"))
    later = replace(usable, rejected=year, asked_at=any_moment())
    for first, second in ((usable, later), (later, usable)):
        run = uuid4()
        for message in (first, second):
            write_messages(database, [replace(message, run_id=run)])
        assert rows(database, "select state from fipe.load_status where run_id = %s", str(run)) == [
            ("complete",)
        ]


def test_a_brand_listed_two_ways_names_what_to_ask_again_and_ends_with_the_newer_list(
    database: connection,
) -> None:
    brand = any_named(code=59)
    plan = any_run_plan(brands=(PlannedBrand(vehicle_type=1, brand=brand),))
    two = {"brand": brand, "models_in_brand": 2}
    models = [Named(code=code, name=f"Model {code}") for code in (7, 8)]
    results = [any_price_message(model=model, **two) for model in models]
    contradiction = any_brand_plan(models=((7, 1), (8, 1)), **{**two, "models_in_brand": 3})
    write_messages(database, [plan, contradiction, *results])
    assert missing(database) == [(brand.name, None, None)]
    assert [payload["brands"] for payload in resumed(database)] == [[59]]
    # The whole brand is searched again, and its newer list has two models.
    again = {"searched_at": any_moment(), **two}
    newer = any_brand_plan(models=((7, 1), (8, 1)), **again)
    assert len(write_messages(database, [newer]).news.completed) == 1
    assert missing(database) == resumed(database) == []
    # A newer list with three has more to bring, whatever came before.
    longer = any_brand_plan(models=((9, 4),), searched_at=any_moment(), brand=brand, models_in_brand=3)
    write_messages(database, [longer])
    assert missing(database) == [(brand.name, 9, 4)]
    assert rows(database, "select state, brands_complete from fipe.load_status") == [("loading", 0)]


def test_a_lost_part_of_a_brands_plan_names_the_brand_and_a_model_that_is_gone_is_closed(
    database: connection,
) -> None:
    brand = any_named(code=59)
    plan = any_run_plan(brands=(PlannedBrand(vehicle_type=1, brand=brand),))
    of_brand = {"brand": brand, "models_in_brand": 4}
    part = any_brand_plan(models=((7, 1), (8, 1)), **of_brand)
    write_messages(database, [plan, part, any_price_message(model=Named(code=7, name="A"), **of_brand)])
    assert missing(database) == [(brand.name, 8, 1), (brand.name, None, None)]
    (payload,) = resumed(database)
    assert (payload["brands"], "missing_models" in payload) == ([59], False)
    # The source lists no model of the brand any more.
    gone = any_empty_brand_message(brand=brand, searched_at=any_moment())
    assert len(write_messages(database, [gone, part]).news.completed) == 1
    assert missing(database) == []


def test_a_lost_part_of_a_runs_plan_is_resumed_without_the_brands_that_are_known(
    database: connection,
) -> None:
    known = any_named(code=59)
    asked = {"vehicle_types": (1, 2), "wanted_models": ("Uno",), "whole_month": False}
    part = any_run_plan(
        brands=(PlannedBrand(vehicle_type=1, brand=known),),
        wanted_brands=("Fiat", 59),
        brands_in_run=2,
        **asked,
    )
    write_messages(database, [part, any_price_message(brand=known, brands_in_run=2)])
    (payload,) = resumed(database)
    assert payload == {
        "run_id": str(RUN), "reference": 334, "vehicle_types": [1, 2], "brands": ["Fiat", 59],
        "models": ["Uno"], "known_brands": [[1, 59]],
    }  # fmt: skip
    request = parse_request(payload)
    assert (request.run_id, request.known_brands) == (RUN, ((1, 59),))
    # The newer list of brands counts: there is only one.
    newer = replace(part, brands_in_run=1, listed_at=any_moment())
    assert len(write_messages(database, [newer]).news.completed) == 1


def test_a_run_whose_whole_plan_is_lost_says_how_many_brands_nothing_names(database: connection) -> None:
    write_messages(database, [any_price_message(brands_in_run=3)])
    (payload,) = resumed(database)
    assert (payload["unknown_brands"], payload["known_brands"]) == (2, [[1, 59]])
    assert parse_request(payload).unknown_brands == 2


def test_a_load_that_corrects_only_names_or_codes_has_found_something_new(database: connection) -> None:
    model = any_named()
    for given in (
        {"prices": (any_price(),)},
        {"prices": (any_price(fipe_code="001004-9"),)},
        {"prices": (any_price(fipe_code="001004-9"),), "model": replace(model, name="Renamed")},
    ):
        run = uuid4()
        message = any_price_message(**{"run_id": run, "model": model, **given})
        write_messages(database, [any_run_plan(run_id=run), message])
        assert rows(database, "select stable from fipe.load_status where run_id = %s", str(run)) == [(False,)]


def test_a_load_that_was_denied_what_the_month_has_is_not_stable(database: connection) -> None:
    model = any_named()
    year = (ModelYearFuel(model_year=2014, fuel_code=3),)
    never_priced = (ModelYearFuel(model_year=2015, fuel_code=3),)
    for prices, unpriced, stable in (
        ((any_price(),), never_priced, False),  # the price is new
        ((), (*year, *never_priced), False),  # every price was denied
        ((any_price(model_year=2016),), year, False),
        ((any_price(model_year=2016),), year, False),  # found nothing new, and was denied one
        ((any_price(), any_price(model_year=2016)), never_priced, True),
    ):
        run = uuid4()
        message = any_price_message(run_id=run, model=model, prices=prices, unpriced=unpriced)
        write_messages(database, [any_run_plan(run_id=run), message])
        assert rows(database, "select stable from fipe.load_status where run_id = %s", str(run)) == [
            (stable,)
        ]


def test_resumes_a_whole_brand_with_the_runs_own_choice_of_models(database: connection) -> None:
    brand = any_named()
    plan = any_run_plan(
        brands=(PlannedBrand(vehicle_type=2, brand=brand),), wanted_models=(7, "CG 125"), whole_month=False
    )
    write_messages(database, [plan])
    (payload,) = resumed(database)
    assert (payload["brands"], payload["models"]) == ([brand.code], [7, "CG 125"])
    assert parse_request(payload).run_id == RUN


def test_plans_are_bounded_in_size_and_complete_together() -> None:
    brands = [any_brand_message(brand=any_named(name="N" * 40), brands_in_run=1200) for _ in range(1200)]
    plans = run_plans(LoadRequest(), brands, SEARCHED_AT)
    assert [len(plan.brands) for plan in plans] == [500, 500, 200]
    models = [
        any_model_message(
            models_in_brand=12_000, years_to_ask=(ModelYearFuel(model_year=2014, fuel_code=3),) * 3
        )
        for _ in range(12_000)
    ]
    parts = brand_plans(models)
    assert brand_plans(models[1:]) == [], "some of the models are no plan of the brand"
    assert [(part.part, len(part.models)) for part in parts] == [(0, 5000), (1, 5000), (2, 2000)]
    assert {models for part in parts for _, models in part.models} == {3}
    assert largest(plans) < 262_144
    assert largest(parts) < 262_144


def largest(messages: Iterable[PriceQueueMessage]) -> int:
    return max(len(to_json(message)) for message in messages)


def cancellation(changes: int, *, cancelled: bool) -> CancellationMessage:
    return CancellationMessage(run_id=RUN, changes=changes, cancelled=cancelled)


STATE = "select state, complete from fipe.load_status where run_id = %s"


def test_a_cancelled_load_is_called_so_until_it_is_resumed(database: connection) -> None:
    write_messages(database, [any_run_plan(brands_in_run=2), any_price_message(brands_in_run=2)])
    write_messages(database, [cancellation(1, cancelled=True)])
    assert rows(database, STATE, str(RUN)) == [("cancelled", False)]
    assert rows(database, "select distinct state from fipe.load_brand_status") == [("complete",)]
    write_messages(database, [cancellation(2, cancelled=False)])
    assert rows(database, STATE, str(RUN)) == [("loading", False)]


def test_cancelling_and_resuming_ends_alike_in_any_order(database: connection) -> None:
    told = [cancellation(changes, cancelled=changes % 2 == 1) for changes in (1, 2, 3)]
    write_messages(database, [told[2], told[0]])
    write_messages(database, [told[1], told[1]])
    # Also before the plan of the run has arrived.
    write_messages(database, [any_run_plan(brands_in_run=2)])
    assert rows(database, STATE, str(RUN)) == [("cancelled", False)]


def test_a_load_whose_results_have_all_come_is_complete_though_it_was_cancelled(database: connection) -> None:
    written = write_messages(database, [cancellation(1, cancelled=True), any_run_plan(), any_price_message()])
    assert rows(database, STATE, str(RUN)) == [("complete", True)]
    assert [load.state for load in written.news.ended] == ["complete"]


def test_a_cancelled_load_is_not_announced_as_incomplete(database: connection) -> None:
    rejected = any_price_message(rejected=(ModelYearFuel(model_year=2001, fuel_code=1),))
    written = write_messages(database, [cancellation(1, cancelled=True), any_run_plan(), rejected])
    assert rows(database, STATE, str(RUN)) == [("cancelled", False)]
    assert written.news.ended == ()
