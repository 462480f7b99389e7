"""Watching a load: redrawn on a terminal, one line every ten seconds anywhere else."""

import time
from collections.abc import Callable
from uuid import UUID

from rich.console import Console
from rich.live import Live

from fipe_cli import ledger
from fipe_cli.cloud import Cloud
from fipe_cli.ledger import Load, ReadLoads
from fipe_cli.progress import Snapshot, View, line

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""
_QUIET_LOOKS = 3
"""A load has ended when this many looks in a row find nothing to do: a message may be between two queues."""


def follow_load(
    console: Console,
    cloud: Cloud,
    run_id: UUID | None,
    brands: int = 0,
    *,
    read: ReadLoads = ledger.read_loads,
    is_busy: Callable[[], bool] = lambda: False,
) -> tuple[list[Load], Snapshot]:
    """Shows a load until it ends.

    Args:
        console: where to show it.
        cloud: where it runs.
        run_id: the run, or None for the newest one.
        brands: how many brands it has, as far as the caller knows; the ledger may know fewer.
        read: reads the ledger.
        is_busy: tells whether functions are running; always False where nothing can tell.

    Returns:
        The run's reference months and the last snapshot.
    """
    loads: list[Load] = []

    def look() -> Snapshot:
        loads[:], seen = ledger.look(cloud, run_id, brands, read=read, is_busy=is_busy())
        return seen

    title = f"{cloud.name}, run {run_id or 'the newest'}"
    seen = watch(console, title, look, look_seconds=1.0 if cloud.endpoint else 5.0)
    return loads, seen


def watch(console: Console, title: str, look: Callable[[], Snapshot], look_seconds: float) -> Snapshot:
    """Shows snapshots of a load until it is complete or nothing is left to do.

    Args:
        console: a terminal of any width, a pipe or a file.
        title: what is watched.
        look: counts again.
        look_seconds: between two looks.

    Returns:
        The last snapshot.
    """
    if not console.is_terminal:
        return _follow(
            look, lambda seen: console.print(line(seen), soft_wrap=True), look_seconds, LINE_SECONDS
        )
    with Live(console=console, refresh_per_second=4) as live:
        return _follow(look, lambda seen: live.update(View(title, seen)), look_seconds, 0.0)


def show(console: Console, title: str, seen: Snapshot) -> None:
    """Shows one snapshot: bars on a terminal, a line anywhere else."""
    if console.is_terminal:
        console.print(View(title, seen))
    else:
        console.print(line(seen), soft_wrap=True)


def _follow(
    look: Callable[[], Snapshot],
    display: Callable[[Snapshot], None],
    look_seconds: float,
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
        time.sleep(look_seconds)
