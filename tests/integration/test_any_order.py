"""However messages are ordered, repeated and put into batches, the database ends alike: random loads.

`make fuzz` tries many more of them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection

from fipe_api.database.writer import write_messages
from fipe_api.messages import (
    CancellationMessage,
    ModelYearFuel,
    Named,
    PlannedBrand,
    PricedVehicle,
    PriceMessage,
    PriceQueueMessage,
    Reference,
)
from tests.builders import any_brand_plan, any_price_message, any_run_plan
from tests.databases import database_with_schema

pytestmark = pytest.mark.both_postgres

SLOW_BY_NATURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
EXAMPLES = 600 if "FUZZ_EXAMPLES" in os.environ else 25

MONTHS = [Reference(code=code, month=month) for code, month in (
    (290, date(2020, 1, 1)), (270, date(2020, 2, 1)), (300, date(2021, 6, 1)), (310, date(2022, 1, 1)),
)]  # fmt: skip
CODES = ("005340-6", "001004-9")
FUELS = {1: "Gasolina", 5: "Flex", 6: "Híbrido"}
KEYS = [(year, fuel) for year in (2019, 32000) for fuel in FUELS]
TABLES = (
    "model, vehicle, price, price_revision, model_answer, reference_month, load_run, load_cancellation,"
    " rejected_answer"
)


@pytest.fixture(scope="module")
def reused(postgres_dsn: str) -> Iterator[connection]:
    """One database for all examples."""
    with database_with_schema(postgres_dsn) as dsn, closing(psycopg2.connect(dsn)) as database:
        yield database


def empty(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("truncate " + ", ".join(f"fipe.{table}" for table in TABLES.split(", ")) + " cascade")


def select(database: connection, query: str) -> list[tuple[Any, ...]]:
    with database, database.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


@st.composite
def price(draw: st.DrawFn, key: tuple[int, int]) -> PricedVehicle:
    year, fuel = key
    return PricedVehicle(
        model_year=year,
        fuel_code=fuel,
        fuel=draw(st.sampled_from([FUELS[fuel], "other"])),
        fipe_code=draw(st.sampled_from(CODES)),
        price_brl=Decimal(draw(st.sampled_from(["100.00", "105.00"]))),
        source=draw(st.sampled_from(["fipe", "fipe", "parallelum"])),
    )


@st.composite
def result(draw: st.DrawFn, model: int, common: dict[str, Any]) -> PriceMessage:
    listed = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=4))
    said = draw(st.lists(st.sampled_from(["price", "price", "price", "unpriced", "rejected"]),
                         min_size=len(listed), max_size=len(listed)))  # fmt: skip
    by_word = {word: [key for key, other in zip(listed, said, strict=True) if other == word] for word in said}
    return any_price_message(
        model=Named(code=model, name=draw(st.sampled_from([f"Model {model}", "Renamed"]))),
        asked_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=draw(st.integers(0, 6))),
        prices=tuple(draw(price(key)) for key in by_word.get("price", [])),
        unpriced=tuple(ModelYearFuel(model_year=y, fuel_code=f) for y, f in by_word.get("unpriced", [])),
        rejected=tuple(ModelYearFuel(model_year=y, fuel_code=f) for y, f in by_word.get("rejected", [])),
        **common,
    )


@st.composite
def load(draw: st.DrawFn, number: int) -> list[PriceQueueMessage]:
    """All messages of a load: plans, and at least one result of each model; it may have been cancelled.

    A brand may be searched twice, and the source may list other models then.
    """
    brands = draw(st.lists(st.sampled_from([1, 2]), unique=True, min_size=1))
    common = {
        "run_id": UUID(int=number),
        "reference": draw(st.sampled_from(MONTHS)),
        "brands_in_run": len(brands),
    }
    named = {code: Named(code=code, name=draw(st.sampled_from(["Brand", "BRAND"]))) for code in brands}
    planned = tuple(PlannedBrand(vehicle_type=1, brand=brand) for brand in named.values())
    wanted = draw(st.sampled_from([(), (), ("Model 7",)]))
    messages: list[PriceQueueMessage] = [
        any_run_plan(brands=planned, whole_month=not wanted, wanted_models=wanted, **common)
    ]
    searches = st.sampled_from([1, 1, 2])
    for brand, hour in [(brand, hour) for brand in named.values() for hour in range(draw(searches))]:
        models = draw(st.lists(st.sampled_from([7, 8]), unique=True, min_size=1))
        of_brand = {
            **common,
            "brand": brand,
            "models_in_brand": len(models),
            "searched_at": datetime(2026, 1, 1, hour, tzinfo=UTC),
        }
        messages.append(any_brand_plan(models=tuple((model, 1) for model in models), **of_brand))
        for model in models:
            messages += draw(st.lists(result(model, of_brand), min_size=1, max_size=2))
    messages += [
        CancellationMessage(run_id=UUID(int=number), changes=changes, cancelled=changes % 2 == 1)
        for changes in range(1, 1 + draw(st.sampled_from([0, 0, 1, 2])))
    ]
    return messages


@st.composite
def loads(draw: st.DrawFn) -> list[PriceQueueMessage]:
    return [message for number in range(draw(st.integers(1, 4))) for message in draw(load(number))]


def in_batches(messages: Sequence[PriceQueueMessage], chance: Random) -> Iterator[list[PriceQueueMessage]]:
    """The messages in random order and batches; some come several times."""
    mixed = [*messages, *chance.choices(messages, k=len(messages) // 2)]
    chance.shuffle(mixed)
    while mixed:
        size = chance.choice([1, 1, 2, 3, 5, 10, 100])
        yield mixed[:size]
        mixed = mixed[size:]


STATE = {
    "prices": "select * from fipe.vehicle_price",
    "mirrors": "select vehicle_type, model_code, reference_month, source, flag from fipe.flagged_price",
    "revisions": """
        select revision.reference_month, brand_code, brand, model_code, model, model_year, fuel, fuel_code,
               vehicle.fipe_code, revision.price_brl, revision.source, brought.run_id, revision.asked_from,
               revision.asked_until, ended.run_id, revision.reason
        from fipe.price_revision as revision
        join fipe.vehicle on vehicle.id = revision.vehicle_id
        join fipe.model on model.id = vehicle.model_id
        left join fipe.load_run as brought on brought.id = revision.load_run_id
        join fipe.load_run as ended on ended.id = revision.ended_by
    """,
    "series": """
        select array_agg(distinct array[brand_code::text, brand, model_code::text, model, model_year::text,
                                        fuel_code::text, fuel, fipe_code, duplicate::text, first_month::text,
                                        last_month::text])
        from fipe.vehicle
        join fipe.model on model.id = vehicle.model_id
        where first_month is not null
        group by series_id
    """,
    "loads": """
        select run_id, reference_code, brands_expected, changed, corrected, withdrawn, whole_month,
               fipe.load_state(ended_at, completed_at, fipe.is_cancelled(run_id))
        from fipe.load_run
    """,
    "brands": """
        select run_id, reference_code, vehicle_type, brand_code, models_expected, searched_at,
               load_brand.planned_at,
               fipe.load_state(load_brand.ended_at, load_brand.completed_at, fipe.is_cancelled(run_id))
        from fipe.load_brand join fipe.load_run on load_run.id = load_run_id
    """,
    "models": """
        select run_id, reference_code, vehicle_type, brand_code, model_code, prices, unpriced, rejected,
               mirrored, gaps, asked_at
        from fipe.load_model join fipe.load_run on load_run.id = load_run_id
    """,
    "missing": "select * from fipe.load_missing",
}  # fmt: skip
"""Everything that the database says, without numbers of its own and without times of writing."""


def state(database: connection) -> dict[str, list[str]]:
    return {name: sorted(map(repr, select(database, query))) for name, query in STATE.items()}


@settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(messages=loads(), seed=st.integers(0, 2**32))
def test_all_ends_alike(reused: connection, messages: list[PriceQueueMessage], seed: int) -> None:
    ends = []
    for chance in (Random(seed), Random(seed + 1)):
        empty(reused)
        for batch in in_batches(messages, chance):
            write_messages(reused, batch)
        ends.append(state(reused))
        (renewed,) = select(reused, "select fipe.renew_series()")[0]
        assert renewed == 0, "the writer's series are those that all prices together give"
    for name in STATE:
        assert ends[0][name] == ends[1][name], name


@settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(messages=loads(), seed=st.integers(0, 2**32))
def test_a_load_is_complete_or_names_what_to_ask_again(
    reused: connection, messages: list[PriceQueueMessage], seed: int
) -> None:
    """Whatever part of the messages is lost."""
    empty(reused)
    for message in Random(seed).sample(messages, Random(seed).randint(1, len(messages))):
        write_messages(reused, [message])
    lacking = select(reused, "select distinct run_id, reference_code from fipe.load_missing")
    found = select(reused, "select run_id, reference_code, state from fipe.load_status")
    assert {(run, code) for run, code, state in found if state != "complete"} == set(lacking)
    for run_id, code in lacking:
        payloads = select(reused, f"select fipe.resume_payloads('{run_id}')")
        assert code in {payload["reference"] for (payload,) in payloads}
