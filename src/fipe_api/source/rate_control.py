"""How fast to call a source whose limit is unknown, and what each refusal (HTTP 429) teaches about it.

Sources allow a burst: a bucket of calls has to drain before they refuse one. So a refusal comes long after
the rate has passed the limit, and it costs a rest. Therefore the rate climbs slowly to where it was refused
last, stays near it for long, and only then tries more, faster and faster: the curve of CUBIC (RFC 9438),
counted in calls instead of seconds. Where the curve starts anew is measured: between two refusals the source
has served what its limit allows. docs/source.md derives the formulas.

Nothing here knows where the state is kept. Moments and spans of time are in milliseconds, moments since 1970;
rates are in calls per second.
"""

import math
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

Stop = Literal["", "blocked", "down"]
"""Why the source serves nobody; empty while it serves."""

# Before a limit is known.

UNKNOWN_RATE = 100.0
"""Without a cap, the first refusal counts as a refusal of this rate: more than any source known allows."""
FIRST_CUT = 0.5
"""The first refusal says nothing about the limit, so the search goes down in halves."""

# The curve of one cycle.

START_BELOW = 0.04
"""A cycle starts this share below the ceiling. The ceiling is found within 2% of the limit, so the start is
under it. On the way up this costs a quarter of it on average, 1% of the limit."""
SHORT_SPAN, LONG_SPAN = 250, 1000
"""Calls from the start of a cycle to its ceiling, while the limit is searched for and once it is found. Each
function is refused at most once at the end of a cycle, so 1000 calls keep the refusals of ten functions
within 1%. A search is refused anyway, so it takes shorter steps."""
SEARCHING_RESTS, FOUND_RESTS = 2, 25
"""A span lasts at least this many times the rest before it, while searching and once the limit is found. So a
rest costs at most 1/26 of the time once the limit is found, and a third while a search gets on fast."""

# What a refusal says.

BUCKET = 50
"""Calls that a source may serve above its rate before it refuses one; FIPE's limit is about 50 per minute."""
LARGEST_OVERSHOOT = 1.2
"""The largest overshoot that is believed. The formula takes the slope as constant; on the steep end of the
curve, where it is not, the formula would give too much."""
SHORT_REST = 0.1
"""A rest is short when it is at most this share of the cycle: if the bucket was full all through it, the
measurement is too low by no more than that."""
CAUTIOUS_STEPS, CAUTIOUS_CUT, BOLD_CUT = 3, 0.9, 0.5
"""Where a measurement may be far too low, the rate is cut by a tenth three times, which finds a limit just
below. If that is not enough, the limit is far below, and the rate is halved."""
SHORT_CYCLE, LONG_CYCLE = 100, 400
"""Served calls that make a cycle short or long. A limit that has been found gives cycles of a whole span. If
one call in 20 is refused by chance, 99% of the cycles are short, and one in a billion is long."""
RANDOM_AFTER = 10
"""Refusals are taken for random after more short cycles than this, with no long one between. A search has
at most about as many: three cautious steps, then seven halvings from 50 calls per second to 25 per minute."""
KEPT_UP = 0.8
"""Random refusals leave the source serving nearly the rate that is asked; a limit far below does not."""
RANDOM_GROWTH = 1.1
"""What each random refusal raises the rate by, until the cap or a real limit stops it."""

# Rests and outages.

FIRST_REST_SECONDS, USUAL_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 61.0, 1800.0
"""Rests after a refusal that names no time, doubled from the first to the longest. 60 s clear FIPE's limit,
so 61 s are tried before more. Half an hour is the longest pause that clients reported to need."""
CONTINUED_WITHIN = 3
"""A refusal of one of the first three calls after a rest means that the rest was too short: it gave back room
for a call or two, and the rate had no part in it."""
RESTED_CUT = 0.95
"""Factor on the ceiling when the source refuses soon after a rest that it named itself. It is below
1 - START_BELOW, so that the new ceiling is below the rate that was refused."""
PROBE_SECONDS = 25.0
"""How long one call may take to show whether a source serves again: its timeouts, 24 s, and a second."""
MOST_DOUBLINGS = 32
"""Enough to reach any longest pause, and small enough for a float."""


class Cycle(Struct, frozen=True):
    """The calls from one refusal to the next.

    Attributes:
        span: calls until the rate reaches the ceiling.
        calls: calls in this cycle that waited for the rate; only these raise it.
        served: all calls granted in this cycle.
        idle: milliseconds in which no function asked for a call.
    """

    span: int = SHORT_SPAN
    calls: int = 0
    served: int = 0
    idle: int = 0


class Rest(Struct, frozen=True):
    """The rest that the last refusal caused.

    Attributes:
        began: when it began; the cycle is measured from here.
        lasted: how long it is, in milliseconds.
        unnamed: seconds that cleared the last refusal that named no time.
    """

    began: int = 0
    lasted: int = 0
    unnamed: float = FIRST_REST_SECONDS


class Streaks(Struct, frozen=True):
    """What the last cycles have in common.

    Attributes:
        early: refusals in a row that came before the rate reached the ceiling.
        short: short cycles since the last long one.
    """

    early: int = 0
    short: int = 0


class Outage(Struct, frozen=True):
    """Whether the source serves nobody.

    Attributes:
        reason: why; empty while it serves. One call at a time tries whether the outage is over.
        failures: calls in a row that found the outage.
    """

    reason: Stop = ""
    failures: int = 0


class RateState(Struct, frozen=True):
    """What all functions know together.

    Attributes:
        epoch: a number that changes when calls granted before have nothing more to teach: at a refusal, when
            an outage is noticed, and when it ends.
        next_call: when the next call may be made.
        ceiling: the rate that the source seems to allow; None before the first refusal.
        cycle: the calls since the last refusal.
        rest: the rest after the last refusal.
        streaks: what the last cycles have in common.
        outage: whether the source serves nobody.
    """

    epoch: int = 0
    next_call: int = 0
    ceiling: float | None = None
    cycle: Cycle = Cycle()
    rest: Rest = Rest()
    streaks: Streaks = Streaks()
    outage: Outage = Outage()

    @property
    def stopped(self) -> Stop:
        """Why the source serves nobody; empty while it serves."""
        return self.outage.reason


class Grant(NamedTuple):
    """A call that was allowed: its epoch, and its number in the cycle, of all calls and of waiting ones."""

    epoch: int
    served: int
    calls: int


class _Refusal(NamedTuple):
    """A refusal with what it can be judged by.

    Attributes:
        rate: the rate at which the refused call was granted.
        measured: what the source served per second in the cycle, the rest included.
        cycle_ms: how long the cycle was, without idle time.
    """

    grant: Grant
    rate: float
    measured: float
    cycle_ms: int


def is_free(state: RateState, cap: float | None) -> bool:
    """Whether nothing limits the calls: there is no cap, no refusal so far, and no outage."""
    return cap is None and state.ceiling is None and not state.stopped


def rate(state: RateState, cap: float | None) -> float:
    """Calls per second, at most the cap."""
    return _rate_at(state, state.cycle.calls, cap)


def interval_ms(state: RateState, cap: float | None) -> int:
    """Milliseconds from one call to the next; during an outage, as long as one trying call may take."""
    return round(1000 * (PROBE_SECONDS if state.stopped else 1 / rate(state, cap)))


def grows(state: RateState, cap: float | None) -> bool:
    """Whether a call raises the rate. It does not while the cap is what limits the rate."""
    if state.ceiling is None:
        return False
    return cap is None or _grown(state.ceiling, state.cycle.calls, state.cycle.span) < cap


def after_refusal(
    state: RateState, grant: Grant, now: int, cap: float | None, retry_after: float | None
) -> RateState:
    """The state after a call was refused; retry_after is in seconds, if the source named a time."""
    if state.ceiling is not None and grant.served <= CONTINUED_WITHIN:
        return _rest_longer(state, grant, now, retry_after)
    return _next_cycle(state, grant, now, cap, retry_after)


def after_stop(state: RateState, reason: Stop, now: int, first: float, longest: float) -> RateState:
    """The state after a call found an outage: a pause, doubled each time from `first` to `longest` s."""
    failures = state.outage.failures
    pause = min(first * 2.0 ** min(failures, MOST_DOUBLINGS), longest)
    return replace(
        state,
        epoch=state.epoch + 1,
        outage=Outage(reason, failures + 1),
        next_call=now + round(1000 * pause),
    )


def after_resumption(state: RateState, now: int) -> RateState:
    """The state after a call ended an outage: the rate is as before, and measured anew from now."""
    return replace(
        state,
        epoch=state.epoch + 1,
        outage=Outage(),
        next_call=now,
        cycle=replace(state.cycle, served=0, idle=0),
        rest=replace(state.rest, began=now, lasted=0),
    )


def _rate_at(state: RateState, calls: int, cap: float | None) -> float:
    """The rate after so many calls of the cycle."""
    found = _grown(state.ceiling, calls, state.cycle.span) if state.ceiling else cap or UNKNOWN_RATE
    return min(found, cap or found)


def _grown(ceiling: float, calls: int, span: int) -> float:
    """The curve: START_BELOW under the ceiling at first, at the ceiling after a span, then above."""
    return ceiling * (1 + START_BELOW * ((calls - span) / span) ** 3)


# A refusal that came right after a rest ---------------------------------------------------------------------


def _rest_longer(state: RateState, grant: Grant, now: int, retry_after: float | None) -> RateState:
    """The same cycle again, after a longer rest."""
    assert state.ceiling is not None
    unnamed = state.rest.unnamed
    if retry_after is None:
        longest = USUAL_REST_SECONDS if unnamed < USUAL_REST_SECONDS else LONGEST_REST_SECONDS
        unnamed = min(2 * unnamed, longest)
        # A longer rest includes the one before. The longest cannot grow, so it starts again.
        begins = state.rest.began if unnamed > state.rest.unnamed else now
        resume = begins + round(1000 * unnamed)
    else:
        resume = now + round(1000 * retry_after)
    resume = max(resume, state.next_call)
    # A source that served something may find the rate too fast. One that served nothing says nothing of it.
    too_fast = retry_after is not None and grant.served > 1 and state.streaks.short <= RANDOM_AFTER
    return replace(
        state,
        epoch=state.epoch + 1,
        next_call=resume,
        ceiling=RESTED_CUT * state.ceiling if too_fast else state.ceiling,
        cycle=replace(state.cycle, calls=0, served=0),
        rest=replace(state.rest, lasted=resume - state.rest.began, unnamed=unnamed),
    )


# A refusal that ends a cycle --------------------------------------------------------------------------------


def _next_cycle(
    state: RateState, grant: Grant, now: int, cap: float | None, retry_after: float | None
) -> RateState:
    """A new cycle, after a rest, with the ceiling that the refusal suggests."""
    unnamed = _shorter(state.rest.unnamed) if retry_after is None else state.rest.unnamed
    rested = round(1000 * (retry_after or unnamed))
    # Calls that are granted already will still be made, and may be refused too: the rest begins after them.
    resume = max(max(now, state.next_call - interval_ms(state, cap)) + rested, state.next_call)
    ceiling, streaks = _learned(state, grant, now, cap)
    is_found = streaks.early == 0 and state.ceiling is not None
    return replace(
        state,
        epoch=state.epoch + 1,
        next_call=resume,
        ceiling=ceiling,
        cycle=Cycle(span=_span(ceiling, rested, is_found=is_found)),
        rest=Rest(began=resume - rested, lasted=rested, unnamed=unnamed),
        streaks=streaks,
    )


def _shorter(seconds: float) -> float:
    """The rest to try after one that was long enough. One that outlasted an outage says little: it is cut."""
    return min(max(FIRST_REST_SECONDS, seconds / 2), USUAL_REST_SECONDS)


def _span(ceiling: float, rested: int, *, is_found: bool) -> int:
    shortest, rests = (LONG_SPAN, FOUND_RESTS) if is_found else (SHORT_SPAN, SEARCHING_RESTS)
    return max(shortest, round(rests * rested / 1000 * ceiling))


def _learned(state: RateState, grant: Grant, now: int, cap: float | None) -> tuple[float, Streaks]:
    """The ceiling that a refusal suggests, and the streaks with this cycle counted."""
    refused = _rate_at(state, grant.calls, cap)
    if state.ceiling is None:
        return FIRST_CUT * refused, replace(state.streaks, early=0)
    cycle_ms = max(1, now - state.rest.began - state.cycle.idle)
    refusal = _Refusal(grant, refused, 1000 * grant.served / cycle_ms, cycle_ms)
    short = _short_cycles(state.streaks.short, grant.served)
    if short > RANDOM_AFTER and refusal.measured > KEPT_UP * refused:
        return _ceiling_of_random(refusal), Streaks(early=0, short=short)
    if grant.calls >= state.cycle.span:
        return _ceiling_of_overshoot(refusal, state.cycle.span), Streaks(early=0, short=short)
    if state.rest.lasted <= SHORT_REST * cycle_ms:
        return min(refused, refusal.measured), Streaks(early=0, short=short)
    early = state.streaks.early + 1
    return _ceiling_of_early(refusal, early), Streaks(early=early, short=short)


def _short_cycles(before: int, served: int) -> int:
    if served < SHORT_CYCLE:
        return before + 1
    return 0 if served >= LONG_CYCLE else before


def _ceiling_of_random(refusal: _Refusal) -> float:
    """Refusals come whatever the rate: the next cycle starts a little above the rate of this one."""
    return RANDOM_GROWTH * refusal.rate / (1 - START_BELOW)


def _ceiling_of_overshoot(refusal: _Refusal, span: int) -> float:
    """The rate grew past the ceiling: it is too fast by what it still grew while the bucket drained.

    A measurement that is higher counts: what a source has served is never more than its limit.
    """
    slope = 3 * START_BELOW * ((refusal.grant.calls - span) / span) ** 2 / span
    overshoot = min(LARGEST_OVERSHOOT, 1 + math.sqrt(2 * BUCKET * slope))
    return min(refusal.rate, max(refusal.measured, refusal.rate / overshoot))


def _ceiling_of_early(refusal: _Refusal, early: int) -> float:
    """The rest is a large part of the cycle: it may have filled the bucket, or most of it was lost.

    So the measurement can be far too low, and the cuts go no further down than a step at a time.
    """
    cut = CAUTIOUS_CUT if early <= CAUTIOUS_STEPS else BOLD_CUT
    return min(refusal.rate, max(refusal.measured, cut * refusal.rate))
