"""Renders the page: the template with style, scripts, words and data inside, so that it loads nothing."""

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fipe_cli.query import as_json
from fipe_page import SHARED, read_words

PARTS = Path(__file__).parent
SHARED_SCRIPTS = tuple(SHARED / name for name in ("charts.js", "elements.js", "figures.js"))
"""charts.js is the chart library, which `make charts` bundles."""
SCRIPTS = (
    *SHARED_SCRIPTS, *(PARTS / f"{name}.js" for name in ("market", "vehicle", "fleet", "load", "page"))
)  # fmt: skip
"""In the order in which they use one another."""


def render(report: dict[str, Any], stage: str, place: str | None) -> str:
    """Renders the page as HTML.

    Args:
        report: what read_report returns.
        stage: the stage, for the footer.
        place: where it is; None for this machine.
    """
    environment = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    data = report | {"stage": stage, "place": place, "made_at": datetime.now(UTC)}
    scripts = [_part(script) for script in SCRIPTS]
    return environment.get_template("page.html").render(
        policy=_policy(scripts),
        style=_part(SHARED / "common.css") + _part(PARTS / "page.css"),
        scripts=scripts,
        words=_json(read_words(SHARED / "words.json", PARTS / "words.json")),
        data=_json(data),
    )


def _policy(scripts: list[Markup]) -> str:
    """What the browser may do: run these scripts and nothing else, and ask nobody for anything."""
    digests = (b64encode(sha256(script.encode()).digest()).decode() for script in scripts)
    run = " ".join(f"'sha256-{digest}'" for digest in digests)
    # Charts style themselves.
    return (
        f"default-src 'none'; script-src {run}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _part(file: Path) -> Markup:
    return Markup(file.read_text(encoding="utf-8"))


def _json(document: Any) -> Markup:
    # A model's name can hold any character, and "</script>" would end the script element.
    return Markup(as_json(document).replace("<", "\\u003c"))
