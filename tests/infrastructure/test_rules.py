"""Other people's rules for templates: cdk-nag's AwsSolutions, cfn-lint, cloudsplaining."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Environment, Stack, Validations
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks
from cloudsplaining.scan.policy_document import PolicyDocument

from fipe_data_stack import FipeDataStack
from stage_settings import StageSettings
from tests.infrastructure.synthesis import ACCOUNT, REGION, VPC_ID, new_app

NEEDED = {
    "vpc_id": VPC_ID,
    "allowed_ip": "203.0.113.7",
    "alarm_email": "me@example.com",
    "schedule": "on",
    "reader_login": "on",
    "api": "on",
    "export_bucket": "my-lake",
}
KEY = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:key-AbCdEf"
STACKS = {
    "dev": {"stage": "dev"},
    "stg": {"stage": "stg", "instance_class": "db.serverless"},
    "prd": {"stage": "prd", "webhook_url": "https://example.com/fipe", "webhook_secret_arn": KEY},
}
"""All stages, with all that is optional."""


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the templates of all stages, checked by cdk-nag: an error ends the synthesis."""
    folder = tmp_path_factory.mktemp("assembly")
    app = new_app(outdir=folder)
    with pytest.MonkeyPatch.context() as patched:
        # The layer is only built when it is needed.
        patched.setattr("infrastructure.lake.PYARROW_LAYER", tmp_path_factory.mktemp("pyarrow"))
        for name, settings in STACKS.items():
            FipeDataStack(
                app,
                f"FipeDataStack-{name}",
                settings=StageSettings.from_context(NEEDED | settings),
                env=Environment(account=ACCOUNT, region=REGION),
            )
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True))
    app.synth()
    return folder


@pytest.fixture(scope="module")
def templates(assembly: Path) -> list[Path]:
    found = sorted(assembly.glob("*.template.json"))
    assert len(found) == 2 * len(STACKS)
    return found


@pytest.fixture(scope="module")
def nag(assembly: Path) -> dict[str, Any]:
    """cdk-nag's part of the CDK's report."""
    report = json.loads((assembly / "validation-report.json").read_text())
    (part,) = (part for part in report["pluginReports"] if part["pluginName"] == "AwsSolutions")
    return dict(part)


def test_cdk_nag_finds_nothing_but_what_is_accepted(nag: dict[str, Any]):
    assert nag["violations"] == []
    assert {finding["ruleName"] for finding in nag["suppressedViolations"]} == {
        "AwsSolutions-DDB3",
        "AwsSolutions-IAM5[Resource::*]",
        "AwsSolutions-IAM5[Resource::arn:aws:s3:::my-lake/reference_month=*/prices.parquet]",
        "AwsSolutions-RDS10",
        "AwsSolutions-SMG4",
    }


def test_nothing_is_accepted_for_more_than_one_construct_or_without_a_reason(nag: dict[str, Any]):
    for finding in nag["suppressedViolations"]:
        assert len(finding["violatingConstructs"]) == 1
        assert len(finding["reason"]) > 40


def test_production_keeps_its_database(nag: dict[str, Any]):
    unprotected = {
        construct["constructPath"].partition("/")[0]
        for finding in nag["suppressedViolations"]
        if finding["ruleName"] == "AwsSolutions-RDS10"
        for construct in finding["violatingConstructs"]
    }
    assert unprotected == {"FipeDataStack-dev", "FipeDataStack-stg"}


def test_cdk_nag_would_speak_up():
    app = App(analytics_reporting=False)
    sqs.Queue(Stack(app, "Bad"), "PlainQueue")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()


def test_cfn_lint_finds_only_what_is_the_cdks_own_way(templates: list[Path]):
    ended = subprocess.run(
        [
            Path(sys.executable).with_name("cfn-lint"),
            "--format",
            "json",
            "--regions",
            REGION,
            "us-east-1",
            "--include-checks",
            "I",  # also what is only for information, such as a resource that does not fit its action
            "--",
            *templates,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    findings = json.loads(ended.stdout or "[]")
    # W3005: the CDK writes DependsOn for a role that is referred to anyway. I1022: it joins texts so.
    assert [finding for finding in findings if finding["Rule"]["Id"] not in ("W3005", "I1022")] == []


def test_cfn_lint_would_speak_up(templates: list[Path], tmp_path: Path):
    (parent,) = (path for path in templates if path.name == "FipeDataStack-dev.template.json")
    wrong = json.loads(parent.read_text())
    for policy in of_type(wrong, "AWS::IAM::Policy"):
        policy["PolicyDocument"]["Statement"][0] |= {"Action": "sqs:SendMesage", "Resource": "*"}
    for cluster in of_type(wrong, "AWS::RDS::DBCluster"):
        cluster["EngineVersion"] = "17.8"
    (tmp_path / "wrong.template.json").write_text(json.dumps(wrong))
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", REGION, "--", *tmp_path.iterdir()]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "SendMesage" in found or "sendmesage" in found
    assert "17.8" in found


def of_type(template: Any, kind: str) -> list[dict[str, Any]]:
    """The properties of all resources of a type."""
    resources = template["Resources"].values()
    return [resource["Properties"] for resource in resources if resource["Type"] == kind]


# Lambda refuses a function in a VPC whose role may not do this on every resource. A second statement denies
# it to the function's own code; cloudsplaining does not know that statement's condition.
NETWORK_INTERFACES = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:UnassignPrivateIpAddresses",
}
IN_VPC = re.compile("SqlInitRunner|FipeSomaIngestor|FipeLoadStatus|FipeQuery|FipeLakeWriter")


def risks(policy: Any) -> dict[str, set[str]]:
    """What cloudsplaining finds in the policy of a role, by kind of risk."""
    document = PolicyDocument(policy)
    found = {
        "privilege escalation": document.allows_privilege_escalation,
        "data exfiltration": document.allows_data_exfiltration_actions,
        "resource exposure": document.permissions_management_without_constraints,
        "credentials exposure": document.credentials_exposure,
        "a whole service": document.service_wildcard,
        "infrastructure": document.infrastructure_modification,
        "write": document.write_actions_without_constraints,
    }
    return {risk: set(map(str, actions)) for risk, actions in found.items() if actions}


def test_cloudsplaining_finds_no_risk_but_what_lambda_demands(templates: list[Path]):
    policies = {
        (template.name, name): with_texts(resource["Properties"]["PolicyDocument"])
        for template in templates
        for name, resource in json.loads(template.read_text())["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy"
    }
    assert len(policies) == 11 * len(STACKS) + 1
    accepted = {"infrastructure": NETWORK_INTERFACES, "write": NETWORK_INTERFACES}
    assert {name: risks(policy) for name, policy in policies.items()} == {
        (template, name): accepted if IN_VPC.search(name) else {} for template, name in policies
    }


def test_cloudsplaining_would_speak_up():
    allowed = {"Effect": "Allow", "Action": ["secretsmanager:*", "iam:PassRole"], "Resource": "*"}
    found = risks({"Version": "2012-10-17", "Statement": [allowed]})
    assert {"a whole service", "data exfiltration", "infrastructure"} <= found.keys()


def with_texts(part: Any) -> Any:
    """A part of a template, with an ARN of this account in the place of each function of CloudFormation."""
    if isinstance(part, list):
        return [with_texts(one) for one in part]
    if not isinstance(part, dict):
        return part
    if len(part) == 1 and next(iter(part)).startswith(("Fn::", "Ref")):
        return f"arn:aws:some:{REGION}:{ACCOUNT}:resource/name"
    return {name: with_texts(one) for name, one in part.items()}


def named_values(part: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a template that is no object, with the name that it stands under."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from named_values(value, key)
    elif isinstance(part, list):
        for value in part:
            yield from named_values(value, name)
    else:
        yield name, part


def test_a_reader_of_the_templates_finds_no_secret(templates: list[Path]):
    allowed = {
        ("GenerateStringKey", "password"),
        ("PasswordLength", 30),
        ("SecretStringTemplate", '{"username":"postgres"}'),
    }
    for template in templates:
        document = json.loads(template.read_text())
        values = list(named_values(document["Resources"]))
        telling = {(name, value) for name, value in values if re.search("password|secretstring", name, re.I)}
        assert telling <= allowed
        for resource in document["Resources"].values():
            if "MasterUserPassword" in resource["Properties"]:
                assert resource["Properties"]["MasterUserPassword"]["Fn::Join"][1][0] == (
                    "{{resolve:secretsmanager:"
                )
