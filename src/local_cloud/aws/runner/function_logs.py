"""What functions print: whole lines into one file per function, and in batches to CloudWatch Logs."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

LogBatch = list[tuple[int, str]]
"""Lines with the time they arrived, in milliseconds since the epoch."""

PublishLogs = Callable[[str, str, LogBatch], None]
"""Takes a batch for CloudWatch Logs: function name, log stream, lines."""


class FunctionLog:
    """The log file of one function, shared by its environments."""

    def __init__(self, path: Path) -> None:
        """Append to the file at `path`."""
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, lines: list[str]) -> None:
        """Append lines; other environments cannot write between them."""
        with self._lock:
            if not self._file.closed:
                self._file.write("".join(f"{line}\n" for line in lines))
                self._file.flush()

    def close(self) -> None:
        """Close the file; later lines are dropped."""
        with self._lock:
            self._file.close()


class OutputReader:
    """Reads what one process prints, line by line, and keeps the lines of the current invocation."""

    def __init__(self, descriptor: int, log: FunctionLog) -> None:
        """Read from the pipe `descriptor`, which becomes non-blocking."""
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._log = log
        self._lock = threading.Lock()
        self._rest = b""
        self._batch: LogBatch = []

    def pump(self) -> bool:
        """Read everything that has arrived; False at the end of the output."""
        with self._lock:
            while True:
                try:
                    data = os.read(self._descriptor, 65536)
                except BlockingIOError:
                    return True
                if not data:
                    self._take(self._rest.splitlines())
                    self._rest = b""
                    return False
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._take(lines)

    def note(self, line: str) -> None:
        """Add a line of Lambda itself, such as START or REPORT."""
        with self._lock:
            self._take([line.encode()])

    def take_batch(self) -> LogBatch:
        """The lines since the last call."""
        with self._lock:
            batch, self._batch = self._batch, []
            return batch

    def _take(self, lines: list[bytes]) -> None:
        if not lines:
            return
        now = int(time.time() * 1000)
        texts = [line.decode(errors="replace") for line in lines]
        self._batch += [(now, text) for text in texts]
        self._log.write(texts)
