"""Renders the page: the template with style, script, words, data and Chart.js inside, so it loads nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fipe_cli.errors import CliError
from fipe_cli.query import as_json
from local_cloud.state import REPOSITORY

PARTS = Path(__file__).parent
CHART_JS = REPOSITORY / "node_modules/chart.js/dist/chart.umd.min.js"


def render(report: dict[str, Any], place: str) -> str:
    """Renders the page as HTML.

    Args:
        report: what read_report returns.
        place: the stage and its cloud, for the footer.

    Raises:
        CliError: Chart.js is not installed.
    """
    environment = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    data = report | {"place": place, "made_at": datetime.now(UTC)}
    return environment.get_template("page.html").render(
        style=_part("page.css"),
        script=_part("page.js"),
        words=_json(json.loads((PARTS / "words.json").read_text(encoding="utf-8"))),
        data=_json(data),
        chart_js=_chart_js(),
    )


def _part(name: str) -> Markup:
    return Markup((PARTS / name).read_text(encoding="utf-8"))


def _json(document: Any) -> Markup:
    # A model's name can hold any character, and "</script>" would end the script element.
    return Markup(as_json(document).replace("<", "\\u003c"))


def _chart_js() -> Markup:
    try:
        text = CHART_JS.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CliError("Chart.js is missing: run `make setup` to install it") from error
    # A debugger would fetch the source map over the network.
    return Markup("\n".join(line for line in text.splitlines() if "sourceMappingURL" not in line))
