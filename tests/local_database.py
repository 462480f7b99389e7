"""The database of a stage on this machine, for tests of commands: without a local cloud around it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from local_cloud.postgres import Connection, PostgresCluster
from local_cloud.state import LocalState
from tests.builders import ROOT_SQL


@contextmanager
def local_database(folder: Path) -> Iterator[Connection]:
    """The database of stage dev in a folder of local state, with the schema and no prices."""
    cluster = PostgresCluster(LocalState(folder).postgres / "FipeDataStack-dev-cluster")
    cluster.start()
    try:
        known = cluster.set_up(user="postgres", password="any-password", database="fipedata")
        with closing(known.open()) as database, database, database.cursor() as cursor:
            cursor.execute(ROOT_SQL.read_text())
        yield known
    finally:
        cluster.stop()
