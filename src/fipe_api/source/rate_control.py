"""How fast to call a source whose limit is unknown, and what each refusal (HTTP 429) teaches about it.

Sources allow a burst: they refuse a call only when a bucket of calls is empty. So the rate can be above the
limit for long before a refusal comes. A refusal costs a rest: a time without calls. Therefore the rate climbs
slowly to where it was last refused, stays near it for long, and only then grows faster and faster: the curve
of CUBIC (RFC 9438), counted in calls instead of seconds. Its ceiling is measured: between two refusals, the
source has served what its limit allows. docs/source.md derives the formulas.

This module does not know where the state is kept. Times are in milliseconds, points in time since 1970, rates
in calls per second.
"""

import math
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

Outage = Literal["", "blocked", "down"]
"""What keeps the source from serving; empty while it serves."""

# Before a limit is known.

UNKNOWN_RATE = 100.0
"""The rate to assume at the first refusal if there is no cap: more than any known source allows."""
FIRST_CUT = 0.5
"""The first refusal says nothing about the limit, so the search goes down in halves."""

# The curve of one cycle.

START_BELOW = 0.04
"""A cycle starts this share below the ceiling. The ceiling is found within 2% of the limit, so the start is
under it. On the way up this costs a quarter of it on average, 1% of the limit."""
SHORT_SPAN, LONG_SPAN = 250, 1000
"""Calls from the start of a cycle to its ceiling, during the search for the limit and once it is found. Each
function is refused at most once at the end of a cycle, so 1000 calls keep the refusals of ten functions
within 1%. During the search shorter steps find the limit sooner."""
SEARCHING_RESTS, FOUND_RESTS = 2, 25
"""A span lasts at least this many times as long as the rest before it, during the search and once the limit
is found. So rests take at most a third of the time during the search, and 1/26 of it afterwards."""

# What a refusal says.

BUCKET = 50
"""Calls that a source may serve above its rate before it refuses one; FIPE's limit is about 50 per minute."""
LARGEST_OVERSHOOT = 1.2
"""The largest overshoot to believe. The formula assumes a constant slope; at the steep end of the curve,
where the slope grows fast, it would give too much."""
SHORT_REST = 0.1
"""A rest is short if it takes at most this share of the cycle. Even if the bucket was full all that time, the
measurement is too low by at most this share."""
CAUTIOUS_STEPS, CAUTIOUS_CUT, BOLD_CUT = 3, 0.9, 0.5
"""When the measurement may be far too low, cut the rate by a tenth, up to three times: this finds a limit
just below. After that the limit must be far below, so halve the rate."""
SHORT_CYCLE, LONG_CYCLE = 100, 400
"""A cycle with fewer served calls is short, one with at least so many is long. Once the limit is found,
cycles last a whole span. If one call in 20 is refused at random, 99% of the cycles are short, and one in a
billion is long."""
RANDOM_AFTER = 10
"""More short cycles than this without a long one mean that refusals come at random. A search has about ten at
most: three cautious steps, then seven halvings from 50 calls per second to 25 per minute."""
KEPT_UP = 0.8
"""With random refusals the source still serves at least this share of the rate; with a much lower limit it
serves less."""
RANDOM_GROWTH = 1.1
"""The factor by which each random refusal raises the rate, until it reaches the cap or a real limit."""

# Rests and outages.

FIRST_REST_SECONDS, USUAL_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 61.0, 1800.0
"""Rests after a refusal without Retry-After: each is twice the one before, from the first to the longest. 60
s are enough for FIPE's limit, so 61 s come before longer ones. The longest that
clients reported is half an hour."""
CONTINUED_WITHIN = 3
"""If one of the first three calls after a rest is refused, the rest was too short. The rate is not the
cause."""
RESTED_CUT = 0.95
"""Lower the ceiling by this factor if the source refuses soon after a rest as long as its Retry-After. The
factor is below 1 - START_BELOW, so the new ceiling is below the refused rate."""
PROBE_SECONDS = 25.0
"""How long a call may take that probes whether an outage is over: its timeouts, 24 s, and a second."""
MOST_DOUBLINGS = 32
"""Enough to reach any longest wait, and not too many for a float."""


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
        unnamed: seconds of rest that were enough after the last refusal without Retry-After.
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


class OutageState(Struct, frozen=True):
    """Whether the source is blocked or down. Meanwhile, one call at a time probes whether the outage is over.

    Attributes:
        kind: "blocked" or "down"; empty while it serves.
        failures: calls in a row that failed because of the outage.
    """

    kind: Outage = ""
    failures: int = 0


class RateState(Struct, frozen=True):
    """The state that all functions share.

    Attributes:
        epoch: a number that grows at each refusal, and when an outage begins or ends. What happens to calls
            of an earlier epoch then changes nothing.
        next_call: when the next call may be made.
        ceiling: the rate that the source seems to allow; None before the first refusal.
        cycle: the calls since the last refusal.
        rest: the rest after the last refusal.
        streaks: what the last cycles have in common.
        outage: whether the source is blocked or down.
    """

    epoch: int = 0
    next_call: int = 0
    ceiling: float | None = None
    cycle: Cycle = Cycle()
    rest: Rest = Rest()
    streaks: Streaks = Streaks()
    outage: OutageState = OutageState()


class Grant(NamedTuple):
    """A call that was allowed: its epoch, and the cycle's figures when it was allowed."""

    epoch: int
    served: int
    calls: int


class _Refusal(NamedTuple):
    """A refusal, with the figures that the cases need.

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
    return cap is None and state.ceiling is None and not state.outage.kind


def rate(state: RateState, cap: float | None) -> float:
    """Calls per second, at most the cap."""
    return _rate_at(state, state.cycle.calls, cap)


def interval_ms(state: RateState, cap: float | None) -> int:
    """Milliseconds from one call to the next; during an outage, as long as a probe may take."""
    return round(1000 * (PROBE_SECONDS if state.outage.kind else 1 / rate(state, cap)))


def grows(state: RateState, cap: float | None) -> bool:
    """Whether a call raises the rate. It does not while the cap is what limits the rate."""
    if state.ceiling is None:
        return False
    return cap is None or _grown(state.ceiling, state.cycle.calls, state.cycle.span) < cap


def after_throttling(
    state: RateState, grant: Grant, now: int, cap: float | None, retry_after: float | None
) -> RateState:
    """The state after a call was refused with 429; retry_after is in seconds, None without that header."""
    if state.ceiling is not None and grant.served <= CONTINUED_WITHIN:
        return _rest_longer(state, grant, now, retry_after)
    return _next_cycle(state, grant, now, cap, retry_after)


def during_outage(state: RateState, outage: Outage, now: int, first: float, longest: float) -> RateState:
    """The state after a call found an outage: a wait, doubled each time from `first` to `longest` seconds."""
    failures = state.outage.failures
    wait = min(first * 2.0 ** min(failures, MOST_DOUBLINGS), longest)
    return replace(
        state,
        epoch=state.epoch + 1,
        outage=OutageState(outage, failures + 1),
        next_call=now + round(1000 * wait),
    )


def after_outage(state: RateState, now: int) -> RateState:
    """The state after a probe ended an outage: the rate is as before, and its measurement starts again."""
    return replace(
        state,
        epoch=state.epoch + 1,
        outage=OutageState(),
        next_call=now,
        cycle=replace(state.cycle, served=0, idle=0),
        rest=replace(state.rest, began=now, lasted=0),
    )


def _rate_at(state: RateState, calls: int, cap: float | None) -> float:
    """The rate after so many calls of the cycle."""
    found = _grown(state.ceiling, calls, state.cycle.span) if state.ceiling else cap or UNKNOWN_RATE
    return min(found, cap or found)


def _grown(ceiling: float, calls: int, span: int) -> float:
    """The curve: START_BELOW under the ceiling at first, at the ceiling after a span, then above it."""
    return ceiling * (1 + START_BELOW * ((calls - span) / span) ** 3)


# A refusal that came right after a rest ---------------------------------------------------------------------


def _rest_longer(state: RateState, grant: Grant, now: int, retry_after: float | None) -> RateState:
    """The same cycle again, after a longer rest."""
    assert state.ceiling is not None
    unnamed = state.rest.unnamed
    if retry_after is None:
        longest = USUAL_REST_SECONDS if unnamed < USUAL_REST_SECONDS else LONGEST_REST_SECONDS
        unnamed = min(2 * unnamed, longest)
        # A longer rest counts from when the last one began. The longest cannot grow, so it starts again now.
        begins = state.rest.began if unnamed > state.rest.unnamed else now
        resume = begins + round(1000 * unnamed)
    else:
        resume = now + round(1000 * retry_after)
    resume = max(resume, state.next_call)
    # Only if the source has served some calls can the rate be too fast.
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
    # Calls that were already granted will still be made, and may be refused too. So the rest begins after
    # them.
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
    """Half of a rest that was long enough, and at most the usual one: a longer rest was due to an outage."""
    return min(max(FIRST_REST_SECONDS, seconds / 2), USUAL_REST_SECONDS)


def _span(ceiling: float, rested: int, *, is_found: bool) -> int:
    shortest, rests = (LONG_SPAN, FOUND_RESTS) if is_found else (SHORT_SPAN, SEARCHING_RESTS)
    return max(shortest, round(rests * rested / 1000 * ceiling))


def _learned(state: RateState, grant: Grant, now: int, cap: float | None) -> tuple[float, Streaks]:
    """The ceiling that a refusal suggests, and the streaks including this cycle."""
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
    """Refusals come at any rate, so the next cycle starts a little above the rate of this one."""
    return RANDOM_GROWTH * refusal.rate / (1 - START_BELOW)


def _ceiling_of_overshoot(refusal: _Refusal, span: int) -> float:
    """The rate grew past the ceiling. Take off what it still grew while the bucket drained.

    A higher measurement counts instead: a source never serves more than its limit.
    """
    slope = 3 * START_BELOW * ((refusal.grant.calls - span) / span) ** 2 / span
    overshoot = min(LARGEST_OVERSHOOT, 1 + math.sqrt(2 * BUCKET * slope))
    return min(refusal.rate, max(refusal.measured, refusal.rate / overshoot))


def _ceiling_of_early(refusal: _Refusal, early: int) -> float:
    """The rest is a large part of the cycle, and the bucket may have been full for most of it.

    So the measurement can be far too low: cut the rate by at most one step.
    """
    cut = CAUTIOUS_CUT if early <= CAUTIOUS_STEPS else BOLD_CUT
    return min(refusal.rate, max(refusal.measured, cut * refusal.rate))
