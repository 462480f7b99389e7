"""FipeQuery: there only if it is asked for, in the VPC, as a reader, for signed requests only."""

import pytest

from tests.infrastructure.synthesis import Stacks, stage, statements_allowing, synthesize

FUNCTION, URL, NAME = "AWS::Lambda::Function", "AWS::Lambda::Url", "FipeQuery-dev"


@pytest.fixture(scope="module")
def stacks() -> Stacks:
    return synthesize(api="on", api_concurrency="7")


def test_it_is_off_by_default() -> None:
    assert not stage("dev").resources(URL)
    assert NAME not in stage("dev").by_name(FUNCTION, "FunctionName")


def test_only_signed_requests_are_let_in(stacks: Stacks) -> None:
    assert stacks.only(URL)["AuthType"] == "AWS_IAM"
    assert "ApiUrl" in stacks.parent.to_json()["Outputs"]
    permissions = stacks.resources("AWS::Lambda::Permission").values()
    assert not [one for one in permissions if one["Properties"].get("Principal") == "*"]
    (function,) = (name for name, one in stacks.resources(FUNCTION).items() if NAME in str(one["Properties"]))
    assert not [one for one in permissions if function in str(one["Properties"]["FunctionName"])]


def test_it_is_a_reader_and_takes_no_more_connections_than_were_allowed(stacks: Stacks) -> None:
    function = stacks.by_name(FUNCTION, "FunctionName")[NAME]
    assert function["Handler"] == "fipe_query.handler.handler"
    assert function["Environment"]["Variables"]["RDS_USER"] == "fipe_reader"
    assert function["ReservedConcurrentExecutions"] == 7
    assert len(function["Layers"]) == 3
    assert function["VpcConfig"]["SubnetIds"]


def test_it_may_sign_in_as_the_reader_and_nothing_else(stacks: Stacks) -> None:
    allowed = {
        action: resource for action, resource in statements_allowing(stacks.statements(NAME))
        if not action.startswith(("ec2:", "logs:"))
    }  # fmt: skip
    assert list(allowed) == ["rds-db:connect"]
    assert str(allowed["rds-db:connect"]).endswith("/fipe_reader']]}")
