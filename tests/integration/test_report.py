"""What `fipe report` reads from the database, and the page that it makes of it."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import PriceRow, write_messages, write_rows
from fipe_api.messages import Named, PlannedBrand, Reference
from fipe_cli.errors import CliError
from fipe_cli.fleet.valuation import _BRIEF
from fipe_cli.report.data import read_report
from fipe_cli.report.page import PARTS, SCRIPTS, render
from fipe_cli.report.vehicle import read_vehicle
from fipe_page import SHARED, read_words
from tests.builders import any_price_row, any_run_plan
from tests.conftest import ROOT
from tests.databases import database_with_schema
from tests.page_words import assert_both_languages_say_the_same

BUNDLING = ROOT / "scripts/pages"
JUNE_2025, MARCH, APRIL, MAY, JUNE = (
    date(2025, 6, 1), date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1),
)  # fmt: skip
CODES = {JUNE_2025: 322, MARCH: 331, APRIL: 332, MAY: 333, JUNE: 334}
PETROL, FLEX = (1, "Gasolina"), (5, "Flex")
ZERO_KM = 32000


def row(month: date, price: int, **given: Any) -> PriceRow:
    return any_price_row(month, CODES[month], price, **given)


FUSCA = {"model_code": 8, "model": "Fusca", "fipe_code": "005001-6"}
POLO = {"model_code": 9, "model": "Polo", "fipe_code": "005002-4"}
BIZ = {
    "vehicle_type": 2, "brand_code": 80, "brand": "HONDA", "model_code": 3, "model": "BIZ 125",
    "fipe_code": "811001-0",
}  # fmt: skip
ROWS = [
    row(JUNE_2025, 80), row(MARCH, 90), row(APRIL, 100), row(MAY, 999), row(JUNE, 110),
    row(APRIL, 40, fuel=FLEX), row(JUNE, 38, fuel=FLEX),
    row(APRIL, 200, model_year=ZERO_KM), row(JUNE, 200, model_year=ZERO_KM),
    row(APRIL, 10, **FUSCA),
    row(JUNE, 300, **POLO, model_year=ZERO_KM),
    row(JUNE, 220, model_year=2026),
    row(APRIL, 50, **BIZ), row(JUNE, 60, **BIZ), row(APRIL, 0, **BIZ, model_year=1999),
    row(JUNE, 9, **BIZ, model_year=1999),
]  # fmt: skip
"""April, June, and a May that is still being loaded; June has a 2026 and a Polo, and no Fusca any more."""


def load_of(reference: Reference, run_id: UUID, **given: Any) -> Any:
    """A load of a month that has just begun."""
    brands = (PlannedBrand(vehicle_type=1, brand=Named(code=59, name="VW - VolksWagen")),)
    return any_run_plan(reference=reference, run_id=run_id, brands=brands, **given)


@pytest.fixture(scope="module")
def months(postgres_dsn: str) -> Iterator[connection]:
    with database_with_schema(postgres_dsn) as dsn, closing(psycopg2.connect(dsn)) as database:
        write_rows(database, ROWS)
        write_messages(database, [load_of(Reference(code=333, month=MAY), UUID(int=5))])
        yield database


@pytest.fixture(scope="module")
def june(months: connection) -> dict[str, Any]:
    return read_report(months, None, "2026-06", "005340-6")


def moves(report: dict[str, Any], by: str, **given: Any) -> tuple[Any, ...]:
    (found,) = [
        each
        for each in report["market"]["moves"]
        if each["by"] == by and all(each[name] == value for name, value in given.items())
    ]
    return (found["vehicles"], found["rose"], found["fell"], round(found["median"], 6))


def test_the_newest_month_is_shown_when_an_older_one_was_loaded_last(months: connection) -> None:
    assert read_report(months, None, "", "005340-6")["market"]["month"] == JUNE


def test_a_month_is_compared_with_the_last_complete_one(june: dict[str, Any]) -> None:
    market = june["market"]
    assert (market["month"], market["before"], market["passed_over"]) == (JUNE, APRIL, [MAY])
    assert (market["loaded"], market["before_loaded"], june["load"]) == ("whole", "whole", None)


def test_what_moved_by_type_brand_age_and_zero_km(june: dict[str, Any]) -> None:
    assert moves(june, "all") == (4, 2, 1, 5)  # +10, -5, 0 and +20 %; what costs nothing has not moved
    assert moves(june, "type", vehicle_type=1) == (3, 1, 1, 0)
    assert moves(june, "brand", brand="HONDA") == (1, 1, 0, 20)
    assert moves(june, "age", vehicle_type=1, age=6) == (2, 1, 1, 2.5)
    assert moves(june, "zero km", zero_km=True) == (1, 0, 0, 0)
    assert moves(june, "type and zero km", vehicle_type=1, zero_km=False) == (2, 1, 1, 2.5)
    steps = [(each["vehicle_type"], each["step"], each["vehicles"]) for each in june["market"]["spread"]]
    assert steps == [(1, 1, 1), (1, 4, 1), (1, 8, 1), (2, 8, 1)]


def test_a_vehicle_with_two_fuels_moves_once_for_each(june: dict[str, Any]) -> None:
    movers = [(each["model"], each["fuel"], each["change_percent"]) for each in june["market"]["movers"]]
    assert movers == [("BIZ 125", "Gasolina", 20), ("Gol 1.0", "Gasolina", 10), ("Gol 1.0", "Flex", -5)]


def test_what_is_new_and_what_vanished(june: dict[str, Any]) -> None:
    names = ("difference", "model", "whole_model", "vehicles", "zero_km", "first_year", "least")
    found = [tuple(each[name] for name in names) for each in june["market"]["differences"]["models"]]
    assert found == [
        ("gone", "Fusca", True, 1, False, 2020, 10),
        ("new", "Polo", True, 1, True, None, 300),
        ("new", "Gol 1.0", False, 1, False, 2026, 220),
    ]
    names = ("difference", "vehicle_type", "vehicles", "models", "whole_models", "zero_km")
    counts = [tuple(each[name] for name in names) for each in june["market"]["differences"]["counts"]]
    assert counts == [("gone", 1, 1, 1, 1, 0), ("new", 1, 2, 2, 1, 1)]


def test_what_a_month_that_is_still_loading_lacks_has_not_vanished(months: connection) -> None:
    may = read_report(months, None, "2026-05", "")["market"]
    assert (may["loaded"], may["before"], may["differences"]) == ("loading", APRIL, None)
    assert [each["price_brl"] for each in may["movers"]] == [999]


def test_the_first_month_is_compared_with_nothing(months: connection) -> None:
    first = read_report(months, None, "2025-06", "")["market"]
    assert (first["before"], first["passed_over"], first["moves"]) == (None, [], [])
    assert (first["movers"], first["differences"]) == ([], None)
    assert [each["prices"] for each in first["types"]] == [1]


def test_months_without_a_complete_one_before_say_so(database: connection) -> None:
    write_rows(database, [row(MAY, 1), row(JUNE, 2)])
    write_messages(database, [load_of(Reference(code=333, month=MAY), UUID(int=5))])
    market = read_report(database, None, "2026-06", "")["market"]
    assert (market["before"], market["passed_over"]) == (None, [MAY])


def test_brands_alone_are_compared_but_not_counted_as_new(database: connection) -> None:
    write_rows(database, [row(MAY, 100), row(MAY, 7, **FUSCA), row(JUNE, 101)])
    for code, month in ((333, MAY), (334, JUNE)):
        plan = any_run_plan(
            reference=Reference(code=code, month=month), run_id=UUID(int=code), brands_in_run=0,
            whole_month=False,
        )  # fmt: skip
        write_messages(database, [plan])
    with database:
        database.cursor().execute("update fipe.load_run set completed_at = now(), ended_at = now()")
    market = read_report(database, None, "2026-06", "")["market"]
    assert (market["loaded"], market["before_loaded"], market["before"]) == ("part", "part", MAY)
    assert (len(market["movers"]), market["differences"]) == (1, None)


def test_the_index_goes_through_complete_months_of_two_years(database: connection) -> None:
    vehicles = [{"model_code": code, "fipe_code": f"00500{code}-0"} for code in range(5)]
    for month, price in ((JUNE_2025, 100), (APRIL, 110), (MAY, 1), (JUNE, 99)):
        write_rows(database, [row(month, price, **each) for each in vehicles])
    write_messages(database, [load_of(Reference(code=333, month=MAY), UUID(int=5))])
    index = read_report(database, None, "2026-06", "")["market"]["index"]
    assert [(each["before"], each["month"], each["ratio"]) for each in index] == [
        (JUNE_2025, APRIL, pytest.approx(1.1)),
        (APRIL, JUNE, pytest.approx(0.9)),
    ]


def test_a_vehicle_in_depth_has_a_series_per_year_and_fuel(june: dict[str, Any]) -> None:
    vehicle = june["vehicle"]
    series = {(each["model_year"], each["fuel"]): each["points"] for each in vehicle["series"]}
    assert series[2020, "Gasolina"] == [
        ["2025-06", 80], ["2026-03", 90], ["2026-04", 100], ["2026-05", 999], ["2026-06", 110],
    ]  # fmt: skip
    assert series[2020, "Flex"] == [["2026-04", 40], ["2026-06", 38]]
    assert [each["model_year"] for each in vehicle["series"]] == [ZERO_KM, 2026, 2020, 2020]
    ages = {(each["model_year"], each["fuel"]): each for each in vehicle["by_age"]}
    gol = ages[2020, "Gasolina"]
    assert (gol["price"], gol["before"], gol["year_ago"], gol["percent"]) == (110, 100, 80, 55)
    assert (ages[2026, "Gasolina"]["before"], ages[2026, "Gasolina"]["year_ago"]) == (None, None)


def test_a_fuel_that_fipe_renamed_is_one_series(database: connection) -> None:
    write_rows(database, [row(APRIL, 100), row(JUNE, 90, fuel=FLEX)])
    vehicle = read_vehicle(database, JUNE, APRIL, "005340-6")
    assert [(each["fuel"], len(each["points"])) for each in vehicle["series"]] == [("Flex", 2)]
    assert [(each["price"], each["before"]) for each in vehicle["by_age"]] == [(90, 100)]


def test_a_vehicle_is_an_example_unless_it_was_asked_for(months: connection) -> None:
    assert read_vehicle(months, JUNE, APRIL, "")["is_example"] is True
    assert read_vehicle(months, JUNE, APRIL, "005340-6")["is_example"] is False


def test_a_vehicle_that_the_month_does_not_have_yet_is_refused(months: connection) -> None:
    words = "FIPE code 005002-4 has no prices up to 2026-04: its first month is 2026-06"
    with pytest.raises(CliError, match=words):
        read_vehicle(months, APRIL, MARCH, "005002-4")


def test_a_vehicle_that_the_month_has_no_longer_shows_its_past(months: connection) -> None:
    vehicle = read_vehicle(months, JUNE, APRIL, "005001-6")
    assert (vehicle["by_age"], vehicle["last_month"]) == ([], APRIL)


def test_a_fleet_is_worth_what_fipe_value_says(months: connection, tmp_path: Path) -> None:
    file = tmp_path / "frota.csv"
    file.write_text(
        "codigo;ano;combustivel\n005340-6;2020;Gasolina\n0053406;0km;\n811001-0;2020;\n005340-6;1990;\n",
        encoding="utf-8",
    )
    fleet = read_report(months, None, "2026-06", "", file)["fleet"]
    assert (fleet["name"], fleet["month"], fleet["since"]) == ("frota.csv", "2026-06", "2026-04")
    worth = {
        each["brand"]: (each["vehicles"], each["value_brl"], each["change_brl"]) for each in fleet["totals"]
    }
    assert worth == {"VW - VolksWagen": (3, 310, 10), "HONDA": (1, 60, 10)}
    assert fleet["without_price"] == {"no_such_year": 1}


# The page ---------------------------------------------------------------------------------------------------


def page_of(report: dict[str, Any]) -> str:
    return render(report, "dev", None)


def scripts_of(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def test_the_page_holds_its_data_once_and_loads_nothing(june: dict[str, Any]) -> None:
    page = page_of(june)
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"""\b(src|href)\s*=\s*["'](?!data:)""", page)
    assert "sourceMappingURL" not in page
    assert page.count('"Polo"') == 1


def test_the_policy_lets_only_the_pages_own_scripts_run(june: dict[str, Any]) -> None:
    page = page_of(june)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in unescape(policy).split(";"))
    digests = [b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts_of(page)]
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert len(digests) == len(SCRIPTS)
    assert "connect-src" not in rules


def test_a_name_cannot_leave_the_reports_data() -> None:
    name = "</script><script>alert(1)</script>"
    page = render({"load": None, "market": {}, "vehicle": {"model": name}}, name, name)
    assert name not in page
    assert len(scripts_of(page)) == len(SCRIPTS)


def brightness(colour: str) -> float:
    """A colour's relative luminance, as WCAG defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours, from 1 to 21."""
    darker, lighter = sorted((brightness(one), brightness(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_of_text_and_of_charts_stands_out_in_light_and_dark() -> None:
    """A checker cannot tell for the texts in charts."""
    css = (SHARED / "common.css").read_text(encoding="utf-8")
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root {(.*?)}", css, re.DOTALL)
    ]
    assert len(palettes) == 2
    for colours in palettes:
        for ground in ("ground", "card"):
            for text in ("ink", "soft", "up", "down", "good", "bad", *FIVE):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
            assert contrast(colours["pale"], colours[ground]) >= 3
        assert contrast(colours["ink"], colours["notice"]) >= 4.5


FIVE = ("first", "second", "third", "fourth", "fifth")
WORDS = read_words(SHARED / "words.json", PARTS / "words.json")


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    assert_both_languages_say_the_same(WORDS)


def test_the_page_uses_all_texts_and_only_those() -> None:
    scripts = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS[1:])
    assert set(re.findall(r'\bsay\("(\w+)"', scripts)) - set(WORDS["en"]) == set()
    made = (
        r"\d|to_\w+|not_whole_\w+|(new|gone)_(whole|part)"  # of a type, a section, how far a month is loaded
    )
    unused = [key for key in WORDS["en"] if not re.search(rf"\b{key}\b", scripts)]
    assert [key for key in unused if not re.fullmatch(made, key)] == []


def test_every_reason_for_a_vehicle_without_a_price_has_its_words() -> None:
    assert [set(WORDS[language]["reasons"]) for language in WORDS] == [set(_BRIEF)] * 2


def test_the_bundle_is_made_of_the_libraries_that_the_lock_file_names() -> None:
    """When this fails: `make charts`."""
    header = (SHARED / "charts.js").read_text(encoding="utf-8").partition("*/")[0]
    files = [BUNDLING / name for name in ("package-lock.json", "charts.js", "build.js")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert f"digest {digest}\n" in header
    packages = json.loads(files[0].read_text())["packages"]
    locked = {name.removeprefix("node_modules/"): each.get("version") for name, each in packages.items()}
    bundled = dict(re.findall(r"(@?[\w/-]+)@(\d+\.\d+\.\d+)", header))
    assert bundled["@observablehq/plot"]
    assert bundled.items() <= locked.items()
    assert header.count("Permission to use, copy, modify, and/or distribute") >= 1


def test_lock_files_of_npm_name_no_registry() -> None:
    for lock in (BUNDLING / "package-lock.json", Path(ROOT / "package-lock.json")):
        assert "resolved" not in lock.read_text()
