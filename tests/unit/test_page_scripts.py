"""What the page computes itself: series, changes and lists of vehicles. Its modules run in Node.js."""

import json
import re
import subprocess
from typing import Any

from fipe_cli.fleet.columns import _NAMES
from fipe_page import FILES, SHARED, START, read_words
from tests.page_words import assert_both_languages_say_the_same

WORDS = read_words(SHARED / "words.json", FILES / "words.json")
SCRIPTS = sorted(FILES.glob("*.js"))


def computed(module: str, expression: str) -> Any:
    """The value of an expression with the module's exports as `it`."""
    script = f"""
        import * as it from "{(FILES / module).as_uri()}";
        console.log(JSON.stringify({expression}));
    """
    command = ["node", "--no-warnings", "--input-type=module", "--eval", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not ended.returncode, ended.stderr
    return json.loads(ended.stdout)


def point(month: str, price: float) -> dict[str, Any]:
    return {"reference_month": f"{month}-01", "price_brl": price}


def history(prices: dict[str, float], **given: Any) -> dict[str, Any]:
    """A vehicle as the API tells it."""
    usual = {
        "brand": "VW",
        "model": "Gol",
        "model_year": 2014,
        "zero_km": False,
        "fuel": "Flex",
        "published": [],
    }
    return usual | {"prices": {f"{month}-01": price for month, price in prices.items()}} | given


def test_a_history_is_told_apart_by_series() -> None:
    told = [
        history({"2026-04": 1, "2026-05": 2}),
        history({"2026-04": 3}),  # side by side with the first, under another model
        history({"2026-06": 4}, model_year=32000, zero_km=True),
    ]
    series = computed("history.js", f"it.seriesOf({json.dumps(told)})")
    assert [(each["key"], [row["price_brl"] for row in each["points"]]) for each in series] == [
        ("2014-Flex", [1, 2]), ("2014-Flex-2", [3]), ("0km-Flex", [4]),
    ]  # fmt: skip


def test_without_a_known_key_the_newest_year_with_a_year_of_prices_is_chosen() -> None:
    year = [f"2025-{number:02}" for number in range(6, 13)] + [f"2026-{number:02}" for number in range(1, 7)]
    told = [
        history(dict.fromkeys(year, 1), model_year=1999, fuel="Álcool"),
        history(dict.fromkeys(year, 1)),
        history(dict.fromkeys(year[-3:], 1), model_year=2026),
        history({"2026-05": 1}, model_year=32000, zero_km=True),
    ]
    keys = ["1999-Álcool", "", "2050-Flex"]
    expression = f"{keys}.map((key) => it.chosenSeries(it.seriesOf({json.dumps(told)}), key).key)"
    assert computed("history.js", expression) == ["1999-Álcool", "2014-Flex", "2014-Flex"]


def test_a_file_names_each_month_as_published() -> None:
    published = [
        {"brand": "VW", "model": "Gol", "fuel": fuel, "first_month": first, "last_month": last}
        for fuel, first, last in [
            ("Gasolina", "2022-11-01", "2022-12-01"), ("Flex", "2023-01-01", "2023-03-01"),
        ]
    ]  # fmt: skip
    told = [history({"2022-11": 1, "2022-12": 2, "2023-01": 3, "2023-03": 4}, published=published)]
    rows = computed("history.js", f"it.rowsOf(it.seriesOf({json.dumps(told)}))")
    assert {row["fuel"] for row in rows} == {"Flex"}
    assert [(row["reference_month"][:7], row["published_fuel"], row["price_brl"]) for row in rows] == [
        ("2022-11", "Gasolina", 1), ("2022-12", "Gasolina", 2),
        ("2023-01", "Flex", 3), ("2023-03", "Flex", 4),
    ]  # fmt: skip


def test_months_are_counted_across_years() -> None:
    expression = "[1, 6, 12, 60].map((count) => it.monthsBefore('2026-06-01', count))"
    assert computed("history.js", expression) == ["2026-05-01", "2025-12-01", "2025-06-01", "2021-06-01"]


def test_changes_need_both_prices() -> None:
    rows = json.dumps([point("2025-06", 200), point("2026-05", 0), point("2026-06", 150)])
    expression = f"['2025-06-01', '2026-05-01', '2024-06-01'].map((month) => it.changeSince({rows}, month))"
    assert computed("history.js", expression) == [-25, None, None]


def test_an_index_starts_at_the_first_month_that_all_share() -> None:
    one = [point("2024-01", 100), point("2024-02", 110), point("2024-03", 120)]
    other = [point("2024-01", 0), point("2024-02", 50), point("2024-03", 25)]
    both = json.dumps([one, other])
    assert computed("history.js", f"it.firstShared({both})") == "2024-02-01"
    found = computed("history.js", f"it.indexed({json.dumps(other)}, '2024-02-01')")
    assert [each["index"] for each in found] == [0, 100, 50]
    assert computed("history.js", f"it.firstShared({json.dumps([one, []])}) ?? null") is None


LISTS: list[tuple[str, list[tuple[str, ...]]]] = [
    ("005340-6;2014;Diesel", [("005340-6", "2014", "Diesel", "")]),
    ("005340-6\t2014\n\n0015288\t0km", [("005340-6", "2014", "", ""), ("0015288", "0km", "", "")]),
    ("380032, 2013/2014", [("380032", "2013/2014", "", "")]),
    ("ABC1D23;005340-6;2014", [("005340-6", "2014", "", "ABC1D23")]),
    ("2014;005340-6;F", [("005340-6", "2014", "F", "")]),
    (
        "Placa;Combustível;Ano Modelo;Código FIPE\nABC1D23;Diesel;2014;005340-6",
        [("005340-6", "2014", "Diesel", "ABC1D23")],
    ),
    ("fipe_code,model_year\n005340-6,2014", [("005340-6", "2014", "", "")]),
    ('nome,fipe,ano\n"Silva, Ana",005340-6,2014', [("005340-6", "2014", "", "Silva, Ana")]),
    ("005340-6", [("005340-6", "", "", "")]),
    ("", []),
]


def test_lists_are_read_as_people_write_them() -> None:
    written = json.dumps([text for text, _ in LISTS])
    found = computed("fleet_list.js", f"{written}.map(it.vehiclesOf)")
    for (text, vehicles), read in zip(LISTS, found, strict=True):
        assert [(each["code"], each["year"], each["fuel"], each["label"]) for each in read] == vehicles, text


def test_the_page_knows_the_columns_that_the_command_knows() -> None:
    assert computed("fleet_list.js", "it.NAMES") == {field: list(names) for field, names in _NAMES.items()}


def test_a_list_fits_in_an_address_and_comes_back_without_labels() -> None:
    vehicles = [
        {"code": "005340-6", "year": "2013/2014", "fuel": "Álcool, ou não;#", "label": "ABC1D23"},
        {"code": "005228-0", "year": "0 km", "fuel": "", "label": ""},
    ]
    packed = computed("fleet_list.js", f"it.packed({json.dumps(vehicles)})")
    assert re.fullmatch(r"[\w.,;%-]+", packed)
    assert "ABC1D23" not in packed
    assert computed("fleet_list.js", f"it.unpacked({json.dumps(packed)})") == [
        each | {"label": ""} for each in vehicles
    ]
    assert computed("fleet_list.js", 'it.unpacked("%E0%A4,2014;;x")')[0]["code"] == "%E0%A4"


def test_files_are_read_in_what_spreadsheets_write() -> None:
    encodings = ["utf-8", "utf-8-sig", "utf-16", "cp1252"]
    files = [list("Código;Ação".encode(encoding)) for encoding in encodings]
    expression = f"{files}.map((bytes) => it.textOf(new Uint8Array(bytes)))"
    assert computed("fleet_list.js", expression) == ["Código;Ação"] * len(files)


# Words -------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    assert_both_languages_say_the_same(WORDS)


def test_the_page_uses_all_its_texts_and_only_those() -> None:
    scripts = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    assert set(re.findall(r'\bsay\(\s*"(\w+)"', scripts)) - set(WORDS["en"]) == set()
    own = read_words(FILES / "words.json")
    assert [key for key in own["en"] if not re.search(rf"\b{key}\b", scripts)] == []


def test_no_file_of_the_page_names_another_place() -> None:
    """Licences and namespaces apart."""
    files = [START, *(each for each in FILES.rglob("*") if each.suffix in (".css", ".js", ".json"))]
    assert len(files) > 15
    for file in files:
        content = re.sub(r"/\*!.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        places = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'`]*", content))
        assert {each for each in places if "www.w3.org" not in each} == set(), file
