"""fipe.value_fleet, asked of random fleets in random histories, against plain Python."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import PriceRow, write_rows
from tests.databases import database_with_schema
from tests.history import MONTHS, History, key_of, percent, random_history, rounded

pytestmark = pytest.mark.both_postgres

DATABASES = 400 if "FUZZ_EXAMPLES" in os.environ else 20
TABLES = "fipe.model, fipe.vehicle, fipe.price, fipe.price_revision, fipe.model_answer, fipe.reference_month"

CODES = ("000000-0", "000001-9", "000002-7", "000003-5", "000004-3", "000005-1")
"""Those of random_history with their right check digits, and one that it never has."""


class Asked(NamedTuple):
    """A row of a fleet: how it is written, and what is meant."""

    written: tuple[str | None, str | None, str | None]
    code: str | None
    year: int | None
    fuels: set[int] | None


def any_row(chance: Random, published: Sequence[str]) -> Asked:
    code = chance.choice([*published * 8, *CODES])
    digits = code.replace("-", "").lstrip("0")
    spellings = [code, code.replace("-", ""), f" {code}", code.replace("-", "–"), f'="{code}"', f"'{code}"]
    spellings += [digits, f"{digits[:-1]}-{digits[-1]}", f"{digits}.0"] if len(digits) > 1 else []
    wrong = {"": None, " ": None, "golf": None, "123456789": None, "000001-8": "000001-8", "12": "000001-2"}
    codes: dict[str | None, str | None] = {
        **dict.fromkeys(spellings, code),
        **(wrong if chance.random() < 0.2 else {}),
    }
    years: dict[str | None, int | None] = {
        "2014": 2014, "2014.0": 2014, "2013/2014": 2014, "2014/2014": 2014, " 2014 ": 2014, "32000": 32000,
        "0km": 32000, "0 KM": 32000, "Zero km": 32000, "32000,0": 32000,
    }  # fmt: skip
    if chance.random() < 0.3:
        years |= {"2015": 2015, "": None, None: None, "14": None, "2014/2018": None}
    fuels: dict[str | None, set[int] | None] = {
        None: None, "": None, "-": None, "Gasolina": {1}, "G": {1}, "petrol": {1}, "1": {1}, "diesel": {3},
        "3.0": {3}, "FLEX": {5}, "Álcool/Gasolina": {5}, "hibrido": {6}, "Hidrogênio": {9},
        "HIDROGENIO": {9}, "e": {2, 4}, "gas": {1, 7}, "water": set(),
    }  # fmt: skip
    written = (chance.choice(list(codes)), chance.choice(list(years)), chance.choice(list(fuels)))
    return Asked(written, codes[written[0]], years[written[1]], fuels[written[2]])


def check_digit(code: str) -> str:
    return str((11 - sum(int(digit) * (7 - place) for place, digit in enumerate(code[:6])) % 11) % 11 % 10)


class Fleets:
    """What a fleet is worth, by a history."""

    def __init__(self, history: History, month: date, since: date | None) -> None:
        self.history = history
        self.month = month
        self.since = since
        self.now = [row for row in history.rows if row.reference_month == month]

    def value(self, asked: Asked) -> dict[str, Any]:
        """The answer: what is not in it is not compared."""
        of_fuel = self._offers(asked)
        fitting = {
            fuel: rows
            for fuel, rows in of_fuel.items()
            if len(of_fuel) == 1 or asked.fuels is None or fuel in asked.fuels
        }
        if len(fitting) == 1:
            ((_, rows),) = fitting.items()
            if len({row.price_brl for row in rows}) == 1:
                return self._valued(asked, min(rows, key=self._order))
        return {"price_brl": None, "fuel": None, **self._why(asked, of_fuel, fitting)}

    def _offers(self, asked: Asked) -> dict[int, list[PriceRow]]:
        rows = [row for row in self.now if (row.fipe_code, row.model_year) == (asked.code, asked.year)]
        if not rows:
            series = {
                self.history.series_of[key_of(row)]
                for row in self.history.rows
                if (row.fipe_code, row.model_year) == (asked.code, asked.year)
            }
            rows = [row for row in self.now if self.history.series_of[key_of(row)] in series]
        return {
            fuel: [row for row in rows if row.fuel_code == fuel] for fuel in {row.fuel_code for row in rows}
        }

    def _order(self, row: PriceRow) -> tuple[int, ...]:
        return (self.history.place.get(key_of(row), 0), row.brand_code, row.model_code)

    def _valued(self, asked: Asked, row: PriceRow) -> dict[str, Any]:
        series = self.history.series_of[key_of(row)]
        before = self.history.counted(self.since).get(series) if self.since else None
        new = [
            each
            for each in self.now
            if (each.fipe_code, each.model_year, each.fuel_code) == (row.fipe_code, 32000, row.fuel_code)
        ]

        def is_other(each: PriceRow) -> bool:
            return (each.brand_code, each.model_code, each.brand, each.model) != (
                row.brand_code, row.model_code, row.brand, row.model,
            )  # fmt: skip

        zero = min(new, key=lambda each: (is_other(each), *self._order(each)), default=None)
        note = None
        if row.fipe_code != asked.code:
            note = "other_code"
        elif asked.fuels is not None and row.fuel_code not in asked.fuels:
            note = "other_fuel"
        return {
            "note": note, "choices": None, "last_month": None, "month_before": self.since,
            "reference_month": self.month, "vehicle_type": row.vehicle_type, "brand": row.brand,
            "model": row.model, "model_year": row.model_year, "zero_km": row.model_year == 32000,
            "fuel": row.fuel, "fipe_code": row.fipe_code, "price_before": before and before.price_brl,
            "price_brl": row.price_brl, "change_brl": row.price_brl - before.price_brl if before else None,
            "change_percent": percent(row.price_brl, before.price_brl, 2) if before else None,
            "zero_km_brl": zero and zero.price_brl,
            "percent_of_zero_km": rounded(Fraction(row.price_brl) * 100 / Fraction(zero.price_brl), 1)
            if zero and zero.price_brl
            else None,
        }  # fmt: skip

    def _why(
        self, asked: Asked, offers: dict[int, list[PriceRow]], fitting: dict[int, list[PriceRow]]
    ) -> dict[str, Any]:
        code, year, _ = asked.written
        if not (code or "").strip():
            return {"note": "no_code"}
        if asked.code is None:
            return {"note": "not_a_code"}
        if check_digit(asked.code) != asked.code[-1]:
            return {"note": "wrong_check_digit", "choices": f"{asked.code[:7]}{check_digit(asked.code)}"}
        if asked.year is None and (year or "").strip():
            return {"note": "not_a_year"}
        fuels = ", ".join(offers[fuel][0].fuel for fuel in sorted(offers))
        if any(len({row.price_brl for row in rows}) > 1 for rows in offers.values()):
            return {"note": "several_prices"}
        if offers:
            return {"note": "several_fuels" if fitting else "no_such_fuel", "choices": fuels}
        known = [row for row in self.history.rows if row.fipe_code == asked.code]
        if not self.now and not known:
            return {"note": "month_not_loaded", "last_month": None}
        last = max((row.reference_month for row in known), default=None)
        last_of_year = max(
            (row.reference_month for row in known if row.model_year == asked.year), default=last
        )
        if not self.now:
            return {"note": "month_not_loaded", "last_month": last_of_year}
        if not known:
            return {"note": "unknown_code"}
        if asked.year is not None and any(row.model_year == asked.year for row in known):
            return {"note": "not_in_month", "last_month": last_of_year}
        current = [row for row in known if row.reference_month == self.month]
        of_years = current or [row for row in known if row.reference_month == last]
        years = sorted({row.model_year for row in of_years})
        named = ", ".join("zero km" if each == 32000 else str(each) for each in years)
        return {
            "note": "no_year" if asked.year is None else "no_such_year", "choices": named, "last_month": last,
        }  # fmt: skip


@pytest.fixture(scope="module")
def reused(postgres_dsn: str) -> Iterator[connection]:
    """One database for all histories."""
    with database_with_schema(postgres_dsn) as dsn, closing(psycopg2.connect(dsn)) as database:
        yield database


def value_fleet(
    database: connection, rows: Sequence[tuple[str | None, ...]], month: date, since: date | None
) -> list[dict[str, Any]]:
    with database, database.cursor() as cursor:
        cursor.execute(
            "select * from fipe.value_fleet(%s::text[], %s::text[], %s::text[], %s, %s)",
            (*map(list, zip(*rows, strict=True)), f"{month:%Y-%m}", since and f"{since:%Y-%m}"),
        )
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_every_row_of_a_fleet_gets_the_answer_that_plain_python_gives(
    reused: connection, record_property: Callable[[str, object], None]
) -> None:
    notes = Counter[str]()
    for seed in range(DATABASES):
        chance = Random(seed)
        with reused, reused.cursor() as cursor:
            cursor.execute(f"truncate {TABLES} cascade")
        rows = [row._replace(fipe_code=CODES[int(row.fipe_code[5])]) for row in random_history(chance)]
        write_rows(reused, chance.sample(rows, len(rows)))
        history = History(rows)
        for _ in range(3):
            month = chance.choice([*history.months, chance.choice(sorted(MONTHS))])
            since = chance.choice([None, *sorted(MONTHS)])
            fleet = [any_row(chance, sorted({row.fipe_code for row in rows})) for _ in range(60)]
            fleets = Fleets(history, month, since)
            found = value_fleet(reused, [asked.written for asked in fleet], month, since)
            assert [answer["place"] for answer in found] == list(range(1, len(fleet) + 1))
            for asked, answer in zip(fleet, found, strict=True):
                expected = fleets.value(asked)
                assert {name: answer[name] for name in expected} == expected, (seed, asked, month, since)
                notes[str(answer["note"])] += 1
    record_property("notes", dict(notes))
    print(dict(notes))
    assert len(notes) == 15, "all notes occur but those of months that are not whole"
