"""How far a load has come: the figures that follow from the counts, and how they look."""

import io
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from rich.console import Console

from fipe_api.load.outlook import Arrivals
from fipe_api.load.state import LoadState
from fipe_cli.forecast import Limit
from fipe_cli.progress import Refusal, Snapshot, View, Waits, duration, line, stages
from fipe_cli.watch import Account, Pauses, watch

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
STEADY = (Arrivals(newest=1, oldest=31, batches=31, calls=1550, longest_gap=1),)
"""50 calls per second for half a minute, until a second ago."""


def any_snapshot(**given: Any) -> Snapshot:
    """A month at 3,000 calls per minute: 140 of 236 brands found, 1,000 models loaded."""
    defaults = {
        "at": NOON, "months": ("2026-06",), "brands": 236, "brands_searched": 140, "models": 1000,
        "models_expected": 11_238.0, "prices": 4500, "prices_expected": 50_332.0, "waiting": 5716,
        "results_waiting": 20, "calls_left": 48_000.0, "arrivals": STEADY,
        "dead": {"manufacturer": 0, "model": 0, "price": 0},
    }  # fmt: skip
    return Snapshot(**{**defaults, **given})


SEARCHED: dict[str, Any] = {"brands_searched": 236}
ENDED: dict[str, Any] = {"waiting": 0, "results_waiting": 0, "calls_left": 0.0}


def shown(seen: Snapshot, width: int) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    console.print(View("dev", seen))
    return console.export_text().splitlines()


def test_the_time_left_is_that_of_the_calls_left_at_the_newest_rate() -> None:
    seen = any_snapshot()
    assert seen.rate == pytest.approx(3000)
    assert seen.time_left == timedelta(minutes=48_000 / 3000)


def test_at_a_limit_no_time_is_left_for_results_that_wait_to_be_written() -> None:
    limited = Waits(limit=Limit(3000, is_reached=True))
    of_20_models = 20 * 50_332 / 11_238
    seen = any_snapshot(waits=limited)
    assert seen.time_left == timedelta(minutes=(48_000 - of_20_models) / 3000)
    # Without a limit, writing them may be what takes the time.
    assert any_snapshot().time_left == timedelta(minutes=16)


def test_while_denied_answers_are_waited_for_it_says_so_and_until_when() -> None:
    waits = Waits(denied_until=NOON + timedelta(minutes=4))
    seen = any_snapshot(waits=waits, delayed=3, waiting=3)
    assert seen.time_left == timedelta(minutes=4)
    words = "3 messages waiting for denied answers: asked again until 12:04:00 at the latest, in 4 min 0 s"
    assert words in line(seen)
    assert words in " ".join(shown(seen, 200))
    assert seen.document()["denied"] == {"messages": 3, "seconds": 240}
    # While there is other work, the longer of the two.
    assert any_snapshot(waits=waits, delayed=3).time_left == any_snapshot().time_left
    assert any_snapshot(waits=waits, delayed=3, calls_left=1.0).time_left == timedelta(minutes=4)
    # What was denied before is over.
    assert any_snapshot(waits=waits, delayed=0).time_left == any_snapshot().time_left
    over = any_snapshot(waits=Waits(denied_until=NOON), delayed=3)
    assert (over.denied_for, "denied" in line(over)) == (None, False)


def test_a_refusal_is_said_and_its_wait_is_part_of_the_time_left() -> None:
    seen = any_snapshot(waits=Waits(Refusal("blocked", 120)))
    assert "blocked: no call for 2 min 0 s" in line(seen)
    assert seen.time_left == timedelta(minutes=16 + 2)


def test_a_throttled_load_says_what_the_source_allows() -> None:
    waits = Waits(limit=Limit(960), throttled_to=1000)
    assert "throttled: the source allows about 1,000 calls per minute" in line(any_snapshot(waits=waits))


def test_a_load_that_waits_to_start_says_so() -> None:
    seen = Snapshot(at=NOON, brands=1, waiting=1, waits=Waits(Refusal("throttled", 60)))
    assert line(seen).endswith("waits to start, throttled: no call for 1 min 0 s")


def test_nothing_is_estimated_before_the_first_result() -> None:
    seen = Snapshot(at=NOON, brands=12, waiting=12)
    assert (seen.rate, seen.time_left) == (None, None)
    assert "left" not in line(seen)


def test_totals_are_marked_as_estimates_until_all_brands_are_searched() -> None:
    assert "models loaded 1,000 of about 11,238" in line(any_snapshot())
    assert "models loaded 1,000 of 11,238" in line(any_snapshot(**SEARCHED))


def test_what_is_complete_is_all_there_and_leaves_no_time() -> None:
    seen = any_snapshot(
        **SEARCHED, **ENDED, brands_complete=236, models=11_238, prices=50_332,
        state_in_ledger=LoadState.COMPLETE,
    )  # fmt: skip
    assert seen.time_left == timedelta(0)
    assert [stage.share for stage in stages(seen)] == [1.0, 1.0, 1.0]
    assert line(seen).endswith("prices loaded 50,332 of 50,332, complete")


def test_a_load_has_ended_when_nothing_waits_unless_functions_are_at_work() -> None:
    assert not any_snapshot().has_ended
    assert any_snapshot(**ENDED).has_ended
    assert not any_snapshot(**ENDED, busy=True).has_ended


def test_a_load_whose_messages_are_lost_is_incomplete_and_has_no_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = any_snapshot(waiting=0, results_waiting=0, missing=("cars, Fiat: 3 models",))
    watch(Console(), "dev", lambda: lost, Pauses(0, 0, 0))
    *_, said, missing = capsys.readouterr().out.splitlines()
    assert said.endswith("incomplete: 236 brands did not arrive; run `fipe resume` to ask again")
    assert "left" not in said
    assert missing == "missing: cars, Fiat: 3 models"


def test_a_load_from_which_nothing_comes_says_so_instead_of_a_time() -> None:
    silent = (Arrivals(newest=301, oldest=331, batches=31, calls=1550, longest_gap=1),)
    seen = any_snapshot(arrivals=silent)
    assert seen.time_left is None
    assert "nothing has come for 5 min 1 s: 5,716 messages waiting; `fipe logs` may say why" in line(seen)
    stuck = line(any_snapshot(arrivals=silent, results_waiting=700))
    assert "nothing has come for 5 min 1 s: 700 results waiting for the database" in stuck
    explained = any_snapshot(arrivals=silent, waits=Waits(Refusal("down", 60)))
    assert "nothing has come" not in line(explained)


def test_a_cancelled_load_has_ended_and_says_how_to_go_on() -> None:
    for seen in (
        any_snapshot(state_in_ledger=LoadState.CANCELLED),
        any_snapshot(waits=Waits(cancelled=True)),
    ):
        assert (seen.state, seen.has_ended) == (LoadState.CANCELLED, True)
        assert line(seen).endswith("cancelled: what came stays; run `fipe resume` to load the rest")
    resumed = any_snapshot(state_in_ledger=LoadState.CANCELLED, waits=Waits(cancelled=False))
    assert (resumed.state, resumed.has_ended) == (LoadState.LOADING, False)


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 200])
def test_the_view_fits_terminals_of_any_width(width: int) -> None:
    seen = any_snapshot(dead={"manufacturer": 0, "model": 3, "price": 0}, waits=Waits(Refusal("blocked", 42)))
    lines = shown(seen, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for words in ("brands searched", "3,000 calls", "blocked: no call for 42 s", "3 failed in the model DLQ"):
        assert words in text


def test_bars_are_drawn_where_they_have_room() -> None:
    assert "━" in "".join(shown(any_snapshot(), 80))
    assert "59%" in "".join(shown(any_snapshot(), 40))


def test_a_line_says_it_all_for_a_pipe() -> None:
    text = line(any_snapshot(dead={"manufacturer": 0, "model": 3, "price": 0}))
    assert "\n" not in text
    for words in (
        "12:00:00 brands searched 140 of 236", "prices loaded 4,500 of about 50,332",
        "3,000 calls per minute, about 16 min 0 s left", "3 in the model DLQ",
    ):  # fmt: skip
        assert words in text


def test_what_is_missing_is_said_at_the_end() -> None:
    ended = any_snapshot(**SEARCHED, **ENDED, missing=("2026-06: Fiat",))
    text = "\n".join(shown(ended, 80))
    assert "missing: 2026-06: Fiat" in text
    assert "incomplete: 10,238 models did not arrive; run `fipe resume` to ask again" in text


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        ({"rejected": 1, "models": 11_238}, "1 price had no usable answer"),
        ({"rejected": 4}, "10,238 models did not arrive, 4 prices had no usable answer"),
        ({"models": 11_238, "brands_complete": 235}, "1 brand did not arrive"),
    ],
)
def test_says_in_a_few_words_what_a_load_lacks(given: dict[str, Any], lacks: str) -> None:
    assert any_snapshot(**SEARCHED, **given).lacks == lacks


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        (any_snapshot(), 3),
        (any_snapshot(calls_left=150.0), 0.75),
        (any_snapshot(calls_left=0.0, busy=True), 0.5),
        (any_snapshot(arrivals=()), 2),
        (any_snapshot(**ENDED), 2),
    ],
    ids=["much is left", "3 s are left", "almost done", "nothing is known yet", "nothing waits"],
)
def test_looks_more_often_towards_the_end(seen: Snapshot, seconds: float) -> None:
    assert Pauses(shortest=0.5, usual=2, longest=3).after(seen) == pytest.approx(seconds)


def test_watching_ends_at_once_when_complete_and_after_some_quiet_looks_when_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    none = Pauses(0, 0, 0)
    idle = any_snapshot(**ENDED)
    looks = iter([any_snapshot(), idle, any_snapshot(), idle, idle, idle])
    assert watch(Console(), "dev", lambda: next(looks), none) is idle
    assert "incomplete" not in capsys.readouterr().out.splitlines()[0]
    complete = any_snapshot(state_in_ledger=LoadState.COMPLETE)
    assert watch(Console(), "dev", iter([idle, idle, complete]).__next__, none) is complete
    assert capsys.readouterr().out.splitlines()[-1].endswith("complete")


def later(seconds: float, **given: Any) -> Snapshot:
    return any_snapshot(at=NOON + timedelta(seconds=seconds), **given)


def test_a_number_that_was_said_never_goes_back() -> None:
    account = Account()
    account.next(any_snapshot(models=984, brands_searched=12))
    said = account.next(later(1, models=680, brands_searched=11))
    assert (said.models, said.brands_searched) == (984, 12)


def test_the_time_left_gets_shorter_by_the_time_that_passes() -> None:
    account = Account()
    assert account.next(any_snapshot()).time_left == timedelta(minutes=16)
    # At 48,500 calls left it would be ten seconds longer, which is about the same.
    assert account.next(later(10, calls_left=48_500.0)).time_left == timedelta(minutes=15, seconds=50)


SLOWER = (Arrivals(newest=1, oldest=31, batches=31, calls=775, longest_gap=1),)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"arrivals": SLOWER}, "slower: 1,500 calls per minute, 3,000 before"),
        ({"calls_left": 60_000.0}, "more is left than it seemed: about 60,000 calls, 48,000 before"),
        ({"waits": Waits(Refusal("throttled", 600))}, ""),
    ],
)
def test_a_time_left_that_gets_longer_is_explained(given: dict[str, Any], why: str) -> None:
    account = Account()
    account.next(any_snapshot())
    said = account.next(later(1, **given))
    assert said.why_longer == why
    assert said.time_left == said.time_left_by_calls
    assert why in line(said)
    # For half a minute, and not for ever.
    assert account.next(later(20, **given)).why_longer == why
    assert account.next(later(40, **given)).why_longer == ""


@given(
    some.lists(
        some.fixed_dictionaries(
            {
                "models": some.integers(0, 11_238),
                "brands_searched": some.integers(0, 236),
                "calls_left": some.floats(0, 60_000),
                "arrivals": some.sampled_from([STEADY, SLOWER, ()]),
                "waits": some.sampled_from([Waits(), Waits(Refusal("down", 60)), Waits(throttled_to=900.0)]),
            }
        ),
        min_size=2,
        max_size=20,
    )
)
def test_whatever_is_counted_what_is_said_fits_together(counted: list[dict[str, Any]]) -> None:
    account = Account()
    said = [account.next(later(5.0 * number, **given)) for number, given in enumerate(counted)]
    for before, after in pairwise(said):
        assert after.models >= before.models
        assert after.brands_searched >= before.brands_searched
        if not before.time_left or after.time_left is None:
            continue
        expected = max(timedelta(0), before.time_left - timedelta(seconds=5))
        if after.time_left > 1.1 * expected + timedelta(seconds=2):
            assert after.why_longer or after.waits.refusal


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (75, "1 min 15 s"), (82_080, "22 h 48 min")]
)
def test_a_duration_has_the_two_units_that_matter(seconds: float, words: str) -> None:
    assert duration(seconds) == words
