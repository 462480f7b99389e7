"""Which cloud each stage target of make works on.

AWS when AWS_PROFILE, keys or AWS_ENDPOINT_URL say so, otherwise the local cloud of this folder. A default
profile alone never means AWS.

Two servers on loopback stand in for AWS and for the local cloud of this folder; both refuse everything, and
which of them was asked is what counts. The command of every target runs in every situation, in this process.
Make runs every target once, and each situation at least once.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from fipe_cli.__main__ import app
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


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalState]:
    """A folder whose local cloud counts as running: another process, as always, holds the server's lock."""
    state = LocalState(tmp_path_factory.mktemp("local"))
    hold = (
        "import sys; from local_cloud.state import LocalState\n"
        "lock = LocalState.from_environment().server_lock()\n"
        "print(lock.acquire(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold],
        env={**os.environ, "FIPE_LOCAL_DIR": str(state.root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "True\n"
        yield state


@dataclass(frozen=True)
class Ended:
    """How a command ended, and which cloud it asked."""

    clouds: set[str]
    errors: list[str]


Start = Callable[[str, Mapping[str, str]], tuple[int, str]]
"""Runs the command of a target in an environment; returns its exit code and what it wrote to stderr."""


def by_make(target: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Runs the target for the stage dev as a user runs it."""
    ended = subprocess.run(
        ["make", "--no-print-directory", f"{target}-dev", *settings_of(target)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ended.returncode, ended.stderr


def in_this_process(target: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Runs what the target runs: `fipe` with make's variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in {**environment, "MAKEFLAGS": " -- " + " ".join(settings_of(target))}.items():
            patch.setenv(name, value)
        ended = CliRunner().invoke(app, ["--from-make", "--stage", "dev", target])
    return ended.exit_code, ended.stderr


def settings_of(target: str) -> list[str]:
    return ["VPC_ID=vpc-0a1b2c3d", "ALLOWED_IP=203.0.113.7"] if target in ("deploy", "diff") else []


def run(state: LocalState, folder: Path, start: Start, target: str, situation: Situation) -> Ended:
    """Runs a target for the stage dev in a situation, while a local cloud runs."""
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
            "FIPE_LOCAL_DIR": str(state.root),
            # A command that means AWS reaches the server in its place, and never the network.
            **{f"AWS_ENDPOINT_URL_{service}": aws_url for service in SERVICES},
            **{name: value.format(aws=aws_url) for name, value in situation.variables.items()},
        }
        state.publish(Endpoint(os.getpid(), urlsplit(local_url).port or 0))
        exit_code, printed = start(target, environment)
    assert exit_code != 0, printed
    asked = {"AWS": aws.requests, "local cloud": local.requests}
    return Ended(
        {cloud for cloud, requests in asked.items() if requests},
        [line for line in printed.splitlines() if not line.startswith("make: ***")],
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SITUATIONS)
def test_each_target_works_on_the_cloud_that_is_meant(
    state: LocalState, tmp_path: Path, target: str, name: str
) -> None:
    ended = run(state, tmp_path, in_this_process, target, SITUATIONS[name])
    assert ended.clouds == {SITUATIONS[name].cloud}, ended.errors
    assert len(ended.errors) == 1, ended.errors


@pytest.mark.parametrize(("target", "name"), list(zip(TARGETS, itertools.cycle(SITUATIONS), strict=False)))
def test_make_runs_the_command_of_its_target_in_the_users_environment(
    state: LocalState, tmp_path: Path, target: str, name: str
) -> None:
    ended = run(state, tmp_path, by_make, target, SITUATIONS[name])
    assert ended.clouds == {SITUATIONS[name].cloud}, ended.errors
    assert len(ended.errors) == 1, ended.errors


NO_REGION = Situation("", KEYS, "")


@pytest.mark.parametrize("target", TARGETS)
def test_a_region_that_is_missing_is_one_line_while_a_local_cloud_runs(
    state: LocalState, tmp_path: Path, target: str
) -> None:
    ended = run(state, tmp_path, in_this_process, target, NO_REGION)
    assert ended.errors == ["error: no AWS region: set AWS_REGION, or a region in the profile"]
    assert ended.clouds == set()
