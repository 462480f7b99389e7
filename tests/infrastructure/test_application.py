"""The application as a whole: tags, outputs, flags, what is packed, and app.py as the CDK CLI runs it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from infrastructure.paths import API_LAYER, FUNCTIONS, PSYCOPG2_LAYER, QUERY_LAYER
from tests.conftest import ROOT
from tests.infrastructure.synthesis import (
    ACCOUNT,
    DEFAULT_VPC,
    REGION,
    VPC_ID,
    VPC_KEY,
    Stacks,
    stage,
    synthesize,
    vpc,
)

CHILD_OUTPUTS = {
    "AlarmTopicArn",
    "AnnouncementDLQUrl",
    "AnnouncementQueueUrl",
    "ManufacturerQueueUrl",
    "ManufacturerDLQUrl",
    "ModelQueueUrl",
    "ModelDLQUrl",
    "PriceQueueUrl",
    "PriceDLQUrl",
    "FipeManufacturerLambda",
}

# CloudFormation gives these no tags.
UNTAGGABLE = {
    "AWS::CloudWatch::Dashboard",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::IAM::Policy",
    "AWS::Lambda::LayerVersion",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::SecretTargetAttachment",
    "Custom::FipeDatabase",
}


PHYSICAL_NAMES = {
    "AlarmName",
    "DashboardName",
    "FunctionName",
    "LogGroupName",
    "QueueName",
    "RoleName",
    "TableName",
    "TopicName",
}


@pytest.mark.parametrize("name", ["dev", "stg", "prd"])
def test_every_resource_says_to_which_project_stage_component_and_cost_centre_it_belongs(name: str):
    untagged = set()
    for logical_id, resource in stage(name).resources().items():
        tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"].get("Tags", [])}
        if not tags:
            untagged.add(resource["Type"])
            continue
        assert tags.pop("component") in {"data", "sql-init", "api", "operations"}, logical_id
        assert tags == {"project": "fipe", "stage": name, "cost-centre": "fipe"}, logical_id
    assert untagged <= UNTAGGABLE


def test_the_cost_centre_is_a_setting():
    assert "cost-centre" in json.dumps(synthesize(cost_centre="CC-42").parent.to_json())
    assert "CC-42" in json.dumps(synthesize(cost_centre="CC-42").child.to_json())


def test_the_parent_shows_all_outputs_of_both_stacks():
    stacks = stage("dev")
    parent, child = stacks.parent.to_json()["Outputs"], stacks.child.to_json()["Outputs"]
    assert set(parent) == CHILD_OUTPUTS | {"DBEndpoint", "DBPort", "DBSecretArn"}
    assert set(child) == CHILD_OUTPUTS
    (nested,) = stacks.resources("AWS::CloudFormation::Stack")
    for name in CHILD_OUTPUTS:
        assert parent[name]["Value"] == {"Fn::GetAtt": [nested, f"Outputs.{name}"]}


def test_nothing_that_one_stage_names_collides_with_another_in_the_same_account():
    def names(stacks: Stacks) -> set[str]:
        return {
            value
            for resource in stacks.resources().values()
            for key, value in resource["Properties"].items()
            if key in PHYSICAL_NAMES and isinstance(value, str)
        }

    assert len(names(stage("dev"))) == 51
    assert not names(stage("dev")) & names(stage("prd"))


def test_templates_hold_only_types_that_need_no_helper_function_of_the_cdk():
    kinds = {resource["Type"] for resource in stage("prd").resources().values()}
    assert {kind for kind in kinds if kind.startswith("Custom::")} == {"Custom::FipeDatabase"}


def test_feature_flags_are_those_that_the_library_recommends():
    (library,) = Path(aws_cdk.__file__).parent.glob("_jsii/aws-cdk-lib@*.jsii.tgz")
    with tarfile.open(library) as archive:
        member = archive.extractfile("package/recommended-feature-flags.json")
        assert member is not None
        recommended = json.load(member)
    given = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert {name: given.get(name) for name in recommended} == recommended


# What is packed ---------------------------------------------------------------------------------------------


def pinned(requirements: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", requirements.read_text(), re.MULTILINE))


@pytest.mark.parametrize("layer", ["api", "psycopg2", "query", "pyarrow"])
def test_a_layer_has_the_versions_that_the_local_run_has(layer: str):
    local = pinned(ROOT / "requirements.txt")
    packed = pinned(ROOT / f"lambda-layer/requirements-{layer}.txt")
    assert packed
    assert packed.items() <= local.items()


def test_layers_hold_what_the_functions_import_and_nothing_that_the_runtime_has():
    packages = {path.name for path in (API_LAYER / "python").iterdir()}
    assert {
        "msgspec",
        "requests",
        "aws_lambda_powertools",
        "typing_extensions.py",
    } <= packages
    assert not packages & {"boto3", "botocore", "urllib3", "jmespath", "s3transfer", "psycopg2", "bin"}


@pytest.mark.parametrize("folder", [API_LAYER, PSYCOPG2_LAYER, QUERY_LAYER], ids=["api", "psycopg2", "query"])
def test_a_layer_is_built_for_the_functions_platform_and_is_small(folder: Path):
    files = [path for path in folder.rglob("*") if path.is_file()]
    compiled = [path.name for path in files if ".cpython-" in path.name and path.suffix == ".so"]
    assert compiled
    assert all("cpython-314-aarch64-linux-gnu" in name for name in compiled)
    assert sum(path.stat().st_size for path in files) < 30 * 1024 * 1024


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What app.py writes from a checkout of a user with umask 077, before the CDK has looked up the VPC."""
    checkout, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("out")
    for name in ("src", "infrastructure", "lambda", "lambda-layer/build"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("draft.*"))
    for name in ("app.py", "cdk.json", "create_fipe_db.sql", *(path.name for path in ROOT.glob("*_*.py"))):
        shutil.copy(ROOT / name, checkout)
    (checkout / "src/fipe_api/__pycache__").mkdir(exist_ok=True)
    (checkout / "src/fipe_api/__pycache__/messages.cpython-314.pyc").touch()
    for path in checkout.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.suffix == ".so" else 0o600)
    run = run_app({name: value for name, value in SETTINGS.items() if name != VPC_KEY}, out, folder=checkout)
    assert run.returncode == 0, run.stderr
    return out


def test_the_functions_code_is_packed_without_what_python_leaves_behind(packed: Path):
    (code,) = {path.parent.parent for path in packed.glob("asset.*/fipe_api/messages.py")}
    assert {path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file()} == {
        path.relative_to(FUNCTIONS).as_posix()
        for path in (FUNCTIONS / "fipe_api").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_what_is_packed_has_the_same_modes_whatever_the_umask_was(packed: Path):
    paths = list(packed.glob("asset.*/**/*"))
    assert {path.name for path in paths} >= {"index.py", "messages.py", "create_fipe_db.sql", "psycopg2"}
    wrong = [
        path
        for path in paths
        if path.stat().st_mode & 0o777 != (0o755 if path.is_dir() or path.suffix == ".so" else 0o644)
    ]
    assert wrong == []


# app.py -----------------------------------------------------------------------------------------------------

SETTINGS = {
    "stage": "dev",
    "vpc_id": VPC_ID,
    "allowed_ip": "203.0.113.7",
    VPC_KEY: DEFAULT_VPC,
}


def run_app(
    context: dict[str, Any], outdir: Path, account: str | None = ACCOUNT, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Runs app.py as the CDK CLI does: context, account and region in the environment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))
    } | {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(outdir)}
    if account:
        environment |= {"CDK_DEFAULT_ACCOUNT": account, "CDK_DEFAULT_REGION": REGION}
    return subprocess.run(
        [sys.executable, "app.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_app_asks_for_the_vpc_when_the_cdk_has_not_looked_it_up_yet(packed: Path):
    """Until it has, the library works with a VPC of its own, whose zones are dummy1a and dummy1b."""
    (missing,) = json.loads((packed / "manifest.json").read_text())["missing"]
    assert missing["key"] == VPC_KEY


def test_app_ends_with_one_line_for_each_problem_and_creates_nothing(tmp_path: Path):
    run = run_app({"stage": "dev", "allowed_ip": "123.456.789.0"}, tmp_path)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "vpc_id is missing: give the VPC for the database, such as vpc-0a1b2c3d",
        "invalid allowed_ip=123.456.789.0: not an IPv4 address or CIDR block; use the address that may"
        " connect to the database, such as 203.0.113.7, or a block, such as 203.0.113.0/24",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "account", "line"),
    [
        ({}, None, "no AWS account or region: set AWS_PROFILE"),
        (
            {VPC_KEY: {"$providerError": 'Could not find any VPCs matching {"account":"1"}'}},
            ACCOUNT,
            f"invalid vpc_id={VPC_ID} in account {ACCOUNT}, {REGION}: Could not find any VPCs",
        ),
        (
            {VPC_KEY: vpc(Public=1)},
            ACCOUNT,
            f"invalid vpc_id={VPC_ID}: Aurora needs subnets of one kind in 2 availability zones",
        ),
    ],
    ids=["no account", "no such VPC", "a VPC with one zone"],
)
def test_app_ends_with_one_line_when_it_cannot_be_deployed_there(
    changes: dict[str, Any], account: str | None, line: str, tmp_path: Path
):
    run = run_app(SETTINGS | changes, tmp_path, account)
    assert run.returncode == 1
    (only_line,) = run.stderr.splitlines()
    assert only_line.startswith(line)
