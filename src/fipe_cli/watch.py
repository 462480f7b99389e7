"""Watching a load: redrawn on a terminal, one line every ten seconds anywhere else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from rich.console import Console
from rich.live import Live

from fipe_cli import ledger
from fipe_cli.cloud import Cloud
from fipe_cli.ledger import Load, Look
from fipe_cli.progress import Snapshot, View, line

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""
_QUIET_LOOKS = 3
"""A load has ended when this many looks in a row find nothing to do: a message may be between two queues."""


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
        look: looks at the load; ledger.look by default.

    Returns:
        The run's reference months and the last snapshot.
    """
    look = look or partial(ledger.look, cloud, run_id, brands)
    loads: list[Load] = []

    def take() -> Snapshot:
        loads[:], seen = look()
        return seen

    title = f"{cloud.name}, run {run_id or 'the newest'}"
    seen = watch(console, title, take, LOCAL_PAUSES if cloud.endpoint else AWS_PAUSES)
    return loads, seen


def watch(console: Console, title: str, look: Callable[[], Snapshot], pauses: Pauses) -> Snapshot:
    """Shows snapshots of a load until it is complete or nothing is left to do.

    Args:
        console: a terminal of any width, a pipe or a file.
        title: what is watched.
        look: counts again.
        pauses: between two looks.

    Returns:
        The last snapshot.
    """
    if not console.is_terminal:
        return _follow(look, lambda seen: console.print(line(seen), soft_wrap=True), pauses, LINE_SECONDS)
    with Live(console=console, refresh_per_second=4) as live:
        return _follow(look, lambda seen: live.update(View(title, seen)), pauses, 0.0)


def show(console: Console, title: str, seen: Snapshot) -> None:
    """Shows one snapshot: bars on a terminal, a line anywhere else."""
    if console.is_terminal:
        console.print(View(title, seen))
    else:
        console.print(line(seen), soft_wrap=True)


def _follow(
    look: Callable[[], Snapshot],
    display: Callable[[Snapshot], None],
    pauses: Pauses,
    show_seconds: float,
) -> Snapshot:
    quiet = 0
    next_show = 0.0
    while True:
        seen = look()
        quiet = quiet + 1 if seen.has_ended else 0
        is_last = quiet >= (1 if seen.complete else _QUIET_LOOKS)
        if is_last or time.monotonic() >= next_show:
            display(seen)
            next_show = time.monotonic() + show_seconds
        if is_last:
            return seen
        time.sleep(pauses.after(seen))
