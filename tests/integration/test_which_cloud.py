"""Which cloud each stage target of make works on.

AWS when AWS_PROFILE, keys or AWS_ENDPOINT_URL say so, otherwise the local cloud of this folder. A default
profile alone never means AWS.

Every target runs as a user runs it. Two servers on loopback stand in for AWS and for the local cloud of this
folder; both refuse everything, and which of them was asked is what counts.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local_cloud.state import Endpoint, LocalState
from tests.conftest import ROOT
from tests.http_server import http_server

TARGETS = ("deploy", "diff", "destroy", "load", "status", "resume", "redrive", "logs")
SERVICES = (
    "CLOUDFORMATION",
    "CLOUDWATCH_LOGS",
    "DYNAMODB",
    "EC2",
    "FREETIER",
    "LAMBDA",
    "RDS",
    "SECRETS_MANAGER",
    "SQS",
    "STS",
)
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
PROFILES = """
[default]
region = us-east-1
aws_access_key_id = testing
aws_secret_access_key = testing
[profile me]
region = sa-east-1
aws_access_key_id = testing
aws_secret_access_key = testing
"""


@dataclass(frozen=True)
class Situation:
    """What a user's environment holds. `{aws}` is the URL of the server that stands in for AWS."""

    config: str
    variables: Mapping[str, str]
    cloud: str


SITUATIONS = {
    "nothing": Situation("", {}, "local cloud"),
    "a default profile only": Situation(PROFILES, {}, "local cloud"),
    "AWS_PROFILE": Situation(PROFILES, {"AWS_PROFILE": "me"}, "AWS"),
    "keys": Situation("", {**KEYS, "AWS_REGION": "us-east-1"}, "AWS"),
    "AWS_ENDPOINT_URL": Situation(PROFILES, {"AWS_ENDPOINT_URL": "{aws}"}, "AWS"),
}


class Refusal:
    """Answers every request of AWS's APIs with 403, and counts them."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.requests += 1
        error = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        if b"Action=DescribeVpcs" in body:
            answer = f"<Response><Errors>{error}</Errors></Response>"
        elif b"Action=" in body:
            answer = f"<ErrorResponse>{error}</ErrorResponse>"
        else:
            answer = '{"__type": "AccessDenied", "message": "no"}'
        request.send_response(403)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer.encode())


@contextmanager
def local_cloud_at(folder: Path, url: str) -> Iterator[None]:
    """Makes a server pass for the running local cloud of a folder."""
    state = LocalState(folder)
    lock = state.server_lock()
    assert lock.acquire(blocking=False)
    try:
        state.publish(Endpoint(os.getpid(), urlsplit(url).port or 0))
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Run:
    """How a target ended, and which cloud it asked."""

    clouds: set[str]
    errors: list[str]


def run(folder: Path, target: str, situation: Situation) -> Run:
    """Runs a target for the stage dev in a situation, while a local cloud runs."""
    folder.mkdir()
    (folder / "config").write_text(situation.config)
    aws, local = Refusal(), Refusal()
    with http_server(aws) as aws_url, http_server(local) as local_url:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "FIPE_", "MAKE", "MFLAGS"))
        }
        environment = {
            **kept,
            "HOME": str(folder),
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "RDS_CERTIFICATES": "none",
            "COMPILE_LAYERS": "no",
            "FIPE_LOCAL_DIR": str(folder / "local"),
            # A command that means AWS reaches the server in its place, and never the network.
            **{f"AWS_ENDPOINT_URL_{service}": aws_url for service in SERVICES},
            **{name: value.format(aws=aws_url) for name, value in situation.variables.items()},
        }
        settings = ["VPC_ID=vpc-0a1b2c3d", "ALLOWED_IP=203.0.113.7"] if target in ("deploy", "diff") else []
        with local_cloud_at(folder / "local", local_url):
            ended = subprocess.run(
                ["make", "--no-print-directory", f"{target}-dev", *settings],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
    assert ended.returncode != 0, ended.stdout
    asked = {"AWS": aws.requests, "local cloud": local.requests}
    return Run(
        {cloud for cloud, requests in asked.items() if requests},
        [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")],
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Run]:
    """Every target in every situation."""
    folder = tmp_path_factory.mktemp("which-cloud")
    cells = [(target, name) for target in TARGETS for name in SITUATIONS]
    with ThreadPoolExecutor(4) as threads:
        ended = threads.map(lambda cell: run(folder / " ".join(cell), cell[0], SITUATIONS[cell[1]]), cells)
        return dict(zip(cells, ended, strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SITUATIONS)
def test_each_target_works_on_the_cloud_that_is_meant(
    runs: dict[tuple[str, str], Run], target: str, name: str
) -> None:
    ended = runs[target, name]
    assert ended.clouds == {SITUATIONS[name].cloud}, ended.errors
    assert len(ended.errors) == 1, ended.errors


@pytest.mark.parametrize("target", TARGETS)
def test_a_region_that_is_missing_is_one_line_while_a_local_cloud_runs(tmp_path: Path, target: str) -> None:
    ended = run(tmp_path / "here", target, Situation("", KEYS, ""))
    assert ended.errors == ["error: no AWS region: set AWS_REGION, or a region in the profile"]
    assert ended.clouds == set()
