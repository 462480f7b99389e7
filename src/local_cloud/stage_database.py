"""The database of a stage, whether a local cloud runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from typing import IO

from fipe_words import _
from local_cloud.lifecycle import LocalCloudError
from local_cloud.postgres import Connection, PostgresCluster, clusters
from local_cloud.state import LocalState


@contextmanager
def stage_database(state: LocalState, stage: str = "dev") -> Iterator[tuple[PostgresCluster, Connection]]:
    """The database and how its master user connects; the database runs for as long as the block lasts.

    The last process to leave such a block stops the database, unless a local cloud is running.

    Raises:
        LocalCloudError: the stage was never deployed here.
        PostgresError: the database does not start, or does not stop.
    """
    cluster = find_database(state, stage)
    if cluster is None:
        raise LocalCloudError(_("there is no database yet: create it with `make local`"))
    # Not fasteners: its locks belong to the process, so an inner block would look like the last one.
    with (cluster.folder / "users.lock").open("w") as users:
        flock(users, LOCK_SH)
        try:
            cluster.start()
            connection = cluster.connection()
            assert connection is not None, "what find_database finds was set up"
            yield cluster, connection
        finally:
            # A process that comes now waits until the database has stopped, then starts it again.
            if _is_the_last(users) and not state.is_running():
                cluster.stop()


def _is_the_last(users: IO[str]) -> bool:
    try:
        flock(users, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_database(state: LocalState, stage: str = "dev") -> PostgresCluster | None:
    """The database of a stage, if it was ever deployed here: that of a stack whose name ends in the stage."""
    return next(
        (cluster for cluster in clusters(state.postgres) if _stack(cluster).endswith(f"-{stage}")), None
    )


def _stack(cluster: PostgresCluster) -> str:
    """The stack that made a cluster: its name is the stack's, a dash, and the resource's logical id."""
    return cluster.name.rpartition("-")[0]
