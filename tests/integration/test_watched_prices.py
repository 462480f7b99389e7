"""Watch rules in random histories, against plain Python; and that each hit is told once."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import write_rows
from tests.databases import as_role, database_with_schema
from tests.history import MONTHS, History, key_of, percent, random_history

pytestmark = pytest.mark.both_postgres

DATABASES = 400 if "FUZZ_EXAMPLES" in os.environ else 30
TABLES = "fipe.model, fipe.vehicle, fipe.price, fipe.price_revision, fipe.model_answer, fipe.reference_month"
COLUMNS = "fipe_code, model_year, fuel_code, below_brl, above_brl, changes_by_percent, note"


class Rule(NamedTuple):
    """A row of fipe.watch_rule."""

    fipe_code: str
    model_year: int | None
    fuel_code: int | None
    below_brl: Decimal | None
    above_brl: Decimal | None
    changes_by_percent: Decimal | None
    note: str


def any_rule(chance: Random) -> Rule:
    limits = [
        chance.choice([None, Decimal(chance.choice([1, 101, 110, 125, 200]))]),
        chance.choice([None, Decimal(chance.choice([1, 99, 120, 140, 200]))]),
        chance.choice([None, Decimal(chance.choice(["0.01", "4.76", "5", "20"]))]),
    ]
    if not any(limits):
        limits[2] = Decimal(5)
    return Rule(
        f"{chance.randrange(6):06}-0", chance.choice([None, 2014, 32000]), chance.choice([None, 1, 5]),
        *limits, chance.choice(["", "Ana"]),
    )  # fmt: skip


def held(history: History, rules: dict[int, Rule], month: date) -> list[tuple[Any, ...]]:
    """What fipe.watched should answer, without the vehicle's number."""
    before_month = history.month_before(month, None)
    now = history.counted(month)
    before = history.counted(before_month) if before_month else {}
    answer = []
    for number, rule in rules.items():
        watched = {
            history.series_of[key_of(row)]
            for row in history.rows
            if row.fipe_code == rule.fipe_code
            and rule.model_year in (None, row.model_year)
            and rule.fuel_code in (None, row.fuel_code)
        }
        for row, old in ((now[each], before.get(each)) for each in watched if each in now):
            earlier = old.price_brl if old and old.price_brl else None
            if not row.price_brl:
                continue
            changed = abs(row.price_brl - earlier) * 100 if earlier else Decimal(0)
            because = [
                *(["below"] if rule.below_brl and row.price_brl < rule.below_brl else []),
                *(["above"] if rule.above_brl and row.price_brl > rule.above_brl else []),
                *(
                    ["change"]
                    if earlier and rule.changes_by_percent and changed >= rule.changes_by_percent * earlier
                    else []
                ),
            ]
            if because:
                answer.append((
                    number, row.fipe_code, row.vehicle_type, row.brand, row.model, row.model_year,
                    row.model_year == 32000, row.fuel, before_month, month, earlier, row.price_brl,
                    percent(row.price_brl, earlier, 2) if earlier else None, tuple(because), rule.note,
                ))  # fmt: skip
    return answer


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> Iterator[str]:
    with database_with_schema(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def reused(dsn: str) -> Iterator[connection]:
    """One database for all histories."""
    with closing(psycopg2.connect(dsn)) as database:
        yield database


@pytest.fixture(scope="module")
def status(dsn: str) -> Iterator[connection]:
    """FipeLoadStatus, which announces."""
    with closing(psycopg2.connect(as_role(dsn, "fipe_status"))) as database:
        yield database


def add(database: connection, *rules: Rule) -> dict[int, Rule]:
    """The rules by their numbers; none is there twice."""
    numbers = {}
    with database, database.cursor() as cursor:
        for rule in rules:
            cursor.execute(
                f"insert into fipe.watch_rule ({COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s)"
                " on conflict do nothing returning id",
                rule,
            )
            numbers |= {number: rule for (number,) in cursor.fetchall()}
    return numbers


def empty(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(f"truncate {TABLES}, fipe.watch_rule cascade")


def told(database: connection, month: date) -> list[dict[str, Any]]:
    with database, database.cursor() as cursor:
        cursor.execute("select fipe.watch_hits(%s)", (month,))
        return [document for (document,) in cursor.fetchall()]


def as_document(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """What stands in a document of a hit."""
    rule, *_names, before, now, _percent, because, _note = row
    return (rule, row[3], row[4], row[5], row[7], before and float(before), float(now), because)


def test_rules_hold_and_are_told_as_plain_python_says(reused: connection, status: connection) -> None:
    compared = Counter[str]()
    for seed in range(DATABASES):
        chance = Random(seed)
        empty(reused)
        rows = random_history(chance)
        rules = add(reused, *(any_rule(chance) for _ in range(12)))
        there: list[Any] = []
        announced = set[tuple[Any, ...]]()
        parts = [chance.sample(rows, len(rows))]
        if chance.random() < 0.5:  # the months come one after the other
            parts = [[row for row in rows if row.reference_month == month] for month in sorted(MONTHS)]
        for part in filter(None, parts):
            write_rows(reused, part)
            there += part
            history = History(there)
            for month in chance.sample(sorted(MONTHS), len(MONTHS)):
                expected = held(history, rules, month) if month in history.months else []
                with reused, reused.cursor() as cursor:
                    cursor.execute("select * from fipe.watched(%s)", (f"{month:%Y-%m}",))
                    found = [(*row[:13], tuple(row[13]), row[14], row[15]) for row in cursor]
                assert Counter(row[:-1] for row in found) == Counter(expected), (seed, month)
                news = [
                    (as_document(row[:-1]), (row[0], month, row[-1]))
                    for row in found
                    if month == history.months[-1] and (row[0], month, row[-1]) not in announced
                ]
                documents = told(status, month)
                assert Counter(
                    (
                        one["rule_id"], one["brand"], one["model"], one["model_year"], one["fuel"],
                        one["price_before"], one["price_brl"], tuple(one["because"]),
                    )
                    for one in documents
                ) == Counter(document for document, _ in news), (seed, month)  # fmt: skip
                announced |= {key for _, key in news}
                assert told(status, month) == [], "a month that completes again tells nothing again"
                compared.update(held=len(found), told=len(documents))
    assert compared["told"] > 100, compared
    assert compared["held"] > compared["told"]


def test_a_hit_says_what_happened_in_words(reused: connection, status: connection) -> None:
    empty(reused)
    (row,) = random_history(Random(3))[:1]
    months = sorted(MONTHS)[:2]
    prices = (Decimal("12000"), Decimal("9800.5"))
    for month, price in zip(months, prices, strict=True):
        published = row._replace(reference_month=month, reference_code=MONTHS[month], price_brl=price)
        write_rows(reused, [published])
    add(reused, Rule(row.fipe_code, None, None, Decimal(10000), None, Decimal(5), "Ana's"))
    (document,) = told(status, months[1])
    year = "zero km" if row.model_year == 32000 else row.model_year
    assert document["text"] == (
        f"{row.brand} {row.model} {year} {row.fuel} ({row.fipe_code}) costs R$ 9,800.50 in {months[1]:%Y-%m},"
        f" below R$ 10,000.00, 18.33% less than in {months[0]:%Y-%m} (rule {document['rule_id']}: Ana's)"
    )
    assert (document["change_percent"], document["because"]) == (-18.33, ["below", "change"])
    assert document["reference_month"] == f"{months[1]}"
    assert document["month_before"] == f"{months[0]}"


def test_an_announcement_that_is_undone_is_told_later(reused: connection, status: connection) -> None:
    empty(reused)
    row = next(row for row in random_history(Random(3)) if row.price_brl)
    write_rows(reused, [row])
    add(reused, Rule(row.fipe_code, None, None, None, Decimal(1), None, ""))
    with status.cursor() as cursor:
        cursor.execute("select fipe.watch_hits(%s)", (row.reference_month,))
        assert cursor.rowcount == 1
    status.rollback()
    assert len(told(status, row.reference_month)) == 1


def test_each_role_can_do_no_more_than_it_needs(reused: connection, dsn: str) -> None:
    empty(reused)
    (number,) = add(reused, Rule("000001-0", None, None, Decimal(1), None, None, ""))
    allowed = {
        "fipe_watcher": ["select", "insert", "delete"],
        "fipe_reader": ["select"],
        "fipe_status": ["watch_hits"],
        "fipe_importer": ["select"],
        "fipe_ingestor": ["write prices"],
    }
    statements = {
        "select": "select * from fipe.watch_rule, fipe.watch_hit, fipe.watched()",
        "insert": "insert into fipe.watch_rule (fipe_code, below_brl) values ('000002-0', 1)",
        "update": "update fipe.watch_rule set below_brl = 2",
        "delete": f"delete from fipe.watch_rule where id = {number}",
        "write hits": "insert into fipe.watch_hit values (1, '2026-06-01', 1, 1)",
        "write prices": "update fipe.price set price_brl = 1",
        "watch_hits": "select fipe.watch_hits('2026-06-01')",
    }
    for role, can in allowed.items():
        with closing(psycopg2.connect(as_role(dsn, role))) as session:
            session.set_session(readonly=False)
            for name, statement in statements.items():
                with session.cursor() as cursor:
                    try:
                        cursor.execute(statement)
                        done = True
                    except psycopg2.errors.InsufficientPrivilege:
                        done = False
                session.rollback()
                assert done == (name in can), (role, name)
