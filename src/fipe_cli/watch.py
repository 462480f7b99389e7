"""Watching a load: redrawn on a terminal, a line now and then anywhere else."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from fipe_cli.progress import Snapshot, View, line

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""
_QUIET_LOOKS = 3
"""A message may be between two queues for the length of a look."""


def watch(console: Console, title: str, look: Callable[[], Snapshot], look_seconds: float) -> Snapshot:
    """Show a load until it is complete or nothing is left to do.

    Args:
        console: a terminal of any width, a pipe or a file.
        title: what is watched.
        look: counts anew.
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
    """One look: bars on a terminal, a line anywhere else."""
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
