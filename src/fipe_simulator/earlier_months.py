"""The months before the catalogue's: made from it by fixed rules, so that they look like FIPE's."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from hashlib import blake2b

from fipe_simulator.catalogue import ZERO_KM, Catalogue, CatalogueRow
from fipe_simulator.months import add_months, months_between

_ONLY_THREE_FUELS_BEFORE = date(2023, 1, 1)
_PETROL = (1, "Gasolina")


def catalogue_for_month(catalogue: Catalogue, month: date) -> Catalogue:
    """The true prices of a month: the catalogue itself for its own month; an earlier one by these rules.

    All chance is a hash of what is in parentheses, so the same arguments always give the same rows.

    1. New vehicles: a model year begins in some month of the year before it (FIPE code, model year), and
       never after the catalogue's month. A zero-km row begins with the model's oldest model year (for a model
       sold only as zero km: the catalogue's year); in each month one in twenty is not on offer (FIPE code,
       month).
    2. Vanished vehicles: one model in four (FIPE code) once had one more model year before its oldest, 7%
       cheaper, which ended 1 to 24 months before the catalogue's month.
    3. Renames: one model in ten (FIPE code) had another name until 1 to 36 months before the catalogue's:
       today's without its last word, if two words are left.
    4. Fuels: before January 2023 there are only the fuels 1 to 3. A row of another fuel has fuel 1
       (Gasolina), unless the model has that model year with fuel 1 already (from the catalogue, or from a row
       before it); then it stays as it is.
    5. Prices are today's, changed by the sum of three shares (FIPE code, model year):
       - for each month of distance, used vehicles were dearer by up to 0.8%, some cheaper by up to 0.15%;
         new ones were cheaper by 0.2% to 0.6%;
       - a fluctuation of up to 0.8% up or down (and the month);
       - in one of eight calendar years (and the year) a jump of 5% to 12% up or down.
       What is below today's in sum divides instead, so no price is below zero. Prices are whole reais, one at
       least. In each month one in ten keeps its price until the next month (and the month).

    Codes and the order of rows stay.

    Raises:
        ValueError: the month is later than the catalogue's.
    """
    distance = months_between(month, catalogue.month)
    if distance < 0:
        raise ValueError(
            f"invalid month {month:%Y-%m}: use {catalogue.month:%Y-%m}, as the catalogue, or an earlier one"
        )
    if distance == 0:
        return catalogue
    return Catalogue(
        month,
        (
            row._replace(
                model=_name(row, month, catalogue.month), price_brl=_price(row, month, catalogue.month)
            )
            for rows in catalogue.by_model()
            for row in _with_fuels_of(month, _existing(rows, month, catalogue.month))
        ),
    )


def published_part(catalogue: Catalogue, share: float) -> Catalogue:
    """The part of a month that is published while it fills up; a larger share contains a smaller one."""
    return Catalogue(
        catalogue.month,
        (
            row
            for row in catalogue.rows
            if _hash(f"{row.vehicle_type} {row.brand_code} {row.model_code}") % 10_000 < share * 10_000
        ),
    )


def _existing(rows: list[CatalogueRow], month: date, newest: date) -> list[CatalogueRow]:
    used = [row for row in rows if row.model_year != ZERO_KM]
    oldest = min(used, key=lambda row: (row.model_year, row.fuel_code), default=None)
    begin = _beginning(rows[0].fipe_code, oldest.model_year if oldest else newest.year, newest)
    is_sold_new = begin <= month and _hash(f"{rows[0].fipe_code} {month:%Y-%m}") % 20 > 0
    existing = [
        row
        for row in rows
        if (
            is_sold_new
            if row.model_year == ZERO_KM
            else _beginning(row.fipe_code, row.model_year, newest) <= month
        )
    ]
    if oldest and (vanished := _vanished(oldest, month, newest)):
        existing.append(vanished)
    return existing


def _beginning(fipe_code: str, model_year: int, newest: date) -> date:
    """The first month of a model year."""
    return min(newest, date(model_year - 1, 1 + _hash(f"{fipe_code} {model_year} begins") % 12, 1))


def _vanished(oldest: CatalogueRow, month: date, newest: date) -> CatalogueRow | None:
    """The model year before the oldest, in the months that have it."""
    chance = _hash(f"{oldest.fipe_code} vanishes")
    model_year = oldest.model_year - 1
    if (
        chance % 4
        or month > add_months(newest, -1 - chance // 4 % 24)
        or month < _beginning(oldest.fipe_code, model_year, newest)
    ):
        return None
    price = Decimal(int(oldest.price_brl * 93) // 100).quantize(Decimal("0.00"))
    return oldest._replace(model_year=model_year, price_brl=price)


def _with_fuels_of(month: date, rows: list[CatalogueRow]) -> Iterator[CatalogueRow]:
    if month >= _ONLY_THREE_FUELS_BEFORE:
        yield from rows
        return
    years_under_petrol = {row.model_year for row in rows if row.fuel_code == _PETROL[0]}
    for row in rows:
        if row.fuel_code > 3 and row.model_year not in years_under_petrol:
            years_under_petrol.add(row.model_year)
            yield row._replace(fuel_code=_PETROL[0], fuel=_PETROL[1])
        else:
            yield row


def _name(row: CatalogueRow, month: date, newest: date) -> str:
    chance = _hash(f"{row.fipe_code} renamed")
    words = row.model.split()
    if chance % 10 or len(words) < 3 or month >= add_months(newest, -(chance // 10 % 36)):
        return row.model
    return row.model.rstrip().removesuffix(words[-1]).rstrip()


def _price(row: CatalogueRow, month: date, newest: date) -> Decimal:
    vehicle = f"{row.fipe_code} {row.model_year}"
    while _hash(f"{vehicle} {month:%Y-%m} stays") % 10 == 0 and month < newest:
        month = add_months(month, 1)
    if month == newest:
        return row.price_brl
    share = 100_000 + _change(row, vehicle, month, newest)
    cents = int(row.price_brl * 100)
    reais = cents * share // 10_000_000 if share >= 100_000 else cents * 1_000 // (200_000 - share)
    return Decimal(max(1, reais)).quantize(Decimal("0.00"))


def _change(row: CatalogueRow, vehicle: str, month: date, newest: date) -> int:
    """How much dearer than today, in 100,000ths; below zero, cheaper."""
    trend = -200 - _hash(vehicle) % 401 if row.model_year == ZERO_KM else _hash(vehicle) % 951 - 150
    fluctuation = _hash(f"{vehicle} {month:%Y-%m}") % 1_601 - 800
    jumps = sum(_jump(vehicle, year, month, newest) for year in range(month.year, newest.year + 1))
    return trend * months_between(month, newest) + fluctuation + jumps


def _jump(vehicle: str, year: int, month: date, newest: date) -> int:
    """What a jump in this year changes in the prices before it."""
    chance = _hash(f"{vehicle} {year} jumps")
    if chance % 8 or not month < date(year, 1 + chance // 8 % 12, 1) <= newest:
        return 0
    size = 5_000 + chance // 192 % 7_001
    return size if chance // 96 % 2 else -size


def _hash(text: str) -> int:
    """A hash that is the same on every machine and in every run, unlike hash()."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
