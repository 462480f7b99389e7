"""Ends the processes that the server started if the server dies before it can: `kill -9`, out of memory.

The guard is a small process. The server tells it through a pipe which processes it starts. When the server
dies, however that happens, the system closes the pipe. Then the guard ends those processes that still run.

Run as `python -m local_cloud.guard`, one line on its standard input per process: a target as kill(2) takes it
(a process id, or minus the id of a process group) and a signal's number.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Lock

import psutil  # type: ignore[import-untyped]


class ProcessGuard:
    """The guard of this process. Safe for concurrent threads."""

    def __init__(self) -> None:
        """Start the guard, in a session of its own, so that Ctrl-C on a terminal does not end it."""
        self._lock = Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "local_cloud.guard"],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The id of the guard's own process."""
        return self._process.pid

    def kill_group(self, leader: int) -> None:
        """Kill the process group of `leader`, should this process die."""
        self._tell(-leader, signal.SIGKILL)

    def interrupt(self, pid: int) -> None:
        """Send SIGINT to one process, should this process die: a shutdown without a crash for PostgreSQL."""
        self._tell(pid, signal.SIGINT)

    def stop(self) -> None:
        """End the guard, and those of its processes that still run."""
        with suppress(BrokenPipeError):
            self._process.communicate()

    def _tell(self, target: int, number: signal.Signals) -> None:
        assert self._process.stdin is not None
        # The guard may have been killed. The server works without it.
        with self._lock, suppress(BrokenPipeError):
            self._process.stdin.write(f"{target} {number.value}\n")


def main() -> None:
    """Remember processes until the input ends, then send each its signal."""
    guarded: list[tuple[psutil.Process, int, int]] = []
    for line in sys.stdin:
        target, number = map(int, line.split())
        with suppress(psutil.NoSuchProcess):
            guarded.append((psutil.Process(abs(target)), target, number))
    for process, target, number in guarded:
        if process.is_running():  # and is not another process that now has the same id
            with suppress(ProcessLookupError):
                os.kill(target, number)


if __name__ == "__main__":
    main()
