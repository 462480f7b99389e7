"""Real parts for all tests: PostgreSQL, with a fresh database per test."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg2
import pytest
from hypothesis import settings
from psycopg2.extensions import connection
from xdist.scheduler import LoadScopeScheduling

from tests.databases import database_with_schema, postgres_server, postgres_versions
from tests.guard import FolderGuard

ROOT = Path(__file__).resolve().parent.parent

# The commands speak English in tests, whatever language the person speaks.
os.environ["LANGUAGE"] = "en"

# How long an example takes depends on what else the machine does. Tests try the same examples each time, so
# that a change fails for what it does alone; `make fuzz` looks for new ones.
settings.register_profile(
    "tests", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ, database=None, print_blob=True
)
settings.load_profile("tests")


def pytest_configure() -> None:
    """Refuses an invalid POSTGRES before any test starts, and lets Ctrl-C end what the tests start."""
    gc.disable()  # until the tests are collected
    # A shell has what it starts in the background ignore SIGINT, and so would every process of a test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        postgres_versions()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_collection_finish() -> None:
    """Spares the garbage collector what stays until the end: it would look at all modules again and again."""
    gc.freeze()
    gc.enable()


class Scheduling(LoadScopeScheduling):
    """Gives one process all tests of a module, and all of the CDK, whose start takes seconds of work."""

    def _split_scope(self, nodeid: str) -> str:
        module: str = nodeid.split("::")[0]
        return str(Path(module).parent) if "/infrastructure/" in module else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """How `make test` distributes the tests."""
    return Scheduling(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests marked `both_postgres` on each version that POSTGRES names."""
    if "postgres_version" in metafunc.fixturenames and metafunc.definition.get_closest_marker(
        "both_postgres"
    ):
        metafunc.parametrize("postgres_version", postgres_versions(), scope="module")


@pytest.fixture(scope="module")
def postgres_version() -> int:
    """The version for tests that are not marked `both_postgres`: 18 unless POSTGRES says 17."""
    return postgres_versions()[0]


@pytest.fixture(scope="session", autouse=True)
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderGuard]:
    """Ends the clouds and databases of this test process if it is killed."""
    one = FolderGuard()
    one.watch(tmp_path_factory.getbasetemp())
    yield one
    one.stop()


@pytest.fixture(scope="session")
def postgres_servers(guard: FolderGuard) -> Iterator[Callable[[int], str]]:
    """The DSN of this test process's server of a version, which starts when it is first asked for."""
    # Not in pytest's temporary folder: each pytest that root starts closes that folder to other users,
    # and root's PostgreSQL runs as another user.
    with TemporaryDirectory(prefix="fipe-postgres-") as folder, ExitStack() as servers:
        guard.watch(Path(folder))

        @cache
        def server(version: int) -> str:
            return servers.enter_context(postgres_server(Path(folder) / f"postgres{version}", version))

        yield server


@pytest.fixture(scope="module")
def postgres_dsn(postgres_servers: Callable[[int], str], postgres_version: int) -> str:
    """A PostgreSQL server of this test process, with the schema in its template database."""
    return postgres_servers(postgres_version)


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
