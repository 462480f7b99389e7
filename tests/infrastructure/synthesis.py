"""The application's templates, synthesized in this process with a VPC that needs no lookup."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# The CDK library runs on Node.js, which the project has from a wheel.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

from aws_cdk import App, Environment
from aws_cdk.assertions import Annotations, Match, Template

from fipe_api_stack import FipeApiStack
from fipe_data_stack import FipeDataStack
from stage_settings import StageSettings

ACCOUNT, REGION, VPC_ID = "123456789012", "sa-east-1", "vpc-0a1b2c3d"
VPC_KEY = (
    f"vpc-provider:account={ACCOUNT}:filter.vpc-id={VPC_ID}:region={REGION}:returnAsymmetricSubnets=true"
)

Resource = dict[str, Any]


def vpc(**zones_by_kind: int) -> dict[str, Any]:
    """What the CDK CLI finds of a VPC with subnets of kinds (Public, Private, Isolated) in so many zones."""
    return {
        "vpcId": VPC_ID,
        "vpcCidrBlock": "10.0.0.0/16",
        "ownerAccountId": ACCOUNT,
        "availabilityZones": [],
        "subnetGroups": [
            {
                "name": kind,
                "type": kind,
                "subnets": [
                    {
                        "subnetId": f"subnet-{kind.lower()}{zone}",
                        "cidr": f"10.0.{number * 10 + zone}.0/24",
                        "availabilityZone": f"{REGION}{'abc'[zone]}",
                        "routeTableId": f"rtb-{kind.lower()}{zone}",
                    }
                    for zone in range(zones)
                ],
            }
            for number, (kind, zones) in enumerate(zones_by_kind.items())
        ],
    }


DEFAULT_VPC = vpc(Public=3)


@dataclass(frozen=True)
class Stacks:
    """The templates of both stacks."""

    parent_stack: FipeDataStack
    parent: Template
    child: Template

    def resources(self, kind: str | None = None) -> dict[str, Resource]:
        """The resources of both stacks by logical id; of one type, if it is given."""
        return {
            name: resource for name, resource in self._resources.items() if kind in (None, resource["Type"])
        }

    @cached_property
    def _resources(self) -> dict[str, Resource]:
        # The templates are in the CDK library's process: to read both takes a twentieth of a second.
        return {**self.parent.to_json()["Resources"], **self.child.to_json()["Resources"]}

    def only(self, kind: str) -> Resource:
        """The properties of the one resource of a type."""
        (resource,) = self.resources(kind).values()
        return dict(resource["Properties"])

    def by_name(self, kind: str, name_property: str) -> dict[str, Resource]:
        """The properties of all resources of a type, by their physical name."""
        return {
            resource["Properties"][name_property]: resource["Properties"]
            for resource in self.resources(kind).values()
        }

    def logical_id(self, kind: str, name_property: str, name: str) -> str:
        """The logical id of the resource with a physical name."""
        (found,) = (
            logical_id
            for logical_id, resource in self.resources(kind).items()
            if resource["Properties"][name_property] == name
        )
        return found

    def statements(self, function_name: str) -> list[dict[str, Any]]:
        """The policy statements of a function's role."""
        role = self.by_name("AWS::Lambda::Function", "FunctionName")[function_name]["Role"]["Fn::GetAtt"][0]
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy").values()
            if {"Ref": role} in policy["Properties"]["Roles"]
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]

    def warnings(self) -> list[str]:
        """The warnings that the CDK CLI would print."""
        found = Annotations.from_stack(self.parent_stack).find_warning("*", Match.any_value())
        return [str(entry.entry.data) for entry in found]


def new_app(vpc_found: dict[str, Any] = DEFAULT_VPC, outdir: Path | None = None, **settings: str) -> App:
    """An application with the feature flags of cdk.json and these settings."""
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    context = {**flags, VPC_KEY: vpc_found, "aws:cdk:disable-asset-staging": True, **settings}
    return App(context=context, outdir=str(outdir) if outdir else None, analytics_reporting=False)


def synthesize(vpc_found: dict[str, Any] = DEFAULT_VPC, **settings: str) -> Stacks:
    """Both templates. They are the same when the CDK does not copy what is packed, which takes most time."""
    app = new_app(vpc_found, **settings)
    parent = FipeDataStack(
        app,
        "FipeDataStack-test",
        settings=StageSettings.from_context(
            {"stage": "dev", "vpc_id": VPC_ID, "allowed_ip": "203.0.113.7"} | settings
        ),
        env=Environment(account=ACCOUNT, region=REGION),
    )
    child = parent.node.find_child("FipeApiStack")
    assert isinstance(child, FipeApiStack)
    return Stacks(parent, Template.from_stack(parent), Template.from_stack(child))


@cache
def stage(name: str) -> Stacks:
    """A stage with default settings, synthesized once a test process."""
    return synthesize(stage=name)


def statements_allowing(statements: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each allowed action with its resource."""
    for statement in statements:
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                for resource in as_list(statement["Resource"]):
                    yield action, resource


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
