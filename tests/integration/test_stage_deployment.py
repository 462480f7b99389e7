"""What is checked before a deployment, against the AWS APIs over HTTP, and what the CDK is then given."""

import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from fipe_cli import stage_deployment
from fipe_cli.__main__ import app
from fipe_cli.cloud import find_cloud, local_cloud
from fipe_cli.errors import CliError, InvalidInputsError
from fipe_cli.stage_deployment import read_settings
from local_cloud.state import LocalState
from tests.aws import client
from tests.http_server import http_server, send_json
from tests.local_cloud_support import running_cloud


@pytest.fixture(scope="module")
def vpc_id(endpoint: str) -> str:
    return str(client("ec2", endpoint).describe_vpcs()["Vpcs"][0]["VpcId"])


@pytest.fixture(autouse=True)
def environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("AWS_", "FIPE_")):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


class Cdk:
    """The CDK CLI's place, where a test looks at what it is called with."""

    def __init__(self) -> None:
        self.command: list[str] = []
        self.environment: dict[str, str] = {}
        self.exit_code = 0

    def __call__(
        self, command: list[Any], env: dict[str, str], **_: Any
    ) -> "subprocess.CompletedProcess[str]":
        self.command, self.environment = [str(part) for part in command], env
        return subprocess.CompletedProcess(command, self.exit_code)


@pytest.fixture
def cdk(monkeypatch: pytest.MonkeyPatch) -> Cdk:
    called = Cdk()
    monkeypatch.setattr(stage_deployment.subprocess, "run", called)
    return called


def test_keeps_out_of_the_zone_that_lambda_does_not_serve(vpc_id: str) -> None:
    given = [f"VPC_ID={vpc_id}", "allowed_ip=203.0.113.7", "batch_size="]
    assert read_settings(find_cloud("dev", None), given) == {
        "stage": "dev", "vpc_id": vpc_id, "allowed_ip": "203.0.113.7", "excluded_zones": "us-east-1e",
    }  # fmt: skip


def test_zones_that_were_excluded_by_hand_stay_so(vpc_id: str) -> None:
    given = [f"vpc_id={vpc_id}", "allowed_ip=203.0.113.7", "excluded_zones=us-east-1a"]
    assert read_settings(find_cloud("dev", None), given)["excluded_zones"] == "us-east-1a"


@pytest.fixture
def plain_vpc(endpoint: str) -> Iterator[str]:
    """A VPC as AWS makes it when nothing more is asked for: with DNS resolution, without host names."""
    ec2 = client("ec2", endpoint)
    vpc_id = str(ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"])
    yield vpc_id
    ec2.delete_vpc(VpcId=vpc_id)


def test_the_cdk_is_told_when_the_vpc_gives_no_host_names(plain_vpc: str, cdk: Cdk) -> None:
    ended = CliRunner().invoke(app, ["deploy", f"vpc_id={plain_vpc}", "allowed_ip=203.0.113.7"])
    assert ended.exit_code == 0, ended.output
    assert f"fipe:no-dns-hostnames={plain_vpc}" in cdk.command


def test_a_vpc_that_has_an_s3_endpoint_is_given_no_second_one(endpoint: str, plain_vpc: str) -> None:
    ec2 = client("ec2", endpoint)
    given = [f"vpc_id={plain_vpc}", "allowed_ip=203.0.113.7", "export_bucket=lake"]

    def make_endpoint(*tags: str) -> str:
        pairs = [{"Key": key, "Value": value} for key, _, value in (tag.partition("=") for tag in tags)]
        made = ec2.create_vpc_endpoint(
            VpcId=plain_vpc,
            VpcEndpointType="Gateway",
            ServiceName="com.amazonaws.us-east-1.s3",
            TagSpecifications=[
                {"ResourceType": "vpc-endpoint", "Tags": [{"Key": "a", "Value": "b"}, *pairs]}
            ],
        )
        return str(made["VpcEndpoint"]["VpcEndpointId"])

    own = make_endpoint("project=fipe", "stage=dev")
    assert read_settings(find_cloud("dev", None), given)["export_bucket"] == "lake"
    with pytest.raises(InvalidInputsError, match=f"{plain_vpc} has an S3 gateway endpoint, {own}"):
        read_settings(find_cloud("stg", None), given)
    read_settings(find_cloud("stg", None), [*given, "s3_endpoint=existing"])
    ec2.delete_vpc_endpoints(VpcEndpointIds=[own])


def test_a_vpc_without_dns_resolution_is_refused(endpoint: str, plain_vpc: str, cdk: Cdk) -> None:
    client("ec2", endpoint).modify_vpc_attribute(VpcId=plain_vpc, EnableDnsSupport={"Value": False})
    ended = CliRunner().invoke(app, ["deploy", f"vpc_id={plain_vpc}", "allowed_ip=203.0.113.7"])
    assert (ended.exit_code, cdk.command) == (2, [])
    assert ended.stderr == (
        f"error: invalid vpc_id={plain_vpc}: the VPC has no DNS resolution, so nothing in it finds the"
        f" database; run `aws --endpoint-url {endpoint} ec2 modify-vpc-attribute --vpc-id {plain_vpc}"
        " --enable-dns-support`\n"
    )


@pytest.mark.parametrize(
    ("status", "answer", "is_warned"),
    [
        (200, {"accountId": "123456789012", "accountPlanType": "FREE"}, True),
        (200, {"accountId": "123456789012", "accountPlanType": "PAID"}, False),
        (400, {"__type": "AccessDeniedException", "message": "not authorized"}, False),
        (400, {"__type": "ResourceNotFoundException", "message": "no plan"}, False),
        (500, {}, False),
    ],
    ids=["free", "paid", "no permission", "no plan", "broken"],
)
def test_a_free_plan_is_said_before_the_deploy_and_nothing_else_about_plans_stops_it(
    vpc_id: str, cdk: Cdk, monkeypatch: pytest.MonkeyPatch, status: int, answer: Any, is_warned: bool
) -> None:
    asked: list[str] = []

    def reply(request: BaseHTTPRequestHandler, _: bytes) -> None:
        asked.append(request.headers["X-Amz-Target"])
        send_json(request, answer, status)

    with http_server(reply) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_FREETIER", url)
        ended = CliRunner().invoke(app, ["deploy", f"vpc_id={vpc_id}", "allowed_ip=203.0.113.7"])
    assert (ended.exit_code, "deploy" in cdk.command) == (0, True)
    assert asked == ["AWSFreeTierService.GetAccountPlanState"]
    assert ("FreeTierRestrictionError" in ended.stderr) is is_warned


def test_vpc_and_address_may_stand_in_the_environment(vpc_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPC_ID", "vpc-0a1b2c3d")
    monkeypatch.setenv("ALLOWED_IP", "203.0.113.7")
    settings = read_settings(find_cloud("stg", None), [f"VPC_ID={vpc_id}"])
    assert (settings["stage"], settings["vpc_id"], settings["allowed_ip"]) == ("stg", vpc_id, "203.0.113.7")


@pytest.mark.parametrize("command", ["deploy", "diff", "synth"])
def test_the_cdk_gets_each_setting_as_it_was_given(vpc_id: str, cdk: Cdk, command: str) -> None:
    given = [f"VPC_ID={vpc_id}", "ALLOWED_IP=203.0.113.7", "SCHEDULE=cron(0 9 1-10 * ? *)"]
    ended = CliRunner().invoke(app, ["--stage", "stg", command, *given])
    assert ended.exit_code == 0, ended.output
    assert command in cdk.command
    contexts = [cdk.command[place + 1] for place, part in enumerate(cdk.command) if part == "--context"]
    assert set(contexts) == {
        "stage=stg", f"vpc_id={vpc_id}", "allowed_ip=203.0.113.7", "schedule=cron(0 9 1-10 * ? *)",
        "excluded_zones=us-east-1e",
    }  # fmt: skip


def test_the_cdk_works_with_the_profile_that_was_named(
    endpoint: str, cdk: Cdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile me]\nregion = sa-east-1\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_REGION")
    ended = CliRunner().invoke(app, ["--profile", "me", "bootstrap"])
    assert ended.exit_code == 0, ended.output
    assert cdk.command[-1] == "aws://123456789012/sa-east-1"
    assert cdk.environment["AWS_PROFILE"] == "me"
    assert cdk.environment["AWS_ENDPOINT_URL"] == endpoint


def test_a_cdk_that_fails_is_a_command_that_fails(cdk: Cdk) -> None:
    cdk.exit_code = 1
    ended = CliRunner().invoke(app, ["bootstrap"])
    assert (ended.exit_code, ended.stderr) == (3, "error: cdk bootstrap failed: the lines above say why\n")


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        (
            ("vpc_id=vpc-0123456789abcdef0", "allowed_ip=203.0.113.7"),
            {},
            "vpc_id=vpc-0123456789abcdef0 does not exist in account 123456789012, us-east-1",
        ),
        (("vpc_id=vpc-0123456789abcdef0",), {}, "allowed_ip is missing"),
        (("vpc_id=vpc-0a1b2c3d", "allowed_ip=203.0.113.7", "dev"), {}, "invalid setting dev: use NAME=VALUE"),
        (("stage=prd",), {}, "invalid setting stage=prd: use --stage before the command"),
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
            "nothing answers at http://localhost:1, which AWS_ENDPOINT_URL names: if that",
        ),
    ],
    ids=["no such VPC", "missing", "no value", "stage", "no region", "no profile", "no keys", "no network"],
)
def test_ends_with_one_line_for_a_problem(
    arguments: tuple[str, ...],
    variables: dict[str, str],
    line: str,
    cdk: Cdk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    ended = CliRunner().invoke(app, ["deploy", *arguments])
    assert ended.exit_code != 0
    (only_line,) = ended.stderr.splitlines()
    assert only_line.startswith(f"error: {line}")
    assert (ended.stdout, cdk.command) == ("", [])


def test_has_a_line_for_each_problem(cdk: Cdk) -> None:
    ended = CliRunner().invoke(app, ["deploy", "vpc_id=default", "batchsize=5"])
    assert [line.removeprefix("error: ").partition(": ")[0] for line in ended.stderr.splitlines()] == [
        "invalid vpc_id=default",
        "allowed_ip is missing",
        "unknown setting batchsize",
    ]
    assert cdk.command == []


# On the local cloud -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalState]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud.state


def test_on_the_local_cloud_everything_has_a_default(here: LocalState) -> None:
    settings = read_settings(local_cloud(here, "stg"), [])
    simulator = settings.pop("fipe_api_url")
    assert settings.pop("vpc_id").startswith("vpc-")
    assert settings == {
        "stage": "stg", "allowed_ip": "127.0.0.1", "batching_window_seconds": "1", "calls_per_minute": "max",
    }  # fmt: skip
    assert requests.post(f"{simulator}/ConsultarTabelaDeReferencia", timeout=10).ok
    again = read_settings(local_cloud(here, "stg"), ["BATCHING_WINDOW_SECONDS=5", "ALLOWED_IP="])
    assert again["fipe_api_url"] == simulator
    assert (again["batching_window_seconds"], again["allowed_ip"]) == ("5", "127.0.0.1")


def test_another_source_than_the_simulator_keeps_the_polite_rate(here: LocalState) -> None:
    settings = read_settings(local_cloud(here, "dev"), ["FIPE_API_URL=http://localhost:1"])
    assert settings["fipe_api_url"] == "http://localhost:1"
    assert "calls_per_minute" not in settings


def test_a_protected_stage_is_refused_on_the_local_cloud(here: LocalState) -> None:
    cloud = local_cloud(here, "prd")
    with pytest.raises(CliError, match="prd runs only on AWS"):
        stage_deployment.deploy(cloud, read_settings(cloud, []))


def test_a_wrong_setting_is_refused_on_the_local_cloud_too(here: LocalState) -> None:
    with pytest.raises(InvalidInputsError, match="unknown setting batchsize: did you mean batch_size"):
        read_settings(local_cloud(here, "dev"), ["BATCHSIZE=5"])
