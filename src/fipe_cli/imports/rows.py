"""Turns the text of a batch into checked prices; rows that break FIPE's rules are kept apart.

The same values come in many rows, so each distinct value is read once and the rows refer to it by a number.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as arrow
import pyarrow.compute as compute

from fipe_api.messages import check_fipe_code, folded
from fipe_api.source.answers import KNOWN_FUELS, parse_month
from fipe_cli.imports.columns import Layout
from fipe_cli.imports.files import LINE, Batch

FIRST_MONTH = date(2001, 1, 1)
ZERO_KM = 32_000
LONGEST_NAME = 250
SEPARATOR = "\x1f"

LAST_MONTH_OF_THREE_FUELS = date(2022, 5, 1)
"""Up to here FIPE called flex, hybrid and electric cars by other fuels; merged files do not."""
NEW_FUELS = (4, 5, 6)
ROWS_OF_A_MERGED_FILE = 10
CODES_OF_A_MERGED_FILE, LEAST_RENAMED = 500, 0.001
DAYS_IN_WHICH_NAMES_CHANGE = 3 * 365
"""Of the codes that stand in two months three years apart, FIPE has renamed more than one in 1,000."""

DENIED = "a load of the month, by the official API, does not have this vehicle"
OTHER_PRICE = "another price than {there} of source {source}, which stays"
"""Why the database keeps rows apart that are prices."""

_TYPES = {
    **dict.fromkeys(("1", "carro", "carros", "car", "cars", "automovel"), 1),
    **dict.fromkeys(("2", "moto", "motos", "motocicleta", "motorcycle", "motorcycles"), 2),
    **dict.fromkeys(("3", "caminhao", "caminhoes", "truck", "trucks"), 3),
}
_TYPE_OF_DIGIT = {"0": 1, "3": 1, "5": 3, "7": 2, "8": 2}
_FUEL_WORDS = {
    **{folded(name): code for code, name in KNOWN_FUELS.items()},
    **dict(zip("gedlfhn", (1, 2, 3, 4, 5, 6, 7), strict=True)),
    "etanol": 2, "gnv": 7,
}  # fmt: skip
_BRAZILIAN_PRICE = re.compile(r"(?:R\$)?\s*(\d{1,3}(?:\.\d{3})+|\d+),(\d{1,2})")
_PLAIN_PRICE = re.compile(r"(?:R\$)?\s*(\d+)(?:\.(\d{1,2}))?")
_ISO_MONTH = re.compile(r"(\d{4})-(\d{1,2})(?:-01)?(?:[T ].*)?")
_SLASHED_MONTH = re.compile(r"(?:01/)?(\d{1,2})/(\d{4})")
_MOST_CENTS = 10**12


class Identity(NamedTuple):
    """What FIPE's code says: of which type, and which code."""

    vehicle_type: int
    fipe_code: str


class Names(NamedTuple):
    """The names of a brand and a model, with FIPE's codes if the file has them."""

    brand: str
    model: str
    brand_code: int | None
    model_code: int | None


class Fuel(NamedTuple):
    """A fuel."""

    code: int
    name: str


class Month(NamedTuple):
    """A reference month, with FIPE's code if the file has it."""

    month: date
    code: int | None


class Vehicle(NamedTuple):
    """A vehicle as the file names it."""

    identity: Identity
    names: Names
    model_year: int
    fuel: Fuel


class KeptApart(NamedTuple):
    """A row that is not stored as a price."""

    line: int
    reason: str
    content: dict[str, str]


@dataclass(frozen=True)
class Prices:
    """The prices of a batch.

    Attributes:
        table: columns line, vehicle (a place in `vehicles`), month (a place in `months`), cents.
        vehicles: each once.
        months: each once.
        beside: vehicles' names that bear one FIPE code in the same month.
        copies: rows that repeat another exactly, and are not in the table.
        apart: rows that are not prices.
        raw: the batch as text, for rows that the database keeps apart.
        position: as the batch's.
    """

    table: Any
    vehicles: list[Vehicle]
    months: list[Month]
    beside: dict[Identity, list[set[Names]]]
    copies: int
    apart: list[KeptApart]
    raw: Any
    position: int

    @property
    def rows(self) -> int:
        """How many rows of the file these are."""
        return int(self.table.num_rows) + self.copies + len(self.apart)

    def content(self, lines: Iterable[int]) -> dict[int, dict[str, str]]:
        """The text of rows, by line."""
        return _content(self.raw, lines)


Value = TypeVar("Value")


@dataclass
class _Values(Generic[Value]):
    """The distinct values of some columns: numbers from 0 on, or below 0 for what is wrong."""

    parse: Callable[..., Value]
    values: list[Value] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _number_of: dict[Value, int] = field(default_factory=dict)

    def of(self, columns: Sequence[Any]) -> Any:
        """The numbers of the rows' values."""
        joined = compute.binary_join_element_wise(*columns, SEPARATOR)
        encoded = arrow.chunked_array(joined).combine_chunks().dictionary_encode()
        numbers = arrow.array(map(self._number, encoded.dictionary.to_pylist()), arrow.int64())
        return numbers.take(encoded.indices)

    def _number(self, text: str) -> int:
        if text not in self._numbers:
            try:
                value = self.parse(*text.split(SEPARATOR))
            except ValueError as error:
                self.problems.append(str(error))
                self._numbers[text] = -len(self.problems)
            else:
                self._numbers[text] = self._number_of.setdefault(value, len(self.values))
                if len(self._number_of) > len(self.values):
                    self.values.append(value)
        return self._numbers[text]

    def values_of(self, column: Any) -> Any:
        """The rows' values themselves, if they are numbers from 0 on; below 0 for what is wrong."""
        numbers = self.of([column])
        values = arrow.array(self.values, arrow.int64())
        is_right = compute.greater_equal(numbers, 0)
        known = values.take(compute.if_else(is_right, numbers, None))
        return compute.if_else(is_right, known, numbers)

    def problem(self, number: int) -> str:
        return self.problems[-number - 1]


class RowReader:
    """Reads the batches of one file."""

    def __init__(self, layout: Layout, month: date | None) -> None:
        self._columns = layout.columns
        self._identities = _Values(_identity)
        self._names = _Values(_names)
        self._years = _Values(_model_year)
        self._fuels = _Values(_fuel)
        self._months = _Values(_month if month is None else lambda *_: Month(month, None))
        self._price = _price if "price" in layout.columns else _cents

    def read(self, batch: Batch) -> Prices:
        """The prices of a batch."""
        prices = _Values(self._price)
        groups: dict[str, tuple[_Values[Any], tuple[str, ...]]] = {
            "identity": (self._identities, ("type", "code")),
            "names": (self._names, ("brand", "model", "brand_code", "model_code")),
            "year": (self._years, ("year", "zero_km")),
            "fuel": (self._fuels, ("fuel", "fuel_code")),
            "month": (self._months, ("month", "month_number", "month_year", "reference_code")),
            "price": (prices, ("price" if "price" in self._columns else "cents",)),
        }
        numbers = {
            name: values.of([self._column(batch.table, each) for each in fields])
            for name, (values, fields) in groups.items()
            if values is not prices
        }
        written = batch.table[self._columns[groups["price"][1][0]]]
        plain = self._plain_cents(written)
        numbers["price"] = prices.values_of(written) if plain is None else plain
        table = arrow.table({LINE: batch.table[LINE].combine_chunks(), **numbers})
        wrong = _any(compute.less(numbers[name], 0) for name in groups)
        apart = [
            (row[LINE], next(groups[name][0].problem(row[name]) for name in groups if row[name] < 0))
            for row in table.filter(wrong).to_pylist()
        ]
        table = table.filter(compute.invert(wrong))
        table, copies, twice, beside = self._without_repetitions(table)
        vehicles = self._vehicle_keys(table).dictionary_encode()
        months = table["month"].combine_chunks().dictionary_encode()
        raw_lines = dict([*apart, *twice])
        content = _content(batch.table, raw_lines)
        return Prices(
            arrow.table({
                "line": table[LINE],
                "vehicle": vehicles.indices,
                "month": months.indices,
                "cents": table["price"],
            }),
            [self._vehicle(key) for key in vehicles.dictionary.to_pylist()],
            [self._months.values[number] for number in months.dictionary.to_pylist()],
            beside,
            copies,
            [
                *(KeptApart(line, reason, content[line]) for line, reason in raw_lines.items()),
                *(
                    KeptApart(line, "another number of columns than the first line", {"": text})
                    for line, text in batch.malformed
                    if text.strip()
                ),
            ],
            batch.table,
            batch.position,
        )  # fmt: skip

    def _column(self, table: Any, name: str) -> Any:
        if name in self._columns:
            return table[self._columns[name]]
        return arrow.chunked_array([arrow.repeat(arrow.scalar(""), table.num_rows)])

    def _plain_cents(self, column: Any) -> Any | None:
        """The cents of all rows at once, if each is written with digits and a point; else None."""
        is_price = "price" in self._columns
        form = r"^[0-9]{1,9}(\.[0-9]{1,2})?$" if is_price else "^[0-9]{1,11}$"
        if not compute.all(compute.match_substring_regex(column, form)).as_py():
            return None
        if is_price:
            reais = column.cast(arrow.decimal128(12, 2))
            column = compute.multiply(reais, arrow.scalar(Decimal(100), arrow.decimal128(3, 0)))
        return column.cast(arrow.int64()).combine_chunks()

    def _vehicle_keys(self, table: Any) -> Any:
        """A number per vehicle as the file names it."""
        key = table["identity"]
        for name, values in (
            ("names", self._names.values), ("year", self._years.values), ("fuel", self._fuels.values)
        ):  # fmt: skip
            key = compute.add(compute.multiply(key, len(values)), table[name])
        return key.combine_chunks()

    def _vehicle(self, key: int) -> Vehicle:
        key, fuel = divmod(key, len(self._fuels.values))
        key, year = divmod(key, len(self._years.values))
        identity, names = divmod(key, len(self._names.values))
        return Vehicle(
            self._identities.values[identity],
            self._names.values[names],
            self._years.values[year],
            self._fuels.values[fuel],
        )

    def _without_repetitions(
        self, table: Any
    ) -> tuple[Any, int, list[tuple[int, str]], dict[Identity, list[set[Names]]]]:
        """What is left when each vehicle of a month has one price, whatever its names.

        Returns:
            The table; how many rows repeat another; the lines of contradictions, with the reason; and the
            names that bear one FIPE code in a month.
        """
        key = table["identity"]
        for name, values in (
            ("year", self._years.values), ("fuel", self._fuels.values), ("month", self._months.values)
        ):  # fmt: skip
            key = compute.add(compute.multiply(key, len(values)), table[name])
        counted = key.value_counts()
        keys, counts = counted.field("values"), counted.field("counts")
        repeated = keys.filter(compute.greater(counts, 1))
        if not len(repeated):
            return table, 0, [], {}
        rows = table.append_column("key", key).filter(compute.is_in(key, repeated)).to_pylist()
        same: dict[int, list[dict[str, int]]] = defaultdict(list)
        for row in rows:
            same[row["key"]].append(row)
        dropped: set[int] = set()
        twice: list[tuple[int, str]] = []
        beside: dict[Identity, list[set[Names]]] = defaultdict(list)
        copies = 0
        for group in same.values():
            cents = {row["price"] for row in group}
            if len(cents) > 1:
                named = " and ".join(str(Decimal(each) / 100) for each in sorted(cents))
                twice += [(row[LINE], f"one vehicle with {len(cents)} prices: {named}") for row in group]
                dropped |= {row[LINE] for row in group}
                continue
            first = {row["names"]: row[LINE] for row in reversed(group)}
            copies += len(group) - len(first)
            dropped |= {row[LINE] for row in group} - set(first.values())
            if len(first) > 1:
                names = {self._names.values[number] for number in first}
                beside[self._identities.values[group[0]["identity"]]].append(names)
        gone = compute.is_in(table[LINE], arrow.array(sorted(dropped), arrow.int64()))
        return table.filter(compute.invert(gone)), copies, twice, beside


def looks_merged(prices: Prices) -> bool:
    """Whether rows of old months have fuels that FIPE gave them later: today's names in old months."""
    old = [place for place, each in enumerate(prices.months) if each.month <= LAST_MONTH_OF_THREE_FUELS]
    new = [place for place, each in enumerate(prices.vehicles) if each.fuel.code in NEW_FUELS]
    if not (old and new):
        return False
    of_old = compute.is_in(prices.table["month"], arrow.array(old, arrow.int32()))
    of_new = compute.is_in(prices.table["vehicle"], arrow.array(new, arrow.int32()))
    return bool(compute.sum(compute.and_(of_old, of_new)).as_py() >= ROWS_OF_A_MERGED_FILE)


def ends_look_merged(first: Prices, last: Prices) -> bool:
    """Whether rows that lie years apart name everything alike: FIPE renames models all the time."""
    months = [each.month for prices in (first, last) for each in prices.months]
    if not months or (max(months) - min(months)).days < DAYS_IN_WHICH_NAMES_CHANGE:
        return False
    names: list[dict[Identity, set[tuple[str, str]]]] = [defaultdict(set), defaultdict(set)]
    for prices, named in zip((first, last), names, strict=True):
        for vehicle in prices.vehicles:
            named[vehicle.identity].add((vehicle.names.brand, vehicle.names.model))
    in_both = names[0].keys() & names[1].keys()
    renamed = sum(names[0][each].isdisjoint(names[1][each]) for each in in_both)
    return len(in_both) >= CODES_OF_A_MERGED_FILE and renamed < LEAST_RENAMED * len(in_both)


def _any(masks: Iterable[Any]) -> Any:
    found = None
    for mask in masks:
        found = mask if found is None else compute.or_(found, mask)
    return found


def _content(table: Any, lines: Iterable[int]) -> dict[int, dict[str, str]]:
    wanted = arrow.array(sorted(lines), arrow.int64())
    if not len(wanted):
        return {}
    rows = table.filter(compute.is_in(table[LINE], wanted)).to_pylist()
    return {row.pop(LINE): row for row in rows}


def _identity(kind: str, code: str) -> Identity:
    code = code.strip()
    check_fipe_code(code)
    vehicle_type = _TYPES.get(folded(kind)) if kind else _TYPE_OF_DIGIT.get(code[0])
    if vehicle_type is None:
        raise ValueError(
            f"unknown vehicle type {kind!r}" if kind else f"no vehicle type begins with {code[0]}"
        )
    return Identity(vehicle_type, code)


def _names(brand: str, model: str, brand_code: str, model_code: str) -> Names:
    for what, name in (("brand", brand), ("model", model)):
        if not name.strip():
            raise ValueError(f"no name of the {what}")
        if len(name) > LONGEST_NAME:
            raise ValueError(f"the name of the {what} has more than {LONGEST_NAME} letters")
    codes = [int(code) if code.isdecimal() else None for code in (brand_code, model_code)]
    return Names(brand, model, *(codes if None not in codes else (None, None)))


def _model_year(year: str, zero_km: str) -> int:
    said = folded(year).removesuffix(".0")
    is_new = folded(zero_km) in ("true", "t", "sim", "s", "1", "yes")
    if is_new or said in ("32000", "zero km", "0 km", "0km", "zero") or not (said or zero_km):
        return ZERO_KM
    if not said.isdecimal() or not 1900 <= int(said) <= 2100:
        raise ValueError(f"not a model year: {year!r}")
    return int(said)


def _fuel(fuel: str, code: str) -> Fuel:
    if code.isdecimal() and int(code) < 2**15:
        return Fuel(int(code), fuel or KNOWN_FUELS.get(int(code), f"fuel {code}"))
    known = _FUEL_WORDS.get(folded(fuel))
    if code or known is None:
        raise ValueError(f"unknown fuel {code or fuel!r}")
    return Fuel(known, KNOWN_FUELS[known])


def _month(month: str, number: str, year: str, code: str) -> Month:
    text = month.strip() or f"{year.strip()}-{number.strip()}"
    first = _first_day(text)
    if not FIRST_MONTH <= first <= datetime.now(UTC).date():
        raise ValueError(f"FIPE has published no table for {text}")
    return Month(first, int(code) if code.isdecimal() else None)


def _first_day(text: str) -> date:
    if found := _ISO_MONTH.fullmatch(text):
        return date(int(found[1]), int(found[2]), 1)
    if found := _SLASHED_MONTH.fullmatch(text):
        return date(int(found[2]), int(found[1]), 1)
    return parse_month(text)


def _price(text: str) -> int:
    said = text.strip()
    if found := _BRAZILIAN_PRICE.fullmatch(said):
        reais = found[1].replace(".", "")
    elif found := _PLAIN_PRICE.fullmatch(said):
        reais = found[1]
    else:
        raise ValueError(f"not a price in reais: {text!r}")
    return _checked(100 * int(reais) + int((found[2] or "").ljust(2, "0")))


def _cents(text: str) -> int:
    said = text.strip().removesuffix(".0")
    if not said.isdecimal():
        raise ValueError(f"not a price in cents: {text!r}")
    return _checked(int(said))


def _checked(cents: int) -> int:
    if cents >= _MOST_CENTS:
        raise ValueError(f"not a price in reais: {Decimal(cents) / 100}")
    return cents
