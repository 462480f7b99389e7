"""Shows what is being done: on a terminal while it lasts, and with VERBOSE=1 how long it took."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show `name` on the terminal for as long as the block lasts; in a pipe nothing shows."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    with console.status(name):
        yield
    if os.environ.get("VERBOSE"):
        print(f"{time.monotonic() - began:6.1f} s  {name}", file=sys.stderr)
