"""Other people's rules for templates, cdk-nag's AwsSolutions and cfn-lint, and what a reader of one finds."""

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

from fipe_data_stack import FipeDataStack
from stage_settings import StageSettings
from tests.infrastructure.synthesis import ACCOUNT, REGION, VPC_ID, new_app

NEEDED = {"vpc_id": VPC_ID, "allowed_ip": "203.0.113.7", "alarm_email": "me@example.com", "schedule": "on"}
STACKS = {
    "dev": {"stage": "dev"},
    "stg": {"stage": "stg", "instance_class": "db.serverless"},
    "prd": {"stage": "prd"},
}
"""All stages, with all that is optional."""


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the templates of all stages, checked by cdk-nag: an error ends the synthesis."""
    folder = tmp_path_factory.mktemp("assembly")
    app = new_app(outdir=folder)
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


def test_cfn_lint_finds_no_error_and_only_the_cdks_own_superfluous_dependencies(templates: list[Path]):
    ended = subprocess.run(
        [
            Path(sys.executable).with_name("cfn-lint"),
            "--format",
            "json",
            "--regions",
            REGION,
            "--",
            *templates,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    findings = json.loads(ended.stdout or "[]")
    # W3005: the CDK writes DependsOn for a role that is referred to anyway.
    assert [finding for finding in findings if finding["Rule"]["Id"] != "W3005"] == []


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
