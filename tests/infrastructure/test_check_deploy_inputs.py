"""What is checked before a deployment, against the AWS APIs over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.aws import aws_apis, client
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws_apis() as url:
        yield url


@pytest.fixture(scope="module")
def vpc_id(endpoint: str) -> str:
    return str(client("ec2", endpoint).describe_vpcs()["Vpcs"][0]["VpcId"])


def check(endpoint: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    return subprocess.run(
        [sys.executable, "-m", "scripts.check_deploy_inputs", "stage=dev", *arguments],
        cwd=ROOT,
        env={name: value for name, value in (environment | variables).items() if value},
        capture_output=True,
        text=True,
        check=False,
    )


def test_gives_the_options_for_cdk_and_keeps_out_of_the_zone_that_lambda_does_not_serve(
    endpoint: str, vpc_id: str
):
    run = check(endpoint, f"vpc_id={vpc_id}", "allowed_ip=203.0.113.7", "batch_size=")
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        *("--context", "stage=dev"),
        *("--context", f"vpc_id={vpc_id}"),
        *("--context", "allowed_ip=203.0.113.7"),
        *("--context", "excluded_zones=us-east-1e"),
    ]


def test_zones_that_were_excluded_by_hand_stay_so(endpoint: str, vpc_id: str):
    run = check(endpoint, f"vpc_id={vpc_id}", "allowed_ip=203.0.113.7", "excluded_zones=us-east-1a")
    assert "excluded_zones=us-east-1a" in run.stdout
    assert "us-east-1e" not in run.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (
            ("vpc_id=vpc-0123456789abcdef0", "allowed_ip=203.0.113.7"),
            {},
            "vpc_id=vpc-0123456789abcdef0 does not exist in account 123456789012, us-east-1",
        ),
        (("vpc_id=vpc-0123456789abcdef0",), {}, "allowed_ip is missing"),
        (("vpc_id=vpc-0a1b2c3d", "allowed_ip=203.0.113.7", "dev"), {}, "dev: give NAME=VALUE"),
        (("vpc_id=vpc-0a1b2c3d", "allowed_ip=203.0.113.7"), {"AWS_REGION": ""}, "no AWS region"),
        (("vpc_id=vpc-0a1b2c3d", "allowed_ip=203.0.113.7"), {"AWS_PROFILE": "nobody"}, "no AWS credentials"),
        (
            ("vpc_id=vpc-0a1b2c3d", "allowed_ip=203.0.113.7"),
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
            "no AWS credentials",
        ),
        (
            ("vpc_id=vpc-0a1b2c3d", "allowed_ip=203.0.113.7"),
            {"AWS_ENDPOINT_URL": "http://localhost:1", "AWS_MAX_ATTEMPTS": "1"},
            "AWS cannot be asked",
        ),
    ],
    ids=["no such VPC", "missing", "no value", "no region", "no profile", "no keys", "no network"],
)
def test_ends_with_one_line_for_a_problem(
    endpoint: str, arguments: tuple[str, ...], variables: dict[str, str], line: str
):
    run = check(endpoint, *arguments, **variables)
    assert run.returncode == 1
    (only_line,) = run.stderr.splitlines()
    assert only_line.startswith(line)
    assert run.stdout == ""
