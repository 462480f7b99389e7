"""The rate of a load, from simulated timelines of its results: no clock, no database."""

import math
import random
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby, pairwise, repeat, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fipe_api.load.outlook import STEP, Arrivals
from fipe_cli.forecast import Limit, rate, recent, silence

Batch = tuple[float, float]
"""When it came, in seconds, and how many calls it took."""
AT_THE_LIMIT = Limit(3000, is_reached=True)


def results(
    per_minute: float,
    seconds: float,
    begin: float = 0.0,
    calls: float = 40,
    seed: int = 0,
    jitter: float = 0.5,
) -> list[Batch]:
    """Results at a rate, in batches of so many calls, at intervals that differ by up to a share."""
    chance = random.Random(seed)
    usual = 60 * calls / per_minute
    times = accumulate(usual * chance.uniform(1 - jitter, 1 + jitter) for _ in repeat(None))
    return [(begin + each, calls) for each in takewhile(lambda each: each < seconds, times)]


def seen_at(now: float, batches: Iterable[Batch]) -> list[Arrivals]:
    """What the ledger tells at a moment: as SELECT_ARRIVALS groups it."""
    ages = sorted((now - came, calls) for came, calls in batches if came <= now)
    groups = [
        list(group)
        for _, group in groupby(ages, key=lambda each: math.floor(math.log(max(1.0, each[0]), STEP)))
    ]
    return [
        Arrivals(
            newest=group[0][0],
            oldest=group[-1][0],
            batches=len(group),
            calls=sum(calls for _, calls in group),
            longest_gap=max((older - newer for (newer, _), (older, _) in pairwise(group)), default=0.0),
        )
        for group in groups
    ]


def rate_at(now: float, batches: Sequence[Batch], limit: Limit = Limit()) -> float:  # noqa: B008
    found = rate(seen_at(now, batches), limit)
    assert found is not None
    return found


@given(
    per_minute=some.sampled_from([40.0, 1_000.0, 3_000.0, 40_000.0]),
    share=some.floats(0.1, 1),
    seed=some.integers(0, 1000),
)
def test_a_steady_load_is_as_fast_as_it_is(per_minute: float, share: float, seed: int) -> None:
    seconds = 60 * 10_000 / per_minute
    found = rate_at(share * seconds, results(per_minute, seconds, seed=seed))
    assert found == pytest.approx(per_minute, rel=0.3 if share < 0.5 else 0.15)


@pytest.mark.parametrize("pause", [120, 3_600, 3 * 86_400])
def test_a_load_that_was_resumed_is_not_slow_because_of_the_pause(pause: float) -> None:
    batches = results(3_000, 200) + results(3_000, 60, begin=200 + pause)
    assert rate_at(200 + pause + 15, batches) == pytest.approx(3_000, rel=0.25)


@pytest.mark.parametrize("slower", [300, 1_500])
def test_a_load_that_gets_slower_is_soon_known_to_be(slower: float) -> None:
    batches = results(3_000, 100) + results(slower, 600, begin=100)
    assert rate_at(180, batches) == pytest.approx(slower, rel=0.25)


def test_a_limit_counts_until_results_say_more() -> None:
    assert rate([], AT_THE_LIMIT) == 3000
    one_batch = seen_at(2, [(1, 40)])
    assert rate(one_batch, AT_THE_LIMIT) == 3000
    assert rate(one_batch, Limit()) is None
    # At a limit of 3,000, denied answers and repeated calls leave 2,000 prices.
    assert rate_at(20, results(2_000, 300), AT_THE_LIMIT) == pytest.approx(2_300, rel=0.1)
    assert rate_at(290, results(2_000, 300), AT_THE_LIMIT) == pytest.approx(2_000, rel=0.1)


def test_a_limit_that_nobody_reaches_says_nothing() -> None:
    assert rate_at(290, results(500, 300), Limit(3000)) == pytest.approx(500, rel=0.1)


def test_a_new_limit_counts_at_once() -> None:
    assert rate_at(100, results(3_000, 100), Limit(1_000)) == 1_000


@pytest.mark.parametrize("rest", [5, 61])
def test_rests_after_refusals_are_part_of_the_rate(rest: float) -> None:
    """Of each 250 calls, at 1,000 per minute, the source refuses the next and makes all rest."""
    batches = [
        (came + number * (15 + rest), calls)
        for number in range(20)
        for came, calls in results(1_000, 15, seed=number)
    ]
    sustained = 1_000 * 15 / (15 + rest)
    found = rate_at(15 * (15 + rest), batches, Limit(1_000, rest_seconds=rest))
    assert found == pytest.approx(sustained, rel=0.2)


def test_says_for_how_long_nothing_has_come_if_that_is_long() -> None:
    batches = results(3_000, 100)
    last = batches[-1][0]
    assert silence(seen_at(last + 100, batches)) is None
    assert silence(seen_at(last + 130, batches)) == pytest.approx(130)
    # At 40 calls per minute, a minute between two batches is usual.
    slow = results(40, 3_600)
    assert silence(seen_at(slow[-1][0] + 150, slow)) is None
    assert silence([]) is None


@given(
    some.lists(some.tuples(some.floats(0, 1e6), some.integers(0, 10_000)), max_size=40),
    some.floats(1, 1e5) | some.none(),
    some.booleans(),
    some.floats(0, 1e4),
)
def test_whatever_came_a_rate_is_positive_and_within_the_limit(
    batches: list[Batch], limit: float | None, is_reached: bool, rest: float
) -> None:
    arrivals = seen_at(1e6, batches)
    found = rate(arrivals, Limit(limit, is_reached, rest))
    assert found is None or 0 < found <= (limit or math.inf)
    assert recent(arrivals).seconds >= 0


CALLS = 12_000


def throttled_midway(seed: int) -> list[Batch]:
    """A minute at 3,000 per minute, then at 1,000, with a rest of 5 s every 15 s."""
    first = results(3_000, 60, seed=seed)
    return first + [
        (60 + came + number * 20, calls)
        for number in range(60)
        for came, calls in results(1_000, 15, calls=10, seed=seed + number, jitter=0.2)
    ]


LOADS = {
    "fast": (lambda seed: results(40_000, 100, seed=seed, jitter=0.2), Limit(), Limit()),
    "at a limit": (lambda seed: results(2_900, 1_000, seed=seed, jitter=0.2), AT_THE_LIMIT, AT_THE_LIMIT),
    "throttled": (throttled_midway, AT_THE_LIMIT, Limit(1_000, rest_seconds=5)),
}


@pytest.mark.parametrize(("share", "within"), [(0.1, 0.25), (0.25, 0.25), (0.5, 0.1), (0.75, 0.1)])
@pytest.mark.parametrize("name", LOADS)
@given(seed=some.integers(0, 1000))
def test_the_time_left_is_true(name: str, share: float, within: float, seed: int) -> None:
    """The three loads of the benchmark time_left, on a clock that nothing disturbs."""
    simulate, limit, limit_after_refusal = LOADS[name]
    batches = simulate(seed)
    sums = list(accumulate(calls for _, calls in batches))
    ended = next(came for (came, _), done in zip(batches, sums, strict=True) if done >= CALLS)
    now = share * ended
    if name == "throttled" and now <= 60 + 30:
        return  # the source has not refused anything yet, or only just
    done = sum(calls for came, calls in batches if came <= now)
    found = rate_at(now, batches, limit_after_refusal if now > 60 else limit)
    assert 60 * (CALLS - done) / found == pytest.approx(ended - now, rel=within)
