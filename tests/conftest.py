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

ROOT = Path(__file__).resolve().parent.parent

SETTINGS_OF_TEMPLATE = """
select unnest(setconfig)
from pg_db_role_setting
join pg_database on pg_database.oid = setdatabase
where datname = 'fipe_template' and setrole = 0
"""

# How long an example takes depends on what else the machine does.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test process, with the schema in its database `fipe_template`."""
    cluster = PostgresCluster(tmp_path_factory.mktemp("postgres") / "cluster")
    cluster.start()
    try:
        place = cluster.set_up(user="postgres", password=uuid.uuid4().hex, database="fipe_template")
        dsn = make_dsn(
            host=place.host, port=place.port, user=place.user, password=place.password, dbname="postgres"
        )
        with closing(psycopg2.connect(make_dsn(dsn, dbname="fipe_template"))) as template, template:
            template.cursor().execute((ROOT / "create_fipe_db.sql").read_text())
        yield dsn
    finally:
        cluster.stop()


@pytest.fixture
def dsn(postgres_dsn: str) -> Iterator[str]:
    """A DSN of a fresh database that has the schema."""
    name = f"test_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(postgres_dsn)) as admin:
        admin.autocommit = True
        cursor = admin.cursor()
        cursor.execute(f"create database {name} template fipe_template")
        cursor.execute(SETTINGS_OF_TEMPLATE)  # which no database takes over from its template
        for (setting,) in cursor.fetchall():
            cursor.execute(f"alter database {name} set {setting}")
        yield make_dsn(postgres_dsn, dbname=name)
        cursor.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(dsn: str) -> Iterator[connection]:
    """A connection to a fresh database that has the schema."""
    with closing(psycopg2.connect(dsn)) as opened:
        yield opened
