"""The door of an embedded PostgreSQL: it signs clients in as Aurora does, with a password or an IAM token.

PostgreSQL has no way to check an IAM token by itself, and none to refuse the passwords of those who should
use tokens. So it listens here only: clients connect to this process, which reads who wants to sign in.

- A member of rds_iam, direct or indirect, is asked for a token, which is checked for real: host, port,
  user, age, and signature. Then PostgreSQL lets it in over its Unix socket. Anything else is refused in
  RDS's words, `PAM authentication failed`. (Aurora user guide, "IAM database authentication": tokens come
  first, whether rds_iam was granted directly or indirectly.)
- Everybody else is passed on to PostgreSQL itself, which asks for the password.

RDS lets the master user grant rds_iam without being a member of it. PostgreSQL does not: the local cloud
gives rds_superuser the right to grant it, which is a membership, and that one is not counted here.

Run as `python -m local_cloud.database_gateway SOCKETS PORT POSTMASTER WANTED_PORT STATE`. It writes its
process id and its port to the file STATE, goes to the background, and ends when PostgreSQL does.
"""

import json
import logging
import os
import select
import socket
import struct
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import psycopg2

from local_cloud.database_token import TokenError, check_token

if TYPE_CHECKING:
    from psycopg2.extensions import connection

logger = logging.getLogger(__name__)

ADMINISTRATOR = "rdsadmin"
"""The superuser, which only RDS itself has."""
IAM_ROLE = "rds_iam"
"""The role whose members sign in with IAM tokens."""
MASTER_ROLE = "rds_superuser"
"""The role whose rights the master user has."""

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))

# Numbers of PostgreSQL's protocol ("Frontend/Backend Protocol", "Message Formats").
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_LONGEST_STARTUP = 10_000
_LONGEST_PASSWORD = 65_535
_ASK_FOR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)

_PIECE = 1 << 16

_IS_MEMBER = f"""
with recursive member_of (role) as (
    select oid from pg_roles where rolname = %s
    union
    select granted.oid
    from member_of
    join pg_auth_members on member = role
    join pg_roles as granted on granted.oid = roleid
    join pg_roles as grantee on grantee.oid = member
    where (granted.rolname, grantee.rolname) <> ('{IAM_ROLE}', '{MASTER_ROLE}')
)
select exists (select from member_of join pg_roles on oid = role where rolname = '{IAM_ROLE}')
"""  # noqa: S608


class Gateway:
    """The door of one PostgreSQL.

    Args:
        sockets: the folder of its Unix socket.
        port: its own port, on the loopback.
        postmaster: the id of its main process.
    """

    def __init__(self, sockets: str, port: int, postmaster: int) -> None:
        self._postmaster = psutil.Process(postmaster)
        self._unix_socket = f"{sockets}/.s.PGSQL.{port}"
        self._port = port
        self._sockets = sockets
        self._lock = threading.Lock()
        self._open_sessions()

    def serve(self, listeners: list[socket.socket]) -> None:
        """Lets clients in until PostgreSQL ends."""
        while True:
            sources: list[Any] = [self._watch, *listeners]
            ready, _, _ = select.select(sources, [], [])
            if self._watch in ready and not self._has_restarted():
                break
            for listener in listeners:
                if listener in ready:
                    client, _ = listener.accept()
                    threading.Thread(target=self._let_in, args=(client, listener), daemon=True).start()
        for listener in listeners:
            listener.close()

    def _open_sessions(self) -> None:
        """One to ask who is a member, and one over which nothing comes but its end."""
        self._questions, self._watch = self._connect(), self._connect()

    def _connect(self) -> "connection":
        opened = psycopg2.connect(
            host=self._sockets,
            port=self._port,
            user=ADMINISTRATOR,
            dbname="postgres",
            application_name="gateway",
        )
        opened.autocommit = True
        return opened

    def _has_restarted(self) -> bool:
        """Whether PostgreSQL goes on: when one of its processes crashes, it ends all sessions first."""
        with self._lock:
            self._questions.close()
            self._watch.close()
            while self._postmaster.is_running() and self._postmaster.status() != psutil.STATUS_ZOMBIE:
                try:
                    self._open_sessions()
                    return True
                except psycopg2.OperationalError:
                    time.sleep(0.05)
        return False

    def _let_in(self, client: socket.socket, listener: socket.socket) -> None:
        with closing(client), suppress(OSError, EOFError, psycopg2.Error), ExitStack() as stack:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            startup = _read_startup(client)
            user = _user_of(startup)
            server = stack.enter_context(closing(self._server_for(user, client, listener)))
            server.sendall(startup)
            _pass_on(client, server)

    def _server_for(self, user: str | None, client: socket.socket, listener: socket.socket) -> socket.socket:
        """A connection to PostgreSQL that suits the user. Raises EOFError when the user may not sign in."""
        if user is None or not self._needs_token(user):
            server = socket.create_connection(("127.0.0.1", self._port))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return server
        try:
            check_token(_ask_for_password(client), "localhost", listener.getsockname()[1], user)
        except TokenError as error:
            logger.warning("%s: %s", user, error)
            client.sendall(_fatal("28000", f'PAM authentication failed for user "{user}"'))
            raise EOFError from error
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._unix_socket)
        return server

    def _needs_token(self, user: str) -> bool:
        with self._lock, self._questions.cursor() as cursor:
            cursor.execute(_IS_MEMBER, (user,))
            ((needed,),) = cursor.fetchall()
        return bool(needed)


def _read_startup(client: socket.socket) -> bytes:
    """The packet that opens a session or cancels a query, as it came. There is no TLS here."""
    while True:
        head = _read(client, 8)
        length, code = struct.unpack("!ii", head)
        if code not in (_SSL, _GSS):
            if not 8 <= length <= _LONGEST_STARTUP:
                raise EOFError
            return head + _read(client, length - 8)
        client.sendall(b"N")


def _user_of(startup: bytes) -> str | None:
    """The user that a startup packet names; None for a packet that cancels a query."""
    if struct.unpack_from("!i", startup, 4) == (_CANCEL,):
        return None
    words = startup[8:].split(b"\0")
    settings = dict(zip(words[::2], words[1::2], strict=False))
    return settings.get(b"user", b"").decode(errors="replace")


def _ask_for_password(client: socket.socket) -> str:
    client.sendall(_ASK_FOR_PASSWORD)
    kind, length = struct.unpack("!ci", _read(client, 5))
    if kind != b"p" or not 4 <= length <= _LONGEST_PASSWORD:
        raise EOFError
    return _read(client, length - 4).rstrip(b"\0").decode(errors="replace")


def _fatal(code: str, message: str) -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    body = "".join(f"{name}{value}\0" for name, value in fields.items()).encode() + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


def _read(source: socket.socket, length: int) -> bytes:
    """Exactly this many bytes. Raises EOFError when fewer come."""
    read = bytearray()
    while len(read) < length:
        piece = source.recv(length - len(read))
        if not piece:
            raise EOFError
        read += piece
    return bytes(read)


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    """Passes on what both say, until one of them ends the connection."""
    back = threading.Thread(target=_copy, args=(server, client), daemon=True)
    back.start()
    _copy(client, server)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _listen(wanted: int) -> list[socket.socket]:
    """Listens on the loopback, on the port that is wanted or, if it is taken, on any other."""
    for port in (wanted, 0):
        with suppress(OSError):
            return _listen_on(port)
    return _listen_on(0)


def _listen_on(port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    for family, address in LOOPBACK:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind((address, listeners[0].getsockname()[1] if listeners else port))
        except OSError:
            listener.close()
            if not listeners:
                raise
            continue  # a machine without IPv6
        listener.listen(128)
        listeners.append(listener)
    return listeners


def main() -> None:
    """Start, and go to the background as soon as clients can connect."""
    sockets, port, postmaster, wanted, state = sys.argv[1:]
    gateway = Gateway(sockets, int(port), int(postmaster))
    listeners = _listen(int(wanted))
    if background := os.fork():
        _publish(Path(state), {"pid": background, "port": listeners[0].getsockname()[1]})
        os._exit(0)
    logging.basicConfig(format="%(asctime)s %(message)s")
    gateway.serve(listeners)
    # Only then is the port free for the next gateway, and only then may the file be gone.
    Path(state).unlink(missing_ok=True)


def _publish(state: Path, what: dict[str, Any]) -> None:
    draft = state.with_suffix(".new")
    draft.write_text(json.dumps(what))
    draft.replace(state)


if __name__ == "__main__":
    main()
