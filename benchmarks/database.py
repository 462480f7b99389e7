"""An embedded PostgreSQL with the schema, for one benchmark, and the ingestor pointed at it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]
import psycopg2
from psycopg2.extensions import make_dsn

from benchmarks.month import REPOSITORY
from local_cloud.postgres import PostgresCluster
from tests.databases import cluster as cluster_of_version

if TYPE_CHECKING:
    from psycopg2.extensions import connection

SCHEMA = REPOSITORY / "create_fipe_db.sql"


class Server:
    """A PostgreSQL server that makes fresh databases with the schema."""

    def __init__(self, cluster: PostgresCluster, dsn: str) -> None:
        self._cluster = cluster
        self._dsn = dsn

    def cpu_seconds(self) -> float:
        """What all processes of the server have used so far, ended ones included."""
        total = 0.0
        for pid in self._cluster.processes():
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def fresh_database(self) -> str:
        """The DSN of a new database with the schema, as its owner."""
        name = f"benchmark_{uuid.uuid4().hex}"
        with connected(self._dsn) as admin:
            admin.autocommit = True
            admin.cursor().execute(f"create database {name}")
        dsn = make_dsn(self._dsn, dbname=name)
        with connected(dsn) as owner, owner:
            owner.cursor().execute(SCHEMA.read_text())
        return dsn


@contextmanager
def server(version: int = 18) -> Iterator[Server]:
    """A PostgreSQL server of version 17 or 18 in a temporary folder, with the settings of the local cloud."""
    with TemporaryDirectory(prefix="fipe-benchmark-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's own user has to get through
        cluster = cluster_of_version(Path(folder) / "postgres", version)
        cluster.start()
        try:
            place = cluster.set_up(user="postgres", password=uuid.uuid4().hex, database=None)
            yield Server(cluster, make_dsn(
                host=place.host, port=place.port, user=place.user, password=place.password,
                dbname=place.database,
            ))  # fmt: skip
        finally:
            cluster.stop()


@contextmanager
def connected(dsn: str) -> Iterator["connection"]:
    """A connection, closed at the end."""
    with closing(psycopg2.connect(dsn)) as opened:
        yield opened


def point_ingestor_at(dsn: str) -> None:
    """Sets the environment of the ingestor's handler in this process; its old connection is forgotten."""
    from fipe_api import fipe_soma_ingestor

    with connected(dsn) as opened:
        parameters = opened.info.dsn_parameters
    os.environ |= {
        "RDS_HOST": parameters["host"],
        "RDS_PORT": parameters["port"],
        "RDS_DATABASE": parameters["dbname"],
        "PGSSLMODE": "disable",
        # The local cloud takes an access key for its own secret.
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    if fipe_soma_ingestor._connection.cache_info().currsize:
        fipe_soma_ingestor._connection().close()
        fipe_soma_ingestor._connection.cache_clear()
