"""Watching a load: redrawn on a terminal, one line every ten seconds anywhere else."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from rich.console import Console
from rich.live import Live

from fipe_cli import ledger
from fipe_cli.cloud import Cloud
from fipe_cli.errors import INTERRUPTED
from fipe_cli.function_words import understood
from fipe_cli.ledger import Load, Look
from fipe_cli.progress import Snapshot, View, line
from fipe_words import _

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""
_QUIET_LOOKS = 3
"""A load has ended when this many looks in a row find nothing to do: a message may be between two queues."""
_SAME = 0.03
"""A time left that differs by less from what was said before is about the same: it only gets shorter."""
_LONGER = 1.1
"""A time left that is longer than was said by more than this factor is explained."""
_EXPLAINED = timedelta(seconds=30)
"""For how long an explanation is shown."""
_MOMENT = timedelta(seconds=2)
"""A time left that is longer by no more than this needs no explanation."""


@dataclass(frozen=True)
class Pauses:
    """How long to wait between two looks, in seconds."""

    shortest: float
    usual: float
    longest: float

    def after(self, seen: Snapshot) -> float:
        """Longer while much is left, because looking slows a load down; short when its end is near."""
        if seen.has_ended or seen.time_left is None:
            return self.usual
        return min(self.longest, max(self.shortest, seen.time_left.total_seconds() / 4))


LOCAL_PAUSES = Pauses(shortest=0.5, usual=1.0, longest=2.0)
AWS_PAUSES = Pauses(shortest=5.0, usual=5.0, longest=5.0)


def follow_load(
    console: Console,
    cloud: Cloud,
    run_id: UUID | None,
    brands: int = 0,
    look: Look | None = None,
) -> tuple[list[Load], Snapshot]:
    """Shows a load until it ends.

    Args:
        console: where to show it.
        cloud: where it runs.
        run_id: the run, or None for the newest one.
        brands: how many brands it has, as far as the caller knows; the ledger may know fewer.
        look: looks at the load; ledger.look by default, and then the load goes on after Ctrl-C.

    Returns:
        The run's reference months and the last snapshot.
    """
    count = look or partial(ledger.look, cloud, run_id, brands)
    loads: list[Load] = []

    def take() -> Snapshot:
        loads[:], seen = count()
        return seen

    title = (
        _("{cloud}, run {run}", cloud=cloud.name, run=run_id)
        if run_id
        else _("{cloud}, the newest run", cloud=cloud.name)
    )
    pauses = LOCAL_PAUSES if cloud.endpoint else AWS_PAUSES
    with _goes_on_when_left(run_id, loads) if look is None else nullcontext():
        seen = watch(console, title, take, pauses)
    return loads, seen


@contextmanager
def _goes_on_when_left(run_id: UUID | None, loads: list[Load]) -> Iterator[None]:
    """Says after Ctrl-C that only the view has ended."""
    try:
        yield
    except KeyboardInterrupt:
        run = f" {loads[0].run_id if loads else run_id}" if loads or run_id else ""
        print(
            _(
                "interrupted: the load goes on; `fipe status{run}` shows it, `fipe cancel{run}` ends it",
                run=run,
            ),
            file=sys.stderr,
        )
        raise SystemExit(INTERRUPTED) from None


def watch(console: Console, title: str, look: Callable[[], Snapshot], pauses: Pauses) -> Snapshot:
    """Shows snapshots of a load until it is complete or cancelled, or nothing is left to do.

    Args:
        console: a terminal of any width, a pipe or a file.
        title: what is watched.
        look: counts again.
        pauses: between two looks.

    Returns:
        The last snapshot.
    """
    if not console.is_terminal:
        return _follow(look, partial(_print_line, console), pauses, LINE_SECONDS)
    with Live(console=console, refresh_per_second=4) as live:
        return _follow(look, lambda seen: live.update(View(title, seen)), pauses, 0.0)


def show(console: Console, title: str, seen: Snapshot) -> None:
    """Shows one snapshot: bars on a terminal, a line anywhere else."""
    if console.is_terminal:
        console.print(View(title, seen))
    else:
        _print_line(console, seen)


def _print_line(console: Console, seen: Snapshot) -> None:
    console.print(line(seen), soft_wrap=True)
    for what in seen.missing if seen.is_over else ():
        console.print(_("missing: {what}", what=understood(what)), soft_wrap=True)


class Account:
    """What was said of a load so far, so that what is said next fits it.

    A number that was said never goes back. The time left gets shorter by the time that passes, as long as
    what follows from the counts is about the same. When it gets longer, why is said.
    """

    def __init__(self) -> None:
        self._said: Snapshot | None = None
        self._explained_at: datetime | None = None

    def next(self, seen: Snapshot) -> Snapshot:
        """The snapshot as it is to be said."""
        before = self._said
        if before is not None:
            seen = self._fitted(seen, before)
        self._said = seen
        return seen

    def _fitted(self, seen: Snapshot, before: Snapshot) -> Snapshot:
        seen = replace(
            seen,
            brands_searched=max(seen.brands_searched, before.brands_searched),
            models=max(seen.models, before.models),
            prices=max(seen.prices, before.prices),
        )
        left = seen.time_left
        if not left or not before.time_left:
            return seen
        expected = max(timedelta(0), before.time_left - (seen.at - before.at))
        if abs(left - expected) <= _SAME * expected:
            left = expected
        why = before.why_longer
        if left > _LONGER * expected + _MOMENT:
            why, self._explained_at = _why_longer(seen, before), seen.at
        elif self._explained_at and seen.at - self._explained_at > _EXPLAINED:
            why = ""
        return replace(seen, said_left=left, why_longer=why)


def _why_longer(seen: Snapshot, before: Snapshot) -> str:
    """Why the time left is longer than was said before; empty if the snapshot says so already."""
    if seen.waits.refusal or seen.denied_for:
        return ""
    left, left_before = seen.calls_left or 0, before.calls_left or 0
    if left > left_before:
        return _(
            "more is left than it seemed: about {left:,.0f} calls, {left_before:,.0f} before",
            left=left,
            left_before=left_before,
        )
    return _(
        "slower: {rate:,.0f} calls per minute, {rate_before:,.0f} before",
        rate=seen.rate or 0,
        rate_before=before.rate or 0,
    )


def _follow(
    look: Callable[[], Snapshot],
    display: Callable[[Snapshot], None],
    pauses: Pauses,
    show_seconds: float,
) -> Snapshot:
    account = Account()
    quiet = 0
    next_show = 0.0
    while True:
        seen = look()
        quiet = quiet + 1 if seen.has_ended else 0
        is_last = quiet >= (1 if seen.complete or seen.cancelled else _QUIET_LOOKS)
        if is_last or time.monotonic() >= next_show:
            # It has not ended before enough looks say so.
            display(account.next(seen if is_last else replace(seen, busy=True)))
            next_show = time.monotonic() + show_seconds
        if is_last:
            return seen
        time.sleep(pauses.after(seen))
