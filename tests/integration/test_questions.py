"""What people ask of the prices: the views and functions of create_fipe_db.sql on a real PostgreSQL."""

from contextlib import closing
from datetime import date
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import PriceRow, write_rows
from fipe_api.load.request import brands_named
from fipe_api.messages import Named
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.builders import any_price_row
from tests.databases import database_with_schema

pytestmark = pytest.mark.both_postgres

NOVEMBER, DECEMBER, JANUARY = date(2022, 11, 1), date(2022, 12, 1), date(2023, 1, 1)
CODES = {NOVEMBER: 291, DECEMBER: 292, JANUARY: 293}
PETROL, DIESEL, FLEX, HYBRID = (1, "Gasolina"), (3, "Diesel"), (5, "Flex"), (6, "Híbrido")


def row(month: date, price: int, **given: Any) -> PriceRow:
    return any_price_row(month, CODES[month], price, **given)


def ask(database: connection, question: str) -> list[tuple[Any, ...]]:
    with database, database.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchall()


@pytest.fixture
def renamed(database: connection) -> connection:
    """A Flex car that stood under Gasolina until 2022, beside one that is Gasolina all the time."""
    rows = [
        row(NOVEMBER, 100), row(DECEMBER, 110), row(JANUARY, 99, fuel=FLEX),
        *(row(month, 50, model_code=8, model="Fusca", fipe_code="005001-6") for month in CODES),
    ]  # fmt: skip
    write_rows(database, rows)
    return database


@pytest.fixture(scope="module")
def sample(postgres_dsn: str) -> connection:
    """The sample of June 2026."""
    with database_with_schema(postgres_dsn) as dsn, closing(psycopg2.connect(dsn)) as database:
        catalogue = read_catalogue(SAMPLE_CATALOGUE)
        june = (date(2026, 6, 1), 334)
        write_rows(database, [PriceRow(*june, *one) for rows in catalogue.by_model() for one in rows])
        yield database


def test_history_follows_a_vehicle_whose_fuel_code_changed(renamed: connection) -> None:
    columns = "reference_month, fuel, published_fuel, price_brl, change_brl, change_percent"
    assert ask(renamed, f"select {columns} from fipe.price_history('005340-6', 2020)") == [
        (NOVEMBER, "Flex", "Gasolina", 100, None, None),
        (DECEMBER, "Flex", "Gasolina", 110, 10, 10),
        (JANUARY, "Flex", "Flex", 99, -11, -10),
    ]


def test_history_keeps_two_fuels_apart_that_are_published_side_by_side(database: connection) -> None:
    write_rows(database, [row(DECEMBER, 100), row(JANUARY, 90), row(JANUARY, 120, fuel=FLEX)])
    assert ask(database, "select reference_month, fuel, price_brl from fipe.price_history('005340-6')") == [
        (DECEMBER, "Gasolina", 100),
        (JANUARY, "Gasolina", 90),
        (JANUARY, "Flex", 120),
    ]


def test_history_of_a_code_has_every_model_year(database: connection) -> None:
    write_rows(database, [row(JANUARY, 90), row(JANUARY, 120, model_year=32000)])
    assert ask(database, "select model_year, zero_km, price_brl from fipe.price_history('005340-6')") == [
        (32000, True, 120),
        (2020, False, 90),
    ]


def test_latest_price_is_of_the_newest_month_that_has_one(database: connection) -> None:
    write_rows(
        database,
        [row(NOVEMBER, 100), row(DECEMBER, 110), row(JANUARY, 5, fipe_code="005001-6", model_code=8)],
    )
    question = "select reference_month, price_brl from fipe.latest_price where fipe_code = '005340-6'"
    assert ask(database, question) == [(DECEMBER, 110)]


def test_latest_price_shows_a_vehicle_whose_fuel_code_changed_once(renamed: connection) -> None:
    question = "select reference_month, fuel, price_brl from fipe.latest_price where fipe_code = '005340-6'"
    assert ask(renamed, question) == [(JANUARY, "Flex", 99)]


def test_changes_compare_a_month_with_the_one_before_it(renamed: connection) -> None:
    question = (
        "select model, fuel, price_before, price_brl, change_brl, change_percent from fipe.price_changes({})"
    )
    gol, fusca = ("Gol 1.0", "Flex", 110, 99, -11, -10), ("Fusca", "Gasolina", 50, 50, 0, 0)
    assert sorted(ask(renamed, question.format(""))) == sorted([gol, fusca])
    assert ("Gol 1.0", "Gasolina", 100, 110, 10, 10) in ask(renamed, question.format("'2022-12-01'"))
    assert ("Gol 1.0", "Flex", 100, 99, -1, -1) in ask(
        renamed, question.format("'2023-01-01', since => '2022-11-01'")
    )


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param([row(DECEMBER, 101), row(DECEMBER, 150, fuel=FLEX)], id="in the month between"),
        pytest.param([row(JANUARY, 99), row(DECEMBER, 150, fuel=FLEX)], id="again in the last month"),
    ],
)
def test_changes_keep_two_fuels_apart_as_the_history_does(
    database: connection, beside: list[PriceRow]
) -> None:
    write_rows(database, [row(NOVEMBER, 100), *beside, row(JANUARY, 151, fuel=FLEX)])
    months = "'2023-01-01', since => '2022-11-01'"
    assert "Flex" not in [fuel for (fuel,) in ask(database, f"select fuel from fipe.price_changes({months})")]
    of_petrol = "select published_fuel from fipe.price_history('005340-6') where fuel = 'Gasolina'"
    assert ("Gasolina",) in ask(database, of_petrol)


def test_a_fuel_that_goes_on_as_two_is_followed_to_neither(database: connection) -> None:
    write_rows(database, [row(NOVEMBER, 100), row(JANUARY, 151, fuel=FLEX), row(JANUARY, 160, fuel=HYBRID)])
    assert (
        ask(database, "select fuel, price_before from fipe.price_changes('2023-01-01', '2022-11-01')") == []
    )
    assert ask(database, "select reference_month, fuel, change_brl from fipe.price_history('005340-6')") == [
        (NOVEMBER, "Gasolina", None),
        (JANUARY, "Flex", None),
        (JANUARY, "Híbrido", None),
    ]
    assert len(ask(database, "select fuel from fipe.latest_price")) == 3


GAS, ETHANOL, ELECTRIC = (7, "Gás Natural"), (2, "Álcool"), (4, "Elétrico")


@pytest.mark.parametrize(
    ("before", "after"),
    [(PETROL, FLEX), (PETROL, HYBRID), (PETROL, ELECTRIC), (DIESEL, HYBRID), (PETROL, GAS), (ETHANOL, PETROL),
     (DIESEL, PETROL), (PETROL, DIESEL)],
)  # fmt: skip
def test_every_fuel_that_ends_goes_on_as_the_one_that_begins(
    database: connection, before: tuple[int, str], after: tuple[int, str]
) -> None:
    write_rows(database, [row(DECEMBER, 100, fuel=before), row(JANUARY, 90, fuel=after)])
    assert ask(database, "select fuel, price_before, price_brl from fipe.price_changes()") == [
        (after[1], 100, 90)
    ]
    assert ask(database, "select fuel from fipe.latest_price") == [(after[1],)]
    assert ask(database, "select difference from fipe.month_differences()") == [("changed",)]


@pytest.mark.parametrize(
    ("before", "after", "linked"),
    [
        ([PETROL, ETHANOL], [PETROL], 1),
        ([PETROL], [PETROL, ETHANOL], 1),
        ([PETROL, ETHANOL], [ETHANOL], 1),
        ([PETROL, ETHANOL], [FLEX], 0),
        ([PETROL], [FLEX, HYBRID], 0),
        ([PETROL, ETHANOL], [FLEX, ETHANOL], 2),
    ],
)
def test_fuels_side_by_side_are_never_one(
    database: connection, before: list[tuple[int, str]], after: list[tuple[int, str]], linked: int
) -> None:
    write_rows(
        database,
        [
            *(row(DECEMBER, 100, fuel=fuel) for fuel in before),
            *(row(JANUARY, 90, fuel=fuel) for fuel in after),
        ],
    )
    assert len(ask(database, "select * from fipe.price_changes()")) == linked


def test_a_gap_of_more_than_a_year_ends_a_series_if_a_month_of_it_is_loaded(database: connection) -> None:
    old, new = date(2018, 1, 1), date(2026, 1, 1)
    codes = {"reference_code": 1}, {"reference_code": 2}
    write_rows(database, [PriceRow(**{**row(JANUARY, 100)._asdict(), "reference_month": old, **codes[0]})])
    hybrid = row(JANUARY, 90, fuel=HYBRID)
    write_rows(database, [PriceRow(**{**hybrid._asdict(), "reference_month": new, **codes[1]})])
    series = "select count(distinct series_id) from fipe.vehicle where fipe_code = '005340-6'"
    assert ask(database, series) == [(1,)], "nothing between them is loaded"
    write_rows(database, [row(JANUARY, 5, fipe_code="005001-6", model_code=8)])
    assert ask(database, series) == [(2,)]


def test_a_model_that_takes_over_a_fipe_code_goes_on_with_its_series(database: connection) -> None:
    write_rows(database, [row(DECEMBER, 100), row(JANUARY, 90, model_code=8, model="Gol 1.0 Flex")])
    history = "select model, price_brl, change_brl from fipe.price_history('005340-6')"
    assert ask(database, history) == [("Gol 1.0", 100, None), ("Gol 1.0 Flex", 90, -10)]


def test_a_model_that_takes_over_a_fipe_code_with_two_fuels_goes_on_with_each(database: connection) -> None:
    ethanol = (2, "Álcool")
    write_rows(database, [
        row(NOVEMBER, 100), row(NOVEMBER, 80, fuel=ethanol),
        row(DECEMBER, 101, model_code=8), row(DECEMBER, 81, model_code=8, fuel=ethanol),
    ])  # fmt: skip
    question = "select fuel, price_before, price_brl from fipe.price_changes('2022-12-01') order by price_brl"
    assert ask(database, question) == [("Álcool", 80, 81), ("Gasolina", 100, 101)]


def test_two_models_of_one_fipe_code_side_by_side_have_histories_of_their_own(database: connection) -> None:
    rows = [(DECEMBER, 100, 7), (DECEMBER, 500, 8), (JANUARY, 110, 7), (JANUARY, 550, 8)]
    write_rows(
        database, [row(month, price, model_code=code, model=f"M{code}") for month, price, code in rows]
    )
    assert ask(database, "select model, change_percent from fipe.price_history('005340-6')") == [
        ("M7", None), ("M7", 10), ("M8", None), ("M8", 10),
    ]  # fmt: skip


def test_one_vehicle_under_two_brands_counts_once(database: connection) -> None:
    twice = [
        row(month, price, brand_code=code, brand=brand)
        for month, price in ((DECEMBER, 100), (JANUARY, 110))
        for code, brand in ((1, "Baby"), (2, "Buggy"))
    ]
    write_rows(database, twice)
    for question in ("latest_price", "price_changes()", "biggest_movers()", "depreciation('005340-6')"):
        assert [brand for (brand,) in ask(database, f"select brand from fipe.{question}")] == ["Baby"]
    assert len(ask(database, "select * from fipe.price_history('005340-6')")) == 2
    assert ask(database, "select count(*) from fipe.vehicle_price") == [(4,)], "published twice a month"


@pytest.mark.parametrize(
    ("before", "now", "shown"),
    [((1, 2), (2,), "Buggy"), ((1, 2), (1,), "Baby"), ((1,), (1, 2), "Baby"), ((2,), (1, 2), "Baby"),
     ((1,), (2,), "Buggy"), ((2,), (1,), "Baby")],
)  # fmt: skip
def test_a_vehicle_under_two_brands_is_compared_by_either(
    database: connection, before: tuple[int, ...], now: tuple[int, ...], shown: str
) -> None:
    brands = {1: "Baby", 2: "Buggy"}
    months = [(NOVEMBER, 100, (1, 2)), (DECEMBER, 100, before), (JANUARY, 110, now)]
    for month, price, codes in months:
        write_rows(database, [row(month, price, brand_code=code, brand=brands[code]) for code in codes])
    compared = [(shown, 100, 110)]
    for question in ("price_changes()", "month_differences()", "biggest_movers()"):
        columns = "brand, price_before, price_brl"
        assert ask(database, f"select {columns} from fipe.{question}") == compared, question
    assert ask(database, "select difference from fipe.month_differences()") == [("changed",)]


def test_a_former_fipe_code_finds_the_whole_history(database: connection) -> None:
    write_rows(database, [row(DECEMBER, 100, fipe_code="001004-9"), row(JANUARY, 90)])
    for code in ("001004-9", "005340-6"):
        assert ask(database, f"select price_brl from fipe.price_history('{code}')") == [(100,), (90,)]
        assert ask(database, f"select price_brl from fipe.depreciation('{code}')") == [(90,)]


def test_search_finds_former_names_and_shows_the_newest(database: connection) -> None:
    names = {DECEMBER: ("Skoda Auto", "Fabia 1,0"), JANUARY: ("Škoda", "Fabia Combi")}
    write_rows(database, [row(month, 1, brand=brand, model=model) for month, (brand, model) in names.items()])
    for search in ("skoda", "ŠKODA", "auto fabia", "fabia 1.0", "fabia 1,0", "fabia combi"):
        assert ask(database, f"select brand, model, last_month from fipe.search_models('{search}')") == [
            ("Škoda", "Fabia Combi", JANUARY)
        ]


@pytest.mark.parametrize(
    ("search", "model"),
    [
        ("tcross", "T-Cross 1.0"),
        ("t-cross", "T-Cross 1.0"),
        ("t cross 1,0", "T-Cross 1.0"),
        ("hb 20", "HB20 Comfort"),
        ("hb 20 comf", "HB20 Comfort"),
        ("xc60", "XC 60 T5"),
        ("corola xei", "Corolla XEi 2.0"),
        ("corollla", "Corolla XEi 2.0"),
        ("croolla", "Corolla XEi 2.0"),
        ("XEI", "Corolla XEi 2.0"),
        ("005004-0", "Corolla XEi 2.0"),
        ("0050040", "Corolla XEi 2.0"),
    ],
)
def test_search_finds_what_is_meant(database: connection, search: str, model: str) -> None:
    names = ["T-Cross 1.0", "HB20 Comfort", "XC 60 T5", "Corolla XEi 2.0", "Corsa Wind", "Gol 1.0"]
    write_rows(
        database,
        [
            row(JANUARY, 1, model_code=code, model=name, fipe_code=f"{5001 + code:06}-0")
            for code, name in enumerate(names)
        ],
    )
    assert ask(database, f"select model from fipe.search_models('{search}')") == [(model,)]


@pytest.mark.parametrize("search", ["gul", "hb21", "corola xre", "sanderoo"])
def test_a_search_is_not_that_lax(database: connection, search: str) -> None:
    """Short words, words with figures, and words that are further away."""
    names = ["Gol 1.0", "HB20 Comfort", "Corolla XEi", "Sand"]
    write_rows(database, [row(JANUARY, 1, model_code=code, model=name) for code, name in enumerate(names)])
    assert ask(database, f"select model from fipe.search_models('{search}')") == []


def test_search_shows_names_with_just_these_words_first(database: connection) -> None:
    names = {2: "GOLD WING 1500", 7: "Gol 1.0", 8: "Golf 2.0"}
    write_rows(database, [row(JANUARY, 1, model_code=code, model=name) for code, name in names.items()])
    found = [name for (name,) in ask(database, "select model from fipe.search_models('gol')")]
    assert found == ["Gol 1.0", "GOLD WING 1500", "Golf 2.0"]


def test_search_shows_codes_model_years_and_the_latest_price(database: connection) -> None:
    write_rows(database, [
        row(DECEMBER, 90, model_year=2012), row(DECEMBER, 95, model_year=2013),
        row(DECEMBER, 99, model_year=32000),
        row(JANUARY, 80, model_year=2012), row(JANUARY, 85, model_year=2014),
        row(NOVEMBER, 70, model_code=8, model="Gol 1.6", model_year=2001, fipe_code="005001-6"),
        row(NOVEMBER, 75, model_code=9, model="Gol 1.8", model_year=32000, fipe_code="005002-4"),
    ])  # fmt: skip
    columns = "model, fipe_codes, model_years, price_brl, last_month"
    assert ask(database, f"select {columns} from fipe.search_models('gol')") == [
        ("Gol 1.0", "005340-6", "2012-2014", 85, JANUARY),
        ("Gol 1.6", "005001-6", "2001", 70, NOVEMBER),
        ("Gol 1.8", "005002-4", "zero km", 75, NOVEMBER),
    ]


def test_the_price_of_what_is_searched_now_and_in_an_earlier_month(renamed: connection) -> None:
    columns = (
        "month_before, reference_month, model, fuel, price_before, price_brl, change_brl, change_percent"
    )
    for search in ("gol 1.0", "005340-6", "0053406", "vw goll"):
        assert ask(renamed, f"select {columns} from fipe.price_of('{search}', 2020, null, '2022-11')") == [
            (NOVEMBER, JANUARY, "Gol 1.0", "Flex", 100, 99, -1, -1)
        ]
        assert ask(
            renamed, f"select price_before, price_brl from fipe.price_of('{search}', 2020, '2022-12')"
        ) == [(None, 110)]
        assert ask(renamed, f"select * from fipe.price_of('{search}', 2021)") == []


@pytest.mark.parametrize("month", ["June", "2022-13", "2022", "", "12/2022", "2022-12-1"])
def test_what_is_no_month_is_refused_with_what_to_write(renamed: connection, month: str) -> None:
    with pytest.raises(
        psycopg2.DataError, match=f"invalid month '{month}': use a month like 2026-06, or latest"
    ):
        ask(renamed, f"select * from fipe.price_changes('{month}')")


def add_load(database: connection, code: int, *, complete: bool, whole_month: bool) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(
            "insert into fipe.load_run (run_id, reference_code, brands_expected, whole_month, completed_at)"
            f" values (gen_random_uuid(), {code}, 9, {whole_month}, {'now()' if complete else 'null'})"
        )


BASE = "select distinct month_before, reference_month from fipe.price_changes({})"


def test_a_month_that_is_loading_is_no_base_unless_asked_for(renamed: connection) -> None:
    add_load(renamed, CODES[DECEMBER], complete=False, whole_month=True)
    for months in ("", "'2023-01'", "'latest'"):
        renamed.notices.clear()
        assert ask(renamed, BASE.format(months)) == [(NOVEMBER, JANUARY)]
        assert "2022-12 is partly loaded, so 2023-01 is compared with 2022-11" in renamed.notices[0]
    assert ask(renamed, BASE.format("'2023-01', '2022-12'")) == [(DECEMBER, JANUARY)]
    add_load(renamed, CODES[DECEMBER], complete=True, whole_month=True)
    assert ask(renamed, BASE.format("")) == [(DECEMBER, JANUARY)], "it was complete before"


def test_a_question_about_a_month_without_prices_says_so(renamed: connection) -> None:
    renamed.notices.clear()
    with renamed.cursor() as cursor:
        cursor.execute("select * from fipe.price_changes('2019-04')")
        assert cursor.fetchall() == []
    assert "the database has no prices of 2019-04" in renamed.notices[0]


def test_a_month_of_which_only_brands_were_loaded_is_a_base_for_such_a_month_alone(
    renamed: connection,
) -> None:
    add_load(renamed, CODES[DECEMBER], complete=True, whole_month=False)
    assert ask(renamed, BASE.format("")) == [(NOVEMBER, JANUARY)]
    add_load(renamed, CODES[JANUARY], complete=True, whole_month=False)
    assert ask(renamed, BASE.format("")) == [(DECEMBER, JANUARY)]
    add_load(renamed, CODES[DECEMBER], complete=False, whole_month=False)
    assert ask(renamed, BASE.format("")) == [(NOVEMBER, JANUARY)]


def test_a_word_of_two_thousand_letters_is_answered(database: connection) -> None:
    write_rows(database, [row(JANUARY, 1)])
    for length in (2_000, 3_000, 100_000):
        assert ask(database, f"select * from fipe.search_models('{'a' * length} gol')") == []
        assert ask(database, f"select * from fipe.search_models('a{'1' * length}')") == []
        assert ask(database, f"select * from fipe.brands_named('{'é' * length}')") == []


def test_any_day_of_a_month_means_the_month(renamed: connection) -> None:
    for question in ("price_changes", "biggest_movers", "month_differences"):
        count = "10, " if question == "biggest_movers" else ""
        days, firsts = (
            ask(renamed, f"select * from fipe.{question}({count}'{month}', '{since}')")
            for month, since in (("2023-01-31", "2022-11-30"), ("2023-01", "2022-11"))
        )
        assert days == firsts != []
    assert ask(renamed, "select price_brl from fipe.depreciation('005001-6', '2022-12-24')") == [(50,)]
    between = "select model from fipe.vehicles_between('vw', 0, 99, '2022-12-24')"
    assert ask(renamed, between) == [("Fusca",)]


def test_tells_what_is_new_and_what_is_gone(database: connection) -> None:
    write_rows(database, [
        row(DECEMBER, 100), row(JANUARY, 100),
        row(DECEMBER, 100, model_year=2019), row(JANUARY, 99, model_year=2019),
        row(DECEMBER, 70, model_year=2018), row(JANUARY, 300, model_year=2023),
    ])  # fmt: skip
    question = (
        "select difference, model_year, price_before, price_brl from fipe.month_differences() order by 2"
    )
    assert ask(database, question) == [
        ("gone", 2018, 70, None), ("changed", 2019, 100, 99), ("unchanged", 2020, 100, 100),
        ("new", 2023, None, 300),
    ]  # fmt: skip


COUNTS = "new, came_back, gone, renamed, changed_fuel, rose, fell, unchanged"


def test_counts_what_happened_from_each_month_to_the_next(database: connection) -> None:
    write_rows(database, [
        *(row(month, 100, model_year=2010) for month in CODES),  # unchanged, twice
        *(row(month, price, model_year=2011) for month, price in zip(CODES, (90, 100, 95), strict=True)),
        row(NOVEMBER, 100, model_year=2012), row(JANUARY, 100, model_year=2012),  # gone, and back
        row(DECEMBER, 100, model_year=2013), row(JANUARY, 101, model_year=2013, fuel=FLEX),
        row(DECEMBER, 50, model_year=2014), row(JANUARY, 50, model_year=2014, model="Gol 1.0 8V"),
        row(DECEMBER, 50, model_year=2015), row(JANUARY, 0, model_year=2015),  # zero is no price
    ])  # fmt: skip
    question = f"select month_before, reference_month, vehicles_before, vehicles, {COUNTS}"
    assert ask(database, f"{question} from fipe.month_by_month()") == [
        (NOVEMBER, DECEMBER, 3, 5, 3, 0, 1, 0, 0, 1, 0, 1),
        (DECEMBER, JANUARY, 5, 6, 0, 1, 0, 1, 1, 1, 1, 3),
    ]
    assert len(ask(database, f"{question} from fipe.month_by_month('2022-12')")) == 1
    assert len(ask(database, f"{question} from fipe.month_by_month('2023-01', '2022-12')")) == 1


def test_counts_by_type_or_by_brand(database: connection) -> None:
    write_rows(database, [
        row(DECEMBER, 1), row(JANUARY, 2), row(JANUARY, 2, vehicle_type=2, brand="HONDA"),
        row(DECEMBER, 1, brand_code=1, brand="Fiat", fipe_code="001001-1"),
    ])  # fmt: skip
    question = "select vehicle_type, brand, vehicles_before, vehicles from fipe.month_by_month(by => '{}')"
    assert ask(database, question.format("type")) == [(1, None, 2, 1), (2, None, 0, 1)]
    assert ask(database, question.format("brand")) == [
        (1, "Fiat", 1, 0), (1, "VW - VolksWagen", 1, 1), (2, "HONDA", 0, 1),
    ]  # fmt: skip
    with pytest.raises(psycopg2.Error, match="invalid by 'model': use type or brand, or leave it out"):
        ask(database, question.format("model"))


def test_counting_month_by_month_says_how_far_two_months_are_apart(database: connection) -> None:
    write_rows(database, [row(NOVEMBER, 1), row(JANUARY, 1)])
    question = "select month_before, reference_month, months_apart from fipe.month_by_month()"
    assert ask(database, question) == [(NOVEMBER, JANUARY, 2)]


def test_a_month_that_is_loading_is_no_base_and_loses_no_vehicle_that_has_not_come(
    renamed: connection,
) -> None:
    add_load(renamed, CODES[DECEMBER], complete=False, whole_month=True)
    write_rows(renamed, [row(NOVEMBER, 30, brand_code=21, brand="Fiat", model_year=year) for year in (1, 2)])
    write_rows(renamed, [row(DECEMBER, 31, brand_code=21, brand="Fiat", model_year=1)])
    question = f"select month_before, reference_month, loaded, {COUNTS} from fipe.month_by_month('2023-01')"
    assert ask(renamed, question) == [
        (NOVEMBER, DECEMBER, "loading", 0, 0, 0, 0, 0, 0, 0, 0),
        (NOVEMBER, JANUARY, "whole", 0, 0, 2, 0, 1, 0, 1, 1),
    ]
    assert any("2022-12 is partly loaded" in notice for notice in renamed.notices)
    with renamed, renamed.cursor() as cursor:
        cursor.execute(
            "insert into fipe.load_brand (load_run_id, vehicle_type, brand_code, completed_at)"
            " select id, 1, 21, now() from fipe.load_run"
        )
    assert ask(renamed, question)[0] == (NOVEMBER, DECEMBER, "loading", 0, 0, 1, 0, 0, 1, 0, 0)
    with renamed, renamed.cursor() as cursor:
        cursor.execute("update fipe.load_run set wanted_models = '[7]'")
    assert ask(renamed, question)[0][3:] == (0, 0, 0, 0, 0, 0, 0, 0), "only some of the brand's models"


def test_a_price_of_zero_is_no_fall(database: connection) -> None:
    write_rows(database, [row(DECEMBER, 100), row(JANUARY, 0)])
    assert ask(database, "select * from fipe.biggest_movers()") == []
    assert ask(database, "select flag from fipe.flagged_price") == [("zero price",)]


def test_a_month_that_has_no_price_yet_is_not_the_newest_nor_the_one_before(database: connection) -> None:
    """A run's plan tells of its month before the first price comes, which may take hours."""
    write_rows(database, [row(NOVEMBER, 100), row(JANUARY, 110)])
    with database, database.cursor() as cursor:
        cursor.execute("insert into fipe.reference_month values (292, '2022-12-01'), (294, '2023-02-01')")
    assert ask(database, "select price_before, price_brl from fipe.price_changes()") == [(100, 110)]
    assert ask(database, "select price_before, price_brl from fipe.biggest_movers()") == [(100, 110)]
    assert ask(database, "select price_brl from fipe.depreciation('005340-6')") == [(110,)]
    assert ask(database, "select price_brl from fipe.vehicles_between('volkswagen', 1, 999)") == [(110,)]


def test_changes_leave_out_what_had_no_price_before(database: connection) -> None:
    write_rows(database, [row(DECEMBER, 100), row(JANUARY, 100), row(JANUARY, 100, model_year=2021)])
    assert ask(database, "select model_year from fipe.price_changes()") == [(2020,)]


def test_nothing_changed_in_the_only_month(database: connection) -> None:
    write_rows(database, [row(JANUARY, 100), row(JANUARY, 100, fuel=FLEX, model_year=2021)])
    assert ask(database, "select * from fipe.price_changes()") == []
    assert ask(database, "select * from fipe.biggest_movers()") == []


def test_movers_are_those_that_rose_and_fell_most(database: connection) -> None:
    before, after = {}, {1: 130, 2: 120, 3: 110, 4: 100, 5: 90, 6: 80}
    before = dict.fromkeys(after, 100)
    for month, prices in ((DECEMBER, before), (JANUARY, after)):
        write_rows(
            database, [row(month, price, model_code=code, model=f"M{code}") for code, price in prices.items()]
        )
    write_rows(
        database, [row(DECEMBER, 0, model_code=9, model="free"), row(JANUARY, 10, model_code=9, model="free")]
    )
    assert ask(database, "select model, change_percent from fipe.biggest_movers(2)") == [
        ("M1", 30), ("M2", 20), ("M5", -10), ("M6", -20),
    ]  # fmt: skip


def test_movers_that_moved_alike_are_the_same_ones_each_time(database: connection) -> None:
    for month, price in ((DECEMBER, 100), (JANUARY, 110)):
        write_rows(
            database,
            [
                row(month, price, model_code=code, model=f"M{code}", fipe_code=f"{code:06}-0")
                for code in range(30)
            ],
        )
    found = ask(database, "select model from fipe.biggest_movers(3)")
    assert len(found) == 3
    with database, database.cursor() as cursor:
        cursor.execute("set local enable_mergejoin = off")
        cursor.execute("select model from fipe.biggest_movers(3)")
        assert cursor.fetchall() == found


def test_movers_follow_a_vehicle_whose_fuel_code_changed(renamed: connection) -> None:
    assert ask(renamed, "select model, fuel, change_brl from fipe.biggest_movers()") == [
        ("Gol 1.0", "Flex", -11)
    ]


def test_depreciation_compares_with_zero_km(database: connection) -> None:
    years = {32000: 200, 2022: 150, 2013: 50}
    write_rows(database, [row(JANUARY, price, model_year=year) for year, price in years.items()])
    columns = "model_year, zero_km, age_years, price_brl, percent_of_newest"
    assert ask(database, f"select {columns} from fipe.depreciation('005340-6')") == [
        (32000, True, 0, 200, 100),
        (2022, False, 1, 150, 75),
        (2013, False, 10, 50, 25),
    ]


def test_vehicles_of_a_brand_at_a_price(sample: connection) -> None:
    found = ask(sample, "select model, price_brl from fipe.vehicles_between('fiat', 20000, 30000)")
    assert found == ask(
        sample,
        "select model, price_brl from fipe.vehicle_price"
        " where brand = 'Fiat' and price_brl between 20000 and 30000 order by price_brl, model, model_year",
    )
    assert found


def test_a_brand_is_found_by_whole_words_of_its_name(database: connection) -> None:
    brands = {
        1: "GM - Chevrolet",
        2: "GMC",
        3: "DAF",
        4: "DAFRA",
        5: "Citroën",
        6: "SCANIA",
        7: "SAAB-SCANIA",
    }
    write_rows(
        database,
        [
            row(JANUARY, 100, brand_code=code, brand=brand, model=brand, fipe_code=f"{code:06}-0")
            for code, brand in brands.items()
        ],
    )
    for asked, found in {
        "gm": "GM - Chevrolet",
        "DAF": "DAF",
        "chevrolet gm": "GM - Chevrolet",
        "citroen": "Citroën",
        "Scania": "SCANIA",
        "saab scania": "SAAB-SCANIA",
        "saab": "SAAB-SCANIA",
    }.items():
        assert ask(database, f"select brand from fipe.vehicles_between('{asked}', 1, 999)") == [(found,)]
    for asked in ("", "dafr", "nobody"):
        assert ask(database, f"select brand from fipe.vehicles_between('{asked}', 1, 999)") == []


def test_the_whole_name_of_a_brand_counts_for_each_vehicle_type_by_itself(database: connection) -> None:
    """Volkswagen's cars are VW - VolksWagen, its trucks VOLKSWAGEN."""
    brands = [
        (1, 1, "VW - VolksWagen"),
        (3, 1, "VOLKSWAGEN"),
        (1, 2, "Fiat"),
        (3, 2, "FIAT"),
        (1, 3, "Fiat Abarth"),
    ]
    write_rows(
        database,
        [row(JANUARY, 100, vehicle_type=kind, brand_code=code, brand=name) for kind, code, name in brands],
    )
    for asked, found in {"volkswagen": brands[:2], "fiat": brands[2:4], "vw": brands[:1]}.items():
        assert (
            ask(database, f"select * from fipe.brands_named('{asked}') order by brand_code, vehicle_type")
            == found
        )


def test_a_load_and_the_questions_know_brands_by_the_same_words(sample: connection) -> None:
    listed = ask(sample, "select distinct vehicle_type, brand_code, brand from fipe.model order by 1, 2")
    searches = {word for _, _, name in listed for word in (name, name.upper(), *name.split(), name[:3])}
    for search in searches:
        with sample, sample.cursor() as cursor:
            cursor.execute("select vehicle_type, brand_code from fipe.brands_named(%s)", (search,))
            found = cursor.fetchall()
        named = [
            (kind, brand.code)
            for kind in (1, 2, 3)
            for brand in brands_named(
                [Named(code=code, name=name) for each, code, name in listed if each == kind], search
            )
        ]
        assert sorted(found) == sorted(named), search


def test_a_price_range_without_a_brand_is_of_all(sample: connection) -> None:
    count = "select count(*) from {} price_brl between 20000 and 30000"
    assert ask(sample, "select count(*) from fipe.vehicles_between(null, 20000, 30000)") == ask(
        sample, count.format("fipe.vehicle_price where")
    )


@pytest.mark.parametrize(
    ("search", "model"),
    [
        ("marruá", "MARRUÁ 2.8 12V 132cv TDI Diesel"),
        ("MARRUA 2.8", "MARRUÁ 2.8 12V 132cv TDI Diesel"),
        ("agrale marr", "MARRUÁ 2.8 12V 132cv TDI Diesel"),
        ("tdi Agrale 132CV", "MARRUÁ 2.8 12V 132cv TDI Diesel"),
        ("m boy", "M´BOY 90cc"),
        ("integra gs 1.8", "Integra GS 1.8"),
    ],
)
def test_search_finds_by_the_beginnings_of_words_with_or_without_accents(
    sample: connection, search: str, model: str
) -> None:
    assert model in [name for (name,) in ask(sample, f"select model from fipe.search_models('{search}')")]


def test_search_of_a_brand_finds_all_its_models(sample: connection) -> None:
    brand = "select model from fipe.model where (vehicle_type, brand_code) = (1, 1) order by model"
    assert ask(sample, "select model from fipe.search_models('acura')") == ask(sample, brand)


@pytest.mark.parametrize("search", ["", "  ", "'' | & ! :*", "nosuchword", "fiat nosuchword", "\\", "%"])
def test_search_of_nothing_known_finds_nothing(sample: connection, search: str) -> None:
    assert ask(sample, f"select * from fipe.search_models('{search}')") == []


def test_words_are_split_at_signs_but_not_in_numbers(database: connection) -> None:
    words = "select tsvector_to_array(fipe.words('AMAROK High.CD 2.0 16V TDI 4x4\u00a0Diesel. Ção'))"
    assert sorted(ask(database, words)[0][0]) == sorted(
        ["amarok", "high", "cd", "2.0", "16v", "tdi", "4x4", "diesel", "cao"]
    )


def test_each_question_uses_an_index(database: connection) -> None:
    """With sequential scans made dear, as on a large database, no question has one of a large table."""
    questions = (
        "select * from fipe.latest_price where fipe_code = '005340-6' and model_year = 2014",
        "select * from fipe.price_history('005340-6', 2014)",
        "select * from fipe.depreciation('005340-6')",
        "select * from fipe.price_changes() where brand = 'Fiat'",
        "select * from fipe.biggest_movers(10)",
        "select difference, count(*) from fipe.month_differences() group by difference",
        "select * from fipe.vehicles_between('fiat', 20000, 30000)",
        "select * from fipe.search_models('gol 1.0')",
        "select * from fipe.price_of('gol 1.0', 2014, null, '2022-11')",
    )
    with database, database.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off")
        for question in questions:
            cursor.execute(f"explain {question}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            for table in ("price", "vehicle", "model"):
                assert f"Seq Scan on {table} " not in plan, (question, plan)


def test_questions_are_planned_for_a_disk_without_a_head_and_without_compiling(database: connection) -> None:
    """On Aurora, other than here, the planner would compile what it thinks dear."""
    settings = ask(database, "select current_setting('random_page_cost'), current_setting('jit')")
    assert settings == [("1.1", "off")]
