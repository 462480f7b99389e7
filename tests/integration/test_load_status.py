"""FipeLoadStatus on a real ledger, and what FipeManufacturerLoader makes of its answer."""

import io
import json
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import PriceRow, write_messages, write_rows
from fipe_api.load import ledger_questions, status
from fipe_api.load.size import brand_sizes, typical_size
from fipe_api.load.stability import LoadStatusError, reason_to_wait
from fipe_api.messages import (
    CancellationMessage,
    ConfirmationMessage,
    ModelYearFuel,
    Named,
    PlannedBrand,
    Reference,
)
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.builders import (
    JUNE_2026,
    MAY_2026,
    RUN,
    AnyContext,
    any_brand_plan,
    any_named,
    any_price_message,
    any_run_plan,
)
from tests.databases import as_function, as_role

pytestmark = pytest.mark.both_postgres


@pytest.fixture(autouse=True)
def _environment(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_function(dsn, "fipe_status", monkeypatch)


def ask(**payload: Any) -> dict[str, Any]:
    """The answer as Lambda would send it."""
    document: dict[str, Any] = json.loads(json.dumps(status.handler(payload, AnyContext())))
    return document


class StatusFunction:
    """The Lambda API with FipeLoadStatus behind it, in this process."""

    def invoke(self, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        if FunctionName != "FipeLoadStatus-dev":
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "no such role"}')}
        answer = status.handler(json.loads(Payload), AnyContext())
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def load_all(
    database: connection, run_id: UUID | None = None, reference: Reference = JUNE_2026, **result: Any
) -> None:
    """A whole table of one brand with one model."""
    common = {"run_id": run_id or uuid4(), "reference": reference}
    model = Named(code=7, name="Seven")
    plan = any_run_plan(**common)
    write_messages(database, [plan, any_price_message(model=model, **common, **result)])


def why_wait() -> str | None:
    return reason_to_wait(StatusFunction(), "FipeLoadStatus-dev", JUNE_2026)  # type: ignore[arg-type]


def test_answers_the_loads_of_a_run_with_a_line_for_what_is_missing(database: connection) -> None:
    fiat, ford = Named(code=1, name="Fiat"), Named(code=2, name="Ford")
    planned = tuple(PlannedBrand(vehicle_type=1, brand=brand) for brand in (fiat, ford))
    of_ford = {"brand": ford, "models_in_brand": 8, "brands_in_run": 2}
    codes = range(21, 29)
    write_messages(
        database,
        [
            any_run_plan(brands=planned, brands_in_run=2),
            any_brand_plan(models=tuple((code, 3) for code in codes), **of_ford),
            any_price_message(model=any_named(code=21), **of_ford),
        ],
    )
    load_all(database, reference=MAY_2026)
    answer = ask(run_id=str(RUN), resume=True)
    (load,) = answer["loads"]
    assert (load["run_id"], load["reference_code"], load["reference_month"]) == (str(RUN), 334, "2026-06-01")
    assert (load["complete"], load["models_expected"], load["models_received"]) == (False, 8, 1)
    assert [line.partition(": its ")[0] for line in load["missing"]] == [
        "cars, Fiat",
        "cars, Ford: 7 models (22, 23, 24, 25, 26, ...)",
    ]
    assert [payload["brands"] for payload in answer["resume"]] == [[1], [2]]


def test_lists_of_missing_brands_are_bounded(database: connection) -> None:
    brands = tuple(PlannedBrand(vehicle_type=3, brand=any_named()) for _ in range(60))
    write_messages(database, [any_run_plan(brands=brands, brands_in_run=60)])
    (load,) = ask()["loads"]
    assert len(load["missing"]) == 51
    assert load["missing"][-1] == "and others: fipe.load_missing has all"


def test_answers_the_newest_load_first_and_only_the_reference_that_was_asked(database: connection) -> None:
    load_all(database)
    load_all(database, reference=MAY_2026)
    load_all(database)
    assert [load["reference_code"] for load in ask()["loads"]] == [334, 333, 334]
    assert [load["changed"] for load in ask(reference_code=334)["loads"]] == [0, 1]
    assert ask(reference_code=1) == {"loads": []}


@pytest.mark.parametrize(
    "statement",
    ["select * from fipe.price", "delete from fipe.load_run", "update fipe.load_run set changed = 0"],
)
def test_its_role_may_read_the_ledger_and_nothing_else(dsn: str, statement: str) -> None:
    with (
        closing(psycopg2.connect(as_role(dsn, "fipe_status"))) as own,
        own.cursor() as cursor,
        pytest.raises(psycopg2.errors.InsufficientPrivilege),
    ):
        cursor.execute(statement)


def test_a_month_is_loaded_until_a_load_of_all_changes_nothing(database: connection) -> None:
    assert why_wait() is None
    load_all(database)
    assert why_wait() is None
    load_all(database)
    assert why_wait() == "2026-06 is stable: nothing to load"


def test_no_load_starts_while_another_runs_unless_that_has_stalled(
    database: connection,
) -> None:
    write_messages(database, [any_run_plan(brands_in_run=3)])
    assert why_wait() == "2026-06: a load is running"
    with database, database.cursor() as cursor:
        cursor.execute("update fipe.load_run set started_at = now() - interval '3 hours'")
    assert why_wait() is None


def test_a_newer_load_that_is_incomplete_asks_for_another_one(database: connection) -> None:
    load_all(database)
    load_all(database)
    year = ModelYearFuel(model_year=2001, fuel_code=1)
    load_all(database, rejected=(year,))
    assert why_wait() is None
    load_all(database)
    assert why_wait() == "2026-06 is stable: nothing to load"
    write_messages(database, [any_run_plan(run_id=uuid4(), brands_in_run=3)])
    with database, database.cursor() as cursor:
        cursor.execute("update fipe.load_run set started_at = started_at - interval '3 hours'")
    assert why_wait() is None, "the newest load has stalled"


def test_a_cancelled_load_keeps_no_other_from_starting(database: connection) -> None:
    write_messages(database, [any_run_plan(brands_in_run=3)])
    assert why_wait() == "2026-06: a load is running"
    write_messages(database, [CancellationMessage(run_id=RUN, changes=1, cancelled=True)])
    assert why_wait() is None


def test_a_load_that_was_denied_every_price_does_not_end_the_loading(database: connection) -> None:
    load_all(database)
    load_all(database, prices=(), unpriced=(ModelYearFuel(model_year=2014, fuel_code=3),))
    assert why_wait() is None


def test_twenty_loads_of_a_part_do_not_hide_a_whole_one_at_work(database: connection) -> None:
    write_messages(database, [any_run_plan(brands_in_run=3)])
    for _ in range(21):
        write_messages(database, [any_run_plan(run_id=uuid4(), whole_month=False)])
    assert why_wait() == "2026-06: a load is running"


def test_prices_without_a_usable_answer_and_denied_prices_are_named(database: connection) -> None:
    years = tuple(ModelYearFuel(model_year=year, fuel_code=5) for year in (2014, 32_000))
    uno = Named(code=7, name="Uno")
    message = any_price_message(
        model=uno, rejected=years, unpriced=(ModelYearFuel(model_year=1999, fuel_code=9),)
    )
    write_messages(database, [any_run_plan(), message])
    (load,) = ask()["loads"]
    assert (load["state"], load["rejected"], load["unpriced"]) == ("incomplete", 2, 1)
    assert load["missing"] == [
        "cars, VW - VolksWagen: 2 prices (Uno 2014 Flex, Uno zero km Flex): no usable answer came: see"
        " fipe.rejected_answer"
    ]
    assert load["unpriced_prices"] == [
        "cars, VW - VolksWagen: 1 price (Uno 1999 fuel 9): FIPE lists it, and denied it nine times"
    ]


def test_tells_what_was_denied_in_the_year_up_to_a_month(database: connection) -> None:
    for month in (4, 5):
        reference = Reference(code=328 + month, month=date(2026, month, 1))
        load_all(
            database, reference=reference, unpriced=(ModelYearFuel(model_year=1990 + month, fuel_code=9),)
        )
    in_april, in_may = [1, 59, 7, 1994, 9], [1, 59, 7, 1995, 9]
    assert sorted(ask(unpriced_up_to="2026-06-01")["unpriced"]) == [in_april, in_may]
    assert ask(unpriced_up_to="2026-04-01") == {"unpriced": [in_april]}
    assert ask(unpriced_up_to="2027-05-01") == {"unpriced": [in_may]}
    assert ask(unpriced_up_to="2026-03-01") == {"unpriced": []}


def test_a_failing_status_function_is_named_and_nothing_is_guessed() -> None:
    with pytest.raises(LoadStatusError, match=r"FipeOther: .*no such role"):
        reason_to_wait(StatusFunction(), "FipeOther", JUNE_2026)  # type: ignore[arg-type]


def test_a_run_of_many_months_is_shown_whole(database: connection) -> None:
    months = [Reference(code=400 + number, month=date(2000 + number, 1, 1)) for number in range(25)]
    for month in months:
        load_all(database, reference=month, run_id=RUN)
    assert len(ask()["loads"]) == 20
    assert {load["reference_code"] for load in ask(run_id=str(RUN))["loads"]} == {
        month.code for month in months
    }


def test_answers_what_was_imported(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(
            "insert into fipe.reference_month (month) values ('2001-01-01'), ('2001-02-01');"
            "insert into fipe.price_source (id, name, kind) values (100, 'fipex', 'import');"
            "insert into fipe.import_month (reference_month, source, added)"
            " select month, 100, 7 from fipe.reference_month;"
            "insert into fipe.import_file (source, file, kept_apart) values (100, 'prices.csv', 2)"
        )
    (found,) = ask(imports=True)["imports"]
    assert found.pop("last_write_at")
    assert found == {
        "source": "fipex", "months": 2, "first_month": "2001-01-01", "last_month": "2001-02-01", "added": 14,
        "files": 1, "files_unfinished": 1, "kept_apart": 2, "replaced": 0,
        "confirmed": 0,
    }  # fmt: skip


def sample_of(
    month: str = "2026-06", size: int = 10, seed: int = 1, types: tuple[int, ...] = (1, 2, 3)
) -> Any:
    wanted = {"month": f"{month}-01", "size": size, "seed": seed, "vehicle_types": types}
    return ledger_questions._SAMPLE.decode(json.dumps(ask(sample=wanted))).sample


def test_chooses_prices_of_an_imported_month_at_random(database: connection) -> None:
    rows = [PriceRow(JUNE_2026.month, JUNE_2026.code, *row) for row in read_catalogue(SAMPLE_CATALOGUE).rows]
    twin = rows[0]._replace(model="Another name", model_code=99_999)
    write_rows(database, [*rows, twin])
    assert sample_of() is None, "no import has it"
    with database, database.cursor() as cursor:
        cursor.execute(
            "insert into fipe.price_source (id, name, kind) values (100, 'fipex', 'import');"
            "insert into fipe.import_month values ('2026-06-01', 100, 7)"
        )
    assert sample_of("2026-05") is None
    first, second, other = sample_of(), sample_of(), sample_of(seed=-(2**63))
    assert first == second
    assert (len(first.vehicles), len(other.vehicles), first.vehicles == other.vehicles) == (10, 10, False)
    everything = sample_of(size=1000)
    stands_as = {
        (vehicle.vehicle_type, vehicle.fipe_code, vehicle.model_year, vehicle.fuel_code, *name)
        for vehicle in everything.vehicles
        for name in vehicle.stands_as
    }
    assert stands_as == {
        (row.vehicle_type, row.fipe_code, row.model_year, row.fuel_code, row.fuel, row.brand, row.model,
         row.price_brl)
        for row in (*rows, twin)
    }  # fmt: skip
    assert len(everything.vehicles) == len(stands_as) - 1, "two names of one vehicle are one"
    assert everything.imported == 7
    trucks = sample_of(types=(3,))
    assert {vehicle.vehicle_type for vehicle in trucks.vehicles} == {3}
    assert trucks.brands == {3: tuple(sorted({row.brand for row in rows if row.vehicle_type == 3}))}
    load_all(database)
    assert sample_of() is None, "a load has it whole"


def confirmation(**given: Any) -> ConfirmationMessage:
    usual = {
        "run_id": RUN, "reference": JUNE_2026, "vehicle_types": (1, 2, 3), "prices_asked": 200, "imported": 7,
        "confirmed_at": datetime(2026, 7, 2, tzinfo=UTC),
    }  # fmt: skip
    return ConfirmationMessage(**usual | given)


def confirmed(*types: int) -> dict[date, int]:
    question = {"confirmed": {"vehicle_types": types or (1, 2, 3)}}
    return ledger_questions._CONFIRMED.decode(json.dumps(ask(**question))).confirmed


def test_a_month_is_confirmed_until_an_import_adds_to_it(database: connection) -> None:
    june = JUNE_2026.month
    with database, database.cursor() as cursor:
        cursor.execute(
            "insert into fipe.reference_month (month) values ('2026-06-01');"
            "insert into fipe.price_source (id, name, kind) values (100, 'fipex', 'import');"
            "insert into fipe.import_month values ('2026-06-01', 100, 7)"
        )
    assert confirmed() == {}
    later = datetime(2026, 7, 3, tzinfo=UTC)
    newer = confirmation(prices_asked=500, confirmed_at=later)
    write_messages(database, [confirmation(), newer, confirmation(reference=MAY_2026)])
    for _ in range(2):
        assert confirmed() == {june: 500}, "the newer counts, and only months that imports have"
        write_messages(database, [confirmation(), newer])
    assert [found["confirmed"] for found in ask(imports=True)["imports"]] == [1]
    write_messages(database, [confirmation(vehicle_types=(1,), confirmed_at=later + timedelta(hours=1))])
    assert (confirmed(), confirmed(1)) == ({}, {june: 200})
    with database, database.cursor() as cursor:
        cursor.execute("update fipe.import_month set added = 8")
    assert (confirmed(1), ask(imports=True)["imports"][0]["confirmed"]) == ({}, 0)


# What a load has left --------------------------------------------------------------------------------------

FIAT, NOVA = Named(code=1, name="Fiat"), Named(code=2, name="Nova")
TWO_BRANDS = tuple(PlannedBrand(vehicle_type=1, brand=brand) for brand in (FIAT, NOVA))


def outlook(run_id: UUID = RUN) -> dict[str, Any]:
    found: dict[str, Any] = ask(run_id=str(run_id))["outlook"]
    return found


def searched(brand: Named, *vehicles: int, run_id: UUID = RUN) -> list[Any]:
    """The plan of a brand with so many vehicles of each model, and the result of its first model."""
    of_brand = {"brand": brand, "models_in_brand": len(vehicles), "brands_in_run": 2, "run_id": run_id}
    models = tuple(enumerate(vehicles, start=100 * brand.code))
    return [
        any_brand_plan(models=models, **of_brand),
        any_price_message(model=Named(code=models[0][0], name="First"), **of_brand),
    ]


def test_a_brand_that_was_not_searched_counts_as_it_was_or_as_a_typical_one(database: connection) -> None:
    write_messages(database, [any_run_plan(brands=TWO_BRANDS, brands_in_run=3)])
    known, typical = brand_sizes()[1, "fiat"], typical_size(1)
    found = outlook()
    assert found["brands_searched"] == 0
    # The third brand is not named yet.
    assert found["models"] == pytest.approx(known.models + typical.models + typical_size().models)
    assert found["prices"] == pytest.approx(known.prices + typical.prices + typical_size().prices)
    assert found["calls_left"] == pytest.approx(known.calls + typical.calls + typical_size().calls)
    assert found["arrivals"] == []


def test_a_load_is_as_large_as_the_one_before_until_it_is_searched(database: connection) -> None:
    before = uuid4()
    plan = {"brands": TWO_BRANDS, "brands_in_run": 2}
    write_messages(database, [any_run_plan(run_id=before, **plan)])
    write_messages(database, [*searched(FIAT, 1, run_id=before), *searched(NOVA, 1, run_id=before)])
    write_messages(database, [any_run_plan(**plan)])
    assert (outlook()["models"], outlook()["prices"], outlook()["calls_left"]) == (2, 2, 6)
    write_messages(database, searched(FIAT, 1, 5))
    found = outlook()
    assert found["brands_searched"] == 1
    assert (round(found["models"], 1), round(found["prices"], 1)) == (3.0, 7.0)


def test_what_is_left_of_searched_brands_is_what_their_plans_lack(database: connection) -> None:
    write_messages(database, [any_run_plan(brands=TWO_BRANDS, brands_in_run=2)])
    write_messages(database, [*searched(FIAT, 1, 5, 7), *searched(NOVA, 1)])
    found = outlook()
    assert (found["brands_searched"], found["models"], found["prices"]) == (2, 4, 14)
    assert found["calls_left"] == 12
    # A resume asks for the brand's models, and for the model years of the two that are missing.
    assert found["calls_to_search_again"] == 3
    assert sum(each["calls"] for each in found["arrivals"]) == 2 + (1 + 3) + (1 + 1)
    assert all(0 <= each["newest"] <= each["oldest"] for each in found["arrivals"])


def test_brands_that_are_smaller_than_foreseen_make_the_others_smaller(database: connection) -> None:
    """The sample has a few models of each brand."""
    brands = [Named(code=number, name=name) for number, name in enumerate(("Fiat", "Ford", "Nova"), start=1)]
    planned = tuple(PlannedBrand(vehicle_type=1, brand=brand) for brand in brands)
    write_messages(database, [any_run_plan(brands=planned, brands_in_run=3)])
    at_first = outlook()["models"]
    write_messages(database, [*searched(brands[0], 1), *searched(brands[1], 1)])
    assert 2 < outlook()["models"] - 2 < typical_size(1).models < at_first
