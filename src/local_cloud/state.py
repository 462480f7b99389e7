"""Where the local cloud keeps what outlives a process: `.local/` beside the code, or FIPE_LOCAL_DIR."""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from fasteners import InterProcessLock  # type: ignore[import-untyped]
from msgspec import DecodeError
from msgspec.json import decode

from fipe_words import _
from local_cloud.command_errors import CommandError

REGION = "us-east-1"
"""The one region of the local cloud; its account is moto's, 123456789012."""

ACCESS_KEY = "testing"
"""The access key of the account, and its own secret: it may do everything."""

STATUS_PATH = "/local-cloud/status"
"""GET: what runs and waits."""

FAULTS_PATH = "/local-cloud/faults"
"""PUT: the faults of the queues; see aws/queues/faults.py."""

SIMULATOR_PATH = "/local-cloud/simulator"
"""POST a catalogue's path: the base URL of a simulator that serves it."""

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Endpoint:
    """How to reach a running local cloud: its process and the port of every AWS API."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """The URL. With localhost, not 127.0.0.1: moto finds CloudFormation templates by that name."""
        return f"http://localhost:{self.port}"


class LocalState:
    """The folder of one local cloud and the names of everything in it."""

    def __init__(self, root: Path) -> None:
        """Use `root`, made when it is missing."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    @classmethod
    def from_environment(cls) -> "LocalState":
        """The folder named by FIPE_LOCAL_DIR, or `.local` in the repository."""
        return cls(Path(os.environ.get("FIPE_LOCAL_DIR", REPOSITORY / ".local")).resolve())

    @property
    def logs(self) -> Path:
        """Folder of the logs: one file per function, and the server's own."""
        return self._folder("logs")

    @property
    def functions(self) -> Path:
        """Folder of the unzipped code of the functions."""
        return self._folder("functions")

    @property
    def postgres(self) -> Path:
        """Folder of the database clusters, one folder each."""
        return self._folder("postgres")

    @property
    def server_log(self) -> Path:
        """What the server process prints."""
        return self.logs / "server.log"

    def log_of(self, function_name: str) -> Path:
        """The log file of a function."""
        return self.logs / f"{function_name}.log"

    def forget_last_cloud(self) -> None:
        """Remove the code and the logs of the last cloud's functions, so that they do not pile up."""
        shutil.rmtree(self.functions)
        for log in self.logs.glob("*.log"):
            if log != self.server_log:
                log.unlink()

    def server_lock(self) -> InterProcessLock:
        """The lock that a server process holds while it lives; the system releases it in any case."""
        return InterProcessLock(self.root / "server.lock")

    def run_lock(self) -> InterProcessLock:
        """The lock that a `make local` holds while it runs."""
        return InterProcessLock(self.root / "run.lock")

    def is_running(self) -> bool:
        """Whether a server process holds the lock."""
        lock = self.server_lock()
        if lock.acquire(blocking=False):
            lock.release()
            return False
        return True

    def endpoint(self) -> Endpoint | None:
        """The running local cloud, or None. Raises CommandError when its file is damaged."""
        try:
            published = decode(self._endpoint_file.read_bytes(), type=Endpoint)
        except FileNotFoundError:
            # Does not try the lock: that could get in the way of a server that is just taking it.
            return None
        except DecodeError as error:
            raise CommandError(_("{file} is damaged: remove it", file=self._endpoint_file)) from error
        return published if self.is_running() else None

    def publish(self, endpoint: Endpoint) -> None:
        """Say that the local cloud is ready."""
        draft = self._endpoint_file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(endpoint)))
        draft.replace(self._endpoint_file)
        self._port_file.write_text(f"{endpoint.port}")

    def withdraw(self) -> None:
        """Say that there is no local cloud any more."""
        self._endpoint_file.unlink(missing_ok=True)

    @property
    def last_port(self) -> int:
        """The port of the last local cloud; 0, which means any free one, before the first."""
        try:
            return int(self._port_file.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @property
    def _port_file(self) -> Path:
        return self.root / "port"

    @property
    def _endpoint_file(self) -> Path:
        return self.root / "endpoint.json"

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder


def file_name(text: str) -> str:
    """`text` as the name of a file: letters, digits, dash, underscore and dot."""
    return re.sub(r"[^\w.-]", "-", text)
