"""The database of a stage on this machine, for tests of commands: without a local cloud around it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from local_cloud.postgres import Connection, PostgresCluster
from local_cloud.stage_database import stage_database
from local_cloud.state import LocalState
from tests.builders import ROOT_SQL


@contextmanager
def database_of_dev(folder: Path) -> Iterator[PostgresCluster]:
    """The server of stage dev in a folder of local state, which commands leave running."""
    with _server(folder) as server, stage_database(LocalState(folder)):
        yield server


@contextmanager
def local_database(folder: Path) -> Iterator[Connection]:
    """The database of stage dev in a folder of local state, with the schema and no prices."""
    with _server(folder) as server:
        yield emptied(server)


def emptied(server: PostgresCluster) -> Connection:
    """The master user, whose database has the schema and no prices."""
    known = server.connection()
    assert known is not None
    with closing(known.open()) as database, database, database.cursor() as cursor:
        cursor.execute("drop schema if exists fipe cascade")
        cursor.execute(ROOT_SQL.read_text())
    return known


def use_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets commands work on this folder of local state, and not on AWS."""
    for name in os.environ:
        if name.startswith(("AWS_", "FIPE_", "PG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FIPE_LOCAL_DIR", str(folder))


@contextmanager
def _server(folder: Path) -> Iterator[PostgresCluster]:
    server = PostgresCluster(LocalState(folder).postgres / "FipeDataStack-dev-cluster")
    server.start()
    try:
        server.set_up(user="postgres", password="any-password", database="fipedata")
        yield server
    finally:
        server.stop()
