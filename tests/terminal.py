"""A command on a terminal, with typed input."""

import os
import pty
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from select import select

from local_cloud.state import REPOSITORY

CTRL_C = "\x03"


class Terminal:
    """What a command shows, and how to type."""

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self._master = master
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def shows(self, words: str, seconds: float = 60) -> None:
        """Waits until the command has shown the words since the last ones that were waited for."""
        until = time.monotonic() + seconds
        while words not in self._shown:
            assert self._reads(until), f"{words!r} does not come: {self._shown!r}"
        self._shown = self._shown.partition(words)[2]

    def ends(self) -> int:
        """Waits for the command's end; its exit code."""
        until = time.monotonic() + 60
        while self._reads(until):  # a command does not end before all that it has written is read
            pass
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _reads(self, until: float) -> bool:
        """Whether the command has shown more; it has not when it has ended, or time is up."""
        ready, _, _ = select([self._master], [], [], max(0.0, until - time.monotonic()))
        try:
            self._shown += os.read(self._master, 65536).decode() if ready else ""
        except OSError:
            return False
        return bool(ready)


@contextmanager
def terminal(*arguments: str, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Runs Python with the arguments on a terminal of its own."""
    pid, master = pty.fork()
    if pid == 0:
        # In the background of a script this process ignores the signal, and its children would do so, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(REPOSITORY)
        os.execve(sys.executable, [sys.executable, *arguments], dict(environment))
    try:
        yield Terminal(pid, master)
    finally:
        os.close(master)
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGHUP)
            os.waitpid(pid, 0)
