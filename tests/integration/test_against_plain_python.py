"""Every question, asked of random histories, against plain Python that shares no code with it.

`make fuzz` asks it of many more of them.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from random import Random
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import write_rows
from tests.databases import database_with_schema
from tests.history import MONTHS, History, random_history

pytestmark = pytest.mark.both_postgres

DATABASES = 400 if "FUZZ_EXAMPLES" in os.environ else 50
TABLES = "fipe.model, fipe.vehicle, fipe.price, fipe.price_revision, fipe.model_answer, fipe.reference_month"


@pytest.fixture(scope="module")
def reused(postgres_dsn: str) -> Iterator[connection]:
    """One database for all histories."""
    with database_with_schema(postgres_dsn) as dsn, closing(psycopg2.connect(dsn)) as database:
        yield database


def filled(database: connection, chance: Random) -> History:
    """A random history in the database, whose months came in random order and parts."""
    with database, database.cursor() as cursor:
        cursor.execute(f"truncate {TABLES} cascade")
    rows = random_history(chance)
    left = chance.sample(rows, len(rows))
    while left:
        size = chance.choice([1, 5, 1000])
        write_rows(database, left[:size])
        left = left[size:]
    return History(rows)


def written(month: date, since: date | None) -> tuple[str, str | None]:
    """The months as people write them."""
    return f"{month:%Y-%m}", since and f"{since.replace(day=28)}"


Question = tuple[str, tuple[Any, ...], list[tuple[Any, ...]]]
"""A question with its arguments and the answer that it should get."""


def at_once(
    history: History, asked: list[tuple[str, date, date | None]], newest: date | None
) -> Iterator[Question]:
    """The questions that search for words, each asked of many; the words stand before each row."""
    columns = zip(*((words, *written(*days)) for words, *days in asked), strict=True)
    arguments = tuple(list(column) for column in columns)

    def question(of_each: str, answer: Callable[..., list[tuple[Any, ...]]]) -> Question:
        each = "unnest(%s::text[], %s::text[], %s::text[]) as asked (words, month, since)"
        expected = [(one[0], *row) for one in asked for row in answer(*one)]
        return (
            f"select words, answer.* from {each} cross join lateral {of_each} as answer",
            arguments,
            expected,
        )

    yield question("fipe.search_models(words)", lambda words, *_: history.search_models(words))
    if newest:
        yield question(
            "fipe.price_of(words, 2014)", lambda words, *_: history.price_of(words, 2014, newest, None)
        )
        yield question(
            "fipe.price_of(words, null, month, since)",
            lambda words, *days: history.price_of(words, None, *days),
        )


def questions(history: History, chance: Random) -> Iterator[Question]:
    """All questions of a history."""

    def months() -> tuple[date, date | None]:
        month, since = chance.choice(sorted(MONTHS)), chance.choice([None, *sorted(MONTHS)])
        return month, since

    newest = history.months[-1] if history.months else None
    codes = [f"{number:06}-0" for number in range(5)]
    yield "select * from fipe.latest_price", (), history.latest_price()
    yield (
        "select flag, reference_month, model_code, fuel, price_brl from fipe.flagged_price", (),
        history.flagged_price(),
    )  # fmt: skip
    for code in codes:
        for year in (None, 2014):
            yield "select * from fipe.price_history(%s, %s)", (code, year), history.price_history(code, year)
        if newest:
            month = chance.choice(history.months)
            yield "select * from fipe.depreciation(%s)", (code,), history.depreciation(code, newest)
            yield (
                "select * from fipe.depreciation(%s, %s)", (code.replace("-", ""), f"{month:%Y-%m}"),
                history.depreciation(code, month),
            )  # fmt: skip
    searches = (
        "gol 1.0", "volks gol", "marrua", "skoda", "1,0", "itamar", "gm fu", "nothing", "", "fus ca", "fucsa",
        "vlkswagen gol", "marruaa", "skda", "chevrolett 1.0", "highcd", "000001-0", "0000010", "flex1",
        "tcross", "t cross", "cross60",
        "cross 60", "tcrss", "saabskoda",
    )  # fmt: skip
    # Most of the time of such a question goes into its plan: all are asked at once, and two alone as well.
    yield from at_once(history, [(words, *months()) for words in searches], newest)
    for words in chance.sample(searches, 2):
        yield "select * from fipe.search_models(%s)", (words,), history.search_models(words)
        if newest:
            yield (
                "select * from fipe.price_of(%s, 2014)",
                (words,),
                history.price_of(words, 2014, newest, None),
            )
            month, since = months()
            yield (
                "select * from fipe.price_of(%s, null, %s, %s)", (words, *written(month, since)),
                history.price_of(words, None, month, since),
            )  # fmt: skip
    if newest:
        for brand in ("volkswagen", "vw volkswagen", "Skoda", "gm", "gm chevrolet", "chev", "saab", None):
            yield (
                "select * from fipe.vehicles_between(%s, 50, 130)", (brand,),
                history.vehicles_between(brand, 50, 130, newest),
            )  # fmt: skip
        yield "select * from fipe.price_changes()", (), history.price_changes(newest, None)
        yield "select * from fipe.month_differences()", (), history.month_differences(newest, None)
        yield "select * from fipe.biggest_movers(2)", (), history.biggest_movers(2, newest, None)
        by = chance.choice([None, "type", "brand"])
        yield (
            "select * from fipe.month_by_month(null, null, %s)", (by,),
            history.month_by_month(newest, None, by),
        )  # fmt: skip
    for month, since in (months() for _ in range(3)):
        days = written(month, since)
        expected = history.price_changes(month, since), history.month_differences(month, since)
        yield "select * from fipe.price_changes(%s, %s)", days, expected[0]
        yield "select * from fipe.month_differences(%s, %s)", days, expected[1]
        yield "select * from fipe.biggest_movers(3, %s, %s)", days, history.biggest_movers(3, month, since)
        yield "select * from fipe.month_by_month(%s, %s)", days, history.month_by_month(month, since, None)


def test_every_question_gets_the_answer_that_plain_python_gives(
    reused: connection, record_property: Callable[[str, object], None]
) -> None:
    compared = Counter[str]()
    for seed in range(DATABASES):
        chance = Random(seed)
        history = filled(reused, chance)
        with reused, reused.cursor() as cursor:
            for question, arguments, expected in questions(history, chance):
                cursor.execute(question, arguments)
                found = cursor.fetchall()
                assert Counter(found) == Counter(expected), (seed, question, arguments)
                compared["rows"] += len(found)
                compared["questions"] += 1
            cursor.execute("select fipe.renew_series()")
            assert cursor.fetchall() == [(0,)], (seed, "the writer's series are those of all prices together")
    record_property("compared", dict(compared))
    print(dict(compared))
