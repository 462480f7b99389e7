"""A history of the shape of FIPE's, made from one month: 309 months, 9.5 million prices, always the same.

Vehicles enter, stay for years, and leave. What FIPE did to them is there as often as inventories of the real
history counted it (Shape): until 2023 there are three fuels, models and brands had other names, some had
other codes, some stand twice in a month, some pause.

The history knows which published vehicles are the same (Stretch.vehicle), without the rules by which the
database finds that out.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import count, pairwise
from random import Random
from typing import Any, NamedTuple

from benchmarks.month import FUELS as USUAL_FUELS
from benchmarks.month import SEED, ZERO_KM, fipe_code, month
from fipe_simulator import CatalogueRow
from fipe_simulator.months import Reference, months_between, published_references

REFERENCES: tuple[Reference, ...] = tuple(reversed(published_references(date(2026, 9, 1))))
"""January 2001 to September 2026, with FIPE's codes. The number of a month is its place here."""

FUELS = USUAL_FUELS | {2: "Álcool", 4: "Elétrico", 6: "Híbrido", 7: "Gás Natural"}
CAR, MOTORCYCLE, TRUCK = 1, 2, 3
MOVES = 65_537


def number_of(year: int, month_of_year: int) -> int:
    """The number of a month."""
    return months_between(REFERENCES[0].month, date(year, month_of_year, 1))


CATALOGUE, NEWEST = number_of(2026, 6), len(REFERENCES) - 1
FLEX, OTHER_FUELS = number_of(2023, 1), number_of(2023, 7)
"""When most Flex cars became Flex, and when most others got their fuels."""
COUNTED_FROM, COUNTED_UNTIL = number_of(2022, 5), number_of(2026, 6)
"""The months between which the changes of fuels were counted."""


class Shape:
    """The real history in figures."""

    FIRST_PRICES, CATALOGUE_PRICES, NEWEST_PRICES = 11_107, 50_332, 51_012
    GROWTH = 1.01
    """The exponent of the curve from the first to the newest: it gives the right mean."""
    DIPS = ((100, 101, 0.056), (101, 101, 0.035))
    """First month, last month and share of what is missing: in the month after both, 9.6% come back."""

    NEW_FUELS = (
        (CAR, 5, {1: 5_806}),
        (CAR, 6, {1: 293, 3: 19}),
        (CAR, 4, {1: 127}),
        (CAR, 7, {1: 14}),
        (MOTORCYCLE, 5, {1: 100}),
        (MOTORCYCLE, 4, {1: 60}),
        (TRUCK, 7, {3: 50}),
        (TRUCK, 4, {3: 20}),
    )
    """Type, fuel in June 2026, and how many of those had which fuel in May 2022. Only cars were counted."""
    CORRECTED_FUELS = ((CAR, 2, 1, 10), (CAR, 1, 3, 4), (TRUCK, 3, 1, 6))
    """Type, fuel before, fuel after, vehicles."""
    LOSE_ALCOHOL, GET_ALCOHOL, LOSE_PETROL = 35, 30, 28
    PETROL_IN_FIRST_MONTH = 40
    TWO_GENERATIONS = 20

    RENAMED_CODES = ((12, 202, 80), (202, 257, 174), (257, 306, 201))
    """From and until which month, and how many FIPE codes had another model name before."""
    ONE_WITH_NEW_MODEL_CODE_IN, RENAMED_WITH_TWO_FUELS = 5, 40
    REBRANDED_CODES = 10
    CHANGED_CODES, GONE_CODES = 60, 61
    COLLISIONS, COPIES = 168, 83
    ZERO_PRICES, ZERO_PRICE_MONTH = 22, number_of(2012, 9)
    PAUSES, LONG_PAUSES = 1_500, 50
    PAUSES_AT_FLEX = 50


class Published(NamedTuple):
    """A vehicle as published, with all that names it."""

    vehicle_type: int
    brand_code: int
    brand: str
    model_code: int
    model: str
    model_year: int
    fuel_code: int
    fuel: str
    fipe_code: str


class Stretch(NamedTuple):
    """Months in a row in which a vehicle is published in one way.

    `vehicle` is the same number for all stretches of a vehicle, whatever it was called.
    """

    published: Published
    first: int
    last: int
    vehicle: int


@dataclass(eq=False)
class _Vehicle:
    """A vehicle: how it is published in the end, and until which months it was published otherwise."""

    now: Published
    price: float
    usual_entry: float = 0
    entry: int = -1
    last: int = NEWEST
    until: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    pauses: list[tuple[int, int]] = field(default_factory=list)
    twins: list[tuple[int, Published]] = field(default_factory=list)

    @property
    def model(self) -> tuple[int, ...]:
        return (self.now.vehicle_type, self.now.brand_code, self.now.model_code)

    @property
    def cell(self) -> tuple[int, ...]:
        """Vehicles of one cell differ in fuel alone."""
        return (*self.model, self.now.model_year)

    def has(self, vehicle_type: int, fuel_code: int) -> bool:
        return (self.now.vehicle_type, self.now.fuel_code) == (vehicle_type, fuel_code)

    def is_there(self, number: int) -> bool:
        return self.entry <= number <= self.last and not any(a <= number <= b for a, b in self.pauses)

    def published(self, number: int) -> Published:
        names: dict[str, Any] = {}
        for until, before in sorted(self.until, key=lambda each: -each[0]):
            if number < until:
                names |= before
        return self.now._replace(**names)

    def stretches(self, vehicle: int) -> Iterator[Stretch]:
        bounds = {self.entry, self.last + 1, *(until for until, _ in self.until)}
        bounds |= {bound for first, last in self.pauses for bound in (first, last + 1)}
        for first, end in pairwise(sorted(each for each in bounds if self.entry <= each <= self.last + 1)):
            if self.is_there(first):
                yield Stretch(self.published(first), first, end - 1, vehicle)
        for number, twin in self.twins:
            yield Stretch(twin, number, number, vehicle)


class History:
    """The prices of all months.

    Args:
        share: of the models; 1 gives the real size.
        vehicle_types: whose models.

    Attributes:
        stretches: of all vehicles, by codes.
    """

    def __init__(self, share: float = 1, vehicle_types: Sequence[int] = (CAR, MOTORCYCLE, TRUCK)) -> None:
        vehicles = _Maker(share, vehicle_types).vehicles
        chance = Random(SEED)
        self._prices = [vehicle.price for vehicle in vehicles]
        self._falls = [chance.uniform(-0.0015, 0.006) for _ in vehicles]
        self._moves = [
            chance.uniform(0.7, 1.35) if chance.random() < 0.001 else chance.uniform(0.99, 1.01)
            for _ in range(MOVES)
        ]
        self.stretches = sorted(
            stretch for number, vehicle in enumerate(vehicles) for stretch in vehicle.stretches(number)
        )
        self._zero: set[int] = set()
        there = [each for each, _ in self.month(Shape.ZERO_PRICE_MONTH)]
        there.sort(key=lambda each: each.published.vehicle_type != MOTORCYCLE)
        self._zero = {each.vehicle for each in there[: math.ceil(Shape.ZERO_PRICES * share)]}

    def month(self, number: int) -> Iterator[tuple[Stretch, int]]:
        """The prices of a month in reais, by codes."""
        for stretch in self.stretches:
            if stretch.first <= number <= stretch.last:
                yield stretch, self._price(stretch.vehicle, number)

    def _price(self, vehicle: int, number: int) -> int:
        if number == Shape.ZERO_PRICE_MONTH and vehicle in self._zero:
            return 0
        # One price in ten stays as it was in the month before.
        moved_at = number - 1 if (31 * vehicle + 17 * number) % 10 == 0 else number
        fallen = 1 + self._falls[vehicle] * (CATALOGUE - moved_at)
        return max(
            1,
            int(self._prices[vehicle] * fallen * self._moves[(7_919 * vehicle + 104_729 * moved_at) % MOVES]),
        )


class _Maker:
    """Makes the vehicles, and does to them what FIPE did."""

    def __init__(self, share: float, vehicle_types: Sequence[int]) -> None:
        self._share = share
        self._chance = Random(SEED)
        self._fipe_codes = {row.fipe_code for row in month().rows}
        self._numbers = {kind: count(99_999, -1) for kind in (CAR, MOTORCYCLE, TRUCK)}
        self._codes = count(900_001)
        self._recoded: list[tuple[_Vehicle, int, dict[str, Any]]] = []
        rows = [row for row in _with_all_fuels(month().rows) if row.vehicle_type in vehicle_types]
        self._lasting = [
            _Vehicle(Published(*row[:9]), float(row.price_brl), self._usual_entry(row.model_year))
            for row in self._some_models(rows)
        ]
        self._weight = len(self._lasting) / Shape.CATALOGUE_PRICES
        self.vehicles = list(self._lasting)
        self._add_leaving()
        self._enter()
        self.vehicles = [each for each in self.vehicles if each.entry >= 0]
        self._add_newest()
        self._count_fuels()
        self._change_fuels()
        self._begin_or_end_one_of_two()
        self._add_generations()
        self._pause()
        self._rename()
        self._publish_twice()

    def _some(self, among: Iterable[_Vehicle], real: int) -> list[_Vehicle]:
        """As many as a history of this size has of them, chosen by chance."""
        among = list(among)
        return self._chance.sample(among, min(len(among), self._size(real)))

    def _size(self, real: int) -> int:
        return math.ceil(real * self._share)

    def _by_model(self, vehicles: Iterable[_Vehicle]) -> list[list[_Vehicle]]:
        models: dict[tuple[int, ...], list[_Vehicle]] = defaultdict(list)
        for each in vehicles:
            models[each.model].append(each)
        return list(models.values())

    # Who is there ---------------------------------------------------------------------------------------

    def _some_models(self, rows: Sequence[CatalogueRow]) -> list[CatalogueRow]:
        """A share of all models, with at least one of each type and of each way to have fuels."""
        fuels: dict[tuple[str, int], set[int]] = defaultdict(set)
        for row in rows:
            fuels[row.fipe_code, row.model_year].add(row.fuel_code)
        models = list(dict.fromkeys(row.fipe_code for row in rows))
        kept = set(self._chance.sample(models, math.ceil(len(models) * self._share)))
        kept |= {row.fipe_code for row in {
            (row.vehicle_type, *sorted(fuels[row.fipe_code, row.model_year])): row for row in rows
        }.values()}  # fmt: skip
        return [row for row in rows if row.fipe_code in kept]

    def _usual_entry(self, model_year: int) -> float:
        if model_year == ZERO_KM:  # of models that are sold as nothing else
            return CATALOGUE - self._chance.uniform(1, 60)
        return 12 * (model_year - 2001) - 8 + self._chance.uniform(0, 12)

    def _add_leaving(self) -> None:
        """Zero km of models that are no longer sold, very old model years, and models that are gone."""
        chance = self._chance
        for vehicles in self._by_model(self._lasting):
            zero_km = [each for each in vehicles if each.now.model_year == ZERO_KM]
            used = sorted((each for each in vehicles if each.now.model_year != ZERO_KM), key=_year_and_fuel)
            if not used:
                continue
            oldest, newest = used[0], used[-1]
            for each in zero_km:
                each.usual_entry = oldest.usual_entry - 8
            if not zero_km and newest.now.model_year < 2026:
                last = newest.usual_entry + chance.uniform(10, 24)
                self._leave(oldest, last, model_year=ZERO_KM, usual_entry=oldest.usual_entry - 8)
            if oldest.now.model_year <= 1990:
                for back in range(1, chance.randint(2, 7)):
                    self._leave(
                        oldest,
                        chance.uniform(12, 200),
                        model_year=oldest.now.model_year - back,
                        usual_entry=oldest.usual_entry - 12 * back,
                    )
        models = self._by_model(self._lasting)
        for vehicles in chance.sample(models, self._size(Shape.GONE_CODES)):
            named = {
                "model_code": next(self._codes),
                "model": f"{vehicles[0].now.model} Esp.",
                "fipe_code": self._new_fipe_code(vehicles[0]),
            }
            last = max(chance.uniform(60, CATALOGUE - 1), 24 + min(each.usual_entry for each in vehicles))
            for each in vehicles:
                self._leave(each, last, each.usual_entry, **named)

    def _leave(self, like: _Vehicle, last: float, usual_entry: float, **named: Any) -> None:
        now = like.now._replace(**named)
        self.vehicles.append(_Vehicle(now, like.price, usual_entry, last=min(int(last), CATALOGUE - 1)))

    def _new_fipe_code(self, like: _Vehicle) -> str:
        first_digit = {CAR: 0, MOTORCYCLE: 8, TRUCK: 5}[like.now.vehicle_type]
        codes = (fipe_code(f"{first_digit}{number:05}") for number in self._numbers[like.now.vehicle_type])
        return next(code for code in codes if code not in self._fipe_codes)

    def _enter(self) -> None:
        """Lets as many enter in each month as it has room for; who would come after leaving never does."""
        waiting = iter(sorted(self.vehicles, key=lambda each: each.usual_entry))
        leaving = Counter[int]()
        there = 0
        for number in range(CATALOGUE + 1):
            there -= leaving[number - 1]
            wanted = round(self._weight * _prices_of(number))
            while there < wanted and (vehicle := next(waiting, None)):
                if vehicle.last > number:
                    vehicle.entry = number
                    leaving[vehicle.last] += 1
                    there += 1

    def _add_newest(self) -> None:
        """New model years, after the catalogue's month."""
        newest = [max(vehicles, key=_year_and_fuel) for vehicles in self._by_model(self._lasting)]
        years = Counter((each.model, each.now.model_year) for each in self._lasting)
        sold = [each for each in newest if each.now.model_year == ZERO_KM and not years[each.model, 2027]]
        wanted = round(self._weight * (Shape.NEWEST_PRICES - Shape.CATALOGUE_PRICES))
        for place, each in enumerate(self._chance.sample(sold, min(wanted, len(sold)))):
            entry = CATALOGUE + 1 + place * (NEWEST - CATALOGUE) // wanted
            self.vehicles.append(_Vehicle(each.now._replace(model_year=2027), each.price, entry=entry))

    # Fuels ----------------------------------------------------------------------------------------------

    def _count_fuels(self) -> None:
        self._fuels = Counter(each.cell for each in self.vehicles)
        others = [each for each in self._lasting if each.now.fuel_code <= 3 and self._fuels[each.cell] == 1]
        self._early = [each for each in others if each.entry <= COUNTED_FROM]
        self._late = [each for each in others if each.entry > COUNTED_FROM]
        self._chance.shuffle(self._early)
        self._chance.shuffle(self._late)

    def _alone(self, vehicle_type: int, fuel_code: int) -> list[_Vehicle]:
        """Vehicles of the type and fuel that stand beside no other fuel and were never otherwise."""
        return [
            each
            for each in self._lasting
            if each.has(vehicle_type, fuel_code) and self._fuels[each.cell] == 1 and not each.until
        ]

    def _change_fuels(self) -> None:
        for kind, after, wanted in Shape.NEW_FUELS:
            before = [fuel for fuel, vehicles in wanted.items() for _ in range(self._size(vehicles))]
            self._chance.shuffle(before)
            by_entry = sorted(self._alone(kind, after), key=lambda each: each.entry)
            for each, fuel in zip(by_entry, before, strict=False):
                self._enter_early(each)
                self._had_fuel_before_2023(each, fuel)
            for each in by_entry[len(before) :]:
                self._enter_late(each)
        for kind, fuel, after, real in Shape.CORRECTED_FUELS:
            old = (each for each in self._alone(kind, after) if each.entry < COUNTED_FROM)
            for each in self._some(old, real):
                each.until.append((self._chance.randint(FLEX, COUNTED_UNTIL), _fuel(fuel)))
        late = (each for each in self._alone(CAR, 4) if each.entry > OTHER_FUELS + 12)
        for each in self._some(late, Shape.PETROL_IN_FIRST_MONTH):
            each.until.append((each.entry + 1, _fuel(1)))
        for each in self.vehicles:
            if each.now.fuel_code > 3 and not each.until:
                self._had_fuel_before_2023(each, 3 if each.now.vehicle_type == TRUCK else 1)

    def _had_fuel_before_2023(self, vehicle: _Vehicle, fuel_code: int) -> None:
        usual = FLEX if vehicle.now.fuel_code == 5 else OTHER_FUELS
        late = self._chance.randint(1, 8) if self._chance.random() < 0.05 else 0
        vehicle.until.append((usual + late, _fuel(fuel_code)))

    def _enter_early(self, vehicle: _Vehicle) -> None:
        """Before May 2022; another vehicle takes its place."""
        if vehicle.entry > COUNTED_FROM and self._early:
            other = self._early.pop()
            vehicle.entry, other.entry = other.entry, vehicle.entry

    def _enter_late(self, vehicle: _Vehicle) -> None:
        """After May 2022; another vehicle takes its place."""
        if vehicle.entry <= COUNTED_FROM and self._late:
            other = self._late.pop()
            vehicle.entry, other.entry = other.entry, vehicle.entry

    def _begin_or_end_one_of_two(self) -> None:
        """Of cars with petrol and alcohol, one begins or ends while the other is there: two vehicles."""
        both = [each for each in self._lasting if each.has(CAR, 2) and self._fuels[each.cell] == 2]
        for each in self._some(both, Shape.GET_ALCOHOL):
            self._enter_late(each)
        for kept, lost, real in ((1, 2, Shape.LOSE_ALCOHOL), (2, 1, Shape.LOSE_PETROL)):
            old = (each for each in self._alone(CAR, kept) if each.entry < COUNTED_FROM)
            for each in self._some(old, real):
                last = self._chance.randint(COUNTED_FROM, COUNTED_UNTIL - 1)
                self._add_beside(each, lost, each.entry, last)

    def _add_generations(self) -> None:
        """Zero km, no longer sold, and years later with another fuel: two vehicles."""
        again = [
            each
            for each in self._lasting
            if each.now.model_year == ZERO_KM and each.now.fuel_code > 3 and self._fuels[each.cell] == 1
            and each.until and max(until for until, _ in each.until) < each.entry
        ]  # fmt: skip
        for each in self._some(again, Shape.TWO_GENERATIONS):
            entry = self._chance.randint(100, 200)
            self._add_beside(each, 1, entry, entry + self._chance.randint(12, 50))

    def _add_beside(self, vehicle: _Vehicle, fuel_code: int, entry: int, last: int) -> None:
        other = _Vehicle(
            vehicle.now._replace(**_fuel(fuel_code)), vehicle.price * 0.9, entry=entry, last=last
        )
        self.vehicles.append(other)
        self._fuels[other.cell] += 1

    # Pauses, names, duplicates --------------------------------------------------------------------------

    def _pause(self) -> None:
        chance = self._chance
        old = [each for each in self.vehicles if each.last - each.entry > 60]
        for real, shortest, longest in ((Shape.PAUSES, 1, 9), (Shape.LONG_PAUSES, 13, 40)):
            for each in self._some((each for each in old if not each.pauses), real):
                first = chance.randint(each.entry + 1, each.last - longest - 1)
                pause = (first, first + chance.randint(shortest, longest) - 1)
                is_counted = any(pause[0] <= number <= pause[1] for number in (COUNTED_FROM, COUNTED_UNTIL))
                if not is_counted and (longest < 12 or not each.until):
                    each.pauses.append(pause)
        flex = (each for each in old if each.has(CAR, 5) and not each.pauses and each.entry < FLEX - 3)
        for each in self._some(flex, Shape.PAUSES_AT_FLEX):
            each.pauses.append((FLEX - 3, FLEX + 1))
        for first, last, share in Shape.DIPS:
            there = [each for each in old if each.entry < first and each.last > last and not each.pauses]
            for each in chance.sample(there, round(share * len(there))):
                each.pauses.append((first, last))

    def _rename(self) -> None:
        """Other names, of which some stood under other codes of brand and model; and other FIPE codes."""
        chance = self._chance
        models = self._by_model(self.vehicles)
        chance.shuffle(models)
        motorcycles = [each for each in models if each[0].now.vehicle_type == MOTORCYCLE] or list(models)
        for place in range(self._size(Shape.REBRANDED_CODES)):
            vehicles = _take_there(motorcycles, number_of(2023, 2))
            names: dict[str, Any] = {"brand": f"{vehicles[0].now.brand} Motos"}
            if place % 2:
                names |= {"brand_code": next(self._codes), "model_code": next(self._codes)}
            self._was_called(vehicles, number_of(2023, 2), names)
            models.remove(vehicles)
        # Some with two fuels are among the first, of which there would be one or two by chance.
        models.sort(key=lambda vehicles: all(self._fuels[each.cell] == 1 for each in vehicles))
        ahead = self._size(Shape.RENAMED_WITH_TWO_FUELS)
        models = models[:ahead] + chance.sample(models[ahead:], len(models) - ahead)
        for begin, end, real in Shape.RENAMED_CODES:
            for place in range(self._size(real)):
                until = chance.randint(begin + 1, end - 1)
                vehicles = _take_there(models, until)
                names = {"model": _former_name(vehicles[0].now.model)}
                if place % Shape.ONE_WITH_NEW_MODEL_CODE_IN == 0:
                    names["model_code"] = next(self._codes)
                self._was_called(vehicles, until, names)
        for _ in range(self._size(Shape.CHANGED_CODES)):
            until = chance.randint(24, COUNTED_FROM)
            vehicles = _take_there(models, until)
            self._was_called(vehicles, until, {"fipe_code": self._new_fipe_code(vehicles[0])})
        self._called_once = models

    def _was_called(self, vehicles: Iterable[_Vehicle], until: int, names: dict[str, Any]) -> None:
        for each in vehicles:
            each.until.append((until, names))
            if "model_code" in names and each.entry < until and each.is_there(until):
                self._recoded.append((each, until, names))

    def _publish_twice(self) -> None:
        """Both names in the month in which they changed, and exact copies under two codes of a model."""
        for each, number, names in self._recoded[: self._size(Shape.COLLISIONS)]:
            each.twins.append((number, each.published(number)._replace(**names)))
        left = self._size(Shape.COPIES)
        for vehicles in self._called_once:
            number, model_code = self._chance.randint(COUNTED_FROM, NEWEST), next(self._codes)
            there = [each for each in vehicles if each.is_there(number)][:left]
            for each in there:
                each.twins.append((number, each.published(number)._replace(model_code=model_code)))
            left -= len(there)


def _take_there(models: list[list[_Vehicle]], until: int) -> list[_Vehicle]:
    """Takes a model out that was there before a month and is there after it."""
    there = (vehicles for vehicles in models if any(each.entry < until <= each.last for each in vehicles))
    vehicles = next(there)
    models.remove(vehicles)
    return vehicles


def _prices_of(number: int) -> float:
    grown: float = (number / CATALOGUE) ** Shape.GROWTH
    return Shape.FIRST_PRICES + (Shape.CATALOGUE_PRICES - Shape.FIRST_PRICES) * grown


def _year_and_fuel(vehicle: _Vehicle) -> tuple[int, int]:
    return (vehicle.now.model_year, vehicle.now.fuel_code)


def _fuel(code: int) -> dict[str, Any]:
    return {"fuel_code": code, "fuel": FUELS[code]}


def _former_name(name: str) -> str:
    first, _, last = name.rpartition(" ")
    return first if len(first) > 5 else f"{name} {last} 2p"


def _with_all_fuels(rows: Sequence[CatalogueRow]) -> Iterator[CatalogueRow]:
    """The rows as they are or, of a generated month, with the fuels of the real one."""
    if any(row.fuel_code == 4 for row in rows):
        yield from rows
        return
    for row in rows:
        chance = Random(row.fipe_code)
        fuels = {CAR: ((1, 3, 5, 6, 4, 2, 7), (531, 171, 231, 35, 22, 2, 1)),
                 MOTORCYCLE: ((1, 5, 4), (964, 18, 18)), TRUCK: ((3, 7, 4, 1), (989, 6, 4, 1))}  # fmt: skip
        (code,) = chance.choices(*fuels[row.vehicle_type])
        yield row._replace(**_fuel(code))
        if code == 1 and row.vehicle_type == CAR and row.model_year <= 2000 and chance.random() < 0.15:
            yield row._replace(**_fuel(2))
