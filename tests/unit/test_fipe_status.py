"""How `fipe status` and `fipe load --follow` end, and what they write where."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from fipe_api.load.outlook import Outlook
from fipe_api.load.state import LoadState
from fipe_cli import ledger, loads, watch
from fipe_cli.__main__ import app
from fipe_cli.ledger import Import, Load, Run, snapshot
from fipe_cli.loads import StartedLoad, StartedReference
from fipe_cli.watch import Pauses

RUN = UUID(int=7)
NOTHING = {"manufacturer": 0, "model": 0, "price": 0}
Fipe = Callable[..., Result]


def any_load(**given: Any) -> Load:
    """A complete one."""
    defaults = {
        "run_id": RUN, "reference_code": 334, "reference_month": date(2026, 6, 1), "brands_expected": 1,
        "brands_complete": 1, "models_expected": 3, "models_received": 3, "vehicles_expected": 15,
        "prices": 15, "unpriced": 0, "state": "complete", "complete": True,
        "started_at": datetime(2026, 6, 1, tzinfo=UTC),
        "last_write_at": datetime(2026, 6, 1, tzinfo=UTC),
    }  # fmt: skip
    return Load(**{**defaults, **given})


@pytest.fixture
def fipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fipe:
    """The command, where the ledger and the queues hold what is given."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIPE_LOCAL_DIR", str(tmp_path))
    month = StartedReference(code=334, month="2026-06", brands=1)
    started = StartedLoad(run_id=RUN, references=[month], brands_sent=1)
    monkeypatch.setattr(loads, "start", lambda *_: started)
    monkeypatch.setattr(watch, "AWS_PAUSES", Pauses(0, 0, 0))

    def run(
        *arguments: str,
        known: list[Load],
        waiting: dict[str, int] = NOTHING,
        dead: dict[str, int] = NOTHING,
        imports: Sequence[Import] = (),
    ) -> Result:
        def look(*_: Any, **__: Any) -> Any:
            brands = sum(one.brands_expected for one in known)
            models = sum(one.models_expected for one in known)
            outlook = Outlook(brands_searched=brands, models=models, prices=sum(one.prices for one in known))
            return known, snapshot(Run(known, outlook), waiting=waiting, dead=dead)

        monkeypatch.setattr(ledger, "look", look)
        monkeypatch.setattr(ledger, "read_imports", lambda _: imports)
        return CliRunner().invoke(app, list(arguments))

    return run


@pytest.mark.parametrize("follow", ["--follow", "--once"])
def test_before_any_load_status_says_how_to_start_one(fipe: Fipe, follow: str) -> None:
    ended = fipe("status", follow, known=[])
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "error: no load yet: run `fipe load`\n"


FIPEX = Import(
    source="fipex", months=309, first_month=date(2001, 1, 1), last_month=date(2026, 9, 1), added=9_528_944,
    files=1, files_unfinished=1, kept_apart=1, replaced=0, confirmed=308,
)  # fmt: skip
IMPORTED = (
    "imported as fipex: 9,528,944 prices in 309 months, 2001-01 to 2026-09; 308 months confirmed by their"
    " samples; 1 row kept apart; 1 file not read to the end: run the same `fipe import` again\n"
)


def test_status_shows_imports_beside_the_load_or_alone(fipe: Fipe) -> None:
    alone = fipe("status", known=[], imports=[FIPEX])
    assert (alone.exit_code, alone.stdout) == (0, IMPORTED)
    beside = fipe("status", "--once", known=[any_load()], imports=[FIPEX])
    assert beside.exit_code == 0
    assert beside.stdout.endswith(IMPORTED)
    document = json.loads(fipe("status", "--json", known=[any_load()], imports=[FIPEX]).stdout)
    assert document["imports"][0]["months"] == 309


@pytest.mark.parametrize("follow", ["--follow", "--once"])
def test_a_run_that_was_never_started_is_refused(fipe: Fipe, follow: str) -> None:
    ended = fipe("status", str(RUN), follow, known=[])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == f"error: unknown run {RUN}: `fipe status` shows the newest one\n"


@pytest.mark.parametrize("run_id", [[], [str(RUN)]])
def test_a_load_that_has_just_begun_is_shown(fipe: Fipe, run_id: list[str]) -> None:
    ended = fipe("status", *run_id, known=[], waiting={**NOTHING, "manufacturer": 12})
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert "brands searched 0 of 12" in ended.stdout


def test_dead_letters_are_shown_though_no_load_is_known(fipe: Fipe) -> None:
    ended = fipe("status", known=[], dead={**NOTHING, "price": 1})
    assert (ended.exit_code, ended.stderr) == (1, "")
    assert "1 in the price DLQ" in ended.stdout


@pytest.mark.parametrize("command", [["load", "--models", "Nonexistent", "--follow"], ["status"]])
def test_a_load_of_models_that_do_not_exist_is_not_done(fipe: Fipe, command: list[str]) -> None:
    ended = fipe(*command, known=[any_load(models_expected=0, models_received=0, prices=0)])
    assert ended.exit_code == 1
    assert ended.stderr == "error: nothing was loaded: none of these models exists\n"


@pytest.mark.parametrize("command", [["load", "--follow"], ["status", "--once"], ["status", "--follow"]])
def test_a_price_without_a_usable_answer_makes_a_load_incomplete(fipe: Fipe, command: list[str]) -> None:
    lacking = any_load(rejected=4, state="incomplete", complete=False, brands_complete=0)
    ended = fipe(*command, known=[lacking])
    assert ended.exit_code == 1
    words = "incomplete: 4 prices had no usable answer; run `fipe resume` to ask again"
    assert ended.stdout.splitlines()[-1].endswith(words)
    document = json.loads(fipe("status", "--json", known=[lacking]).stdout)
    assert (document["state"], document["complete"], document["rejected"]) == ("incomplete", False, 4)


def test_what_fipe_denied_does_not_make_a_load_incomplete(fipe: Fipe) -> None:
    ended = fipe("status", "--json", known=[any_load(unpriced=2, unpriced_prices=["cars, Fiat: 2 prices"])])
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["state"], document["unpriced"]) == (0, "complete", 2)
    assert document["unpriced_prices"] == ["cars, Fiat: 2 prices"]


def test_a_load_that_waits_to_start_says_why(fipe: Fipe, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = StartedLoad(run_id=RUN, references=[], brands_sent=0, waiting="throttled; try again in 60 s")
    monkeypatch.setattr(loads, "start", lambda *_: waiting)
    ended = fipe("load", known=[])
    assert (ended.exit_code, ended.stdout.splitlines()[0]) == (
        0, f"run {RUN} waits to start: throttled; try again in 60 s",
    )  # fmt: skip


def test_a_followed_load_ends_with_one_json_document(fipe: Fipe) -> None:
    ended = fipe("load", "--follow", "--json", known=[any_load()])
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["run_id"], document["complete"]) == (0, str(RUN), True)
    started, _, last = ended.stderr.splitlines()
    assert started.startswith(f"run {RUN} started")
    assert last.endswith("complete")


def test_a_followed_status_ends_with_one_json_document(fipe: Fipe) -> None:
    ended = fipe("status", "--follow", "--json", known=[any_load()])
    once = fipe("status", "--json", known=[any_load()])
    assert json.loads(ended.stdout) == json.loads(once.stdout)
    assert ended.stderr.endswith("complete\n")


@pytest.mark.parametrize("command", [["load", "--follow"], ["status", "--once"], ["status", "--follow"]])
def test_a_cancelled_load_ends_with_the_ledgers_word(fipe: Fipe, command: list[str]) -> None:
    cancelled = any_load(state="cancelled", complete=False, brands_complete=0, models_received=1)
    ended = fipe(*command, known=[cancelled], waiting={**NOTHING, "model": 9})
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[-1].endswith("run `fipe resume` to load the rest")
    assert json.loads(fipe("status", "--json", known=[cancelled]).stdout)["state"] == "cancelled"


@pytest.mark.parametrize("command", [["status", "--follow"], ["load", "--follow"]])
def test_after_leaving_a_view_the_load_goes_on(
    fipe: Fipe, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def leave(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", leave)
    loading = any_load(state="loading", complete=False)
    ended = fipe(*command, known=[loading], waiting={**NOTHING, "model": 9})
    assert ended.exit_code == 130
    assert ended.stderr == (
        f"interrupted: the load goes on; `fipe status {RUN}` shows it, `fipe cancel {RUN}` ends it\n"
    )


def test_the_report_has_a_word_and_a_mark_for_each_state() -> None:
    folder = files("fipe_cli.report")
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    section = (folder / "load.js").read_text(encoding="utf-8")
    for state in LoadState:
        assert all(state in spoken for spoken in words.values())
        assert len(re.findall(rf"\b{state}:", section)) == 2
