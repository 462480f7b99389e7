"""The documents say what is true: commands, settings, links, tests that they name."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fipe_cli.__main__ import app
from fipe_words import ENGLISH, _, counted, speak
from scripts.settings_table import PAGE, with_table
from scripts.update_words import read_catalogue
from tests.documents import (
    DBT,
    DEPLOYED,
    DEVELOPMENT,
    READMES,
    READMES_SPEAK,
    ROOT,
    WALKED,
    commands,
    documents,
    walked_commands,
)


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(document: Path) -> list[str]:
    return re.findall(r"^#+", without_code(document), re.MULTILINE)


def without_code(document: Path) -> str:
    return re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_both_readmes_have_the_same_commands() -> None:
    english, portuguese = map(commands, READMES)
    assert english == portuguese


def test_both_readmes_have_the_same_sections() -> None:
    english, portuguese = map(headings, READMES)
    assert english == portuguese


def test_each_readme_shows_a_picture_in_its_language_before_its_first_section() -> None:
    pictures = [
        re.findall(r"!\[.*?\]\((.*?)\)", readme.read_text(encoding="utf-8").partition("\n## ")[0])
        for readme in READMES
    ]
    assert pictures == [["docs/report-2026-06.png"], ["docs/report-2026-06.pt-BR.png"]]


@pytest.mark.parametrize(("readme", "spoken"), READMES_SPEAK, ids=("en", "pt"))
def test_each_readme_shows_what_make_local_says_in_its_language(readme: Path, spoken: str) -> None:
    page = readme.read_text(encoding="utf-8")
    with spoken_in(spoken):
        headings = [_("month"), _("type"), _("brands"), _("models"), _("prices")]
        types = [_("cars"), _("motorcycles"), _("trucks")]
        ends = _(
            "This load: {prices} of {models}, {unpriced:,} listed without a price; {seconds:.1f} s, {calls},"
            " at most {memory:,.0f} MiB of memory.",
            prices=counted(579, "price"), models=counted(117, "model"), unpriced=0,
            seconds=4.8, calls=counted(711, "call"), memory=735,
        )  # fmt: skip
        look = _(
            "Complete. Look at it: make local-psql ARGS='-c \"select * from fipe.vehicle_price limit 10\"'"
        )
    table = [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in page.splitlines()]
    assert headings in table
    assert [row[1] for row in table if row and row[0] == "2026-06"] == types
    assert f"\n{ends}\n{look}\n" in page


@pytest.mark.parametrize(("readme", "spoken"), READMES_SPEAK, ids=("en", "pt"))
def test_the_symptoms_of_each_readme_are_what_commands_say_in_its_language(readme: Path, spoken: str) -> None:
    table = re.split(r"\| (?:symptom|sintoma) \|", readme.read_text(encoding="utf-8"))[1].partition("\n\n")[0]
    symptoms = " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    quoted = [each for each in re.findall(r"`([^`]+)`", symptoms) if " " in each]
    said = [message.id if spoken == ENGLISH else message.string for message in read_catalogue()]
    assert len(quoted) >= 6
    for each in quoted:
        begins = each.removesuffix("...").removesuffix("http://localhost:")
        assert [text for text in said if isinstance(text, str) and text.startswith(begins)], each


@contextmanager
def spoken_in(chosen: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LANGUAGE", ENGLISH)
        speak(chosen)
        try:
            yield
        finally:
            speak(ENGLISH)


def test_every_document_with_commands_is_one_whose_commands_are_run() -> None:
    with_commands = {document for document in documents() if commands(document)}
    assert with_commands == {*READMES, *WALKED, *DEPLOYED, *DEVELOPMENT, *DBT}
    assert len(walked_commands()) >= 25


def test_every_command_of_fipe_is_shown() -> None:
    shown = "\n".join(line for document in WALKED for line in commands(document)) + READMES[0].read_text()
    offered = [command for command in app.registered_commands if not command.hidden]
    names = {command.name or command.callback.__name__ for command in offered if command.callback}
    assert {name for name in names if f"fipe {name}" not in shown} == set()


def test_the_table_of_settings_is_that_of_the_settings() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text), "docs/settings.md is out of date: run `make docs`"


@pytest.mark.parametrize("document", documents(), ids=by_name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", without_code(document)):
        if target.startswith("https://"):
            continue
        linked = document.parent / target if target else document
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), f"{target}#{anchor}"


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    titles = re.findall(r"^#+ (.*)$", without_code(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", documents(), ids=by_name)
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for file, function in re.findall(r"\b(test_\w+\.py)(?:::(\w+))?", text):
        (path,) = (ROOT / "tests").rglob(file)
        if function:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert function in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, function


def test_make_help_has_a_line_for_every_target() -> None:
    lines = [line for line in _make("help").splitlines() if line.startswith("  ")]
    listed = {name for line in lines for name in _targets(line.split()[0])}
    (phony,) = (line for line in _make("-pn", "help").splitlines() if line.startswith(".PHONY:"))
    assert set(phony.split()[1:]) - listed == set()


@pytest.mark.parametrize("spoken", ["C.UTF-8", "pt_BR.UTF-8"])
def test_make_help_fits_a_terminal_of_80_columns(spoken: str) -> None:
    assert [line for line in _make("help", spoken=spoken).splitlines() if len(line) > 80] == []


def test_make_help_says_in_portuguese_what_the_catalogue_has() -> None:
    english, portuguese = (_make("help", spoken=spoken) for spoken in ("C.UTF-8", "pt_BR.UTF-8"))
    of_make = {found.id: found.string for found in read_catalogue() if "Makefile" in dict(found.locations)}
    assert len(of_make) > 30
    for text, said in of_make.items():
        assert "".join(text.split()) in "".join(english.split()), text
        assert "".join(said.split()) in "".join(portuguese.split()), said


@pytest.mark.parametrize("language", ["en", "pt"])
def test_the_help_of_fipe_fits_a_terminal_of_80_columns_and_cuts_nothing(language: str) -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "fipe_cli", "--lang", language, "--help"]
    shown = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()
    assert [line for line in shown if len(line) > 80] == []
    assert [line for line in shown[1:] if line.endswith("...")] == []


def _make(*arguments: str, spoken: str = "C.UTF-8") -> str:
    environment = {**os.environ, "LANGUAGE": "", "LC_ALL": "", "LC_MESSAGES": "", "LANG": spoken}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout


def _targets(shown: str) -> list[str]:
    """`deploy-dev|stg|prd` is three."""
    first, *others = shown.split("|")
    return [first, *(f"{first.rpartition('-')[0]}-{other}" for other in others)]
