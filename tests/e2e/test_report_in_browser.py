"""The page of `fipe report` in a real browser: nothing is cut, asked of the network, or unreadable.

The prices are a small history of the shape of the real one, so that every section has something to show.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg2
import pytest
from playwright.sync_api import Browser, Page
from psycopg2.extensions import connection

from benchmarks.bulk import write_history
from benchmarks.history import REFERENCES, History
from fipe_api.database.writer import PriceRow, write_messages, write_rows
from fipe_api.messages import Named, PlannedBrand
from fipe_cli.report.data import read_report
from fipe_cli.report.page import render
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.browser import CUT, SCHEMES, WIDTHS, needs_browser, serious_findings
from tests.builders import JUNE_2026, any_run_plan
from tests.databases import database_with_schema
from tests.http_server import http_server, send_json

pytestmark = [pytest.mark.walkthrough, needs_browser]


@pytest.fixture(scope="module")
def history(postgres_dsn: str) -> Iterator[connection]:
    with database_with_schema(postgres_dsn) as dsn:
        write_history(dsn, History(share=0.02))
        with closing(psycopg2.connect(dsn)) as database:
            yield database


@pytest.fixture(scope="module")
def report(history: connection, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rows = read_rows(history, "2026-06")
    file = tmp_path_factory.mktemp("fleet") / "fleet.csv"
    file.write_text("fipe_code,model_year,fuel\n" + "".join(rows) + "0000000,2020,\n", encoding="utf-8")
    found = read_report(history, None, "2026-06", "", file)
    found["load"]["throttled"] = None
    return found


def read_rows(history: connection, month: str) -> list[str]:
    """Some vehicles of the month, as lines of a fleet."""
    with history.cursor() as cursor:
        cursor.execute(
            "select fipe_code, model_year, fuel from fipe.vehicle_price where reference_month = %s"
            " order by md5(fipe_code || model_year), fuel limit 100",
            (f"{month}-01",),
        )
        return [f"{code},{year},{fuel}\n" for code, year, fuel in cursor.fetchall()]


@dataclass
class Shown:
    """A page in the browser, and what it did."""

    tab: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def text(self) -> str:
        return self.tab.inner_text("body")


Show = Callable[..., Shown]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    contexts = []

    def open_page(
        report: dict[str, Any],
        width: int = 1280,
        scheme: Literal["light", "dark"] = "light",
        locale: str = "pt-BR",
    ) -> Shown:
        file = tmp_path / "report.html"
        file.write_text(render(report, "dev", None), encoding="utf-8")
        contexts.append(
            browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale=locale)
        )
        shown = Shown(contexts[-1].new_page())
        shown.tab.on("console", lambda message: shown.said.append(message.text))
        shown.tab.on("pageerror", lambda error: shown.said.append(str(error)))
        shown.tab.on("request", lambda request: shown.asked.append(request.url))
        shown.tab.goto(file.as_uri())
        shown.tab.wait_for_function(DRAWN)
        return shown

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_and_readable(
    report: dict[str, Any], show: Show, width: int, scheme: Literal["light", "dark"]
) -> None:
    shown = show(report, width, scheme)
    assert shown.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.tab.evaluate(CUT) == []
    assert shown.tab.evaluate(HOLES) == []
    assert shown.tab.evaluate("document.querySelectorAll('.chart').length") >= 9
    open_all_tables(shown.tab)
    assert shown.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.tab.evaluate(CUT) == []
    assert serious_findings(shown.tab) == []
    assert shown.said == []
    assert [url for url in shown.asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("locale", ["pt-BR", "en-GB"])
def test_every_heading_that_compares_says_which_months(
    report: dict[str, Any], show: Show, locale: str
) -> None:
    shown = show(report, locale=locale)
    headings = shown.tab.eval_on_selector_all("h2", "all => all.map((one) => one.textContent)")
    english = locale == "en-GB"
    assert headings[0] == (
        "What moved from May to June 2026" if english else "O que mudou de maio a junho de 2026"
    )
    assert all(("May to June 2026" if english else "maio a junho de 2026") in one for one in headings[:5])
    words = shown.text().lower().split()
    assert not {"before", "now", "antes", "agora"} & set(words)


def test_portuguese_browsers_see_portuguese_and_may_switch(report: dict[str, Any], show: Show) -> None:
    shown = show(report, locale="pt-PT")
    assert shown.tab.evaluate("document.documentElement.lang") == "pt-BR"
    assert shown.tab.title() == "Preços FIPE, junho de 2026"
    prices = sum(each["prices"] for each in report["market"]["types"])
    assert f"{prices:,}".replace(",", ".") in shown.text()
    shown.tab.keyboard.press("Tab")
    shown.tab.keyboard.press("Tab")
    shown.tab.keyboard.press("Enter")
    assert shown.tab.title() == "FIPE prices, June 2026"
    assert f"{prices:,}" in shown.text()
    assert show(report, locale="de-DE").tab.title() == "FIPE prices, June 2026"
    assert show(report | {"language": "pt"}, locale="de-DE").tab.title() == "Preços FIPE, junho de 2026"


def test_the_chart_follows_the_model_year_that_is_chosen(report: dict[str, Any], show: Show) -> None:
    shown = show(report)
    chart = ".chart[aria-label*='zero km']"
    assert shown.tab.locator(chart).count() >= 1
    shown.tab.focus("#series")
    shown.tab.keyboard.press("End")
    year = str(report["vehicle"]["series"][-1]["model_year"])
    assert shown.tab.locator(f".chart[aria-label*='{year}']").count() == 1


def test_the_brands_are_sorted_by_their_change(report: dict[str, Any], show: Show) -> None:
    shown = show(report, locale="en-GB")
    for chart in shown.tab.locator(".thirds .chart").all():
        labels = chart.locator("svg [aria-label=text] text").evaluate_all(
            "all => all.map((one) => [one.getBoundingClientRect().y, one.textContent])"
        )
        changes = [float(text.replace("−", "-").rstrip("%")) for _, text in sorted(labels)]
        assert len(changes) > 1
        assert changes == sorted(changes, reverse=True)


def test_every_chart_has_a_table_that_the_keyboard_opens(report: dict[str, Any], show: Show) -> None:
    shown = show(report)
    bare = """all => all.filter((one) =>
        !one.closest('.thirds > div, .card').querySelector('details, table')).length"""
    assert shown.tab.eval_on_selector_all(".chart", bare) == 0
    shown.tab.focus("details summary")
    shown.tab.keyboard.press("Enter")
    shown.tab.wait_for_selector("details[open] table tbody tr")


def test_the_policy_forbids_every_request_and_foreign_script(report: dict[str, Any], show: Show) -> None:
    calls: list[str] = []

    def answer(request: BaseHTTPRequestHandler, _: bytes) -> None:
        calls.append(request.path)
        send_json(request, {})

    shown = show(report)
    with http_server(answer) as url:
        tries = """(url) => {
            const image = new Image();
            return Promise.all([
                fetch(url + "/data").then(() => "answered", () => "refused"),
                new Promise((done) => {
                    image.onload = () => done("answered");
                    image.onerror = () => done("refused");
                    image.src = url + "/picture";
                }),
            ]);
        }"""
        assert shown.tab.evaluate(tries, url) == ["refused", "refused"]
    assert calls == []
    shown.tab.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.ran = 1';
        document.body.append(script);
    }""")
    assert shown.tab.evaluate("window.ran") is None
    assert sum("Content Security Policy" in line for line in shown.said) >= 3


def test_nothing_moves_by_itself(report: dict[str, Any], show: Show) -> None:
    """So there is nothing to still for those who prefer reduced motion."""
    assert show(report).tab.evaluate("document.getAnimations().length") == 0
    moving = """() => [...document.querySelectorAll('*')].filter((one) => {
        const style = getComputedStyle(one);
        return style.animationName !== 'none' || style.transitionDuration !== '0s';
    }).length"""
    assert show(report).tab.evaluate(moving) == 0


def test_paper_is_light_and_holds_all_charts(report: dict[str, Any], show: Show) -> None:
    shown = show(report, scheme="dark")
    charts = shown.tab.locator(".chart svg").count()
    shown.tab.emulate_media(media="print")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert shown.tab.evaluate(ground) == "rgb(255, 255, 255)"
    assert shown.tab.locator(".chart svg").count() == charts
    assert shown.tab.is_hidden("#languages")
    printed = shown.tab.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert shown.tab.locator(".chart svg").count() == charts


def test_hostile_names_are_text(history: connection, show: Show) -> None:
    found = read_report(history, None, "2026-06", "")
    name = "</script><img src=http://127.0.0.1:9/x onerror=alert(1)>`${1}`&amp;"
    for part in (found["market"]["movers"], found["market"]["moves"], [found["vehicle"]]):
        for each in part:
            each |= {key: name for key in ("brand", "model") if each.get(key)}
    found["load"] = None
    shown = show(found)
    assert name in shown.text()
    assert shown.tab.locator("img").count() == 0
    assert shown.said == []


# What there is not -----------------------------------------------------------------------------------------


@pytest.fixture
def sample(database: connection) -> connection:
    """June 2026 of the sample alone."""
    rows = read_catalogue(SAMPLE_CATALOGUE).rows
    write_rows(database, [PriceRow(JUNE_2026.month, JUNE_2026.code, *each) for each in rows])
    return database


def test_the_first_month_says_that_there_is_nothing_to_compare(sample: connection, show: Show) -> None:
    shown = show(read_report(sample, None, "", ""), locale="en-GB")
    text = shown.text()
    assert "June 2026 is the first month in the database, so there is nothing to compare it with." in text
    assert "The prices of June 2026" in text
    assert "rose" not in text
    assert shown.said == []


def test_a_month_in_which_nothing_moved_says_so(sample: connection, show: Show) -> None:
    with sample, sample.cursor() as cursor:
        cursor.execute("insert into fipe.reference_month (month, code) values ('2026-05-01', 333)")
        cursor.execute(
            "insert into fipe.price (vehicle_id, reference_month, price_brl)"
            " select vehicle_id, '2026-05-01', price_brl from fipe.price"
        )
    shown = show(read_report(sample, None, "", ""), locale="en-GB")
    text = shown.text()
    for words in (
        "579 vehicles have a price in May 2026 and in June 2026, and no price changed.",
        "Nothing rose from May to June 2026.",
        "Nothing fell from May to June 2026.",
        "Nothing is new in June 2026: each of its vehicles had a price in May 2026.",
        "Nothing vanished: each vehicle of May 2026 has a price in June 2026.",
    ):
        assert words in text
    assert shown.said == []


def test_a_month_that_is_loading_says_so(sample: connection, show: Show) -> None:
    brands = (
        PlannedBrand(vehicle_type=1, brand=Named(code=1, name="Acura")),
        PlannedBrand(vehicle_type=3, brand=Named(code=999, name="Never priced")),
    )
    plan = any_run_plan(run_id=UUID(int=7), brands_in_run=2, brands=brands)
    write_messages(sample, [plan])
    found = read_report(sample, UUID(int=7), "", "")
    found["load"]["throttled"] = None
    shown = show(found, locale="en-GB")
    text = shown.text()
    assert "June 2026 is still being loaded, or its load ended early." in text
    assert "… loading" in text
    assert "Never priced" in text
    assert shown.said == []


def test_months_are_spaced_by_time(database: connection, show: Show) -> None:
    catalogue = read_catalogue(SAMPLE_CATALOGUE).rows
    months = [(date(2025, 6, 1), 322), (date(2026, 4, 1), 332), (date(2026, 6, 1), 334)]
    for month, code in months:
        write_rows(database, [PriceRow(month, code, *each) for each in catalogue])
    found = read_report(database, None, "", "")
    shown = show(found)
    points = shown.tab.eval_on_selector_all(
        ".chart[aria-label^='Preços por mês'] svg [aria-label=dot] circle",
        "all => all.map((one) => one.getBoundingClientRect().x).sort((a, b) => a - b)",
    )
    assert len(points) == len(months)
    gaps = [points[1] - points[0], points[2] - points[1]]
    assert gaps[0] / gaps[1] == pytest.approx(304 / 61, rel=0.02)


def test_a_page_of_the_whole_history_is_small(history: connection) -> None:
    """A vehicle of all months is what makes a page large."""
    found = read_report(history, None, f"{REFERENCES[-1].month:%Y-%m}", "")
    assert len(render(found, "dev", None).encode()) < 600_000


# How it is looked at ---------------------------------------------------------------------------------------


def open_all_tables(tab: Page) -> None:
    tab.eval_on_selector_all("details", "all => all.forEach((one) => { one.open = true; })")
    tab.wait_for_function(
        "[...document.querySelectorAll('details')].every((one) => one.querySelector('table'))"
    )


DRAWN = """() => {
  const charts = [...document.querySelectorAll(".chart")];
  return charts.every((one) => one.querySelector("svg"));
}"""
"""Whether every chart is drawn."""

HOLES = """() => [...document.querySelectorAll(".cards, .facts")].flatMap((grid) => {
  const rightmost = new Map();
  for (const one of grid.children) {
    const box = one.getBoundingClientRect();
    rightmost.set(box.top, Math.max(rightmost.get(box.top) ?? 0, box.right));
  }
  const right = grid.getBoundingClientRect().right;
  return [...rightmost.values()].filter((edge) => edge < right - 1 && grid.children.length > 1);
})"""
"""Rows of cards or of figures that end before the page does."""
