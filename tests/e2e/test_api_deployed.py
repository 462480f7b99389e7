"""The application with api=on in a local cloud: FipeQuery answers signed requests, as fipe_reader."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from local_cloud.stage_database import stage_database
from local_cloud.state import LocalState
from tests.builders import JUNE_2026
from tests.databases import write_sample
from tests.e2e.make import ROOT, Place, place

pytestmark = pytest.mark.walkthrough

CATALOGUE = read_catalogue(SAMPLE_CATALOGUE)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("local")) as one:
        yield one


def run(here: Place, *command: str) -> str:
    ended = subprocess.run(
        [ROOT / ".venv/bin" / command[0], *command[1:]],
        cwd=ROOT, env=here.environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def url(here: Place) -> str:
    """Where FipeQuery answers; the database has the sample."""
    run(here, "python", "-m", "local_cloud", "up")
    printed = run(here, "fipe", "deploy", "api=on").splitlines()
    outputs = dict(line.split(" = ", 1) for line in printed if " = " in line)
    with stage_database(LocalState(Path(here.folder))) as (_, master), closing(master.open()) as database:
        write_sample(database, JUNE_2026.month)
    return outputs["ApiUrl"].removesuffix("/")


def signed(url: str) -> requests.Response:
    request = AWSRequest("GET", url)
    SigV4Auth(Credentials("testing", "testing"), "lambda", "us-east-1").add_auth(request)
    return requests.get(url, headers=dict(request.headers), timeout=60)


def test_a_signed_request_is_answered_and_no_other(url: str) -> None:
    row = CATALOGUE.rows[0]
    path = f"{url}/api/v2/cars/{row.fipe_code}/years/{row.model_year}-{row.fuel_code}"
    answered = signed(path)
    assert (answered.status_code, answered.json()["model"]) == (200, row.model)
    assert answered.headers["ETag"]
    assert signed(f"{url}/v1/months").json()["items"][0]["month"] == "2026-06-01"
    assert signed(f"{url}/v1/nothing").headers["Content-Type"] == "application/problem+json"
    assert requests.get(path, timeout=60).status_code == 403


def test_the_page_is_there_for_signed_requests(url: str) -> None:
    assert "<title>Preços FIPE</title>" in signed(f"{url}/").text
    charts = signed(f"{url}/page/shared/charts.js")
    assert charts.headers["Content-Encoding"] == "gzip"
    assert "Observable" in charts.text


def test_the_check_asks_it(here: Place, url: str) -> None:  # noqa: ARG001  it is deployed
    ended = subprocess.run(
        [ROOT / ".venv/bin/fipe", "check"],
        cwd=ROOT, env=here.environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [line.split(maxsplit=1) for line in ended.stdout.splitlines() if line.strip()]
    parts = ("FipeQuery:", "database, as fipe_reader")
    assert [level for level, text in lines if text.startswith(parts)] == ["ok", "ok"]
