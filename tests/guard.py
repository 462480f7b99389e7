"""Ends what a test process has started if that is killed before it can: `kill` of make test, out of memory.

A local cloud outlives the process that starts it, on purpose; so does PostgreSQL. A test process tells its
guard through a pipe in which folders it starts them. When the process dies, however that happens, the system
closes the pipe. Then the guard interrupts every process that works in one of those folders.

Run as `python -m tests.guard`, one folder per line on its standard input.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
LOOKS = 20
PAUSE_SECONDS = 0.5
"""A command that is just starting something shows it a little later."""


class FolderGuard:
    """The guard of this process."""

    def __init__(self) -> None:
        """Start the guard, in a session of its own, so that a signal to this process's group spares it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.guard"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def watch(self, folder: Path) -> None:
        """Should this process die, interrupt the processes that work in `folder`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\n")

    def stop(self) -> None:
        """End the guard alone: this process has ended what it started."""
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Remember folders until the input ends, then interrupt what works in them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folders = [line.rstrip("\n") for line in sys.stdin]
    interrupted = {psutil.Process()}
    for _ in range(LOOKS):
        for process in set(psutil.process_iter()) - interrupted:
            if works_in(process, folders):
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGINT)
                interrupted.add(process)
        time.sleep(PAUSE_SECONDS)


def works_in(process: psutil.Process, folders: list[str]) -> bool:
    """Whether the command line or a variable of a process has a path in one of the folders."""
    with suppress(psutil.Error):
        words = [*process.cmdline(), *process.environ().values()]
        return any(f"{folder}{os.sep}" in f"{word}{os.sep}" for folder in folders for word in words)
    return False


if __name__ == "__main__":
    main()
