"""Deletes the stack of a stage: first says what will be lost, then reports each resource as it is deleted.

Unlike `cdk destroy` it needs no settings, such as the VPC. A stage that keeps its data is protected: the
command refuses to delete it until the protection is removed.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg2
from botocore.exceptions import ClientError

from fipe_cli.cloud import Cloud
from fipe_cli.database import open_database
from fipe_cli.errors import CliError
from fipe_words import _, counted
from infrastructure import names

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackEventTypeDef, StackTypeDef

LOOK_SECONDS = 2.0
COUNT_SECONDS = 5
"""How long the database may count its prices: the user should not have to wait long for the question."""


@dataclass(frozen=True)
class DoomedStage:
    """A stage that can be deleted, and what goes with it.

    Attributes:
        stack_id: the stack's ARN.
        place: stack, account and region, for people.
        losses: what will be lost, one line each.
    """

    stack_id: str
    place: str
    losses: list[str]


def look_before_deleting(cloud: Cloud) -> DoomedStage:
    """What deleting a stage would take away.

    Raises:
        CliError: there is no such stack, it is protected, or the cloud cannot be asked.
    """
    name = names.stack(cloud.stage)
    region = cloud.session.region_name
    stack = _described(cloud, name)
    if stack is None:
        raise CliError(_("there is no stack {name} in {region}", name=name, region=region))
    if stack.get("EnableTerminationProtection"):
        unprotect_stack = cloud.aws_command(
            *("cloudformation", "update-termination-protection", "--no-enable-termination-protection"),
            *("--stack-name", name),
        )
        unprotect_database = cloud.aws_command(
            *("rds", "modify-db-cluster", "--no-deletion-protection", "--db-cluster-identifier", "..."),
        )
        raise CliError(
            _(
                "{name} is protected against termination, and its database against deletion. To delete it all"
                " the same, take both off first: {unprotect_stack}, and {unprotect_database}",
                name=name,
                unprotect_stack=unprotect_stack,
                unprotect_database=unprotect_database,
            )
        )
    given = {"name": name, "account": cloud.account(), "region": region}
    return DoomedStage(
        stack["StackId"],
        _("{name} in account {account}, {region} (the local cloud)", **given)
        if cloud.local
        else _("{name} in account {account}, {region}", **given),
        [*_databases(cloud, name), _("its queues with their messages, its functions and their logs")],
    )


def _databases(cloud: Cloud, stack: str) -> Iterator[str]:
    resources = cloud.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    clusters = [
        one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::RDS::DBCluster"
    ]
    for identifier in filter(None, clusters):
        found = cloud.client("rds").describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0]
        database = _(
            "the database {identifier}, {contents}", identifier=identifier, contents=_contents(cloud)
        )
        if cloud.local:
            yield _("{database} (its files stay in this folder until `make clean`)", database=database)
        else:
            yield database
            days = found["BackupRetentionPeriod"]
            yield _("its automatic backups of {days} days (snapshots that you made stay)", days=days)


def _contents(cloud: Cloud) -> str:
    """How much the database holds, if it can be reached from here and counts in time."""
    with (
        suppress(CliError, psycopg2.Error),
        open_database(cloud) as database,
        database.session() as session,
        session.cursor() as cursor,
    ):
        cursor.execute("select set_config('statement_timeout', %s, false)", (f"{COUNT_SECONDS}s",))
        cursor.execute(
            "select (select count(*) from fipe.reference_month), (select count(*) from fipe.price)"
        )
        months, prices = cursor.fetchone() or (0, 0)
        return _(
            "with {prices} of {months}", prices=counted(prices, "price"), months=counted(months, "month")
        )
    return _("whose contents cannot be counted from here")


def delete_stage(cloud: Cloud, doomed: DoomedStage) -> "Iterator[StackEventTypeDef]":
    """Deletes a stack; yields its events as they come, until it is gone.

    Raises:
        CliError: CloudFormation could not delete it.
    """
    cloudformation = cloud.client("cloudformation")
    began = datetime.now(UTC)
    cloudformation.delete_stack(StackName=doomed.stack_id)
    seen: set[str] = set()
    while True:
        stack = _described(cloud, doomed.stack_id)
        status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
        pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=doomed.stack_id)
        events = [event for page in pages for event in page["StackEvents"]]
        for event in reversed(events):
            if event["EventId"] not in seen and event["Timestamp"] >= began:
                yield event
            seen.add(event["EventId"])
        if not status.endswith("_IN_PROGRESS"):
            break
        time.sleep(LOOK_SECONDS)
    if status != "DELETE_COMPLETE":
        raise CliError(
            _(
                "{stack} is not deleted: {status}; the events above say why",
                stack=names.stack(cloud.stage),
                status=status,
            )
        )


def _described(cloud: Cloud, name_or_arn: str) -> "StackTypeDef | None":
    try:
        answer: Any = cloud.client("cloudformation").describe_stacks(StackName=name_or_arn)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    stack: StackTypeDef = answer["Stacks"][0]
    return stack
