"""Deletes the stack of a stage, and tells what happens to each resource until it is gone.

    python -m fipe_cli.destroy_stage --stage dev

`make destroy-dev` calls it. It needs no settings, as `cdk destroy` would: which VPC the stack stands in
does not matter any more. A stage that keeps its data is protected, and refused until the protection is taken
off by hand.
"""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import boto3
import typer
from botocore.exceptions import ClientError

from fipe_cli.aws_session import AwsError, aws_errors, aws_session

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackEventTypeDef, StackTypeDef

LOOK_SECONDS = 2.0


class DestroyError(AwsError):
    """The stack is not deleted; one line says why."""


def delete_stack(session: boto3.Session, name: str) -> "Iterator[StackEventTypeDef]":
    """Deletes a stack; gives its events as they come, until it is gone.

    Raises:
        DestroyError: there is no such stack, it is protected, or CloudFormation could not delete it.
        AwsError: AWS cannot be asked.
    """
    cloudformation = session.client("cloudformation")
    began = datetime.now(UTC)
    with aws_errors():
        stack = _described(session, name)
        if stack is None:
            raise DestroyError(f"there is no stack {name} in {session.region_name}")
        if stack.get("EnableTerminationProtection"):
            raise DestroyError(
                f"{name} is protected against termination, and its database against deletion; if it is really"
                " to go, take both off first: aws cloudformation update-termination-protection"
                f" --no-enable-termination-protection --stack-name {name}, and aws rds modify-db-cluster"
                " --no-deletion-protection --db-cluster-identifier ..."
            )
        arn = stack["StackId"]
        cloudformation.delete_stack(StackName=arn)
        seen: set[str] = set()
        while True:
            stack = _described(session, arn)
            status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
            pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=arn)
            events = [event for page in pages for event in page["StackEvents"]]
            for event in reversed(events):
                if event["EventId"] not in seen and event["Timestamp"] >= began:
                    yield event
                seen.add(event["EventId"])
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(LOOK_SECONDS)
    if status != "DELETE_COMPLETE":
        raise DestroyError(f"{name} is not deleted: {status}; the events above say why")


def _described(session: boto3.Session, name_or_arn: str) -> "StackTypeDef | None":
    try:
        return session.client("cloudformation").describe_stacks(StackName=name_or_arn)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None


def main(stage: Annotated[str, typer.Option(help="dev, stg or prd.")]) -> None:
    """Delete the stack of a stage, after a question where somebody can answer it."""
    name = f"FipeDataStack-{stage}"
    try:
        session = aws_session()
        if sys.stdin.isatty():
            typer.confirm(f"Delete {name} with its database in {session.region_name}?", abort=True)
        for event in delete_stack(session, name):
            line = [event["ResourceStatus"], event["ResourceType"], event["LogicalResourceId"]]
            print(*line, event.get("ResourceStatusReason", ""), flush=True)
        print(f"{name} is gone")
    except AwsError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    typer.run(main)
