"""Imports beside loads: in whatever order they come, the rows are those of the loads."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from psycopg2.extensions import connection
from rich.console import Console

from benchmarks.month import REAL_MONTH
from fipe_api.database.writer import PriceRow, write_messages
from fipe_api.load import status
from fipe_api.messages import (
    BrandPlanMessage,
    CancellationMessage,
    ConfirmationMessage,
    ModelYearFuel,
    Named,
    PlannedBrand,
    PricedVehicle,
    PriceMessage,
    PriceQueueMessage,
    Reference,
    RunPlanMessage,
)
from fipe_cli.imports import files as reading
from fipe_cli.imports.run import Imported, Options, import_files
from fipe_simulator import SAMPLE_CATALOGUE, Catalogue, catalogue_for_month, read_catalogue
from tests.builders import JUNE_2026, AnyContext, any_brand_plan, any_price_message, any_run_plan
from tests.databases import as_function, as_role, database_with_schema
from tests.fipex import write_csv
from tests.history import MONTHS, random_history
from tests.integration.test_any_order import (
    EXAMPLES,
    FUELS,
    KEYS,
    SLOW_BY_NATURE,
    STATE,
    in_batches,
    loads,
)
from tests.integration.test_any_order import MONTHS as REFERENCES

pytestmark = pytest.mark.both_postgres

HISTORIES = 400 if "FUZZ_EXAMPLES" in os.environ else 6
QUIET = Console(quiet=True)
ASKED = datetime(2026, 6, 2, tzinfo=UTC)


def select(database: connection, query: str) -> list[tuple[Any, ...]]:
    with database, database.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def imported(dsn: str, *files: Path, options: Options = Options()) -> list[Imported]:  # noqa: B008
    """What `fipe import` does, signed in as fipe_importer."""
    with closing(psycopg2.connect(as_role(dsn, "fipe_importer"))) as session:
        return list(import_files(session, files, options, QUIET))


def state(database: connection) -> dict[str, list[str]]:
    """Everything that the database says, but for numbers of its own."""
    return {name: sorted(map(repr, select(database, query))) for name, query in STATE.items()}


def load_of(rows: Iterable[PriceRow]) -> list[PriceQueueMessage]:
    """The messages of a complete load of a month that has these prices."""
    models: dict[tuple[int, int], dict[int, list[PriceRow]]] = {}
    for row in rows:
        models.setdefault((row.vehicle_type, row.brand_code), {}).setdefault(row.model_code, []).append(row)
        month = Reference(code=row.reference_code, month=row.reference_month)
    run = {"run_id": UUID(int=month.code), "reference": month, "brands_in_run": len(models)}
    named = {
        key: Named(code=key[1], name=next(iter(of_brand.values()))[0].brand)
        for key, of_brand in models.items()
    }
    planned = tuple(PlannedBrand(vehicle_type=key[0], brand=brand) for key, brand in named.items())
    messages: list[PriceQueueMessage] = [any_run_plan(brands=planned, **run)]
    for key, of_brand in models.items():
        brand = {**run, "vehicle_type": key[0], "brand": named[key], "models_in_brand": len(of_brand)}
        plan = [(code, len(of_model)) for code, of_model in of_brand.items()]
        messages.append(any_brand_plan(models=plan, **brand))
        for code, of_model in of_brand.items():
            prices = tuple(
                PricedVehicle(
                    model_year=row.model_year, fuel_code=row.fuel_code, fuel=row.fuel,
                    fipe_code=row.fipe_code, price_brl=row.price_brl,
                )
                for row in of_model
            )  # fmt: skip
            model = Named(code=code, name=of_model[0].model)
            messages.append(any_price_message(**brand, model=model, prices=prices, asked_at=ASKED))
    return messages


def rows_of(catalogue: Catalogue, code: int) -> list[PriceRow]:
    return [PriceRow(catalogue.month, code, *row[:9], row.price_brl) for row in catalogue.rows]


def write_load(database: connection, messages: Sequence[PriceQueueMessage], chance: Random) -> None:
    mixed = chance.sample(list(messages), len(messages))
    while mixed:
        size = chance.choice([10, 100, 1000])
        write_messages(database, mixed[:size])
        mixed = mixed[size:]


@pytest.fixture
def fresh(postgres_dsn: str) -> Iterator[connection]:
    """Another database than `database`."""
    with database_with_schema(postgres_dsn) as dsn, closing(psycopg2.connect(dsn)) as opened:
        yield opened


# A month and three months, whole ----------------------------------------------------------------------------


def months(catalogue: Catalogue) -> dict[int, list[PriceRow]]:
    """Three months, between which FIPE changed fuels; names change in the last one."""
    before, after = (catalogue_for_month(catalogue, date(*month, 1)) for month in ((2022, 12), (2023, 1)))
    renamed = [
        row._replace(model=f"{row.model} (new)") if row.model_code % 7 == 0 else row
        for row in rows_of(catalogue, 334)
    ]
    return {292: rows_of(before, 292), 293: rows_of(after, 293), 334: renamed}


SAMPLE = pytest.param(SAMPLE_CATALOGUE, id="sample")
REAL = pytest.param(
    REAL_MONTH,
    id="real",
    marks=[
        pytest.mark.real_month,
        pytest.mark.walkthrough,
        pytest.mark.skipif(not REAL_MONTH.exists(), reason="the real month is not here"),
    ],
)


@pytest.mark.parametrize("catalogue", [SAMPLE, REAL])
@pytest.mark.parametrize("order", ["import first", "load first", "in turn"])
def test_import_and_load_in_either_order_leave_what_the_load_alone_does(
    database: connection, dsn: str, fresh: connection, tmp_path: Path, catalogue: Path, order: str
) -> None:
    history = months(read_catalogue(catalogue))
    chance = Random(order)
    for rows in history.values():
        write_load(fresh, load_of(rows), chance)
    files = [write_csv(tmp_path / f"{code}.csv", rows) for code, rows in history.items()]
    if order == "import first":
        results = imported(dsn, *files)
        assert [each.written.added for each in results] == [len(rows) for rows in history.values()]
        assert select(database, "select distinct source, reference_code from fipe.vehicle_price") == [
            ("fipex", None)
        ]
        alone = series_sizes(database)
        assert alone == series_sizes(fresh), "series are unbroken before the load, too"
    for position, rows in enumerate(history.values()):
        if order == "in turn":
            imported(dsn, files[position])
        write_load(database, load_of(rows), chance)
    if order != "import first":
        assert [each.written[0:4:3] for each in imported(dsn, *files)] == [(0, 0)] * 3
    expected, found = state(fresh), state(database)
    for name in STATE:
        assert found[name] == expected[name], name
    assert select(database, "select distinct source from fipe.vehicle_price") == [("fipe",)]
    assert select(database, "select fipe.renew_series()") == [(0,)]
    assert select(database, "select count(*) from fipe.import_month") == [(0,)]


def test_an_import_may_run_while_a_load_does(
    database: connection, dsn: str, fresh: connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BYTES_PER_BATCH", 2**12)
    rows = rows_of(read_catalogue(SAMPLE_CATALOGUE), 334)
    file = write_csv(tmp_path / "june.csv", rows)
    chance = Random(1)
    messages = chance.sample(load_of(rows), len(load_of(rows)))
    write_load(fresh, load_of(rows), chance)
    with ThreadPoolExecutor(1) as pool:
        importing = pool.submit(imported, dsn, file)
        for message in messages:
            write_messages(database, [message])
        (done,) = importing.result()
    assert done.written.rows == len(rows)
    expected, found = state(fresh), state(database)
    for name in STATE:
        assert found[name] == expected[name], name


def series_sizes(database: connection) -> list[tuple[int, int]]:
    """How many series have prices in so many months."""
    return select(database, """
        select prices, count(*)
        from (
            select count(*) as prices from fipe.price join fipe.vehicle on id = vehicle_id group by series_id
        ) as counted
        group by prices order by prices
    """)  # fmt: skip


def test_a_load_gives_imported_months_its_codes(database: connection, dsn: str, tmp_path: Path) -> None:
    history = months(read_catalogue(SAMPLE_CATALOGUE))
    imported(dsn, *(write_csv(tmp_path / f"{code}.csv", rows) for code, rows in history.items()))
    write_load(database, load_of(history[334]), Random(1))
    codes = "select distinct fipe_code, brand_code, model_code from fipe.vehicle_price where source = '{}'"
    learned = set(select(database, codes.format("fipe")))
    of_imports = set(select(database, codes.format("fipex")))
    assert of_imports <= learned
    assert len(of_imports) > 20
    assert select(database, "select fipe.renew_series()") == [(0,)]


def test_a_month_is_imported_until_a_load_of_it_is_complete(
    database: connection, dsn: str, tmp_path: Path
) -> None:
    history = months(read_catalogue(SAMPLE_CATALOGUE))
    loaded = "select fipe.loaded(month) from fipe.reference_month order by month"
    before = "select fipe.month_before('2026-06', null)::text"
    imported(dsn, *(write_csv(tmp_path / f"{code}.csv", rows) for code, rows in history.items()))
    assert select(database, loaded) == [("imported",)] * 3
    messages = load_of(history[293])
    write_messages(database, messages[:-1])
    assert select(database, loaded) == [("imported",)] * 3, "the file has what the load has not brought yet"
    assert select(database, before) == [("2023-01-01",)]
    write_messages(database, messages[-1:])
    assert select(database, loaded) == [("imported",), ("whole",), ("imported",)]
    assert select(database, before) == [("2023-01-01",)]


def test_an_imported_price_stays_away_where_a_load_had_one_and_withdrew_it(
    database: connection, dsn: str, tmp_path: Path
) -> None:
    official = rows_of(read_catalogue(SAMPLE_CATALOGUE), 334)[:2]
    withdrawn = official[1]._replace(model_code=official[0].model_code, model=official[0].model)
    withdrawn = withdrawn._replace(fipe_code=official[0].fipe_code, model_year=1999)
    gap = (ModelYearFuel(model_year=1998, fuel_code=1),)
    *_, first = load_of([official[0], withdrawn])
    *_, later = map(asked_later, load_of(official[:1]))
    assert isinstance(first, PriceMessage)
    assert isinstance(later, PriceMessage)
    answers = replace(first, unpriced=gap), replace(later, unpriced=gap)
    file = write_csv(tmp_path / "1999.csv", [withdrawn])
    orders = [*permutations([[answers[0]], [answers[1]], file]), ([*answers], file), (file, [*answers])]
    for order in orders:
        empty(database)
        for step in order:
            if isinstance(step, Path):
                imported(dsn, step)
            else:
                write_messages(database, step)
        held = select(database, "select model_year, source from fipe.vehicle_price")
        assert held == [(official[0].model_year, "fipe")], order


OVER_OFFICIAL = Options(over_official=True)
ANSWERED = """
select price_brl, source from fipe.vehicle_price where fipe_code = '{}' and model_year = {} and fuel_code = {}
"""


def test_a_price_takes_the_place_of_a_loads_only_when_asked(
    database: connection, dsn: str, fresh: connection, tmp_path: Path
) -> None:
    rows = rows_of(read_catalogue(SAMPLE_CATALOGUE), 334)
    messages = load_of(rows)
    write_load(database, messages, Random(1))
    write_load(fresh, messages, Random(1))
    official = rows[0]
    asked = ANSWERED.format(official.fipe_code, official.model_year, official.fuel_code)
    other = write_csv(tmp_path / "other.csv", [official._replace(price_brl=Decimal("7.00")), *rows[1:9]])
    (refused,) = imported(dsn, other)
    assert (refused.written.apart, refused.written.replaced) == (1, 0)
    assert select(database, asked) == [(official.price_brl, "fipe")]
    (taken,) = imported(dsn, other, options=OVER_OFFICIAL)
    assert taken.written._asdict() == {"added": 0, "known": 8, "copies": 0, "apart": 0, "replaced": 1}
    assert "1 in place of other prices that loads had brought" in taken.words()
    assert select(database, asked) == [(Decimal("7.00"), "fipex")]
    held = select(database, "select price_brl, source from fipe.import_replaced")
    assert held == [(official.price_brl, None)]
    assert select(database, "select replaced from fipe.import_status") == [(1,)]
    (again,) = imported(dsn, other, options=OVER_OFFICIAL)
    assert (again.written.known, again.written.replaced) == (9, 0)
    for message in messages:  # which say nothing new
        write_messages(database, [message])
    assert select(database, asked) == [(Decimal("7.00"), "fipex")]
    assert select(database, "select count(*) from fipe.price") == [(len(rows),)]
    for place in (database, fresh):
        write_load(place, [asked_later(message) for message in messages], Random(1))
    expected, found = state(fresh), state(database)
    for name in ("prices", "series"):
        assert found[name] == expected[name], name


def asked_later(message: PriceQueueMessage) -> PriceQueueMessage:
    """The same, as another load says it a day later."""
    again = replace(message, run_id=UUID(int=1))
    return replace(again, asked_at=ASKED + timedelta(days=1)) if isinstance(again, PriceMessage) else again


def test_a_month_whose_prices_were_replaced_is_no_longer_confirmed(
    database: connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_function(dsn, "fipe_status", monkeypatch)
    days = iter(range(100))

    def chosen() -> int:
        """What is known of the month when a sample of it is chosen."""
        wanted = {"month": "2026-06-01", "size": 5, "seed": 1, "vehicle_types": [1, 2, 3]}
        stamp: int = status.handler({"sample": wanted}, AnyContext())["sample"]["imported"]
        return stamp

    def confirm(known: int) -> bool:
        """Whether the month is confirmed after a sample that was chosen when so much was known."""
        said = ConfirmationMessage(
            run_id=UUID(int=9), reference=JUNE_2026, vehicle_types=(1, 2, 3), prices_asked=5, imported=known,
            confirmed_at=ASKED + timedelta(days=next(days)),
        )  # fmt: skip
        write_messages(database, [said])
        return is_confirmed()

    def is_confirmed() -> bool:
        return select(database, "select count(*) from fipe.confirmed_month") == [(1,)]

    rows = rows_of(read_catalogue(SAMPLE_CATALOGUE), 334)
    official = next(message for message in load_of(rows) if isinstance(message, PriceMessage))
    write_messages(database, [official])
    imported(dsn, write_csv(tmp_path / "all.csv", rows))
    before = chosen()
    assert confirm(before)
    other = write_csv(tmp_path / "other.csv", [row._replace(price_brl=Decimal("7.00")) for row in rows])
    (apart,) = imported(dsn, other)
    assert (apart.written.replaced, is_confirmed()) == (0, True), "nothing was replaced"
    replaced = len(official.prices)
    for number in range(2):  # the load's prices come back, and are replaced once more
        (taken,) = imported(dsn, other, options=OVER_OFFICIAL)
        assert (taken.written.replaced, is_confirmed()) == (replaced, False)
        assert not confirm(before), "that sample was chosen before"
        before = chosen()
        assert confirm(before)
        write_messages(database, [replace(official, asked_at=ASKED + timedelta(days=number + 1))])
    assert select(database, "select count(*), min(price_brl) > 7 from fipe.import_replaced") == [
        (2 * replaced, True)
    ]


def test_what_replaces_prices_works_for_imports_alone(database: connection, dsn: str) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("insert into fipe.import_file (source, file) values (1, 'a mirror') returning id")
        call = "select fipe.replace_prices(%s, '{2026-06-01}', '{1}', '{7}')"
        ((key,),) = cursor.fetchall()
        cursor.execute(call, (key,))
        assert cursor.fetchall() == [(0,)]
    for role in ("fipe_reader", "fipe_status", "fipe_ingestor"):
        with (
            closing(psycopg2.connect(as_role(dsn, role))) as session,
            session.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute(call, (key,))


# Random histories -------------------------------------------------------------------------------------------

CODES = {f"{number:06}-0": code for number, code in enumerate(
    ("000001-9", "000002-7", "000003-5", "000004-3", "000005-1")
)}  # fmt: skip


ANY_FUEL = Options(names_of_today=True)
"""Random histories have fuels in months in which FIPE did not, as merged files have."""


def any_history(chance: Random) -> list[PriceRow]:
    """A random history with valid FIPE codes and without unknown fuels, which FIPEX has no letter for."""
    return [
        row._replace(fipe_code=CODES[row.fipe_code]) for row in random_history(chance) if row.fuel_code != 9
    ]


def as_published_elsewhere(rows: Sequence[PriceRow], chance: Random) -> list[PriceRow]:
    """The rows, but some are missing or have another price or name, and some are not FIPE's."""
    changed = []
    for row in rows:
        said = chance.choice(["same"] * 6 + ["missing", "price", "name", "new"])
        if said == "missing":
            continue
        if said == "new":
            changed.append(row._replace(model_year=1999))
        price = row.price_brl + 7 if said == "price" else row.price_brl
        changed.append(row._replace(price_brl=price, model="Elsewhere" if said == "name" else row.model))
    return chance.sample(changed, len(changed))


@pytest.fixture(scope="module")
def reused(postgres_dsn: str) -> Iterator[str]:
    """One database for all histories."""
    with database_with_schema(postgres_dsn) as dsn:
        yield dsn


def empty(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(
            "truncate fipe.model, fipe.vehicle, fipe.price, fipe.price_revision, fipe.model_answer,"
            " fipe.reference_month, fipe.load_run, fipe.load_cancellation, fipe.import_file,"
            " fipe.import_month, fipe.import_kept_apart cascade"
        )


def test_imports_leave_nothing_in_months_that_loads_have_whole(reused: str, tmp_path: Path) -> None:
    with closing(psycopg2.connect(reused)) as database:
        for seed in range(HISTORIES):
            chance = Random(seed)
            history = any_history(chance)
            by_month = {
                month: [row for row in history if row.reference_month == month]
                for month in sorted({row.reference_month for row in history})
            }
            empty(database)
            for rows in by_month.values():
                write_load(database, load_of(rows), chance)
            expected = state(database)
            empty(database)
            steps: list[Any] = [[message] for rows in by_month.values() for message in load_of(rows)]
            steps += [
                write_csv(tmp_path / f"{seed} {number}.csv", as_published_elsewhere(history, chance))
                for number in range(3)
            ]
            for step in chance.sample(steps, len(steps)):
                if isinstance(step, Path):
                    imported(reused, step, options=ANY_FUEL)
                else:
                    write_messages(database, step)
                assert select(database, "select fipe.renew_series()") == [(0,)], seed
            found = state(database)
            for name in STATE:
                assert found[name] == expected[name], (seed, name)


def test_months_may_be_imported_in_any_order_and_parts(reused: str, tmp_path: Path) -> None:
    """Of histories in which one FIPE code is one model, names and all, as in nearly all of FIPE's."""
    names = (
        "select reference_month, brand, model, fipe_code, model_year, fuel, price_brl from fipe.vehicle_price"
        " order by 1, 4, 5, 6"
    )
    with closing(psycopg2.connect(reused)) as database:
        for seed in range(HISTORIES):
            chance = Random(seed)
            rows = {
                (row.reference_month, row.fipe_code, row.model_year, row.fuel_code): row
                for row in any_history(chance)
            }
            ends = []
            for _ in range(2):
                empty(database)
                left = list(dict.fromkeys(chance.sample(sorted(MONTHS), len(MONTHS))))
                for number, month in enumerate(left):
                    part = [row for row in rows.values() if row.reference_month == month]
                    for half in (part[::2], part[1::2]):
                        if half:
                            imported(
                                reused, write_csv(tmp_path / f"{seed} {number}.csv", half), options=ANY_FUEL
                            )
                assert select(database, "select fipe.renew_series()") == [(0,)], seed
                ends.append(select(database, names))
            assert ends[0] == ends[1], seed
            assert len(ends[0]) == len(rows), seed


# Loads of every kind ----------------------------------------------------------------------------------------

FIPE_CODES = {(1, 7): "000001-9", (1, 8): "000002-7", (2, 7): "000003-5", (2, 8): "000004-3"}


def as_fipe_has_it(message: PriceQueueMessage) -> PriceQueueMessage:
    """The message, but each brand has a name and each model a FIPE code of its own, as nearly all have."""
    if isinstance(message, RunPlanMessage):
        brands = (replace(each, brand=own_name(each.brand)) for each in message.brands)
        return replace(message, brands=tuple(brands))
    if isinstance(message, BrandPlanMessage):
        return replace(message, brand=own_name(message.brand))
    if isinstance(message, CancellationMessage):
        return message
    code = FIPE_CODES[message.brand.code, message.model.code]
    prices = tuple(replace(price, fipe_code=code) for price in message.prices)
    return replace(message, brand=own_name(message.brand), prices=prices)


def answered_once(messages: Iterable[PriceQueueMessage]) -> Iterator[PriceQueueMessage]:
    """Each load lists a brand once and answers once about a model, with prices.

    Other loads end alike when the month is complete, but not before: a brand or model whose answer is later
    replaced by one with gaps has lost its imports, and an answer without prices tells no FIPE code.
    """
    answered = set()
    for message in messages:
        if isinstance(message, PriceMessage):
            key = message.run_id, message.reference, message.brand.code, message.model.code
            if key in answered or not message.prices or message.searched_at.hour:
                continue
            answered.add(key)
        if not (isinstance(message, BrandPlanMessage) and message.searched_at.hour):
            yield message


def own_name(brand: Named) -> Named:
    return replace(brand, name=f"Brand {brand.code}")


@st.composite
def files(draw: st.DrawFn) -> list[PriceRow]:
    """What others say of the months and models of test_any_order's loads, in one or several months."""
    months = draw(st.lists(st.sampled_from(REFERENCES), unique=True, min_size=1, max_size=3))
    rows = []
    for month in months:
        keys = st.tuples(st.sampled_from(sorted(FIPE_CODES)), st.sampled_from(KEYS))
        for (brand, model), (year, fuel) in draw(st.lists(keys, unique=True, max_size=6)):
            rows.append(PriceRow(
                month.month, month.code, 1, brand, f"Brand {brand}", model,
                f"Model {model}", year, fuel, FUELS[fuel], FIPE_CODES[brand, model],
                Decimal(draw(st.sampled_from(["100.00", "105.00"]))),
            ))  # fmt: skip
    return rows


@settings(max_examples=EXAMPLES, suppress_health_check=SLOW_BY_NATURE)
@given(messages=loads(), imports=st.lists(files(), min_size=1, max_size=2), seed=st.integers(0, 2**32))
def test_loads_of_every_kind_and_imports_end_alike_in_any_order(
    reused: str,
    tmp_path_factory: pytest.TempPathFactory,
    messages: list[PriceQueueMessage],
    imports: list[list[PriceRow]],
    seed: int,
) -> None:
    """Also loads that are incomplete, of a few models, or answered by a mirror. Imports keep their order."""
    folder = tmp_path_factory.mktemp("files")
    paths = [write_csv(folder / f"{number}.csv", rows) for number, rows in enumerate(imports) if rows]
    once = list(answered_once(messages))
    ends = []
    with closing(psycopg2.connect(reused)) as database:
        for chance in (Random(seed), Random(seed + 1)):
            empty(database)
            steps: list[Any] = list(in_batches(list(map(as_fipe_has_it, once)), chance))
            places = sorted(chance.choices(range(len(steps) + 1), k=len(paths)))
            for path, place in reversed(list(zip(paths, places, strict=True))):
                steps.insert(place, path)
            for step in steps:
                if isinstance(step, Path):
                    imported(reused, step, options=ANY_FUEL)
                else:
                    write_messages(database, step)
                assert select(database, "select fipe.renew_series()") == [(0,)]
            ends.append(state(database) | {"sources": sorted(map(repr, select(database, SOURCES)))})
    for name in ("sources", "revisions", "loads", "brands", "models"):
        assert ends[0][name] == ends[1][name], name


SOURCES = """
select reference_month, model, model_year, fuel, fipe_code, price_brl, source,
       case when source = 'fipex' then null else brand_code end
from fipe.vehicle_price
"""
