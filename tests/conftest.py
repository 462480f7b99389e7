"""Real parts for all tests: PostgreSQL, with a fresh database a test."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from hypothesis import settings
from psycopg2.extensions import connection, make_dsn

from local_cloud.postgres import PostgresCluster
from tests.databases import TEMPLATE, database_with_schema

ROOT = Path(__file__).resolve().parent.parent

# How long an example takes depends on what else the machine does.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test process, with the schema in its template database."""
    cluster = PostgresCluster(tmp_path_factory.mktemp("postgres") / "cluster")
    cluster.start()
    try:
        place = cluster.set_up(user="postgres", password=uuid.uuid4().hex, database=TEMPLATE)
        dsn = make_dsn(
            host=place.host, port=place.port, user=place.user, password=place.password, dbname="postgres"
        )
        with closing(psycopg2.connect(make_dsn(dsn, dbname=TEMPLATE))) as template, template:
            template.cursor().execute((ROOT / "create_fipe_db.sql").read_text())
        yield dsn
    finally:
        cluster.stop()


@pytest.fixture
def dsn(postgres_dsn: str) -> Iterator[str]:
    """A DSN of a fresh database that has the schema."""
    with database_with_schema(postgres_dsn) as fresh:
        yield fresh


@pytest.fixture
def database(dsn: str) -> Iterator[connection]:
    """A connection to a fresh database that has the schema."""
    with closing(psycopg2.connect(dsn)) as opened:
        yield opened
