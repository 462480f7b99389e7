import json
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fipe_simulator import (
    SAMPLE_CATALOGUE,
    Catalogue,
    CatalogueRow,
    catalogue_for_month,
    published_references,
    read_catalogue,
)
from fipe_simulator.catalogue import ZERO_KM
from tests.real_month import REAL_MONTH, needs_real_month

JUNE = date(2026, 6, 1)
SAMPLE = read_catalogue(SAMPLE_CATALOGUE)
RECORDED = REAL_MONTH.parent / "recorded" / "ConsultarTabelaDeReferencia.json"

months = st.builds(date, st.integers(2001, 2026), st.integers(1, 12), st.just(1)).filter(lambda m: m <= JUNE)


def any_row(model_year: int, fuel_code: int) -> CatalogueRow:
    fuel = {1: "Gasolina", 3: "Diesel", 5: "Flex", 6: "Híbrido"}[fuel_code]
    price = Decimal("100000.00")
    return CatalogueRow(1, 1, "Acura", 1, "NSX", model_year, fuel_code, fuel, "038001-6", price)


def in_month(month: date, *rows: CatalogueRow) -> set[tuple[int, int]]:
    return {(row.model_year, row.fuel_code) for row in catalogue_for_month(Catalogue(JUNE, rows), month).rows}


def test_lists_every_month_newest_first() -> None:
    references = published_references(date(2026, 10, 1))
    assert len(references) == 310
    assert references[0].month == date(2026, 10, 1)
    assert references[-1].month == date(2001, 1, 1)
    listed = [reference.month for reference in references]
    assert listed == sorted(set(listed), reverse=True)


def test_every_month_has_its_own_code_and_28_are_unused() -> None:
    codes = {reference.code for reference in published_references(date(2026, 10, 1))}
    assert len(codes) == 310
    assert len(set(range(1, 339)) - codes) == 28
    assert len(set(range(1, 249)) - codes) == 21


@pytest.mark.parametrize(
    ("month", "code"),
    [
        (date(2001, 1, 1), 62),
        (date(2005, 9, 1), 1),
        (date(2005, 12, 1), 111),
        (date(2006, 1, 1), 8),
        (date(2019, 11, 1), 248),
        (date(2020, 3, 1), 252),
        (date(2020, 12, 1), 263),
        (date(2021, 3, 1), 266),
        (date(2021, 6, 1), 271),
        (date(2021, 8, 1), 273),
        (date(2022, 3, 1), 283),
        (date(2023, 1, 1), 293),
        (date(2024, 4, 1), 308),
        (date(2026, 6, 1), 334),
        (date(2026, 8, 1), 336),
        (date(2026, 10, 1), 338),
    ],
)
def test_gives_fipes_own_code_of_a_month(month: date, code: int) -> None:
    assert published_references(month)[0].code == code


@pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded answers at {RECORDED}")
def test_lists_november_2019_as_fipe_did() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    listed = [
        {"Codigo": reference.code, "Mes": reference.listed}
        for reference in published_references(date(2019, 11, 1))
    ]
    assert listed == recorded


def test_spells_a_month_in_two_ways() -> None:
    march = published_references(date(2024, 3, 1))[0]
    assert (march.listed, march.priced) == ("março/2024 ", "março de 2024 ")


def test_there_is_no_month_before_2001() -> None:
    with pytest.raises(ValueError, match="2000-12: FIPE's first month"):
        published_references(date(2000, 12, 1))


def test_the_catalogues_own_month_is_the_catalogue() -> None:
    assert catalogue_for_month(SAMPLE, JUNE) is SAMPLE


def test_a_later_month_than_the_catalogues_is_refused() -> None:
    with pytest.raises(ValueError, match="2026-07: use 2026-06, as the catalogue"):
        catalogue_for_month(SAMPLE, date(2026, 7, 1))


@given(months)
def test_a_month_is_the_same_each_time_and_has_no_key_twice(month: date) -> None:
    made = catalogue_for_month(SAMPLE, month)
    assert made.month == month
    assert made.rows == catalogue_for_month(SAMPLE, month).rows
    keys = Counter((*row[:2], row.model_code, row.model_year, row.fuel_code) for row in made.rows)
    assert set(keys.values()) <= {1}


def by_vehicle(month: date) -> dict[tuple[str, int], CatalogueRow]:
    return {(row.fipe_code, row.model_year): row for row in catalogue_for_month(SAMPLE, month).rows}


@given(months)
def test_prices_are_whole_reais_and_never_zero(month: date) -> None:
    prices = [row.price_brl for row in catalogue_for_month(SAMPLE, month).rows]
    assert all(price >= 1 and price == price.to_integral_value() for price in prices)
    assert {price.as_tuple().exponent for price in prices} <= {-2}


@pytest.mark.parametrize(
    ("month", "before"),
    [(JUNE, date(2026, 5, 1)), (date(2026, 5, 1), date(2026, 4, 1)), (date(2025, 1, 1), date(2024, 12, 1))],
)
def test_from_one_month_to_another_there_is_something_of_everything(month: date, before: date) -> None:
    now, then = by_vehicle(month), by_vehicle(before)
    changes = [now[key].price_brl / then[key].price_brl - 1 for key in now.keys() & then.keys()]
    risen, fallen = ([each for each in changes if each * sign > 0] for sign in (1, -1))
    assert min(len(risen), len(fallen)) > len(changes) / 10
    assert min(changes) < Decimal("-0.05") < Decimal("0.05") < max(changes)
    assert now.keys() - then.keys()
    assert then.keys() - now.keys()
    assert changes.count(Decimal(0)) > 0


def test_in_a_year_some_models_are_renamed() -> None:
    now, then = by_vehicle(JUNE), by_vehicle(date(2025, 6, 1))
    renamed = {
        (then[key].model, now[key].model)
        for key in now.keys() & then.keys()
        if then[key].model != now[key].model
    }
    assert 0 < len(renamed) < 12
    assert all(later.startswith(earlier) for earlier, later in renamed)


def test_used_vehicles_were_dearer_and_new_ones_cheaper_some_years_ago() -> None:
    now, then = by_vehicle(JUNE), by_vehicle(date(2021, 6, 1))
    for zero_km in (False, True):
        both = [key for key in now.keys() & then.keys() if (key[1] == ZERO_KM) == zero_km]
        dearer = sum(then[key].price_brl > now[key].price_brl for key in both)
        assert (dearer > len(both) * 0.6) == (not zero_km)
        assert (dearer < len(both) * 0.4) == zero_km


def test_a_model_year_begins_in_the_year_before_it_and_stays() -> None:
    rows = any_row(2020, 1), any_row(2021, 1)
    months_of_2020 = [date(2020, number, 1) for number in range(1, 13)]
    there = [(2021, 1) in in_month(month, *rows) for month in months_of_2020]
    assert there == sorted(there)
    assert (2021, 1) in in_month(date(2021, 1, 1), *rows)
    assert (2021, 1) not in in_month(date(2019, 12, 1), *rows)
    assert in_month(date(2018, 12, 1), *rows) == set()


def test_a_vehicle_is_sold_new_as_long_as_its_model_exists() -> None:
    rows = any_row(ZERO_KM, 1), any_row(2020, 1)
    assert in_month(date(2020, 2, 1), *rows) == {(ZERO_KM, 1), (2020, 1)}
    assert in_month(date(2018, 12, 1), *rows) == set()


def test_some_new_vehicles_are_not_on_offer_in_some_months() -> None:
    row = any_row(ZERO_KM, 1)
    missing = [
        month
        for month in (date(2026, number, 1) for number in range(1, 6))
        for code in range(40)
        if not in_month(month, row._replace(fipe_code=f"{code:06}-0"))
    ]
    assert 0 < len(missing) < 40


def test_before_2023_a_flex_car_has_fuel_petrol_unless_the_model_has_that_already() -> None:
    rows = any_row(2020, 5), any_row(2019, 5), any_row(2019, 1), any_row(2018, 5), any_row(2018, 6)
    assert in_month(date(2023, 1, 1), *rows) == {(2020, 5), (2019, 5), (2019, 1), (2018, 5), (2018, 6)}
    assert in_month(date(2022, 12, 1), *rows) == {(2020, 1), (2019, 5), (2019, 1), (2018, 1), (2018, 6)}


def test_a_row_with_another_fuel_has_that_fuels_name() -> None:
    catalogue = Catalogue(JUNE, [any_row(2015, 5)])
    assert catalogue_for_month(catalogue, date(2022, 12, 1)).rows[0].fuel == "Gasolina"


@pytest.mark.real_month
@needs_real_month
def test_reads_the_whole_real_month_and_computes_its_past() -> None:
    catalogue = read_catalogue(REAL_MONTH)
    brands = sum(len(catalogue.brands(kind)) for kind in (1, 2, 3))
    assert (len(catalogue.rows), len(list(catalogue.by_model())), brands) == (50_332, 11_238, 236)
    assert sum(row.model_year == ZERO_KM for row in catalogue.rows) == 1_868
    earlier = catalogue_for_month(catalogue, date(2024, 1, 1))
    assert 40_000 < len(earlier.rows) < 50_332
    assert not {row.model_year for row in earlier.rows} & {2026, 2027}
