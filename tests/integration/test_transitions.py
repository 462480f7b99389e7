"""The changes of fuels, names and codes of the real history, against what the generated one knows of itself.

`FIPE_HISTORY_SHARE=1` makes it of the real size, which takes some minutes.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2.extensions import connection

from benchmarks.bulk import write_history
from benchmarks.history import (
    CAR,
    COUNTED_FROM,
    COUNTED_UNTIL,
    FLEX,
    NEWEST,
    OTHER_FUELS,
    REFERENCES,
    History,
    Published,
    Shape,
    number_of,
)
from fipe_api.database.writer import PriceRow, write_rows
from tests.databases import database_with_schema

pytestmark = pytest.mark.both_postgres

SHARE = float(os.environ.get("FIPE_HISTORY_SHARE", "0.02"))
IN_BULK, MONTHS_AT_ONCE = COUNTED_FROM, 6
"""The months before May 2022 are written in bulk, and those after it by the writer, some at once."""

COUNTED = {
    ((1,), (5,)): 5_806,
    ((1,), (6,)): 293,
    ((1,), (4,)): 127,
    ((3,), (6,)): 19,
    ((1,), (7,)): 14,
    ((2,), (1,)): 10,
    ((1,), (3,)): 4,
    ((1, 2), (1,)): 35,
    ((1,), (1, 2)): 30,
    ((1, 2), (2,)): 28,
}
"""Model years of FIPE codes of cars, by their fuels in May 2022 and in June 2026 where these differ."""

PAIRS = [
    (FLEX, FLEX - 1),
    (OTHER_FUELS, OTHER_FUELS - 1),
    (COUNTED_UNTIL, COUNTED_FROM),
    (number_of(2023, 2), number_of(2023, 1)),  # both names of what has a new code
    (number_of(2009, 7), number_of(2009, 6)),  # many are back
    (number_of(2012, 10), number_of(2012, 9)),  # zero prices
    (NEWEST, NEWEST - 1),
    (NEWEST, 0),
    (NEWEST - 100, 80),
]


class Known(NamedTuple):
    """A history of cars, and a database that has it."""

    history: History
    database: connection
    series: dict[Published, int]


@pytest.fixture(scope="module")
def history() -> History:
    return History(SHARE, (CAR,))


@pytest.fixture(scope="module")
def known(history: History, postgres_dsn: str) -> Iterator[Known]:
    with database_with_schema(postgres_dsn) as dsn:
        write_history(dsn, history, IN_BULK)
        with closing(psycopg2.connect(dsn)) as database:
            for first in range(IN_BULK, NEWEST + 1, MONTHS_AT_ONCE):
                numbers = range(first, min(first + MONTHS_AT_ONCE, NEWEST + 1))
                write_rows(database, [row for number in numbers for row in rows(history, number)])
            yield Known(history, database, series(database))


def rows(history: History, number: int) -> Iterator[PriceRow]:
    code, month = REFERENCES[number].code, REFERENCES[number].month
    for each, price in history.month(number):
        yield PriceRow(month, code, *each.published, Decimal(price))


def series(database: connection) -> dict[Published, int]:
    with database, database.cursor() as cursor:
        cursor.execute(
            """
            select vehicle_type, brand_code, brand, model_code, model, model_year, fuel_code, fuel, fipe_code,
                   series_id
            from fipe.vehicle join fipe.model on model.id = model_id
            """
        )
        return {Published(*row[:-1]): row[-1] for row in cursor.fetchall()}


def fuels(history: History, number: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """The fuels of each model year of a FIPE code in a month."""
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    for each, _ in history.month(number):
        found[each.published.fipe_code, each.published.model_year].add(each.published.fuel_code)
    return {model_year: tuple(sorted(codes)) for model_year, codes in found.items()}


def test_the_history_has_the_changes_of_fuels_that_were_counted(history: History) -> None:
    before, after = fuels(history, COUNTED_FROM), fuels(history, COUNTED_UNTIL)
    changes = Counter(
        (before[each], after[each]) for each in before if each in after and before[each] != after[each]
    )
    assert changes == {change: math.ceil(real * SHARE) for change, real in COUNTED.items()}


def test_the_history_has_the_collisions_and_copies_that_were_counted(history: History) -> None:
    twice = sum(
        times - 1
        for number in range(NEWEST + 1)
        for times in Counter(each.vehicle for each, _ in history.month(number)).values()
    )
    assert twice == math.ceil(Shape.COLLISIONS * SHARE) + math.ceil(Shape.COPIES * SHARE)


def test_each_vehicle_is_one_series(known: Known) -> None:
    vehicles: dict[int, set[int]] = defaultdict(set)
    for each in known.history.stretches:
        vehicles[each.vehicle].add(known.series[each.published])
    assert [vehicle for vehicle, found in vehicles.items() if len(found) > 1] == []
    assert len({next(iter(found)) for found in vehicles.values()}) == len(vehicles)


@pytest.mark.parametrize("number", [0, IN_BULK, FLEX, COUNTED_UNTIL])
def test_fuels_side_by_side_are_never_one_series(known: Known, number: int) -> None:
    series_of: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
    for each, _ in known.history.month(number):
        model_year = each.published.fipe_code, each.published.model_year
        series_of[model_year][each.published.fuel_code] = known.series[each.published]
    side_by_side = [found for found in series_of.values() if len(found) > 1]
    assert side_by_side
    assert [found for found in side_by_side if len(set(found.values())) < len(found)] == []


def test_a_series_has_the_whole_history_of_its_vehicle(known: Known) -> None:
    vehicle_of = {known.series[each.published]: each.vehicle for each in known.history.stretches}
    with known.database, known.database.cursor() as cursor:
        cursor.execute(
            """
            select series_id, reference_month, price_brl, count(*)
            from fipe.price join fipe.vehicle on vehicle.id = vehicle_id
            group by series_id, reference_month, price_brl
            """
        )
        found = Counter[tuple[object, ...]]()
        for series_id, month, price, times in cursor.fetchall():
            found[vehicle_of[series_id], month, price] += times
    published = Counter(
        (each.vehicle, REFERENCES[number].month, Decimal(price))
        for number in range(NEWEST + 1)
        for each, price in known.history.month(number)
    )
    assert found == published


def test_the_writer_finds_the_series_that_all_prices_together_give(known: Known) -> None:
    with known.database, known.database.cursor() as cursor:
        cursor.execute("select fipe.renew_series()")
        assert cursor.fetchall() == [(0,)]


@pytest.mark.parametrize(("number", "since"), PAIRS)
def test_price_changes_has_each_vehicle_of_both_months_once(known: Known, number: int, since: int) -> None:
    before = {each.vehicle: price for each, price in known.history.month(since)}
    now = list(known.history.month(number))
    vehicle_of = {
        (published.brand, published.model, published.model_year, published.fuel, published.fipe_code): vehicle
        for published, _, _, vehicle in (each for each, _ in now)
    }
    with known.database, known.database.cursor() as cursor:
        cursor.execute(
            "select brand, model, model_year, fuel, fipe_code, price_before, price_brl"
            " from fipe.price_changes(%s, %s)",
            (str(REFERENCES[number].month), str(REFERENCES[since].month)),
        )
        found = Counter((vehicle_of[row[:5]], *row[5:]) for row in map(tuple, cursor.fetchall()))
    expected = {(each.vehicle, before[each.vehicle], price) for each, price in now if each.vehicle in before}
    assert found == Counter(expected)
    assert found
