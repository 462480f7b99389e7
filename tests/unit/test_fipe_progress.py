"""How far a load has come: the figures that follow from the counts, and how they look."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from fipe_cli.progress import Refusal, Snapshot, View, Waits, duration, line, stages
from fipe_cli.watch import Pauses, watch

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def any_snapshot(**given: Any) -> Snapshot:
    """An hour into a month: 140 of 236 brands found, 1,000 models loaded."""
    defaults = {
        "at": NOON, "started_at": NOON - timedelta(hours=1), "months": ("2026-06",), "brands": 236,
        "brands_waiting": 96, "models_found": 6620, "models_received": 1000, "models_waiting": 5600,
        "models_to_write": 20, "calls_found": 29_600, "calls_done": 4520, "prices": 4500,
        "dead": {"manufacturer": 0, "model": 0, "price": 0},
    }  # fmt: skip
    return Snapshot(**{**defaults, **given})


def shown(seen: Snapshot, width: int) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    console.print(View("dev", seen))
    return console.export_text().splitlines()


def test_expects_a_whole_month_before_all_brands_are_found() -> None:
    """The real month has 11,238 models and 50,332 prices."""
    seen = any_snapshot()
    assert 10_500 < seen.models_expected < 12_000
    assert 48_000 < seen.prices_expected < 53_000


def test_the_rate_is_in_calls_and_never_above_the_limit() -> None:
    assert any_snapshot(calls_per_minute=40).rate == 40
    measured = any_snapshot().rate
    assert measured is not None
    # 4,520 calls for prices and what finding 6,620 models takes, in an hour.
    assert 100 < measured < 130


def test_the_time_left_is_that_of_the_calls_left_at_the_rate() -> None:
    seen = any_snapshot(calls_per_minute=40)
    assert seen.time_left is not None
    assert seen.time_left.total_seconds() / 60 == pytest.approx(seen.calls_left / 40)


def test_a_load_that_only_waits_does_not_get_slower() -> None:
    an_hour_ago = any_snapshot(at=NOON, last_write_at=NOON)
    assert any_snapshot(at=NOON + timedelta(hours=1), last_write_at=NOON).rate == an_hour_ago.rate


def test_while_denied_answers_are_waited_for_it_says_so_and_until_when() -> None:
    waits = Waits(denied_until=NOON + timedelta(minutes=4))
    idle = {"brands_waiting": 0, "models_waiting": 3, "models_to_write": 0}
    seen = any_snapshot(waits=waits, delayed=3, **idle)
    assert seen.time_left == timedelta(minutes=4)
    words = "3 messages waiting for denied answers: asked again until 12:04:00 at the latest, in 4 min 0 s"
    assert words in line(seen)
    assert words in " ".join(shown(seen, 200))
    assert seen.document()["denied"] == {"messages": 3, "seconds": 240}
    # While there is other work, the longer of the two.
    assert any_snapshot(waits=waits, delayed=3).time_left == any_snapshot().time_left
    nearly_done = any_snapshot(waits=waits, delayed=3, calls_found=4521, calls_done=4520, brands_waiting=0)
    assert nearly_done.time_left == timedelta(minutes=4)
    # What was denied before is over.
    assert any_snapshot(waits=waits, delayed=0).time_left == any_snapshot().time_left
    over = any_snapshot(waits=Waits(denied_until=NOON), delayed=3)
    assert (over.denied_for, "denied" in line(over)) == (None, False)


def test_a_load_that_waits_to_start_says_so() -> None:
    seen = Snapshot(at=NOON, brands=1, brands_waiting=1, waits=Waits(Refusal("throttled", 60)))
    assert line(seen).endswith("0 prices, waits to start, throttled: no call for 1 min 0 s")


def test_nothing_is_estimated_before_the_first_result() -> None:
    seen = Snapshot(at=NOON, brands=12, brands_waiting=12)
    assert (seen.rate, seen.time_left) == (None, None)
    assert "0 prices" in line(seen)


def test_what_is_complete_is_all_there_and_leaves_no_time() -> None:
    seen = any_snapshot(
        complete=True, brands_waiting=0, models_waiting=0, models_to_write=0, brands_complete=236
    )
    assert seen.time_left == timedelta(0)
    assert [stage.share for stage in stages(seen)] == [1.0, 1.0, 1.0]


def test_a_load_has_ended_when_nothing_waits_unless_functions_are_at_work() -> None:
    idle = {"brands_waiting": 0, "models_waiting": 0, "models_to_write": 0}
    assert not any_snapshot().has_ended
    assert any_snapshot(**idle).has_ended
    assert not any_snapshot(**idle, busy=True).has_ended


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 200])
def test_the_view_fits_terminals_of_any_width(width: int) -> None:
    seen = any_snapshot(dead={"manufacturer": 0, "model": 3, "price": 0}, waits=Waits(Refusal("blocked", 42)))
    lines = shown(seen, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for words in ("years found", "4,500 prices", "blocked: no call for 42 s", "3 failed in the model DLQ"):
        assert words in text


def test_bars_are_drawn_where_they_have_room() -> None:
    assert "━" in "".join(shown(any_snapshot(), 80))
    assert "59%" in "".join(shown(any_snapshot(), 40))


def test_a_line_says_it_all_for_a_pipe() -> None:
    text = line(any_snapshot(dead={"manufacturer": 0, "model": 3, "price": 0}))
    assert "\n" not in text
    for words in ("12:00:00", "years found 140/236", "4,500 prices", "left", "3 in the model DLQ"):
        assert words in text


def test_what_is_missing_is_said_at_the_end() -> None:
    ended = any_snapshot(brands_waiting=0, models_waiting=0, models_to_write=0, missing=("2026-06: Fiat",))
    text = "\n".join(shown(ended, 80))
    assert "missing: 2026-06: Fiat" in text
    assert "incomplete: 5,620 models did not arrive; run `fipe resume` to ask again" in text


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        ({"rejected": 1, "models_received": 6620}, "1 price had no usable answer"),
        ({"rejected": 4}, "5,620 models did not arrive, 4 prices had no usable answer"),
        ({"models_received": 6620, "brands_complete": 235}, "1 brand did not arrive"),
    ],
)
def test_says_in_a_few_words_what_a_load_lacks(given: dict[str, Any], lacks: str) -> None:
    assert any_snapshot(**given).lacks == lacks


IDLE = {"brands_waiting": 0, "models_waiting": 0, "models_to_write": 0}


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        (any_snapshot(), 3),
        (any_snapshot(brands_waiting=0, calls_done=29_598, calls_per_minute=40), 0.75),
        (any_snapshot(brands_waiting=0, calls_done=29_600, busy=True), 0.5),
        (any_snapshot(started_at=None), 2),
        (any_snapshot(**IDLE), 2),
    ],
    ids=["much is left", "3 s are left", "almost done", "nothing is known yet", "nothing waits"],
)
def test_looks_more_often_towards_the_end(seen: Snapshot, seconds: float) -> None:
    assert Pauses(shortest=0.5, usual=2, longest=3).after(seen) == pytest.approx(seconds)


def test_watching_ends_at_once_when_complete_and_after_some_quiet_looks_when_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    none = Pauses(0, 0, 0)
    idle = any_snapshot(**IDLE)
    looks = iter([any_snapshot(), idle, any_snapshot(), idle, idle, idle])
    assert watch(Console(), "dev", lambda: next(looks), none) is idle
    complete = any_snapshot(complete=True)
    assert watch(Console(), "dev", iter([idle, idle, complete]).__next__, none) is complete
    assert capsys.readouterr().out.splitlines()[-1].endswith("complete")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (75, "1 min 15 s"), (82_080, "22 h 48 min")]
)
def test_a_duration_has_the_two_units_that_matter(seconds: float, words: str) -> None:
    assert duration(seconds) == words
