"""The page: a template with style, script, words, data and Chart.js inside; nothing comes from elsewhere."""

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
    """The page as HTML.

    Args:
        report: what read_report gives.
        place: the stage and its cloud, for the page's foot.

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
    # In a script element only "<" could end it; a model's name can hold any character.
    return Markup(as_json(document).replace("<", "\\u003c"))


def _chart_js() -> Markup:
    try:
        text = CHART_JS.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CliError("Chart.js is missing: `make setup` installs it") from error
    # The map is for debuggers, who would ask for it by network.
    return Markup("\n".join(line for line in text.splitlines() if "sourceMappingURL" not in line))
