"""Both READMEs are one text in two languages, and say everything there is to say."""

import re
import subprocess
from pathlib import Path

import pytest

from fipe_cli.__main__ import app
from stage_settings import StageSettings
from tests.readme import READMES, ROOT, commands, runs_here


def headings(readme: Path) -> list[str]:
    return re.findall(r"^#+", re.sub(r"```.*?```", "", readme.read_text(), flags=re.DOTALL), re.MULTILINE)


def test_both_have_the_same_commands() -> None:
    english, portuguese = map(commands, READMES)
    assert english == portuguese
    assert sum(map(runs_here, english)) >= 20


def test_both_have_the_same_sections() -> None:
    english, portuguese = map(headings, READMES)
    assert english == portuguese


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_of_fipe_is_shown(readme: Path) -> None:
    shown = [command for command in app.registered_commands if not command.hidden]
    names = {command.callback.__name__ for command in shown if command.callback}
    assert {name for name in names if f"fipe {name}" not in readme.read_text()} == set()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_setting_is_in_the_table_with_its_default(readme: Path) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", readme.read_text(), re.MULTILINE))
    for name, field in StageSettings.model_fields.items():
        assert name in rows, f"{name} is in no table of {readme.name}"
        if not field.is_required() and field.default not in ("", None):
            default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert default in rows[name], name


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(readme: Path) -> None:
    text = readme.read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_make_help_has_a_line_for_every_target() -> None:
    lines = [line for line in _make("help").splitlines() if line.startswith("  ")]
    listed = {name for line in lines for name in _targets(line.split()[0])}
    (phony,) = (line for line in _make("-pn", "help").splitlines() if line.startswith(".PHONY:"))
    assert set(phony.split()[1:]) - listed == set()


def _make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _targets(shown: str) -> list[str]:
    """`deploy-dev|stg|prd` is three."""
    first, *others = shown.split("|")
    return [first, *(f"{first.rpartition('-')[0]}-{other}" for other in others)]
