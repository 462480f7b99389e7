"""Runs the FIPE simulator in a process of its own, which ends with the server."""

import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from fipe_words import _
from local_cloud.guard import ProcessGuard


class SimulatorError(Exception):
    """The simulator did not start; one line says why."""


class SimulatorProcess:
    """At most one simulator."""

    def __init__(self, log: Path, guard: ProcessGuard) -> None:
        """Starts nothing yet. The simulator's output goes to `log`; `guard` ends it if this process dies."""
        self._log = log
        self._guard = guard
        self._lock = threading.Lock()
        self._catalogue = ""
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        """Base URL of its API, empty while none runs."""

    @property
    def pids(self) -> list[int]:
        """The process, if it runs."""
        return [self._process.pid] if self._process and self._process.poll() is None else []

    def serve(self, catalogue: str) -> str:
        """Serve the file `catalogue` (empty: the sample); the base URL. Raises SimulatorError."""
        with self._lock:
            if self.pids and self._catalogue == catalogue:
                return self.url
            self._stop()
            options = ["--port", str(self._free_port()), *(["--catalogue", catalogue] if catalogue else [])]
            with self._log.open("a") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "fipe_simulator", *options],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            self._guard.kill_group(self._process.pid)
            assert self._process.stdout is not None
            self.url = self._process.stdout.readline().strip()
            self._catalogue = catalogue
            if not self.url:
                self._process.wait()
                lines = self._log.read_text().strip().splitlines()
                raise SimulatorError(
                    lines[-1] if lines else _("the simulator ended without an error message")
                )
            self._last_port.write_text(str(urlsplit(self.url).port))
            return self.url

    def stop(self) -> None:
        """End it, if it runs."""
        with self._lock:
            self._stop()

    @property
    def _last_port(self) -> Path:
        return self._log.with_suffix(".port")

    def _free_port(self) -> int:
        """The last port if it is free, so that functions with its URL still reach it; otherwise 0."""
        try:
            port = int(self._last_port.read_text())
            with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except (OSError, ValueError):
            return 0
        return port

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._process = None
        self.url = ""
