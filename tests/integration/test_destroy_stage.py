"""`fipe destroy`: it deletes nothing before it has said what will be lost and the user has agreed."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from fipe_cli.__main__ import app
from tests.aws import aws_apis, client
from tests.terminal import terminal

STACK = "FipeDataStack-dev"
TEMPLATE = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
PLACE = f"{STACK} in account 123456789012, us-east-1"


class Stage:
    """A stage in an account: a stack of its name."""

    def __init__(self, endpoint: str) -> None:
        self.cloudformation: Any = client("cloudformation", endpoint)
        self.cloudformation.create_stack(StackName=STACK, TemplateBody=TEMPLATE)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FIPE_"))}
        self.environment = {
            **kept,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def is_there(self) -> bool:
        stacks = self.cloudformation.describe_stacks()["Stacks"]
        return any(stack["StackName"] == STACK for stack in stacks)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with aws_apis() as endpoint:
        one = Stage(endpoint)
        for name in os.environ:
            if name.startswith(("AWS_", "FIPE_")):
                monkeypatch.delenv(name)
        for name, value in one.environment.items():
            monkeypatch.setenv(name, value)
        yield one
        if one.is_there():
            one.cloudformation.delete_stack(StackName=STACK)


def test_without_a_terminal_it_needs_a_confirmation(stage: Stage) -> None:
    ended = CliRunner().invoke(app, ["destroy"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"error: not confirmed: to delete {PLACE} with its database, give CONFIRM=1 (make) or --yes (fipe)\n"
    )
    assert stage.is_there()


@pytest.mark.parametrize("option", ["--yes", "--confirm"])
def test_with_a_confirmation_it_says_what_is_lost_and_deletes_it(stage: Stage, option: str) -> None:
    ended = CliRunner().invoke(app, ["destroy", option])
    assert ended.exit_code == 0, ended.output
    first, *_, last = ended.stdout.splitlines()
    assert (first, last) == (f"This deletes {PLACE}:", f"{PLACE} is gone")
    assert "- its queues with their messages, its functions and their logs" in ended.stdout
    assert not stage.is_there()


@pytest.mark.parametrize(("answer", "exit_code", "stays"), [("n", 2, True), ("", 2, True), ("y", 0, False)])
def test_on_a_terminal_it_asks_after_it_has_said_what_is_lost(
    stage: Stage, answer: str, exit_code: int, stays: bool
) -> None:
    with terminal("-m", "fipe_cli", "destroy", environment=stage.environment) as shown:
        shown.shows(f"This deletes {PLACE}:")
        shown.shows("Delete all this? [y/N]")
        assert stage.is_there()
        shown.type(f"{answer}\n")
        assert shown.ends() == exit_code
    assert stage.is_there() == stays


def test_a_protected_stage_is_refused_even_when_confirmed(stage: Stage) -> None:
    stage.cloudformation.delete_stack(StackName=STACK)
    stage.cloudformation.create_stack(
        StackName=STACK, TemplateBody=TEMPLATE, EnableTerminationProtection=True
    )
    ended = CliRunner().invoke(app, ["destroy", "--yes"])
    assert ended.exit_code == 3
    assert "is protected against termination" in ended.stderr
    assert stage.is_there()


def test_a_stage_that_does_not_exist_is_one_line(stage: Stage) -> None:
    ended = CliRunner().invoke(app, ["--stage", "stg", "destroy", "--yes"])
    assert ended.stderr == "error: there is no stack FipeDataStack-stg in us-east-1\n"
    assert stage.is_there()
