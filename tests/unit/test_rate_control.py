"""What a refusal teaches, on simulated sources: buckets of calls, blocks, refusals that come at random."""

import heapq
import random

import pytest
from msgspec.structs import replace

from fipe_api.source import rate_control
from fipe_api.source.rate_control import Cycle, Grant, RateState, Rest
from fipe_simulator import Ceiling
from fipe_simulator.faults import Gate


class SimulatedPace:
    """A pace without DynamoDB: the same decisions, on a state in memory."""

    def __init__(self, cap: float | None = None) -> None:
        self.state = RateState()
        self.cap = cap

    def take(self, now: int) -> tuple[int, Grant]:
        state = self.state
        if rate_control.is_free(state, self.cap):
            return now, Grant(state.epoch, 0, 0)
        interval = rate_control.interval_ms(state, self.cap)
        if state.next_call < now:
            moment, grown, idle = now, 0, now - state.next_call if state.next_call else 0
        else:
            moment, grown, idle = state.next_call, int(rate_control.grows(state, self.cap)), 0
        self.state = state = replace(
            state,
            next_call=moment + interval,
            cycle=replace(
                state.cycle,
                served=state.cycle.served + 1,
                calls=state.cycle.calls + grown,
                idle=state.cycle.idle + idle,
            ),
        )
        return moment, Grant(state.epoch, state.cycle.served, state.cycle.calls)

    def refused(self, grant: Grant, now: int, retry_after: float | None) -> None:
        if grant.epoch == self.state.epoch:
            self.state = rate_control.after_throttling(self.state, grant, now, self.cap, retry_after)


class Outcome:
    def __init__(self) -> None:
        self.served = 0
        self.refused = 0
        self.rates: list[float] = []

    @property
    def share_refused(self) -> float:
        return self.refused / (self.served + self.refused)


def simulate(
    pace: SimulatedPace, gate: Gate, clock: list[float], *, functions: int, seconds: float,
    latency: float = 0.05, counted_from: float = 0.0, at_random: float = 0.0,
) -> Outcome:  # fmt: skip
    """Lets functions call as fast as the pace allows; counts what happened after a warming up."""
    chance = random.Random(1)
    outcome = Outcome()
    events: list[tuple[float, int, str, Grant | None]] = [
        (0.0, each, "ask", None) for each in range(functions)
    ]
    while events:
        clock[0], each, kind, grant = heapq.heappop(events)
        now = clock[0]
        if now > seconds:
            break
        if kind == "ask":
            moment, granted = pace.take(round(1000 * now))
            heapq.heappush(events, (max(now, moment / 1000), each, "call", granted))
            continue
        assert grant is not None
        refusal = gate.refuse()
        is_random = chance.random() < at_random
        if now > counted_from:
            outcome.refused += bool(refusal) or is_random
            outcome.served += not refusal and not is_random
            outcome.rates.append(rate_control.rate(pace.state, pace.cap))
        if refusal or is_random:
            named = dict(refusal.headers).get("Retry-After") if refusal else None
            pace.refused(grant, round(1000 * (now + latency)), float(named) if named else None)
        heapq.heappush(events, (now + latency, each, "ask", None))
    return outcome


@pytest.mark.parametrize("functions", [1, 10])
@pytest.mark.parametrize(
    ("ceiling", "seconds"),
    [
        (Ceiling(calls=50, per_seconds=60, block_seconds=60), 4 * 3600),
        (Ceiling(calls=50, per_seconds=60, block_seconds=60, retry_after=False), 4 * 3600),
        (Ceiling(calls=5, per_seconds=1, block_seconds=0), 1800),
        (Ceiling(calls=5, per_seconds=1, block_seconds=1, retry_after=False), 1800),
        (Ceiling(calls=50, per_seconds=1, block_seconds=0), 240),
    ],
    ids=["50 a minute", "50 a minute, unsaid", "5 a second", "5 a second, unsaid", "50 a second"],
)
def test_comes_within_a_few_hundredths_of_a_limit_and_rarely_over_it(
    ceiling: Ceiling, seconds: float, functions: int
) -> None:
    clock = [0.0]
    gate = Gate(ceiling, lambda: clock[0])
    outcome = simulate(
        SimulatedPace(), gate, clock, functions=functions, seconds=seconds, counted_from=seconds / 2,
        latency=0.02,
    )  # fmt: skip
    limit = ceiling.calls / ceiling.per_seconds * seconds / 2
    assert outcome.served >= 0.95 * limit
    assert outcome.share_refused <= 0.02


def test_never_exceeds_the_cap() -> None:
    clock = [0.0]
    gate = Gate(Ceiling(calls=50, per_seconds=60, block_seconds=60), lambda: clock[0])
    outcome = simulate(SimulatedPace(40 / 60), gate, clock, functions=2, seconds=7200)
    assert (outcome.refused, max(outcome.rates)) == (0, 40 / 60)
    assert outcome.served == pytest.approx(4800, abs=3)


def test_finds_a_limit_below_the_cap() -> None:
    clock = [0.0]
    gate = Gate(Ceiling(calls=20, per_seconds=60, block_seconds=60), lambda: clock[0])
    outcome = simulate(SimulatedPace(40 / 60), gate, clock, functions=2, seconds=36_000, counted_from=18_000)
    assert outcome.served >= 0.95 * 6000
    assert outcome.share_refused <= 0.02


def test_random_refusals_do_not_slow_it_to_a_standstill() -> None:
    clock = [0.0]
    pace = SimulatedPace(40 / 60)
    outcome = simulate(
        pace, Gate(None), clock, functions=2, seconds=36_000, counted_from=7200, at_random=0.05
    )
    assert outcome.served > 0.5 * 28_800 * 40 / 60


@pytest.mark.parametrize("retry_after", [60.0, None], ids=["named", "unsaid"])
def test_an_outage_that_refuses_everything_for_a_day_teaches_nothing_of_the_rate(
    retry_after: float | None,
) -> None:
    pace, clock = SimulatedPace(40 / 60), [0.0]
    simulate(pace, Gate(None), clock, functions=2, seconds=3600)
    day = _refuse_all(pace, clock[0], 24 * 3600, retry_after)
    assert rate_control.rate(pace.state, pace.cap) > 0.4 * pace.cap
    assert pace.state.next_call / 1000 - day <= 1800
    before = pace.state.next_call / 1000
    served = _serve_all(pace, before, before + 3600)
    assert served > 900
    # One more refusal, a month later, costs no more than an ordinary one.
    month = before + 30 * 24 * 3600
    moment, grant = pace.take(round(1000 * month))
    pace.refused(grant, moment, retry_after)
    assert pace.state.next_call / 1000 - month <= 62


def _refuse_all(pace: SimulatedPace, start: float, seconds: float, retry_after: float | None) -> float:
    """Refuses whatever is called for so long; when the last call was."""
    now = start
    while now < start + seconds:
        moment, grant = pace.take(round(1000 * now))
        now = max(now, moment / 1000)
        pace.refused(grant, round(1000 * now), retry_after)
    return now


def _serve_all(pace: SimulatedPace, start: float, end: float) -> int:
    """Calls as often as the pace allows and is always served; how often."""
    now, served = start, 0
    while now < end:
        moment, _ = pace.take(round(1000 * now))
        now = max(now, moment / 1000)
        served += 1
    return served


# What docs/source.md derives --------------------------------------------------------------------------------


def test_the_rate_follows_the_curve_of_rfc_9438() -> None:
    ceiling, span = 0.8, 1000
    c = rate_control.START_BELOW * ceiling / span**3
    k = ((ceiling - 0.96 * ceiling) / c) ** (1 / 3)
    assert k == pytest.approx(span)
    for calls in range(0, 3000, 100):
        state = RateState(ceiling=ceiling, cycle=Cycle(span=span, calls=calls))
        assert rate_control.rate(state, None) == pytest.approx(c * (calls - k) ** 3 + ceiling)


@pytest.mark.parametrize("rest", [60.0, 0.2])
@pytest.mark.parametrize("ceiling", [0.9, 0.96, 1.0, 1.03], ids="{} of the limit".format)
def test_a_refusal_above_the_ceiling_tells_the_limit_within_three_hundredths(
    ceiling: float, rest: float
) -> None:
    limit = 50 / rest if rest > 1 else 5.0
    state = RateState(
        ceiling=ceiling * limit,
        cycle=Cycle(span=max(1000, round(rate_control.FOUND_RESTS * rest * ceiling * limit))),
        rest=Rest(lasted=round(1000 * rest)),
    )
    refused, moment = _call_until_the_bucket_is_empty(state, limit, bucket=50)
    grant = Grant(0, refused.cycle.served, refused.cycle.calls)
    learned = rate_control.after_throttling(refused, grant, round(1000 * moment), None, rest)
    assert learned.ceiling is not None
    assert 0.97 * limit <= learned.ceiling <= 1.005 * limit


def _call_until_the_bucket_is_empty(state: RateState, limit: float, bucket: float) -> tuple[RateState, float]:
    """The state when a call finds the bucket empty, and the moment. The cycle's rest has begun at 0."""
    moment = state.rest.lasted / 1000
    tokens = min(bucket, limit * moment)
    while tokens >= 0:
        interval = 1 / rate_control.rate(state, None)
        moment += interval
        tokens = min(bucket, tokens + limit * interval) - 1
        calls = state.cycle.calls + 1
        state = replace(state, cycle=replace(state.cycle, calls=calls, served=calls))
    return state, moment
