"""The writer against a real PostgreSQL."""

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from msgspec.structs import replace
from psycopg2.extensions import connection

from fipe_api.database.writer import (
    PriceRow,
    ReferenceMismatchError,
    write_messages,
    write_rows,
)
from fipe_api.messages import (
    ModelYearFuel,
    Named,
    PlannedBrand,
    PricedVehicle,
    PriceMessage,
    PriceQueueMessage,
    Reference,
)
from fipe_cli.export import COLUMNS
from tests.builders import (
    JUNE_2026,
    MAY_2026,
    any_brand_plan,
    any_empty_brand_message,
    any_moment,
    any_named,
    any_price,
    any_price_message,
    any_rejected_answer_message,
    any_run_plan,
)
from tests.databases import as_role

pytestmark = pytest.mark.both_postgres

ALL_TABLES = (
    "schema_version", "reference_month", "model", "vehicle", "price", "price_revision",
    "load_run", "load_brand", "load_model",
)  # fmt: skip


def select(database: connection, query: str) -> list[tuple[Any, ...]]:
    with database, database.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def row_versions(database: connection) -> dict[str, list[tuple[Any, ...]]]:
    """Which transaction wrote each row, and where it lies: any write to a row shows."""
    return {
        table: select(database, f"select ctid, xmin, xmax from fipe.{table} order by ctid")
        for table in ALL_TABLES
    }


def vehicle_prices(database: connection) -> list[tuple[Any, ...]]:
    columns = ", ".join(COLUMNS)
    return select(database, f"select {columns} from fipe.vehicle_price order by 2, 3, 4, 6, 8, 10")


def test_shows_every_field_of_a_price_as_it_was_published(database: connection) -> None:
    name = 'MARRUÁ AM 100 2.8  CS TDI \t"Diesel", \\N '
    message = any_price_message(
        model=Named(code=20001, name=name),
        prices=(any_price(model_year=32000, price_brl=Decimal("105863.00")),),
    )
    assert write_messages(database, [message])[:2] == (1, 1)
    assert vehicle_prices(database) == [
        (
            date(2026, 6, 1), 334, 1, 59, "VW - VolksWagen", 20001, name,
            32000, True, 3, "Diesel", "005340-6", Decimal("105863.00"),
        )
    ]  # fmt: skip


def test_touches_no_row_when_the_same_messages_come_again(database: connection) -> None:
    messages = [any_price_message(prices=(any_price(), any_price(model_year=2015))) for _ in range(5)]
    write_messages(database, messages)
    before = row_versions(database)
    assert write_messages(database, messages)[:2] == (10, 0)
    assert row_versions(database) == before


def test_changes_only_the_price_that_changed(database: connection) -> None:
    model = any_named()
    first = any_price_message(model=model, prices=(any_price(), any_price(model_year=2015)))
    write_messages(database, [first])
    changed = any_price(model_year=2015, price_brl=Decimal("99.50"))
    again = any_price_message(model=model, prices=(any_price(), changed))
    assert write_messages(database, [again])[:2] == (2, 1)
    assert [row[-1] for row in vehicle_prices(database)] == [Decimal("125318.00"), Decimal("99.50")]


def test_keeps_the_later_of_two_messages_on_one_model_in_a_batch(database: connection) -> None:
    model = any_named()
    messages = [
        any_price_message(model=model, prices=(any_price(price_brl=Decimal(price)),))
        for price in ("1.00", "2.00")
    ]
    write_messages(database, messages)
    assert [row[-1] for row in vehicle_prices(database)] == [Decimal("2.00")]


def test_keeps_the_prices_of_two_months_apart(database: connection) -> None:
    model = any_named()
    messages = [
        any_price_message(model=model, reference=reference, prices=(any_price(price_brl=Decimal(price)),))
        for reference, price in ((JUNE_2026, "6.00"), (MAY_2026, "5.00"))
    ]
    write_messages(database, messages)
    assert [(row[0], row[-1]) for row in vehicle_prices(database)] == [
        (date(2026, 5, 1), Decimal("5.00")),
        (date(2026, 6, 1), Decimal("6.00")),
    ]


def named_otherwise(month: int) -> dict[str, Any]:
    """A vehicle of codes that never change, under names and a FIPE code of this month of 2025."""
    codes = ("005340-6", "001004-9", "038003-2")
    return {
        "reference": Reference(code=300 + month, month=date(2025, month, 1)),
        "brand": Named(code=59, name=f"brand in {month}"),
        "model": Named(code=7, name=f"model in {month}"),
        "prices": (any_price(fuel=f"fuel in {month}", fipe_code=codes[month % 3]),),
    }


def test_each_month_reads_as_it_was_published_in_whatever_order_months_come(database: connection) -> None:
    messages = [any_price_message(**named_otherwise(month)) for month in range(1, 7)]
    random.Random(7).shuffle(messages)
    for message in messages:
        write_messages(database, [message])
    shown = [row[4:7:2] + row[10:12] for row in sorted(vehicle_prices(database))]
    assert shown == [
        (message.brand.name, message.model.name, message.prices[0].fuel, message.prices[0].fipe_code)
        for message in sorted(messages, key=lambda message: message.reference.month)
    ]


def test_what_the_codes_say_is_one_is_one_series_whatever_it_was_called(database: connection) -> None:
    for month in range(1, 7):
        write_messages(database, [any_price_message(**named_otherwise(month))])
    assert select(database, "select count(*), count(distinct series_id) from fipe.vehicle") == [(6, 1)]


def test_a_month_that_says_the_same_adds_no_vehicle(database: connection) -> None:
    message = any_price_message(reference=MAY_2026)
    write_messages(database, [message])
    write_messages(database, [replace(message, reference=JUNE_2026)])
    assert select(database, "select first_month, last_month from fipe.vehicle") == [
        (MAY_2026.month, JUNE_2026.month)
    ]


def test_stores_an_unknown_fuel_and_a_zero_price(database: connection) -> None:
    odd = any_price(fuel_code=42, fuel="Hidrogênio", price_brl=Decimal("0.00"))
    write_messages(database, [any_price_message(prices=(odd,))])
    assert [row[9:11] + row[12:] for row in vehicle_prices(database)] == [(42, "Hidrogênio", Decimal("0.00"))]


@pytest.mark.parametrize(
    "wrong", [Reference(code=334, month=date(2020, 1, 1)), Reference(code=335, month=date(2026, 6, 1))]
)
def test_refuses_a_reference_that_contradicts_a_known_one_and_writes_nothing(
    database: connection, wrong: Reference
) -> None:
    write_messages(database, [any_price_message(reference=JUNE_2026)])
    before = row_versions(database)
    with pytest.raises(ReferenceMismatchError, match="contradicts"):
        write_messages(database, [any_price_message(reference=wrong), any_price_message(reference=MAY_2026)])
    assert row_versions(database) == before


def load_status(database: connection) -> list[tuple[Any, ...]]:
    return select(
        database,
        "select reference_code, brands_expected, brands_complete, models_expected, models_received, "
        "prices, unpriced, complete from fipe.load_status order by run_id, reference_code",
    )


def test_tells_that_a_run_is_complete_once_every_model_of_every_brand_came(database: connection) -> None:
    fiat, ford, empty = any_named(), any_named(), any_named()
    common = {"brands_in_run": 3}
    fiats = [any_price_message(brand=fiat, models_in_brand=2, **common) for _ in range(2)]
    unpriced = (ModelYearFuel(model_year=1999, fuel_code=1),)
    fords = [any_price_message(brand=ford, prices=(), unpriced=unpriced, **common)]
    write_messages(database, [fiats[0]])
    assert load_status(database) == [(334, 3, 0, 2, 1, 1, 0, False)]
    write_messages(database, [fiats[0], *fords])
    assert load_status(database) == [(334, 3, 1, 3, 2, 1, 1, False)]
    write_messages(database, [fiats[1], any_empty_brand_message(brand=empty, **common)])
    assert load_status(database) == [(334, 3, 3, 3, 3, 2, 1, True)]


def test_keeps_the_ledgers_of_two_runs_of_one_month_apart(database: connection) -> None:
    message = any_price_message()
    again = replace(message, run_id=uuid4())
    write_messages(database, [message, again])
    assert load_status(database) == [(334, 1, 1, 1, 1, 1, 0, True)] * 2


def test_overlapping_batches_of_concurrent_writers_neither_fail_nor_deadlock(
    dsn: str, database: connection
) -> None:
    brands = [any_named() for _ in range(3)]
    messages = [
        any_price_message(
            brand=brands[number % 3], brands_in_run=3, models_in_brand=20, prices=(any_price(),)
        )
        for number in range(60)
    ]

    def write_in_own_order(seed: int) -> None:
        shuffled = random.Random(seed).sample(messages, len(messages))
        with closing(psycopg2.connect(dsn)) as own:
            for start in range(0, len(shuffled), 15):
                write_messages(own, shuffled[start : start + 15])

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write_in_own_order, range(8)))
    assert len(vehicle_prices(database)) == 60
    assert load_status(database) == [(334, 3, 3, 60, 60, 60, 0, True)]


def as_ingestor(database: connection, attempt: Callable[[connection], Any]) -> Any:
    with closing(psycopg2.connect(as_role(database.dsn, "fipe_ingestor"))) as own:
        return attempt(own)


def test_the_ingestors_role_can_do_its_work(database: connection) -> None:
    messages = [any_price_message(), any_price_message(), any_rejected_answer_message(), any_run_plan()]
    assert as_ingestor(database, lambda own: write_messages(own, messages)).changed == 2


@pytest.mark.parametrize(
    "statement",
    [
        "delete from fipe.model",
        "truncate fipe.price",
        "drop table fipe.price",
        "create table fipe.mine ()",
        "create table public.mine ()",
        "create role other",
        "alter role fipe_ingestor superuser",
        "set role fipe_status",
        "copy fipe.price to program 'true'",
        "select * from pg_authid",
    ],
)
def test_the_ingestors_role_can_do_nothing_else(database: connection, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_ingestor(database, lambda own: own.cursor().execute(statement))


def test_only_its_own_tables_let_the_ingestors_role_write_and_few_let_it_delete(database: connection) -> None:
    allowed = """
        select relname::text,
               has_table_privilege('fipe_ingestor', oid, 'insert, update'),
               has_table_privilege('fipe_ingestor', oid, 'delete')
        from pg_class
        where relnamespace = 'fipe'::regnamespace and relkind in ('r', 'v', 'm', 'p')
    """
    relations = select(database, allowed)
    assert len(relations) > 15
    assert {name for name, may_write, _ in relations if may_write} == {
        "reference_month", "model", "vehicle", "price", "price_revision", "model_answer",
        "load_run", "load_brand", "load_brand_plan", "load_model", "load_cancellation", "rejected_answer",
        "writers_turn", "announcement", "import_confirmation",
    }  # fmt: skip
    assert {name for name, _, may_delete in relations if may_delete} == {
        "price", "price_revision", "model_answer", "load_brand_plan", "import_month",
    }  # fmt: skip


# Corrections and withdrawals within a month -----------------------------------------------------------------


def prices_of(database: connection) -> list[tuple[Any, ...]]:
    return select(database, "select model_year, fuel_code, price_brl from fipe.vehicle_price order by 1, 2")


def revisions(database: connection) -> list[tuple[Any, ...]]:
    return select(
        database,
        "select model_year, fuel_code, price_brl, asked_from, asked_until, reason"
        " from fipe.price_revision join fipe.vehicle on vehicle.id = vehicle_id order by asked_from, 1, 2",
    )


def asked(hour: int, *prices: PricedVehicle, **given: Any) -> PriceMessage:
    """An answer about one model, of a load of its own."""
    return any_price_message(
        **{
            "run_id": UUID(int=hour),
            "model": Named(code=7, name="Gol"),
            "asked_at": datetime(2026, 6, 2, hour, tzinfo=UTC),
            "prices": prices,
            **given,
        }
    )


def at(hour: int) -> datetime:
    return datetime(2026, 6, 2, hour, tzinfo=UTC)


def costs(price: int, **given: Any) -> PricedVehicle:
    return any_price(price_brl=Decimal(price), **given)


def test_a_late_message_of_an_older_load_does_not_bring_back_an_old_price(database: connection) -> None:
    first, corrected = asked(1, costs(100)), asked(2, costs(105))
    for message in (first, corrected, first):
        write_messages(database, [message])
    assert prices_of(database) == [(2014, 3, 105)]
    assert revisions(database) == [(2014, 3, 100, at(1), at(2), "corrected")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_a_price_was_is_kept_in_whatever_order_answers_come(
    database: connection, order: tuple[int, ...]
) -> None:
    answers = [asked(1, costs(100)), asked(2, costs(105)), asked(3, costs(100))]
    for position in order:
        write_messages(database, [answers[position]])
    assert prices_of(database) == [(2014, 3, 100)]
    assert revisions(database) == [
        (2014, 3, 100, at(1), at(2), "corrected"),
        (2014, 3, 105, at(2), at(3), "corrected"),
    ]
    assert select(database, "select changed, corrected, withdrawn from fipe.load_status order by run_id") == [
        (1, 0, 0), (1, 1, 0), (1, 1, 0),
    ]  # fmt: skip


def test_a_fuel_of_the_first_days_is_withdrawn_when_the_model_is_published_under_another(
    database: connection,
) -> None:
    petrol, flex = {"fuel_code": 1, "fuel": "Gasolina"}, {"fuel_code": 5, "fuel": "Flex"}
    write_messages(database, [asked(1, costs(100, **petrol)), asked(3, costs(100, **flex))])
    assert prices_of(database) == [(2014, 5, 100)]
    assert revisions(database) == [(2014, 1, 100, at(1), at(3), "withdrawn")]
    assert select(database, "select count(*) from fipe.latest_price") == [(1,)]


def test_what_fipe_lists_without_giving_its_price_again_keeps_its_price(database: connection) -> None:
    listed = (ModelYearFuel(model_year=2014, fuel_code=3),)
    write_messages(database, [asked(1, costs(100)), asked(2, unpriced=listed), asked(3, rejected=listed)])
    assert (prices_of(database), revisions(database)) == ([(2014, 3, 100)], [])


def test_a_name_corrected_within_a_month_moves_the_price_to_it(database: connection) -> None:
    write_messages(database, [asked(1, costs(100))])
    write_messages(database, [asked(2, costs(100), model=Named(code=7, name="Gol 1.0"))])
    assert [row[6] for row in vehicle_prices(database)] == ["Gol 1.0"]
    assert revisions(database) == [(2014, 3, 100, at(1), at(2), "corrected")]
    assert select(
        database, "select count(distinct series_id) from fipe.vehicle where last_month is null"
    ) == [(1,)]


def test_a_mirror_neither_replaces_nor_withdraws_an_official_price(database: connection) -> None:
    official = asked(1, costs(100), costs(200, model_year=2015))
    mirrored = asked(2, costs(90, source="parallelum"))
    for messages in ([official, mirrored], [mirrored], [official]):
        write_messages(database, messages)
        assert prices_of(database) == [(2014, 3, 100), (2015, 3, 200)]


def load_of(hour: int, *models: int, **given: Any) -> list[PriceQueueMessage]:
    """A whole load of one brand with these models."""
    brand = Named(code=59, name="VW - VolksWagen")
    common = {"run_id": UUID(int=hour), "models_in_brand": len(models)}
    planned = (PlannedBrand(vehicle_type=1, brand=brand),)
    return [
        any_run_plan(run_id=UUID(int=hour), brands=planned, **given),
        any_brand_plan(models=[(model, 1) for model in models], brand=brand, **common),
        *(
            asked(hour, costs(model), model=Named(code=model, name="M"), brand=brand, **common)
            for model in models
        ),
    ]


def models_priced(database: connection) -> list[int]:
    return [code for (code,) in select(database, "select model_code from fipe.vehicle_price order by 1")]


def test_a_complete_load_of_a_brand_withdraws_what_it_no_longer_lists(database: connection) -> None:
    first, second = load_of(1, 7, 8), load_of(2, 7)
    write_messages(database, first)
    write_messages(database, second[:-1])
    assert models_priced(database) == [7, 8], "the brand is not complete yet"
    assert write_messages(database, second[-1:]).news.completed[0].changed == 1
    assert models_priced(database) == [7]
    assert revisions(database) == [(2014, 3, 8, at(1), at(2), "withdrawn")]
    assert select(database, "select withdrawn, stable from fipe.load_status order by run_id") == [
        (0, False), (1, False),
    ]  # fmt: skip
    write_messages(database, first)
    assert models_priced(database) == [7], "a late message brings nothing back"
    write_messages(database, load_of(3, 7, 8))
    assert models_priced(database) == [7, 8], "a newer one does"


@pytest.mark.parametrize(
    "given", [{"wanted_models": (7,), "whole_month": False}, {"reference": MAY_2026}], ids=str
)
def test_a_load_of_chosen_models_or_of_another_month_withdraws_nothing(
    database: connection, given: dict[str, Any]
) -> None:
    write_messages(database, load_of(1, 7, 8))
    messages = load_of(2, 7, **given)
    if "reference" in given:
        messages = [replace(message, **given) for message in messages]
    write_messages(database, messages)
    assert set(models_priced(database)) == {7, 8}


def test_an_import_leaves_alone_what_a_load_has_answered(database: connection) -> None:
    write_messages(database, [asked(1, costs(100))])
    (exported,) = vehicle_prices(database)
    row = PriceRow(*exported[:8], *exported[9:12], Decimal(1))
    assert write_rows(database, [row, row._replace(model_code=8, model="Fox")]).changed == 1
    assert prices_of(database) == [(2014, 3, 100), (2014, 3, 1)]


def test_a_load_replaces_what_was_imported(database: connection) -> None:
    write_messages(database, [asked(1, costs(100))])
    (exported,) = vehicle_prices(database)
    with database, database.cursor() as cursor:
        cursor.execute("truncate fipe.price, fipe.vehicle, fipe.model, fipe.load_run cascade")
    row = PriceRow(*exported[:8], *exported[9:12], Decimal(1))
    write_rows(database, [row, row._replace(model_year=2013)])
    write_messages(database, [asked(1, costs(100))])
    assert prices_of(database) == [(2014, 3, 100)]
    assert revisions(database) == [
        (2013, 3, 1, None, at(1), "withdrawn"),
        (2014, 3, 1, None, at(1), "corrected"),
    ]


# Rejected answers -------------------------------------------------------------------------------------------


def rejected_answers(database: connection) -> list[tuple[Any, ...]]:
    return select(
        database,
        "select call, parameters, answer, reason, source, times_seen from fipe.rejected_answer order by 3",
    )


def test_keeps_a_rejected_answer_once_and_counts_how_often_it_was_seen(database: connection) -> None:
    first = any_rejected_answer_message()
    again = replace(first, seen_at=first.seen_at + timedelta(minutes=1))
    other = replace(first, answer="{}", reference=None)
    for messages in ([first], [first], [again, any_price_message(), other], [again, again]):
        write_messages(database, messages)
    kept = (first.call, first.parameters, first.answer, first.reason, "fipe")
    assert rejected_answers(database) == [(*kept, 2), (*kept[:2], "{}", *kept[3:], 1)]
    assert select(database, "select count(*) from fipe.load_run") == [(1,)], "the price's, not the answers'"


def test_the_ledger_tells_how_many_years_of_a_model_were_rejected(database: connection) -> None:
    message = any_price_message(rejected=(ModelYearFuel(model_year=2001, fuel_code=1),))
    write_messages(database, [message])
    assert select(database, "select prices, unpriced, rejected from fipe.load_model") == [(1, 0, 1)]
    write_messages(database, [replace(message, rejected=(), asked_at=any_moment())])
    assert select(database, "select prices, unpriced, rejected from fipe.load_model") == [(1, 0, 0)]


def test_flags_what_is_stored_as_published_but_looks_odd(database: connection) -> None:
    zero = any_price(model_year=2001, price_brl=Decimal("0.00"))
    unknown = any_price(model_year=2002, fuel_code=9, fuel="Hidrogênio")
    mirrored = any_price(model_year=2003, source="parallelum")
    message = any_price_message(prices=(any_price(model_year=2000), zero, unknown, mirrored))
    write_messages(database, [message])
    flags = select(database, "select flag, model_year, source from fipe.flagged_price order by 2")
    assert flags == [
        ("zero price", 2001, "fipe"), ("unknown fuel", 2002, "fipe"), ("from a mirror", 2003, "parallelum"),
    ]  # fmt: skip
    assert select(database, "select count(*) from fipe.vehicle_price") == [(4,)]


def test_a_mirrors_price_is_the_official_one_as_soon_as_that_says_the_same(database: connection) -> None:
    official = any_price_message(prices=(any_price(),))
    mirrored = replace(official, prices=(any_price(source="parallelum"),))
    mirror = "select nullif(source, 'fipe') from fipe.vehicle_price"
    write_messages(database, [mirrored])
    (exported,) = select(
        database,
        "select reference_month, reference_code, vehicle_type, brand_code, brand, model_code, model,"
        " model_year, fuel_code, fuel, fipe_code, price_brl from fipe.vehicle_price",
    )
    write_rows(database, [PriceRow(*exported)])  # an import does not say who gave the price
    assert select(database, mirror) == [("parallelum",)]
    assert write_messages(database, [replace(official, asked_at=any_moment())]).changed == 1
    assert select(database, mirror) == [(None,)]
    assert select(database, "select source, reason from fipe.price_revision") == [(1, "official")]
    again = replace(
        mirrored, asked_at=any_moment(), prices=(any_price(source="parallelum", price_brl=Decimal(1)),)
    )
    assert write_messages(database, [again]).changed == 0
    assert select(database, mirror) == [(None,)]
