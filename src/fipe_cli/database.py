"""How the commands sign in to the stage's database, on this machine or on AWS.

`fipe query`, `fipe export`, `fipe report`, `fipe serve` and `fipe mcp` sign in as fipe_reader, which can only
read the schema fipe. `fipe import` signs in as fipe_importer, which can add prices and change none. `fipe
watch add` and `remove` sign in as fipe_watcher, which can change nothing but watch rules. `fipe psql` signs
in as the master user. A database on this machine lets its own user in over a Unix socket.
"""

import json
import os
import select
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from botocore.exceptions import ClientError
from psycopg2.errors import QueryCanceled
from psycopg2.extensions import POLL_OK, POLL_WRITE, get_wait_callback, set_wait_callback

from fipe_api.database.connection import CONNECT_SECONDS, liveness
from fipe_cli.background import in_background
from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError
from fipe_words import _, marked
from infrastructure import names
from local_cloud.postgres import Connection, PostgresCluster, PostgresError
from local_cloud.stage_database import find_database, stage_database

if TYPE_CHECKING:
    from concurrent.futures import Future

    from psycopg2.extensions import connection

SILENCE_SECONDS = 60
"""A database that is silent for this long is gone. A laptop may lose its network for a while."""

WAKING_SECONDS = 4.0
"""A database that is awake answers sooner."""
WAKING = marked(
    "waiting for the database: if it is paused, it needs 15 seconds to wake, or 30 and more after a day"
)

REFUSED = "authentication failed"
"""PostgreSQL's words for a wrong password, and Aurora's for a refused token; there is no error code."""
TOKENS_ONLY = "PAM authentication failed"
"""Aurora's words when a member of rds_iam, direct or indirect, signs in with anything but a valid token."""

TIMED_OUT = "statement timeout"
"""PostgreSQL's words for it; a query that another session cancels has the same error code."""

READER_SETTINGS = {
    # The server cancels a query when the client is gone: the command was killed, or the network is down.
    "client_connection_check_interval": "1s",
    # Plan for all rows, not for the first ones: `fipe query` reads through a cursor, and reads it to the end.
    "cursor_tuple_fraction": "1",
}

IMPORTER_SETTINGS = {
    "client_connection_check_interval": "1s",
    # For sorting and joining a batch of some 400,000 rows.
    "work_mem": "64MB",
}


class Database(ABC):
    """A database that is up.

    Attributes:
        psql: the psql program that fits it, or None when this machine has none.
    """

    psql: str | None

    @abstractmethod
    def master_variables(self) -> dict[str, str]:
        """libpq's variables for the master user: a password in them does not show in a list of processes.

        Raises:
            CliError: the master user's secret cannot be read, or the database refuses the master user.
            psycopg2.OperationalError: the database cannot be reached.
        """

    @abstractmethod
    def _variables_of(self, role: str) -> dict[str, str]:
        """libpq's environment variables for a role that signs in without a password."""

    @abstractmethod
    def _explain_refusal(self, role: str, error: psycopg2.OperationalError) -> CliError:
        """Why a role could not sign in, and what to do."""

    @contextmanager
    def session(self, timeout_seconds: int = 0) -> Iterator["connection"]:
        """A connection of fipe_reader. Ctrl-C cancels what it waits for, on the server too.

        Args:
            timeout_seconds: how long the server may work on one statement; 0 means no limit.

        Raises:
            CliError: fipe_reader may not sign in, or a statement took too long.
            psycopg2.OperationalError: the database cannot be reached.
        """
        settings = {**READER_SETTINGS, "statement_timeout": f"{timeout_seconds}s"}
        with (
            self._session_of(names.READER_ROLE, settings) as opened,
            _waiting_by(_wait_interruptibly),
        ):
            opened.set_session(readonly=True)
            try:
                yield opened
            except QueryCanceled as error:
                if TIMED_OUT not in str(error):
                    raise CliError(_("the query was cancelled by another session of the database")) from error
                raise CliError(
                    _(
                        "the query was cancelled after {seconds} s: ask for less, or give it more time"
                        " with --timeout {more} (0: no limit)",
                        seconds=timeout_seconds,
                        more=timeout_seconds * 10,
                    ),
                    USAGE,
                ) from error

    @contextmanager
    def importer_session(self) -> Iterator["connection"]:
        """A connection of fipe_importer. Ctrl-C ends it when the server has answered, within some seconds.

        Raises:
            CliError: fipe_importer may not sign in.
            psycopg2.OperationalError: the database cannot be reached.
        """
        with self._session_of(names.IMPORTER_ROLE, IMPORTER_SETTINGS) as opened:
            yield opened

    def open_reader(self) -> "connection":
        """A new connection of fipe_reader, for a server; it waits for answers as psycopg2 does by itself.

        Raises:
            CliError: fipe_reader may not sign in.
            psycopg2.OperationalError: the database cannot be reached.
        """
        return self._open(names.READER_ROLE, {})

    @contextmanager
    def watcher_session(self) -> Iterator["connection"]:
        """A connection of fipe_watcher, which can add and remove watch rules.

        Raises:
            CliError: fipe_watcher may not sign in.
            psycopg2.OperationalError: the database cannot be reached.
        """
        with self._session_of(names.WATCHER_ROLE, {}) as opened:
            yield opened

    @contextmanager
    def _session_of(self, role: str, settings: Mapping[str, str]) -> Iterator["connection"]:
        with closing(self._open(role, settings)) as opened:
            yield opened

    def _open(self, role: str, settings: Mapping[str, str]) -> "connection":
        keywords = _keywords(self._variables_of(role))
        chosen = " ".join(f"-c {name}={value}" for name, value in settings.items())
        options = f"{os.environ.get('PGOPTIONS', '')} {chosen}"
        try:
            return _connect(**keywords, options=options)
        except psycopg2.OperationalError as error:
            raise self._explain_refusal(role, error) if REFUSED in str(error) else error from error


class LocalDatabase(Database):
    """The stage's database on this machine."""

    def __init__(self, cluster: PostgresCluster, master: Connection) -> None:
        self.psql = str(cluster.psql)
        self._cluster = cluster
        self._master = master

    def master_variables(self) -> dict[str, str]:
        """See Database."""
        return self._cluster.socket_environment(self._master.user, self._master.database)

    def _variables_of(self, role: str) -> dict[str, str]:
        try:
            return self._cluster.socket_environment(role, self._master.database)
        except PostgresError as error:  # somebody stopped it meanwhile
            raise psycopg2.OperationalError(str(error)) from error

    def _explain_refusal(self, role: str, error: psycopg2.OperationalError) -> CliError:
        return CliError(_("this machine's database does not let {role} in: {error}", role=role, error=error))


class AwsDatabase(Database):
    """Aurora, or what a local cloud at AWS_ENDPOINT_URL has in its place."""

    def __init__(self, cloud: Cloud) -> None:
        self.psql = shutil.which("psql")
        self._cloud = cloud

    def master_variables(self) -> dict[str, str]:
        """See Database."""
        stack = names.stack(self._cloud.stage)
        try:
            answer = self._cloud.client("cloudformation").describe_stacks(StackName=stack)
            outputs = {
                output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0]["Outputs"]
            }
            secret = self._cloud.client("secretsmanager").get_secret_value(SecretId=outputs["DBSecretArn"])
        except ClientError as error:
            raise self._cloud.explained(error, _("stack {stack}", stack=stack)) from error
        except KeyError as error:
            raise CliError(
                _(
                    "stack {stack} has no output {error}: wait until its deploy is complete",
                    stack=stack,
                    error=error,
                )
            ) from error
        try:
            known = json.loads(secret["SecretString"])
            place = known["host"], str(known["port"]), known["dbname"], known["username"]
            by_password = self._variables(*place, known["password"])
        except (KeyError, TypeError, ValueError) as error:
            raise CliError(
                _(
                    "the database's secret is damaged: write it anew, as JSON with host, port, dbname, "
                    "username and password"
                )
            ) from error
        try:
            _connect(**_keywords(by_password)).close()
        except psycopg2.OperationalError as error:
            if TOKENS_ONLY not in str(error):
                raise
            return self._master_with_token(*place)
        return by_password

    def _master_with_token(self, host: str, port: str, database: str, user: str) -> dict[str, str]:
        """For a master user that a member of rds_iam was granted to: its password no longer counts."""
        by_token = self._variables(host, port, database, user, sign_token(self._cloud, host, port, user))
        try:
            _connect(**_keywords(by_token)).close()
        except psycopg2.OperationalError as error:
            raise self._explain(error, user) if REFUSED in str(error) else error from error
        return by_token

    def _variables_of(self, role: str) -> dict[str, str]:
        # The secret, which says this too, is for those who may sign in as the master user.
        place = self._cloud.environment_of(names.Function.SOMA_INGESTOR)
        host, port = place["RDS_HOST"], place["RDS_PORT"]
        token = sign_token(self._cloud, host, port, role)
        return self._variables(host, port, place["RDS_DATABASE"], role, token)

    def _variables(self, host: str, port: str, database: str, user: str, password: str) -> dict[str, str]:
        return {
            "PGHOST": host,
            "PGPORT": port,
            "PGUSER": user,
            "PGPASSWORD": password,
            "PGDATABASE": database,
            # A local cloud's PostgreSQL has no TLS. On AWS never without; verified when PGSSLMODE says so.
            "PGSSLMODE": os.environ.get("PGSSLMODE", "disable" if self._cloud.endpoint else "require"),
            "PGCONNECT_TIMEOUT": os.environ.get("PGCONNECT_TIMEOUT", str(CONNECT_SECONDS)),
        }

    def _explain_refusal(self, role: str, error: psycopg2.OperationalError) -> CliError:
        return self._explain(error, role)

    def _explain(self, error: psycopg2.OperationalError, user: str) -> CliError:
        values = {
            "user": user,
            "resource": f"arn:aws:rds-db:{self._cloud.session.region_name}:*:dbuser:*/{user}",
            "error": error,
        }
        if user in (names.READER_ROLE, names.IMPORTER_ROLE, names.WATCHER_ROLE):
            return CliError(
                _(
                    "the database refused your AWS identity as {user}: it needs the permission rds-db:connect"
                    " on {resource}; `fipe psql` works without it. The database said: {error}",
                    **values,
                )
            )
        return CliError(
            _(
                "the database refused your AWS identity as {user}: it needs the permission rds-db:connect on"
                " {resource}. The database said: {error}",
                **values,
            )
        )


@contextmanager
def open_database(cloud: Cloud) -> Iterator[Database]:
    """The stage's database; one on this machine is up for as long as the block lasts.

    Raises:
        CliError: the stage has no database on this machine.
    """
    if cloud.local:
        if find_database(cloud.local, cloud.stage) is None:
            raise CliError(
                _(
                    "{stage} has no database on this machine: run `{deploy_command}`,"
                    " or give AWS_PROFILE (--profile) for AWS",
                    stage=cloud.stage,
                    deploy_command=cloud.deploy_command,
                )
            )
        with stage_database(cloud.local, cloud.stage) as (cluster, master):
            yield LocalDatabase(cluster, master)
    else:
        yield AwsDatabase(cloud)


def sign_token(cloud: Cloud, host: str, port: str, user: str) -> str:
    """An IAM token with which a user signs in to the database within 15 minutes; signed here, without AWS."""
    rds = cloud.client("rds")
    return str(rds.generate_db_auth_token(DBHostname=host, Port=int(port), DBUsername=user))


def _keywords(variables: dict[str, str]) -> dict[str, Any]:
    """libpq's variables as psycopg2 takes them."""
    return {name.removeprefix("PG").lower(): value for name, value in variables.items()}


def _connect(**keywords: Any) -> "connection":
    """A connection; says so if the database has to wake first. Raises psycopg2.OperationalError."""
    # In the background, because Ctrl-C cannot interrupt psycopg2 while it connects.
    opened: Future[connection] = in_background(
        lambda: psycopg2.connect(**{**keywords, **liveness(SILENCE_SECONDS)})
    )
    try:
        return opened.result(WAKING_SECONDS)
    except TimeoutError:
        print(_(WAKING), file=sys.stderr, flush=True)
        return opened.result()


@contextmanager
def blocking() -> Iterator[None]:
    """For COPY, which psycopg2 does not do while a callback waits for the server."""
    with _waiting_by(None):
        yield


@contextmanager
def _waiting_by(callback: Any) -> Iterator[None]:
    """How psycopg2 waits for the server; it has one way at a time, for all connections."""
    before = get_wait_callback()
    set_wait_callback(callback)
    try:
        yield
    finally:
        set_wait_callback(before)


def _wait_interruptibly(session: "connection") -> None:
    """Without this, psycopg2 waits in C, and Python does not see Ctrl-C before the server has answered."""
    try:
        while (state := session.poll()) != POLL_OK:
            reads, writes = ([], [session]) if state == POLL_WRITE else ([session], [])
            select.select(reads, writes, [])
    except KeyboardInterrupt:
        session.cancel()
        raise
