"""The commands: one cloud at a time, clear refusals, and an end that leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from psycopg2 import OperationalError

from fipe_cli.query import CURSOR
from local_cloud.postgres import PostgresCluster
from local_cloud.state import REPOSITORY, LocalState
from tests.builders import ROOT_SQL
from tests.local_cloud_support import eventually
from tests.terminal import CTRL_C, terminal


class Commands:
    """`python -m local_cloud` with its state in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.state = LocalState(folder)

    def __call__(self, *arguments: str, module: str = "local_cloud") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "FIPE_LOCAL_DIR": str(self.state.root)}

    def refused(self, *arguments: str, module: str = "local_cloud") -> str:
        """The one line that a refused command says."""
        ended = self(*arguments, module=module)
        assert ended.returncode != 0
        assert ended.stdout == ""
        (line,) = ended.stderr.splitlines()
        return line


@pytest.fixture
def local_cloud(tmp_path: Path) -> Iterator[Commands]:
    commands = Commands(tmp_path)
    yield commands
    commands("down", "--all")


def test_starts_once_and_stops(local_cloud: Commands) -> None:
    started = local_cloud("up")
    endpoint = local_cloud.state.endpoint()
    assert endpoint is not None
    assert started.returncode == 0
    assert f"export AWS_ENDPOINT_URL={endpoint.url}" in started.stdout
    assert f"running already at {endpoint.url}" in local_cloud.refused("up")
    assert endpoint.url in local_cloud("status").stdout
    assert local_cloud("down").returncode == 0
    assert not psutil.pid_exists(endpoint.pid)
    assert local_cloud.state.endpoint() is None
    assert "no local cloud is running" in local_cloud.refused("status")


def test_listens_on_the_port_it_is_given(local_cloud: Commands) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    assert f"http://localhost:{port}" in local_cloud("up", "--port", str(port)).stdout


def test_comes_back_on_the_port_of_the_last_time_unless_that_is_taken(local_cloud: Commands) -> None:
    def port() -> int:
        local_cloud("up")
        endpoint = local_cloud.state.endpoint()
        assert endpoint is not None
        local_cloud("down")
        return endpoint.port

    first = port()
    assert port() == first
    with closing(socket.create_server(("127.0.0.1", first))):
        assert port() != first


def test_a_source_that_cannot_be_reached_is_named_before_anything_starts(
    local_cloud: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIPE_API_URL", "http://localhost:1/api/veiculos")
    said = local_cloud.refused("local", "--source", "fipe", module="fipe_cli")
    assert said.startswith("error: the source at http://localhost:1/api/veiculos does not answer: check")
    assert not local_cloud.state.server_log.exists()


def test_refuses_a_port_that_is_taken(local_cloud: Commands) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} cannot be used" in local_cloud.refused("up", "--port", str(port))
    assert local_cloud.state.endpoint() is None


def test_starts_again_after_it_was_killed(local_cloud: Commands) -> None:
    local_cloud("up")
    endpoint = local_cloud.state.endpoint()
    assert endpoint is not None
    psutil.Process(endpoint.pid).kill()
    eventually(lambda: not local_cloud.state.is_running())
    assert local_cloud("up").returncode == 0
    again = local_cloud.state.endpoint()
    assert again is not None
    assert again.pid != endpoint.pid


def test_refuses_a_second_load_while_one_runs(local_cloud: Commands) -> None:
    lock = local_cloud.state.run_lock()
    assert lock.acquire(blocking=False)
    assert "another `make local` is running" in local_cloud.refused("local", module="fipe_cli")
    lock.release()


@pytest.mark.parametrize(
    ("module", "arguments", "complaint"),
    [
        ("fipe_cli", ("local", "--types", "boat"), "unknown vehicle type 'boat'"),
        ("fipe_cli", ("local", "--catalogue", "nowhere.tsv.gz"), "CATALOGUE=nowhere.tsv.gz"),
        ("fipe_cli", ("local", "--brands", "Fait"), "the source lists no brand 'Fait': did you mean Fiat"),
        ("fipe_cli", ("local", "--reference", "2031-01"), "2031-01 is not published: use months from"),
        ("local_cloud", ("deploy",), "no local cloud is running"),
        ("local_cloud", ("deploy", "--rate", "fast"), "invalid RATE=fast"),
        ("local_cloud", ("psql",), "there is no database yet"),
    ],
)
def test_says_in_one_line_why_it_does_nothing(
    local_cloud: Commands, module: str, arguments: tuple[str, ...], complaint: str
) -> None:
    assert complaint in local_cloud.refused(*arguments, module=module)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ends_everything_when_a_load_is_interrupted(local_cloud: Commands, number: signal.Signals) -> None:
    # In the background of a script, or under nohup, this process ignores it, and its children would, too.
    before = signal.signal(number, signal.default_int_handler)
    job = subprocess.Popen(
        [sys.executable, "-m", "fipe_cli", "local"],
        cwd=REPOSITORY,
        env=local_cloud.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(number, before)
    endpoint = eventually(local_cloud.state.endpoint)
    os.killpg(job.pid, number)  # what Ctrl-C does: the terminal tells every process of the job
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert not psutil.pid_exists(endpoint.pid)


def queries(cluster: PostgresCluster, words: str) -> int:
    """How many sessions run a statement with these words."""
    known = cluster.connection()
    assert known is not None
    with suppress(OperationalError), closing(known.open()) as session, session.cursor() as cursor:
        sql = "select from pg_stat_activity where state = 'active' and position(%s in query) > 0"
        cursor.execute(f"{sql} and pid <> pg_backend_pid()", (words,))
        return cursor.rowcount
    return 0


def test_commands_share_a_database_and_the_last_one_stops_it(local_cloud: Commands) -> None:
    cluster = PostgresCluster(local_cloud.state.postgres / "FipeDataStack-dev-Database")
    cluster.start()
    place = cluster.set_up(user="postgres", password="any-password", database="fipedata")
    with closing(place.open()) as master, master, master.cursor() as cursor:
        cursor.execute(ROOT_SQL.read_text())  # makes the role that queries sign in as
    cluster.stop()

    def query(seconds: int) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "fipe_cli", "query", f"select {seconds} as s from pg_sleep({seconds})"],
            cwd=REPOSITORY,
            env=local_cloud.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = query(4)
    eventually(lambda: queries(cluster, CURSOR) == 1)
    second = query(8)
    eventually(lambda: queries(cluster, CURSOR) == 2)
    assert first.communicate(timeout=60) == ("s\n4\n", "")  # which has started the database
    late = [query(0) for _ in range(3)]
    assert [one.communicate(timeout=60) for one in late] == [("s\n0\n", "")] * 3
    assert second.communicate(timeout=60) == ("s\n8\n", "")
    assert cluster.port is None


def test_ctrl_c_in_psql_cancels_the_query_and_keeps_the_session(local_cloud: Commands) -> None:
    cluster = PostgresCluster(local_cloud.state.postgres / "FipeDataStack-dev-Database")
    cluster.start()
    cluster.set_up(user="postgres", password="any-password", database="fipedata")
    for command in ("local_cloud", "fipe_cli"):
        with terminal("-m", command, "psql", "-XP", "pager=off", environment=local_cloud.environment) as psql:
            psql.shows("fipedata=>")
            psql.type("select pg_sleep(60);\n")
            eventually(lambda: queries(cluster, "pg_sleep(60)"))
            psql.type(CTRL_C)
            psql.shows("canceling statement due to user request")
            psql.type("select 'still' || ' here';\n")
            psql.shows("still here")
            psql.type("\\q\n")
            assert psql.ends() == 0


def test_opens_psql_on_a_database_that_is_not_running_and_stops_it_afterwards(local_cloud: Commands) -> None:
    cluster = PostgresCluster(local_cloud.state.postgres / "FipeDataStack-dev-Database")
    cluster.start()
    cluster.set_up(user="postgres", password='it\'s a "secret"', database="fipedata")
    cluster.stop()
    shown = local_cloud("psql", "-XAtc", "select current_user, current_database()")
    assert shown.stdout == "postgres|fipedata\n", shown.stderr
    assert cluster.port is None
    assert local_cloud("psql", "-c", "nonsense").returncode == 1
    assert local_cloud("down", "--all").returncode == 0
