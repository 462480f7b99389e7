"""What the questions of create_fipe_db.sql should answer, in plain Python, and random histories for them.

It shares nothing with the SQL but the rules, which it follows in the words of docs/queries.md. It is slow and
simple: prices are a list, and a series is a set of keys.
"""

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

from fipe_api.database.writer import PriceRow

Key = tuple[int, int, int, int, int]
"""Vehicle type, brand, model, model year and fuel, by their codes."""


COUNTED = (
    "vehicles_before", "vehicles", "new", "came back", "gone", "renamed", "changed fuel", "rose", "fell",
    "unchanged",
)  # fmt: skip
"""What fipe.month_by_month counts, in the order of its columns."""


def key_of(row: PriceRow) -> Key:
    return (row.vehicle_type, row.brand_code, row.model_code, row.model_year, row.fuel_code)


class Group(NamedTuple):
    """Keys that are one so far."""

    keys: frozenset[Key]
    first: date
    last: date


class History:
    """All prices of a database, and the answers to what people ask of them."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self.rows = sorted(rows)
        self.months = sorted({row.reference_month for row in self.rows})
        self.of_key: dict[Key, dict[date, PriceRow]] = defaultdict(dict)
        for row in self.rows:
            self.of_key[key_of(row)][row.reference_month] = row
        self.place: dict[Key, int] = {}
        self.series = self._series()
        self.series_of = {key: group for group in self.series for key in group}

    # Series ---------------------------------------------------------------------------------------------

    def _series(self) -> list[frozenset[Key]]:
        nodes = [self._group({key}) for key in self.of_key]
        chains = self._linked(nodes, lambda group: {key[:4] for key in group.keys})
        units = self._without_duplicates(chains)
        models = self._linked(units, lambda group: self._codes(group, "fuel_code"))
        return [group.keys for group in self._linked(models, self._codes)]

    def _group(self, keys: Iterable[Key]) -> Group:
        together = frozenset(keys)
        months = [month for key in together for month in self.of_key[key]]
        return Group(together, min(months), max(months))

    def _codes(self, group: Group, *more: str) -> set[tuple[Any, ...]]:
        return {
            tuple(getattr(row, field) for field in ("vehicle_type", "fipe_code", "model_year", *more))
            for key in group.keys
            for row in self.of_key[key].values()
        }

    def _linked(self, groups: Sequence[Group], places: Callable[[Group], set[Any]]) -> list[Group]:
        """The groups, with those as one that follow one another in some place, one before and one after."""
        at: dict[Any, list[Group]] = defaultdict(list)
        for group in groups:
            for place in places(group):
                at[place].append(group)
        pairs = {
            (a, b)
            for here in at.values()
            for a, b in itertools.permutations(here, 2)
            if a.last < b.first
            and self._near(a.last, b.first)
            and not any(a.last < c.first and c.last < b.first for c in here)
        }
        links = {
            a: b
            for a, b in pairs
            if sum(a == other for other, _ in pairs) == 1 and sum(b == other for _, other in pairs) == 1
        }
        linked = []
        for group in groups:
            if group in links.values():
                continue
            chain = [group]
            while chain[-1] in links:
                chain.append(links[chain[-1]])
            linked.append(self._group(key for each in chain for key in each.keys))
        return linked

    def _near(self, earlier: date, later: date) -> bool:
        a_year_on = earlier.replace(year=earlier.year + 1)
        return later <= a_year_on or not any(earlier < month < later for month in self.months)

    def _without_duplicates(self, chains: Sequence[Group]) -> list[Group]:
        def at(chain: Group) -> dict[date, PriceRow]:
            return {month: row for key in chain.keys for month, row in self.of_key[key].items()}

        prices = [at(chain) for chain in chains]

        def differ(a: int, b: int) -> bool:
            return any(
                prices[a][month].price_brl != prices[b][month].price_brl
                for month in prices[a]
                if month in prices[b]
            )

        def same_thing(one: PriceRow, other: PriceRow) -> bool:
            return all(
                getattr(one, field) == getattr(other, field)
                for field in ("vehicle_type", "fipe_code", "model_year", "fuel_code")
            )

        together = [{number} for number in range(len(chains))]
        for a, b in itertools.combinations(range(len(chains)), 2):
            if not differ(a, b) and any(
                same_thing(row, prices[b][month]) for month, row in prices[a].items() if month in prices[b]
            ):
                joined = together[a] | together[b]
                for number in joined:
                    together[number] = joined
        units = []
        for numbers in {frozenset(group) for group in together}:
            if any(differ(a, b) for a, b in itertools.combinations(numbers, 2)):
                units += [chains[number] for number in numbers]
                continue
            for place, number in enumerate(sorted(numbers, key=lambda each: min(chains[each].keys)[1:3])):
                self.place.update(dict.fromkeys(chains[number].keys, place))
            units.append(self._group(key for number in numbers for key in chains[number].keys))
        return units

    # Questions ------------------------------------------------------------------------------------------

    def counted(self, month: date) -> dict[frozenset[Key], PriceRow]:
        """The prices of a month, one per series."""
        found: dict[frozenset[Key], PriceRow] = {}
        for key in sorted(self.of_key, key=lambda each: self.place.get(each, 0)):
            if month in self.of_key[key]:
                found.setdefault(self.series_of[key], self.of_key[key][month])
        return found

    def month_before(self, month: date, since: date | None) -> date | None:
        return since or max((each for each in self.months if each < month), default=None)

    def latest_price(self) -> list[tuple[Any, ...]]:
        return [
            (row.reference_month, row.vehicle_type, *self._names(row)[1:], row.price_brl)
            for row in (
                self.counted(max(month for key in series for month in self.of_key[key]))[series]
                for series in self.series
            )
        ]

    def price_history(self, fipe_code: str, model_year: int | None) -> list[tuple[Any, ...]]:
        asked = {
            self.series_of[key_of(row)]
            for row in self.rows
            if row.fipe_code == fipe_code and model_year in (None, row.model_year)
        }
        answer = []
        for series in asked:
            rows = [row for month in self.months if (row := self.counted(month).get(series))]
            for before, row in zip([None, *rows], rows, strict=False):
                change = row.price_brl - before.price_brl if before else None
                answer.append((
                    row.reference_month, row.brand, row.model, row.model_year, row.model_year == 32000,
                    rows[-1].fuel, row.fuel, row.price_brl, change,
                    percent(row.price_brl, before.price_brl, 2) if before else None,
                ))  # fmt: skip
        return answer

    def depreciation(self, fipe_code: str, month: date) -> list[tuple[Any, ...]]:
        asked = {self.series_of[key_of(row)] for row in self.rows if row.fipe_code == fipe_code}
        rows = [row for series, row in self.counted(month).items() if series in asked]
        answer = []
        for row in rows:
            alike = [
                other
                for other in rows
                if (other.fuel_code, other.brand_code, other.model_code)
                == (row.fuel_code, row.brand_code, row.model_code)
            ]
            newest = max(alike, key=lambda other: other.model_year)
            zero_km = row.model_year == 32000
            age = 0 if zero_km else max(0, month.year - row.model_year)
            share = (
                rounded(Fraction(row.price_brl) * 100 / Fraction(newest.price_brl), 1)
                if newest.price_brl
                else None
            )
            answer.append(
                (row.brand, row.model, row.model_year, zero_km, age, row.fuel, row.price_brl, share)
            )
        return answer

    def brands_named(self, search: str | None) -> set[tuple[int, int]]:
        """The types and codes of the brands."""
        brands = {(row.vehicle_type, row.brand_code, row.brand) for row in self.rows}
        if search is None:
            return {(kind, code) for kind, code, _ in brands}
        asked = in_order(search)
        found = {each for each in brands if asked and set(asked) <= set(in_order(each[2]))}
        exact = {each for each in found if in_order(each[2]) == asked}
        types = {kind for kind, _, _ in exact}
        return {
            (kind, code) for kind, code, name in found if kind not in types or (kind, code, name) in exact
        }

    def vehicles_between(
        self, brand: str | None, least: int, most: int, month: date
    ) -> list[tuple[Any, ...]]:
        codes = self.brands_named(brand)
        return [
            (*self._names(row), row.price_brl)
            for row in self.counted(month).values()
            if (row.vehicle_type, row.brand_code) in codes and least <= row.price_brl <= most
        ]

    def month_differences(self, month: date, since: date | None) -> list[tuple[Any, ...]]:
        before_month = self.month_before(month, since)
        now = self.counted(month)
        before = self.counted(before_month) if before_month else {}
        answer = []
        for series in {*now, *before}:
            new, old = now.get(series), before.get(series)
            if new and old:
                word = "unchanged" if new.price_brl == old.price_brl else "changed"
            else:
                word = "new" if new else "gone"
            named = self._names(new or before[series])
            answer.append((before_month, month, word, *named, old and old.price_brl, new and new.price_brl))
        return answer

    def month_by_month(self, month: date, since: date | None, by: str | None) -> list[tuple[Any, ...]]:
        answer = []
        for before_month, this_month in itertools.pairwise(self.months):
            if this_month > month or (since and this_month <= since):
                continue
            apart = 12 * (this_month.year - before_month.year) + this_month.month - before_month.month
            counts: dict[tuple[int | None, int | None], Counter[str]] = defaultdict(Counter)
            names: dict[tuple[int | None, int | None], set[str]] = defaultdict(set)
            for changes, row in self._changes(before_month, this_month):
                group = {
                    None: (None, None),
                    "type": (row.vehicle_type, None),
                    "brand": (row.vehicle_type, row.brand_code),
                }[by]
                counts[group].update(changes)
                names[group].add(row.brand)
            for group, counted in counts.items():
                brand = max(names[group]) if by == "brand" else None
                answer.append((
                    before_month, this_month, apart, "whole", *group, brand,
                    *(counted[each] for each in COUNTED),
                ))  # fmt: skip
        return answer

    def _changes(self, before_month: date, month: date) -> Iterator[tuple[set[str], PriceRow]]:
        """What each series did between two months, and how the later month, or else the earlier, has it."""
        before, now = self.counted(before_month), self.counted(month)
        for series in {*before, *now}:
            old, new = before.get(series), now.get(series)
            changes = {"vehicles_before"} if old else set()
            changes |= {"vehicles"} if new else {"gone"}
            if not old:
                first = min(month for key in series for month in self.of_key[key])
                changes.add("came back" if first < before_month else "new")
            if old and new:
                published = [
                    [self.of_key[key][each] for key in series if each in self.of_key[key]]
                    for each in (before_month, month)
                ]
                names, fuels = (
                    [{each(row) for row in rows} for rows in published]
                    for each in (lambda row: (row.brand, row.model), lambda row: row.fuel_code)
                )
                changes |= {"renamed"} if names[0].isdisjoint(names[1]) else set()
                changes |= {"changed fuel"} if fuels[0].isdisjoint(fuels[1]) else set()
                priced = old.price_brl and new.price_brl
                rose, fell = (
                    priced and new.price_brl > old.price_brl,
                    priced and new.price_brl < old.price_brl,
                )
                changes.add("rose" if rose else "fell" if fell else "unchanged")
            yield changes, new or before[series]

    def price_changes(self, month: date, since: date | None) -> list[tuple[Any, ...]]:
        return [
            (earlier, later, *named, old, new, new - old, percent(new, old, 2))
            for earlier, later, word, *named, old, new in self.month_differences(month, since)
            if word in ("changed", "unchanged")
        ]

    def biggest_movers(self, how_many: int, month: date, since: date | None) -> list[tuple[Any, ...]]:
        before_month = self.month_before(month, since)
        before = self.counted(before_month) if before_month else {}
        moved = []
        for series, row in self.counted(month).items():
            old = before[series].price_brl if series in before else Decimal(0)
            if old and row.price_brl and old != row.price_brl:
                moved.append((Fraction(row.price_brl) / Fraction(old), row, old))

        def order(each: tuple[Fraction, PriceRow, Decimal]) -> tuple[Any, ...]:
            _, row, _ = each
            return (row.fipe_code, row.model_year, row.fuel_code, row.brand_code, row.model_code)

        risen = sorted((each for each in moved if each[0] > 1), key=lambda each: (-each[0], order(each)))
        fallen = sorted((each for each in moved if each[0] < 1), key=lambda each: (each[0], order(each)))
        biggest = sorted([*risen[:how_many], *fallen[:how_many]], key=lambda each: (-each[0], order(each)))
        return [
            (
                before_month, month, *self._names(row), old, row.price_brl, row.price_brl - old,
                percent(row.price_brl, old, 2),
            )
            for _, row, old in biggest
        ]  # fmt: skip

    def models_named(self, search: str) -> dict[tuple[int, int, int], list[PriceRow]]:
        """The models that a search finds, with all their prices."""
        models: dict[tuple[int, int, int], list[PriceRow]] = defaultdict(list)
        for row in self.rows:
            models[row.vehicle_type, row.brand_code, row.model_code].append(row)
        for begins in (begins_a_word, is_like_a_word):
            found = {
                key: rows
                for key, rows in models.items()
                if any(
                    begins(in_order(search), words(f"{row.brand} {row.model}"))
                    or (begins is begins_a_word and row.fipe_code.replace("-", "") == search.replace("-", ""))
                    for row in rows
                )
            }
            if found:
                return found
        return {}

    def search_models(self, search: str) -> list[tuple[Any, ...]]:
        answer = []
        for (kind, brand_code, model_code), rows in self.models_named(search).items():
            newest = max(row.reference_month for row in rows)
            brand, model = min((row.brand, row.model) for row in rows if row.reference_month == newest)
            offered = [
                row for row in rows if (row.reference_month, row.brand, row.model) == (newest, brand, model)
            ]
            codes = ", ".join(sorted({row.fipe_code for row in offered}))
            years = sorted({row.model_year for row in offered} - {32000})
            spans = [str(years[0]) if len(years) == 1 else f"{years[0]}-{years[-1]}"] if years else []
            if any(row.model_year == 32000 for row in offered):
                spans.append("zero km")
            price = min(offered, key=lambda row: (-row.model_year, row.fuel_code)).price_brl
            answer.append(
                (kind, brand, model, codes, ", ".join(spans), price, newest, brand_code, model_code)
            )
        return answer

    def price_of(
        self, search: str, model_year: int | None, month: date, since: date | None
    ) -> list[tuple[Any, ...]]:
        asked = {
            self.series_of[key_of(row)]
            for rows in self.models_named(search).values()
            for row in rows
            if model_year in (None, row.model_year)
        }
        before = self.counted(since) if since else {}
        answer = []
        for series, row in self.counted(month).items():
            if series in asked:
                old = before[series].price_brl if series in before else None
                change = None if old is None else row.price_brl - old
                answer.append((
                    since, month, *self._names(row), old, row.price_brl, change,
                    None if old is None else percent(row.price_brl, old, 2),
                ))  # fmt: skip
        return answer

    def flagged_price(self) -> list[tuple[Any, ...]]:
        flags = [("zero price", row) for row in self.rows if not row.price_brl]
        flags += [("unknown fuel", row) for row in self.rows if not 1 <= row.fuel_code <= 7]
        return [(flag, row.reference_month, row.model_code, row.fuel, row.price_brl) for flag, row in flags]

    def _names(self, row: PriceRow) -> tuple[Any, ...]:
        return (
            row.vehicle_type, row.brand, row.model, row.model_year, row.model_year == 32000, row.fuel,
            row.fipe_code,
        )  # fmt: skip


def percent(new: Decimal, old: Decimal, digits: int) -> Decimal | None:
    return rounded(100 * (Fraction(new) - Fraction(old)) / Fraction(old), digits) if old else None


def rounded(value: Fraction, digits: int) -> Decimal:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def plain(name: str) -> str:
    letters = (each for each in unicodedata.normalize("NFD", name) if not unicodedata.combining(each))
    return "".join(letters).lower()


def in_order(name: str) -> list[str]:
    """The words of a name, in small letters without accents; a decimal comma is a point."""
    text = re.sub(r"(?<=\d),(?=\d)", ".", plain(name))
    return re.findall(r"(?:[a-z0-9]|(?<=[0-9])[.](?=[0-9]))+", text)


def words(name: str) -> set[str]:
    """Those of a name, and what a hyphen or an apostrophe joins as one word, too."""
    joined = re.findall(r"[a-z0-9]+(?:[-'´`][a-z0-9]+)+", plain(name))
    return {*in_order(name), *("".join(re.findall("[a-z0-9]", each)) for each in joined)}


def begins_a_word(asked: list[str], known: set[str]) -> bool:
    """Whether each begins a known word; two neighbours may do it together."""
    ways = [asked] + [
        [*asked[:place], asked[place] + asked[place + 1], *asked[place + 2 :]]
        for place in range(len(asked) - 1)
    ]
    return bool(asked) and any(
        all(any(word.startswith(each) for word in known) for each in way) for way in ways
    )


def is_like_a_word(asked: list[str], known: set[str]) -> bool:
    def alike(each: str) -> bool:
        parts = re.fullmatch(r"([a-z]+)([0-9]+)", each)
        if parts and parts[1] in known and any(word.startswith(parts[2]) for word in known):
            return True
        misspelled = re.fullmatch("[a-z]{4,25}", each)
        return any(word.startswith(each) or (misspelled and one_letter_apart(each, word)) for word in known)

    return bool(asked) and all(alike(each) for each in asked)


def one_letter_apart(one: str, other: str) -> bool:
    """Whether a letter was added, removed or replaced, or two neighbours changed places."""
    if sorted(one) == sorted(other):
        different = [place for place in range(len(one)) if one[place] != other[place]]
        return len(different) == 2 and different[1] == different[0] + 1
    if len(one) == len(other):
        pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
        return len(pairs) == 1 and pairs[0][1].isalpha()
    shorter, longer = sorted((one, other), key=len)
    extra = [place for place in range(len(longer)) if longer[:place] + longer[place + 1 :] == shorter]
    return len(longer) == len(shorter) + 1 and any(longer == one or longer[at].isalpha() for at in extra)


# Random histories -------------------------------------------------------------------------------------------

MONTHS = {
    date(2015, 3, 1): 170, date(2016, 3, 1): 160, date(2016, 4, 1): 183, date(2019, 10, 1): 225,
    date(2022, 11, 1): 291, date(2022, 12, 1): 292, date(2023, 1, 1): 293, date(2023, 2, 1): 294,
    date(2023, 12, 1): 304, date(2024, 1, 1): 305, date(2026, 6, 1): 334,
}  # fmt: skip
FUELS = {1: "Gasolina", 3: "Diesel", 5: "Flex", 6: "Híbrido", 9: "Hidrogênio"}
BRANDS = {1: ("VW - VolksWagen", "Volkswagen"), 2: ("Škoda", "Skoda"), 3: ("GM - Chevrolet", "GM"),
          4: ("Saab-Skoda", "Saab")}  # fmt: skip
MODELS = {7: ("Gol 1.0 Flex", "GOL 1,0"), 8: ("Fusca", "Fusca Itamar"), 9: ("MARRUÁ High.CD", "Marrua"),
          10: ("T-Cross 60", "TCross60")}  # fmt: skip


def random_history(chance: Random) -> list[PriceRow]:
    """Vehicles that begin, end, change fuels, names and FIPE codes, collide, pause, and cost nothing."""
    months = sorted(chance.sample(sorted(MONTHS), chance.randint(1, 7)))
    codes = [f"{number:06}-0" for number in range(chance.randint(1, 5))]
    rows = {}
    for _ in range(chance.randint(1, 14)):
        brand, model = chance.choice([1, 1, 2, 3, 4]), chance.choice([7, 8, 9, 10])
        model_year, fuel = chance.choice([2014, 32000]), chance.choice([1, 1, 3, 5, 5, 6, 9])
        fipe_code = chance.choice(codes)
        begins, ends = sorted((chance.randrange(len(months)), chance.randrange(len(months))))
        for month in months[begins : ends + 1]:
            if chance.random() < 0.1:
                continue
            if chance.random() < 0.1:
                fipe_code = chance.choice(codes)
            usual = Decimal(100 + MONTHS[month] % 7 * 10 + codes.index(fipe_code))
            row = PriceRow(
                month, MONTHS[month], 1, brand, chance.choice((*BRANDS[brand][:1] * 5, BRANDS[brand][1])),
                model,
                chance.choice((*MODELS[model][:1] * 5, MODELS[model][1])), model_year, fuel,
                FUELS[fuel], fipe_code, chance.choice([usual] * 8 + [usual + 5, Decimal(0)]),
            )  # fmt: skip
            rows[month, key_of(row)] = row
    return list(rows.values())
