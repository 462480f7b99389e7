"""The database of a stage, whether a local cloud runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager

from local_cloud.lifecycle import LocalCloudError
from local_cloud.postgres import Connection, PostgresCluster, clusters
from local_cloud.state import LocalState


@contextmanager
def stage_database(state: LocalState, stage: str = "dev") -> Iterator[tuple[PostgresCluster, Connection]]:
    """The database and how its master user connects; it is up for as long as the block lasts.

    Raises LocalCloudError before the first deploy of the stage.
    """
    cluster = find_database(state, stage)
    if cluster is None:
        raise LocalCloudError("there is no database yet: `make local` makes it")
    was_running = cluster.port is not None
    cluster.start()
    try:
        connection = cluster.connection()
        assert connection is not None, "what find_database finds was set up"
        yield cluster, connection
    finally:
        if not was_running and not state.is_running():
            cluster.stop_after_sessions()


def find_database(state: LocalState, stage: str = "dev") -> PostgresCluster | None:
    """The database of a stage, if it was ever deployed here."""
    prefix = f"FipeDataStack-{stage}"
    return next((cluster for cluster in clusters(state.postgres) if cluster.name.startswith(prefix)), None)
