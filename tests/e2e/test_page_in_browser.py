"""The page in a real browser, over the API and a history of the shape of the real one, by keyboard alone."""

import csv
import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
from playwright.sync_api import Browser, Page, Route

from benchmarks.bulk import write_history
from benchmarks.history import History
from tests.api_server import Api, serving
from tests.browser import CUT, SCHEMES, WIDTHS, needs_browser, serious_findings
from tests.databases import database_with_schema

pytestmark = [pytest.mark.walkthrough, needs_browser]

PHONE, DESKTOP = 390, 1280
LARGEST_FIRST_VIEW = 300_000
READY = "main:not([aria-busy]) h1"


@dataclass(frozen=True)
class Known:
    """What the history has.

    Attributes:
        code: a FIPE code of several model years.
        renamed: one whose vehicle has had another name or fuel.
        others: further codes of cars.
        rows: a list of vehicles, of which the last is unknown.
    """

    code: str
    renamed: tuple[str, str]
    others: list[str]
    rows: str


@pytest.fixture(scope="module")
def dsn_of_history(postgres_dsn: str) -> Iterator[str]:
    with database_with_schema(postgres_dsn) as dsn:
        write_history(dsn, History(share=0.02))
        yield dsn


@pytest.fixture(scope="module")
def known(dsn_of_history: str) -> Known:
    with closing(psycopg2.connect(dsn_of_history)) as database, database.cursor() as cursor:

        def ask(question: str) -> list[Any]:
            cursor.execute(question)
            return cursor.fetchall()

        newest = "reference_month = fipe.newest_month() and vehicle_type = 1"
        codes = [code for (code,) in ask(
            f"select fipe_code from fipe.vehicle_price where {newest}"
            " group by 1 having count(*) > 3 order by count(*) desc, 1 limit 6"
        )]  # fmt: skip
        ((renamed, series),) = ask(
            "select max(fipe_code), max(concat(model_year, '-', fuel))"
            " from (select * from fipe.vehicle"
            "   where not zero_km and last_month = fipe.newest_month() and exists ("
            "   select from fipe.vehicle as old where old.series_id = vehicle.series_id"
            "   and old.fuel_code <> vehicle.fuel_code)) as vehicle group by series_id limit 1"
        )
        rows = ask(
            f"select fipe_code, model_year, fuel from fipe.vehicle_price where {newest} and not zero_km"
            " order by md5(fipe_code || model_year) limit 4"
        )
        lines = [f"FIP0A0{place};{';'.join(map(str, row))}" for place, row in enumerate(rows)]
        return Known(codes[0], (renamed, series), codes[1:], "\n".join([*lines, "FIP0A09;999999-0;2014"]))


@pytest.fixture(scope="module")
def api(dsn_of_history: str) -> Iterator[Api]:
    with serving(dsn_of_history) as running:
        yield running


@dataclass
class Shown:
    """A tab with the page, and what it did."""

    tab: Page
    origin: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, address: str = "") -> None:
        self.tab.goto(f"{self.origin}/{address}")
        self.tab.wait_for_selector(READY)

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.tab.url).query)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def tab_to(self, selector: str) -> None:
        """Press Tab until the element has the focus."""
        for _ in range(80):
            self.press("Tab")
            if self.tab.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    def search(self, words: str, field: str = "#find") -> None:
        """Type words, and take the first suggestion."""
        self.tab.wait_for_selector(field)
        if not self.tab.evaluate("(field) => document.activeElement.matches(field)", field):
            self.tab_to(field)
        self.tab.keyboard.type(words)
        self.tab.wait_for_selector(f"{field}-list [role=option]")
        self.press("ArrowDown", "Enter")

    def wait_for(self, heading: str) -> None:
        """Until a view with this in its heading is there, and has the focus."""
        self.tab.wait_for_selector(f"{READY}:has-text({heading!r})")
        assert self.tab.evaluate("document.activeElement.tagName") == "H1"


Show = Callable[..., Shown]


@pytest.fixture
def show(browser: Browser, api: Api) -> Iterator[Show]:
    contexts = []

    def open_tab(
        width: int = DESKTOP, scheme: Literal["light", "dark"] = "light", locale: str = "pt-BR"
    ) -> Shown:
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                locale=locale,
                permissions=["clipboard-read", "clipboard-write"],
            )
        )
        shown = Shown(contexts[-1].new_page(), api.url)
        shown.tab.on("console", lambda message: shown.said.append(message.text))
        shown.tab.on("pageerror", lambda error: shown.said.append(str(error)))
        shown.tab.on("request", lambda request: shown.asked.append(request.url))
        return shown

    yield open_tab
    for context in contexts:
        context.close()


def views(known: Known) -> dict[str, str]:
    comparison = "&".join(f"compare={code}" for code in [known.code, *known.others[:2]])
    lines = [line.split(";")[1:] for line in known.rows.splitlines()]
    return {
        "home": "",
        "movers": "?view=movers",
        "vehicle": f"?vehicle={known.renamed[0]}&series={known.renamed[1]}",
        "compare": f"?{comparison}&scale=index",
        "fleet": "?view=fleet&since=2025-09#" + ";".join(",".join(line) for line in lines),
    }


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_view_is_whole_readable_and_asks_only_its_server(
    known: Known, show: Show, width: int, scheme: Literal["light", "dark"]
) -> None:
    shown = show(width, scheme)
    for name, address in views(known).items():
        shown.open(address)
        for summary in shown.tab.locator("details summary").all():
            summary.press("Enter")
        for charted in shown.tab.locator(".chart").all():
            charted.locator("svg").first.wait_for()
        assert shown.tab.evaluate("document.documentElement.scrollWidth") <= width, name
        assert shown.tab.evaluate(CUT) == [], name
        assert serious_findings(shown.tab) == [], name
        bare = "all => all.filter((one) => !one.closest('.card').querySelector('table')).length"
        assert shown.tab.eval_on_selector_all(".chart", bare) == 0, name
    assert shown.said == []
    assert [url for url in shown.asked if not url.startswith((f"{shown.origin}/", "data:", "blob:"))] == []


def test_the_first_view_is_small_and_quick(
    known: Known, show: Show, capsys: pytest.CaptureFixture[str]
) -> None:
    show().open()  # what the server does only once is done
    for name, address in views(known).items():
        shown = show()
        sizes: list[int] = []
        shown.tab.on("response", lambda response, sizes=sizes: sizes.append(len(response.body())))
        started = time.perf_counter()
        shown.open(address)
        seconds = time.perf_counter() - started
        shown.tab.wait_for_load_state("networkidle")
        carried = transferred(shown.tab)
        with capsys.disabled():
            print(f"\n{name}: {seconds * 1000:.0f} ms, {carried:,} bytes carried, {sum(sizes):,} unpacked")
        assert carried < LARGEST_FIRST_VIEW
        if name == "home":
            assert sum(sizes) < LARGEST_FIRST_VIEW
            assert not [url for url in shown.asked if "charts.js" in url]


def transferred(tab: Page) -> int:
    """The bytes of all answers, as they came over the network."""
    total: int = tab.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".reduce((sum, each) => sum + each.transferSize, 0)"
    )
    return total


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_search_and_a_vehicle_by_keyboard_alone(api: Api, known: Known, show: Show, width: int) -> None:
    found = api.get("/v1/search", params={"q": known.code}).json()["items"][0]
    words = found["model"].split()[0]
    shown = show(width)
    shown.open()
    shown.tab_to("#find")
    shown.tab.keyboard.type(words.swapcase()[:-1].replace("o", "ó"))
    shown.tab.wait_for_selector("#find-list [role=option]")
    assert shown.tab.get_attribute("#find", "aria-expanded") == "true"
    shown.press("Escape")
    assert shown.tab.is_hidden("#find-list")
    shown.press("Control+A")
    shown.search(known.code)
    shown.wait_for(found["model"])
    assert shown.query() == {"vehicle": [known.code]}
    assert shown.tab.title() == f"{found['brand']} {found['model']} · Preços FIPE"

    shown.tab_to("#series")
    before = shown.tab.input_value("#series")
    shown.press("End")
    shown.tab.wait_for_url("**series=**")
    shown.tab.wait_for_selector(READY)
    last = shown.tab.input_value("#series")
    assert last != before
    assert shown.tab.evaluate("document.activeElement.id") == "series"
    shown.tab_to("details summary")
    shown.press("Enter")
    shown.tab.wait_for_selector("details[open] tbody tr:nth-child(2)")
    # The address alone shows the same.
    other = show(width)
    other.open(shown.tab.url.partition("/?")[2] and "?" + shown.tab.url.partition("/?")[2])
    assert other.tab.input_value("#series") == last
    assert shown.said == []


def test_a_vehicle_is_followed_across_its_fuels(api: Api, known: Known, show: Show) -> None:
    code, series = known.renamed
    shown = show(locale="en-GB")
    shown.open(f"?vehicle={code}&series={series}")
    card = shown.tab.locator(".card:has-text('Names and fuels over time')")
    assert card.locator("tbody tr").count() >= 2
    year = series.partition("-")[0]
    history = api.get(f"/v1/vehicles/{code}/history", params={"model_year": year}).json()
    fuels = {each["fuel"] for vehicle in history for each in vehicle["published"]}
    assert len(fuels) > 1
    assert all(fuel in card.inner_text() for fuel in fuels)


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_compare_up_to_five_by_keyboard_alone(known: Known, show: Show, width: int) -> None:
    shown = show(width, locale="en-GB")
    shown.open()
    shown.tab_to("#views a[href*=compare]")
    shown.press("Enter")
    shown.wait_for("Compare")
    assert shown.tab.is_hidden("#find")
    for place, code in enumerate([known.code, *known.others[:4]], 1):
        shown.search(code, "#add")
        shown.tab.wait_for_selector(f".compared li:nth-child({place})")
        shown.tab.wait_for_selector(READY)
    assert shown.query()["compare"][-1] == known.others[3]
    assert shown.tab.locator("#add").count() == 0
    assert shown.tab.locator(".chart svg [aria-label=line] path").count() == 5

    shown.tab_to("#scale")
    shown.press("End")
    shown.tab.wait_for_url("**scale=index**")
    shown.tab.wait_for_selector(READY)
    shown.tab.focus("h1")
    shown.tab_to(".compared button")
    shown.press("Enter")
    shown.tab.wait_for_selector(".compared:not(:has(li:nth-child(5)))")
    assert len(shown.query()["compare"]) == 4
    assert not any(each.startswith(known.code) for each in shown.query()["compare"])
    assert shown.said == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_movers_by_keyboard_alone(api: Api, show: Show, width: int) -> None:
    shown = show(width)
    shown.open()
    shown.tab_to("#views a[href*=movers]")
    shown.press("Enter")
    shown.wait_for("O que mudou")
    shown.tab_to("#type")
    shown.press("ArrowDown")
    shown.tab.wait_for_url("**type=car**")
    shown.tab.wait_for_selector(READY)
    shown.tab_to("#direction")
    shown.press("End")
    shown.tab.wait_for_url("**direction=down**")
    shown.tab.wait_for_selector(READY)
    fell = api.get("/v1/months/latest/movers", params={"type": "car", "limit": 20}).json()["fell"]
    links = shown.tab.locator("main tbody th a")
    assert links.all_text_contents() == [
        f"{each['brand']} {each['model']}, {each['model_year']} {each['fuel']}".replace("32000", "zero km")
        for each in fell
    ]
    brand = fell[0]["brand"]
    shown.tab.focus("h1")
    shown.tab_to("#brand")
    shown.tab.keyboard.insert_text(brand)
    shown.press("Tab")
    shown.tab.wait_for_url("**brand=**")
    shown.tab.wait_for_selector(READY)
    assert all(text.startswith(brand) for text in links.all_text_contents())
    shown.tab.focus("h1")
    shown.tab_to("main tbody th a")
    shown.press("Enter")
    shown.wait_for(fell[0]["model"])
    shown.tab.go_back()
    shown.tab.wait_for_selector("#direction")
    assert shown.tab.input_value("#brand") == brand
    assert shown.said == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_list_is_valued_by_keyboard_alone(api: Api, known: Known, show: Show, width: int) -> None:
    shown = show(width)
    shown.open()
    shown.tab_to("#views a[href*=fleet]")
    shown.press("Enter")
    shown.wait_for("Avaliar lista")
    shown.tab_to("#fleet")
    shown.tab.keyboard.insert_text(known.rows)
    shown.tab_to("#value")
    shown.press("Enter")
    shown.tab.wait_for_selector("#result table")
    lines = [line.split(";") for line in known.rows.splitlines()]
    asked = {
        "vehicles": [{"code": code, "year": year, "fuel": "".join(fuel)} for _, code, year, *fuel in lines]
    }
    value = api.post("/v1/valuations", json=asked).json()["value_brl"]
    assert f"{value:,.0f}".replace(",", ".") in shown.tab.inner_text("#result dl")
    assert "código FIPE desconhecido" in shown.tab.inner_text("#result tbody tr:last-child")
    assert shown.tab.locator("#result tbody tr th").all_inner_texts() == [line[0] for line in lines]
    # The link shows the list again, without its plates, and its server never saw the vehicles in an address.
    assert "FIP0A0" not in shown.tab.url
    other = show(width)
    other.open("?" + shown.tab.url.partition("/?")[2])
    assert other.tab.locator("#result tbody tr").count() == len(lines)
    assert not [url for url in other.asked if lines[0][1] in url and "#" not in url]
    assert shown.said == []


@pytest.mark.parametrize(("locale", "decimal"), [("pt-BR", ","), ("en-GB", ".")])
def test_a_file_is_valued_and_downloaded_in_the_dialect_of_the_language(
    known: Known, show: Show, locale: str, decimal: str
) -> None:
    shown = show(locale=locale)
    shown.open("?view=fleet&since=2025-09")
    text = "Placa;Código FIPE;Ano;Combustível\n" + known.rows + "\n=1+1;999999-0;2014"
    shown.tab.set_input_files(
        "#file", {"name": "frota.csv", "mimeType": "text/csv", "buffer": text.encode("cp1252")}
    )
    shown.tab.wait_for_selector("#result table")
    with shown.tab.expect_download() as caught:
        shown.tab.click("#result button:has-text('CSV')")
    written = caught.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.reader(io.StringIO(written), delimiter=";" if decimal == "," else ","))
    assert len(rows) == 1 + len(known.rows.splitlines()) + 1
    assert rows[1][0] == "FIP0A00"
    assert rows[-1][0] == "'=1+1"
    percent = rows[0].index("variação" if decimal == "," else "change")
    assert any(decimal in row[percent] for row in rows[1:])


def test_a_dropped_file_is_valued(known: Known, show: Show) -> None:
    shown = show()
    shown.open("?view=fleet")
    dropped = shown.tab.evaluate_handle(
        """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "frota.csv"));
            return data;
        }""",
        known.rows,
    )
    shown.tab.dispatch_event(".drop", "drop", {"dataTransfer": dropped})
    shown.tab.wait_for_selector("#result table")
    assert shown.tab.locator("#result tbody tr").count() == len(known.rows.splitlines())


def test_a_list_of_thousands_is_valued_in_parts(known: Known, show: Show) -> None:
    shown = show()
    shown.open("?view=fleet")
    shown.tab.fill("#fleet", "\n".join([known.rows] * 500))
    shown.tab.click("#value")
    shown.tab.wait_for_selector("#result table")
    assert len([url for url in shown.asked if url.endswith("/v1/valuations")]) == 3
    assert shown.tab.locator("#result tbody tr").count() == 200
    assert "#" not in shown.tab.url


def test_the_language_is_the_readers_and_may_be_switched_and_shared(known: Known, show: Show) -> None:
    assert show_title(show(locale="pt-PT")) == "Preços FIPE"
    shown = show(locale="de-DE")
    assert show_title(shown) == "FIPE prices"
    shown.tab_to("[data-language=pt]")
    shown.press("Enter")
    shown.tab.wait_for_selector("html[lang=pt-BR]")
    shown.tab.wait_for_selector(READY)
    assert shown.tab.evaluate("document.activeElement.dataset.language") == "pt"
    shown.search(known.code)
    shown.tab.wait_for_url("**vehicle=**")
    assert shown.query()["lang"] == ["pt"]
    assert shown.said == []


def show_title(shown: Shown) -> str:
    shown.open()
    return shown.tab.title()


def test_the_link_is_copied(known: Known, show: Show) -> None:
    shown = show()
    shown.open(f"?vehicle={known.code}")
    shown.tab.click("button:has-text('Copiar o link')")
    shown.tab.wait_for_selector("button:has-text('O link foi copiado.')")
    assert shown.tab.evaluate("navigator.clipboard.readText()") == shown.tab.url


def test_a_server_that_is_away_is_told_and_asked_again(show: Show) -> None:
    shown = show(locale="en-GB")
    shown.open()

    def refuse(route: Route) -> None:
        route.abort()

    shown.tab.route("**/v1/**", refuse)
    shown.tab.click("#views a[href*=movers]")
    assert "The server does not answer" in shown.tab.inner_text("[role=alert]")
    shown.tab.unroute("**/v1/**", refuse)
    shown.tab.click("[role=alert] button")
    shown.tab.wait_for_selector("#direction")


@pytest.mark.parametrize(
    "address",
    [
        "?vehicle=999999-5", "?vehicle=<img src=x onerror=alert(1)>", "?vehicle=../../etc/passwd",
        "?compare=999999-5&compare=</script><script>alert(1)</script>", "?compare=_",
        "?view=__proto__", "?view=movers&month=2026-13", "?view=movers&brand=<b>x</b>&type=ship&direction=up",
        "?view=fleet#%E0%A4;;<script>,2014", "?lang=xx",
    ],
)  # fmt: skip
def test_what_an_address_says_is_never_more_than_text(show: Show, address: str) -> None:
    shown = show()
    shown.tab.on("dialog", lambda dialog: pytest.fail(dialog.message))
    shown.open(address)
    assert shown.tab.locator("main img, main script, main b").count() == 0
    expected = ("Failed to load resource",)  # what the browser says about 404 and 422
    assert [line for line in shown.said if not line.startswith(expected)] == []


def test_the_policy_forbids_every_foreign_request_and_script(show: Show) -> None:
    shown = show()
    shown.open()
    tries = """() => Promise.all([
        fetch("http://127.0.0.1:9/data").then(() => "answered", () => "refused"),
        new Promise((done) => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = 1';
            document.body.append(script);
            done(window.ran === undefined ? "refused" : "ran");
        }),
    ])"""
    assert shown.tab.evaluate(tries) == ["refused", "refused"]
    assert sum("Content Security Policy" in line for line in shown.said) >= 2
    assert shown.tab.context.cookies() == []
    assert shown.tab.evaluate("localStorage.length + sessionStorage.length") == 0


def test_nothing_moves_by_itself(show: Show) -> None:
    shown = show()
    shown.open()
    assert shown.tab.evaluate("document.getAnimations().length") == 0
