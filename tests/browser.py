"""A real browser for the tests of pages, and how its pages are looked at."""

import json
import shutil

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = ROOT / "scripts/pages/node_modules/axe-core/axe.min.js"
# A browser that asks nobody for anything of its own, neither.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = [390, 768, 1280]
SCHEMES = ["light", "dark"]

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)


def serious_findings(tab: Page) -> list[str]:
    """What axe, the accessibility checker, finds; in words."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make setup`")
    # Not as a script element, which the page's policy forbids.
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = json.loads(tab.evaluate("axe.run().then((answer) => JSON.stringify(answer.violations))"))
    return [
        f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical", "moderate")
    ]


CUT = """() => {
  const texts = "h1, h2, h3, h4, p, dt, dd, td, th, summary, select, .chart svg text";
  return [...document.querySelectorAll(texts)].filter((one) => {
    const box = one.getBoundingClientRect();
    const holder = one.closest(".chart") ?? one.closest(".card") ?? document.documentElement;
    const around = holder.getBoundingClientRect();
    const isHidden = !box.width || getComputedStyle(one.closest("thead") ?? one).clipPath !== "none";
    const overflows = !(one instanceof SVGElement) && one.scrollWidth > one.clientWidth + 1;
    return !isHidden && (box.left < around.left - 1 || box.right > around.right + 1 || overflows);
  }).map((one) => `${one.tagName}: ${one.textContent.slice(0, 60)}`);
}"""
"""Texts that are not all to be seen."""
"""Texts that are not all to be seen."""
