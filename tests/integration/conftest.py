"""What tests share: AWS's APIs, a source, and the database of a stage on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fipe_api.source import http_source
from fipe_simulator import SAMPLE_CATALOGUE, FipeSimulator, read_catalogue
from local_cloud.postgres import Connection, PostgresCluster
from tests.aws import aws_apis
from tests.local_database import database_of_dev, emptied, use_folder


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Where AWS's APIs answer."""
    with aws_apis() as url:
        yield url


@pytest.fixture
def simulator() -> Iterator[FipeSimulator]:
    """A source with the sample."""
    with FipeSimulator(read_catalogue(SAMPLE_CATALOGUE)) as simulator:
        yield simulator


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Asks a source on this machine, whatever proxy the environment names."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is asked again at once."""
    monkeypatch.setattr(http_source, "FIRST_BACKOFF_SECONDS", 0.001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of local state."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[PostgresCluster]:
    """The server of stage dev, which runs."""
    with database_of_dev(folder) as server:
        yield server


@pytest.fixture
def master(cluster: PostgresCluster) -> Connection:
    """The master user of stage dev, whose database has the schema and no prices."""
    return emptied(cluster)


@pytest.fixture
def in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work on this folder of local state."""
    use_folder(folder, monkeypatch)
