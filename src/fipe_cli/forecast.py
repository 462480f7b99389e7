"""How long a load will still take: a pure function of what is left, how its results came, and the pace.

The rate is that of the newest results: of the last third of the time in which the load was at work without
a break. A load that waits, or that was resumed after hours, is not slow because of that. Where a limit of
calls per minute holds, the rate is taken to be that limit until there are enough results to know better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from fipe_api.load.outlook import Arrivals

WINDOW_SHARE, WINDOW_SECONDS, WINDOW_BATCHES = 0.33, 10.0, 8
"""The results that count: those of the last third of the time, of the last 10 s and 8 batches at least."""
RESTING_SHARE = 0.5
"""The same of a load that rests after refusals: its results come in spurts, so more of them are needed."""
BREAK_SECONDS, BREAK_GAPS = 60.0, 5.0
"""A time without results is a break when it lasts this long, and so many times as long as most gaps do."""
REST_GAPS = 2.0
"""A gap up to so many times as long as a rest is that rest, with the calls before and after it."""
TRUSTED_CALLS = 300.0
"""The limit counts as much as so many calls that were seen."""
SILENT_SECONDS, SILENT_GAPS = 120.0, 3.0
"""Nothing comes any more when nothing has come for this long, and for so many times the longest gap."""


@dataclass(frozen=True)
class Limit:
    """The limit that all loaders keep to.

    Attributes:
        calls_per_minute: the limit, or None without one.
        is_reached: whether the loaders wait for their turns, so that nothing else limits them.
        rest_seconds: how long they rest after a refusal; the load goes on in the same way after that.
    """

    calls_per_minute: float | None = None
    is_reached: bool = False
    rest_seconds: float = 0.0


NO_LIMIT = Limit()


@dataclass(frozen=True)
class Recent:
    """The newest results, without those before a break.

    Attributes:
        calls: calls that they took, without those before the first of them came.
        seconds: from the first of them to the last, or until now if the load rests now and then.
        longest_gap: the longest time between two of them, in seconds.
    """

    calls: float = 0.0
    seconds: float = 0.0
    longest_gap: float = 0.0


def recent(arrivals: Sequence[Arrivals], rest_seconds: float = 0.0) -> Recent:
    """The results that say how fast the load is now.

    Args:
        arrivals: the newest first.
        rest_seconds: a time without results that is no break.
    """
    stretch = _without_breaks(arrivals, rest_seconds)
    if not stretch:
        return Recent()
    newest, oldest = stretch[0].newest, stretch[-1].oldest
    share = RESTING_SHARE if rest_seconds else WINDOW_SHARE
    window = max(WINDOW_SECONDS, share * (oldest - newest))
    taken: list[Arrivals] = []
    for each in stretch:
        taken.append(each)
        batches = sum(one.batches for one in taken)
        if each.oldest - newest >= window and batches >= WINDOW_BATCHES:
            break
    # What the first batch brought took its time before that.
    calls = sum(each.calls for each in taken) * (batches - 1) / batches
    # A rest that is not over belongs to the time that the calls take.
    end = 0.0 if rest_seconds else newest
    return Recent(calls, taken[-1].oldest - end, max(_gaps(taken), default=0.0))


def rate(arrivals: Sequence[Arrivals], limit: Limit) -> float | None:
    """Calls per minute; None if nothing is known of it."""
    seen = recent(arrivals, limit.rest_seconds)
    most = limit.calls_per_minute
    trusted = TRUSTED_CALLS if most and limit.is_reached else 0.0
    minutes = seen.seconds / 60 + (trusted / most if most else 0.0)
    if minutes <= 0 or not seen.calls + trusted:
        return most
    found = (seen.calls + trusted) / minutes
    return min(found, most) if most else found


def silence(arrivals: Sequence[Arrivals]) -> float | None:
    """For how many seconds nothing has come, if that is longer than it should be."""
    if not arrivals:
        return None
    idle = arrivals[0].newest
    usual = recent(arrivals).longest_gap
    return idle if idle > max(SILENT_SECONDS, SILENT_GAPS * usual) else None


def _without_breaks(arrivals: Sequence[Arrivals], rest_seconds: float) -> list[Arrivals]:
    """The newest arrivals, until a break."""
    gaps = _gaps(arrivals)
    longest = max(BREAK_SECONDS, BREAK_GAPS * median(gaps), REST_GAPS * rest_seconds) if gaps else 0.0
    stretch = list(arrivals[:1])
    for newer, older in pairwise(arrivals):
        if older.newest - newer.oldest > longest:
            break
        stretch.append(older)
    return stretch


def _gaps(arrivals: Sequence[Arrivals]) -> list[float]:
    """The times between results: between those of one age the longest, and from one age to the next."""
    within = [each.longest_gap for each in arrivals if each.batches > 1]
    return within + [older.newest - newer.oldest for newer, older in pairwise(arrivals)]
