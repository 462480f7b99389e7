"""How fast to call a source whose limit nobody knows: what is known of it, and what each refusal teaches.

A source that refuses calls (HTTP 429) lets a bucket of calls drain first, so a refusal comes long after the
rate has passed the limit, and it costs a rest. So the rate climbs slowly towards the one refused last, stays
there for long, and only then tries more, ever faster (the curve of TCP CUBIC, counted in calls instead of
seconds). Where it starts anew is measured, not halved: between two refusals the source has served exactly
what its limit allows, the rest counted in, if the calls came faster than that all along.

Nothing here knows where the state is kept; times are milliseconds since 1970, rates calls a second.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Stop = Literal["", "blocked", "down"]

UNKNOWN_RATE = 100.0
"""The rate that is taken to have been refused when nothing is known: any limit below is found from here."""
START_BELOW = 0.04
"""A new cycle starts at this share below the ceiling; one span later it is there."""
SHORT_SPAN, LONG_SPAN = 250, 1000
"""Calls from the start of a cycle to its ceiling, while the limit is searched for and once it is found."""
RESTS_A_SPAN = 25
"""A span lasts at least so many times the rest that a refusal costs: that bounds the share of time lost."""
BUCKET = 50
"""Calls that a source may bear beyond its rate before it refuses; FIPE's ceiling is about 50 a minute."""
FIRST_REST_SECONDS, USUAL_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 61.0, 1800.0
"""Rests after a refusal that names no time: doubled from the first to the longest; 60 s clear FIPE's."""
SHORT_CYCLE, LONG_CYCLE = 100, 400
RANDOM_AFTER = 10
"""After so many short cycles in a row, at a rate that is kept up with, refusals come whatever the rate."""
CONTINUED_WITHIN = 3
"""A refusal of one of the first calls after a rest means that the rest was too short."""
PROBE_SECONDS = 25.0
"""How long a single call may take to show whether a source that was blocked or down serves again."""


@dataclass(frozen=True)
class RateState:
    """What all functions know together; one cycle goes from a refusal to the next.

    Attributes:
        epoch: changes when calls granted before teach nothing more: at a refusal, a stop, a resumption.
        next_call: when the next call may be made.
        ceiling: the rate that the source seems to bear; None before the first refusal.
        calls: calls of this cycle that the rate made wait, which lets it grow.
        served: all calls granted in this cycle.
        began: when the cycle's rest began.
        rested: how long that was, in milliseconds.
        idle: milliseconds of the cycle in which nobody asked.
        span: calls from the cycle's start to its ceiling.
        early: refusals in a row that came before the ceiling was reached.
        short: short cycles since the last long one.
        rest: seconds that cleared the last refusal that named no time.
        stopped: why nobody is served, if so: a single call at a time tries whether that is over.
        strikes: stops in a row without a call served between them.
    """

    epoch: int = 0
    next_call: int = 0
    ceiling: float | None = None
    calls: int = 0
    served: int = 0
    began: int = 0
    rested: int = 0
    idle: int = 0
    span: int = SHORT_SPAN
    early: int = 0
    short: int = 0
    rest: float = FIRST_REST_SECONDS
    stopped: Stop = ""
    strikes: int = 0


class Grant(NamedTuple):
    """A call that was allowed: in which epoch, and as which of its cycle (of all, of those that waited)."""

    epoch: int
    served: int
    calls: int


def is_free(state: RateState, cap: float | None) -> bool:
    """Whether nothing limits the calls: no cap, no refusal so far, no stop."""
    return cap is None and state.ceiling is None and not state.stopped


def rate(state: RateState, cap: float | None) -> float:
    """Calls a second, of which no more than the cap."""
    found = _grown(state.ceiling, state.calls, state.span) if state.ceiling else cap or UNKNOWN_RATE
    return min(found, cap or found)


def interval_ms(state: RateState, cap: float | None) -> int:
    """From one call to the next; while stopped, as long as a probing call may take."""
    return round(1000 * (PROBE_SECONDS if state.stopped else 1 / rate(state, cap)))


def grows(state: RateState, cap: float | None) -> bool:
    """Whether a call counts for growth: not while the cap, and not the source, is what limits the rate."""
    return state.ceiling is not None and (cap is None or _grown(state.ceiling, state.calls, state.span) < cap)


def after_refusal(
    state: RateState, grant: Grant, now: int, cap: float | None, retry_after: float | None
) -> RateState:
    """The state after a call was refused; retry_after in seconds, if the source named a time."""
    if state.ceiling is not None and grant.served <= CONTINUED_WITHIN:
        return _longer_rest(state, grant, now, retry_after)
    # A rest that was long enough is tried shorter the next time. One that outlasted an outage says nothing.
    shorter = min(max(FIRST_REST_SECONDS, state.rest / 2), USUAL_REST_SECONDS)
    rest = shorter if retry_after is None else state.rest
    rested = round(1000 * (retry_after or rest))
    learned = _learned(state, grant, now, cap)
    confirmed = learned.early == 0 and state.ceiling is not None
    assert learned.ceiling is not None
    rests = (RESTS_A_SPAN if confirmed else 2) * rested / 1000
    # Calls granted already will still be made, and may be refused as well: the rest begins behind them.
    resume = max(max(now, state.next_call - interval_ms(state, cap)) + rested, state.next_call)
    return replace(
        learned,
        epoch=state.epoch + 1,
        calls=0,
        served=0,
        began=resume - rested,
        rested=rested,
        rest=rest,
        idle=0,
        span=max(LONG_SPAN if confirmed else SHORT_SPAN, round(rests * learned.ceiling)),
        next_call=resume,
    )


def after_stop(state: RateState, reason: Stop, now: int, first: float, longest: float) -> RateState:
    """The state after a call showed that nobody is served: a pause, doubled from first to longest seconds."""
    pause = min(first * 2.0 ** min(state.strikes, 32), longest)
    return replace(
        state,
        epoch=state.epoch + 1,
        stopped=reason,
        strikes=state.strikes + 1,
        next_call=now + round(1000 * pause),
    )


def after_resumption(state: RateState, now: int) -> RateState:
    """The state after a call was served while stopped: the rate is what it was, measured anew from now."""
    return replace(
        state,
        epoch=state.epoch + 1,
        stopped="",
        strikes=0,
        next_call=now,
        served=0,
        began=now,
        rested=0,
        idle=0,
    )


def _grown(ceiling: float, calls: int, span: int) -> float:
    return ceiling * (1 + START_BELOW * ((calls - span) / span) ** 3)


def _longer_rest(state: RateState, grant: Grant, now: int, retry_after: float | None) -> RateState:
    assert state.ceiling is not None
    rest = state.rest
    if retry_after is None:
        usual = rest < USUAL_REST_SECONDS
        rest = min(2 * rest, USUAL_REST_SECONDS if usual else LONGEST_REST_SECONDS)
        # The longest one is not doubled: it is rested anew.
        begins = state.began if rest > state.rest else now
        resume = begins + round(1000 * rest)
    else:
        resume = now + round(1000 * retry_after)
    resume = max(resume, state.next_call)
    # A rate is too fast for a source that served something; one that served nothing says nothing of it.
    too_fast = retry_after is not None and grant.served > 1 and state.short <= RANDOM_AFTER
    return replace(
        state,
        epoch=state.epoch + 1,
        ceiling=0.95 * state.ceiling if too_fast else state.ceiling,
        calls=0,
        served=0,
        rested=resume - state.began,
        rest=rest,
        next_call=resume,
    )


def _learned(state: RateState, grant: Grant, now: int, cap: float | None) -> RateState:
    """The state with the ceiling that a refusal suggests."""
    refused = rate(replace(state, calls=grant.calls), cap)
    if state.ceiling is None:
        return replace(state, ceiling=refused / 2, early=0)
    cycle = max(1, now - state.began - state.idle)
    measured = 1000 * grant.served / cycle
    if grant.served < SHORT_CYCLE:
        state = replace(state, short=state.short + 1)
    elif grant.served >= LONG_CYCLE:
        state = replace(state, short=0)
    if state.short > RANDOM_AFTER and measured > 0.8 * refused:
        return replace(state, ceiling=1.1 * refused / (1 - START_BELOW), early=0)
    if grant.calls >= state.span:
        # It grew past the ceiling. By as much as it still grew while the bucket drained, it is too fast.
        slope = 3 * START_BELOW * ((grant.calls - state.span) / state.span) ** 2 / state.span
        drained = min(1.2, 1 + math.sqrt(2 * BUCKET * slope))
        return replace(state, ceiling=min(refused, max(measured, refused / drained)), early=0)
    if state.rested <= 0.1 * cycle:
        return replace(state, ceiling=min(refused, measured), early=0)
    # The rest is a good part of the cycle: whether it filled the bucket or was lost, nobody can say. So a few
    # cautious steps first, and then the measurement, which can be too low.
    early = state.early + 1
    slower = refused * (0.9 if early <= 3 else 0.5)
    return replace(state, ceiling=min(refused, max(measured, slower)), early=early)
