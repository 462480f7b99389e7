"""docs/questions.md: its commands run on the sample, and answer what the page shows, on 80 columns."""

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fipe_cli.__main__ import app
from fipe_cli.commands import database, prices, printing
from fipe_words import ENGLISH, speak
from tests.builders import JUNE_2026
from tests.databases import write_sample
from tests.documents import QUESTIONS, READMES_SPEAK, ROOT, WALKED, commands
from tests.local_database import local_database

MONTHS = (date(2025, 6, 1), date(2026, 5, 1), JUNE_2026.month)
LOADS = ("make local-up", "fipe load --reference 2025-06 --follow", "fipe load --reference 2026-05 --follow")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local cloud's database after the loads that the page begins with."""
    folder = tmp_path_factory.mktemp("local")
    with local_database(folder) as known:
        with closing(known.open()) as database:
            write_sample(database, *MONTHS)
        yield folder


def answers() -> list[tuple[str, str]]:
    """The commands that have an answer, with it."""
    page = QUESTIONS.read_text(encoding="utf-8")
    return re.findall(r"```bash\n([^\n]+)\n```\n\n```text\n(.*?)\n```", page, re.DOTALL)


def test_each_of_the_ten_questions_has_one_command_and_its_answer() -> None:
    page = QUESTIONS.read_text(encoding="utf-8")
    assert len(re.findall("^## ", page, re.MULTILINE)) == 10 == len(answers())
    assert [*LOADS, *(command for command, _ in answers())] == commands(QUESTIONS)


def tables() -> list[str]:
    """The commands of the documents that print a table on a terminal."""
    lines = dict.fromkeys(line for document in WALKED for line in commands(document))
    return [line for line in lines if line.startswith(("fipe price", "fipe query")) and "--json" not in line]


@pytest.mark.parametrize("command", tables(), ids=[each[:70] for each in tables()])
def test_the_tables_of_the_documents_fit_a_terminal_of_80_columns(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    printed = on_a_terminal(place, tmp_path, monkeypatch, command)
    assert printed
    assert [line for line in printed.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(("command", "shown"), answers(), ids=[each[:50] for each, _ in answers()])
def test_the_page_shows_what_the_command_answers(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, shown: str
) -> None:
    printed = on_a_terminal(place, tmp_path, monkeypatch, command)
    answer = "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")
    assert answer == shown
    assert max(map(len, answer.splitlines())) <= 80


@pytest.mark.parametrize(("readme", "spoken"), READMES_SPEAK, ids=("en", "pt"))
def test_each_readme_shows_what_the_last_command_answers_in_its_language(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readme: Path, spoken: str
) -> None:
    page = readme.read_text(encoding="utf-8")
    commands_, shown = re.findall(r"```bash\n([^`]+)\n```\n\n[^\n]+:\n\n```text\n([^`]*?)\n```", page)[-1]
    monkeypatch.setenv("LANGUAGE", ENGLISH)
    command = commands_.splitlines()[-1].replace("fipe ", f"fipe --lang {spoken} ", 1)
    try:
        printed = on_a_terminal(place, tmp_path, monkeypatch, command)
    finally:
        speak(ENGLISH)
    assert "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n") == shown


def on_a_terminal(place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> str:
    """What a command shows on a terminal of 80 columns."""
    (folder / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FIPE_LOCAL_DIR", str(place))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    printed = io.StringIO()
    terminal = Console(width=80, file=printed, force_terminal=True, color_system=None, highlight=False)
    for module in (printing, database, prices):
        monkeypatch.setattr(module, "console", terminal)
    ended = CliRunner().invoke(app, shlex.split(command)[1:])
    assert ended.exit_code == 0, ended.output
    return printed.getvalue()
