"""What CloudFormation says that a stage consists of: checks compare the stage with it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from fipe_cli.check.findings import Finding, Level
from fipe_cli.cloud import QUICK, Cloud
from fipe_words import _
from infrastructure import names
from infrastructure.names import OPTIONAL_FUNCTIONS, OPTIONAL_QUEUES, Function, Queue

_NESTED = "AWS::CloudFormation::Stack"
NEVER_WAS = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")
"""A stack's statuses after a first deploy that failed or never began."""


@dataclass(frozen=True)
class Deployment:
    """A deployed stage.

    Attributes:
        cloud: where it runs.
        status: the stack's status.
        resources: the physical ids of its resources, by type.
        receives: how often each queue, by name, lets a message be received before it is a dead letter.
    """

    cloud: Cloud
    status: str
    resources: Mapping[str, frozenset[str]]
    receives: Mapping[str, int]

    @property
    def stage(self) -> str:
        """dev, stg or prd."""
        return self.cloud.stage

    @property
    def functions(self) -> list[Function]:
        """The functions that there should be: some only if they were asked for."""
        deployed = self.resources.get("AWS::Lambda::Function", ())
        return [
            each for each in Function if each not in OPTIONAL_FUNCTIONS or each.of(self.stage) in deployed
        ]

    @property
    def never_was(self) -> bool:
        """Whether the first deploy failed, so that there is no stage to check."""
        return self.status in NEVER_WAS

    @property
    def queues(self) -> list[Queue]:
        """The queues that there should be: some only if they were asked for."""
        return [each for each in Queue if each not in OPTIONAL_QUEUES or each.of(self.stage) in self.receives]

    @property
    def deploy_again(self) -> str:
        """What to do if a part is missing: CloudFormation does not make again what was deleted by hand."""
        return _(
            "make it again by hand as the stack's template has it; destroying and deploying the stage helps,"
            " too, but deletes its database"
        )

    def look_at_logs(self, function: Function) -> str:
        """What shows a function's errors."""
        return _(
            "`fipe --stage {stage} logs --function {function} --level ERROR` shows more",
            stage=self.stage,
            function=function,
        )


def read_deployment(cloud: Cloud) -> Deployment:
    """Reads the stage's stacks.

    Raises:
        CliError: the stage is not deployed, or the cloud cannot be reached.
    """
    client, stack = cloud.client("cloudformation"), names.stack(cloud.stage)
    try:
        first = cloud.client("cloudformation", QUICK)
        status = first.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        raise cloud.explained(error, _("stack {stack}", stack=stack)) from error
    resources: defaultdict[str, set[str]] = defaultdict(set)
    receives: dict[str, int] = {}
    stacks = [stack]
    while stacks:
        name = stacks.pop()
        for kind, physical_id in _resources(client, name):
            resources[kind].add(physical_id)
            if kind == _NESTED:
                stacks.append(physical_id)
        receives |= _receives(client.get_template(StackName=name)["TemplateBody"])
    return Deployment(cloud, str(status), {kind: frozenset(ids) for kind, ids in resources.items()}, receives)


def look_at_stack(deployment: Deployment) -> list[Finding]:
    """Whether CloudFormation is done with the stack."""
    part, status = names.stack(deployment.stage), deployment.status
    if deployment.never_was:
        mend = _(
            "the first deploy failed: read the stack's events, then run `fipe destroy`, and deploy again"
        )
        return [Finding(Level.FAILED, part, status, mend)]
    if status.endswith("_IN_PROGRESS"):
        return [Finding(Level.WARNING, part, status, _("run the check again when it is done"))]
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return [Finding(Level.OK, part, status)]
    why = _("the last deploy did not succeed; the events of stack {part} say why", part=part)
    return [Finding(Level.WARNING if status.endswith("_COMPLETE") else Level.FAILED, part, status, why)]


def _resources(client: Any, stack: str) -> list[tuple[str, str]]:
    pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
    return [
        (found["ResourceType"], found.get("PhysicalResourceId", ""))
        for page in pages
        for found in page["StackResourceSummaries"]
        if not found["ResourceStatus"].startswith("DELETE")
    ]


def _receives(template: Mapping[str, Any]) -> dict[str, int]:
    queues = (
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::SQS::Queue"
    )
    return {
        queue["QueueName"]: int(queue["RedrivePolicy"]["maxReceiveCount"])
        for queue in queues
        if "RedrivePolicy" in queue
    }
