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
    any_brand_message,
    any_brand_plan,
    any_empty_brand_message,
    any_model_message,
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
        "select brand, model_code, year_fuels from fipe.load_missing order by brand_code, model_code",
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
        "1 of 7 models have arrived; the brand's plan, which names the others, has not",
        "4 of 5 brands are not known yet: the run's plan has not arrived",
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
        " year_fuels_expected, changed, complete, whole_table, stable from fipe.load_status",
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
        write_messages(database, [replace(plan, whole_table=False), *results])
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
    news = write_messages(database, whole_load([20, 24, 4], JUNE_2026)).news
    assert [(load.brands, load.prices_before, load.prices) for load in news.shrunk] == [(1, 54, 48)]
    assert rows(
        database,
        "select brand_code, models_before, models, shrunk from fipe.month_comparison order by brand_code",
    ) == [(100, 20, 20, False), (101, 30, 24, True), (102, 4, 4, False), (None, 54, 48, True)]
    write_messages(database, whole_load([20, 24, 4], JUNE_2026))
    assert rows(
        database, "select shrunk, changed, stable from fipe.load_status where reference_code = 334"
    ) == [
        (True, 48, False),
        (True, 0, False),
    ]
    assert write_messages(database, whole_load([20, 30, 4], JUNE_2026)).news.shrunk == ()


def test_small_losses_are_no_sign_of_an_unfinished_table(database: connection) -> None:
    write_messages(database, whole_load([100, 60], MAY_2026))
    assert write_messages(database, whole_load([99, 59], JUNE_2026)).news.shrunk == ()


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
            "models": [100_001, 100_002],
        },
        {"run_id": str(RUN), "reference": 334, "vehicle_types": [1], "brands": [101]},
    ]
    # What the resumed loaders send: fewer brands and models, the same run.
    again = [replace(message, brands_in_run=1, models_in_brand=2) for message in lost]
    assert write_messages(database, again).news.completed == ()
    assert len(write_messages(database, of_lost_brand).news.completed) == 1
    assert resumed(database) == []


def test_resumes_a_whole_brand_with_the_runs_own_choice_of_models(database: connection) -> None:
    brand = any_named()
    plan = any_run_plan(
        brands=(PlannedBrand(vehicle_type=2, brand=brand),), wanted_models=(7, "CG 125"), whole_table=False
    )
    write_messages(database, [plan])
    (payload,) = resumed(database)
    assert (payload["brands"], payload["models"]) == ([brand.code], [7, "CG 125"])
    assert parse_request(payload).run_id == RUN


def test_plans_are_bounded_in_size_and_complete_together() -> None:
    brands = [any_brand_message(brand=any_named(name="N" * 40), brands_in_run=1200) for _ in range(1200)]
    plans = run_plans(LoadRequest(), brands)
    assert [len(plan.brands) for plan in plans] == [500, 500, 200]
    models = [
        any_model_message(
            models_in_brand=12_000, years_to_ask=(ModelYearFuel(model_year=2014, fuel_code=3),) * 3
        )
        for _ in range(12_000)
    ]
    parts = brand_plans(models)
    assert [(part.part, len(part.models)) for part in parts] == [(0, 5000), (1, 5000), (2, 2000)]
    assert {models for part in parts for _, models in part.models} == {3}
    assert largest(plans) < 262_144
    assert largest(parts) < 262_144


def largest(messages: Iterable[PriceQueueMessage]) -> int:
    return max(len(to_json(message)) for message in messages)
