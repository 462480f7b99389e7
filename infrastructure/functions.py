"""Lambda functions with the project's defaults, and their layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infrastructure.findings import acknowledge
from infrastructure.names import log_group as log_group_name

RUNTIME = lambda_.Runtime.PYTHON_3_14
ARCHITECTURE = lambda_.Architecture.ARM_64
LOG_RETENTION = logs.RetentionDays.ONE_MONTH

INVOKE_AND_WAKE = ["lambda:InvokeFunction", "lambda:GetFunctionConfiguration"]
"""Permissions to invoke a function, and to wait for it: after weeks without a call it is inactive."""

_NETWORK_INTERFACE_ACTIONS = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]


@dataclass(frozen=True)
class FunctionNetwork:
    """Where a function runs that needs the database.

    Any kind of subnet works, even a public one. Such a function can reach the database but, without a public
    address, nothing outside the VPC. It needs nothing there: the Lambda service talks to SQS and CloudWatch
    Logs, and boto3 signs the database token locally.
    """

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    security_group: ec2.ISecurityGroup


class FipeFunction(lambda_.Function):
    """A function with its own role and log group. At first, the role may only write to that log group.

    Args:
        name: the physical name.
        handler: the module and function to call.
        code: the code to pack.
        timeout: the longest time that it may run.
        memory_mb: the memory; Lambda gives CPU time in proportion.
        environment: its environment variables.
        layers: its layers, lowest first.
        network: where in the VPC it runs; None means outside.
        may_loop: it sends messages to the queue that invokes it. Unless we allow that, Lambda sees an endless
            loop and moves a message to the DLQ in its 16th round.
        reserved_concurrency: how many invocations may run at a time; None for any number.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        handler: str,
        code: lambda_.Code,
        timeout: Duration,
        memory_mb: int,
        environment: Mapping[str, str],
        layers: Sequence[lambda_.ILayerVersion] = (),
        network: FunctionNetwork | None = None,
        may_loop: bool = False,
        reserved_concurrency: int | None = None,
    ) -> None:
        log_group = logs.LogGroup(
            scope,
            f"{construct_id}Log",
            log_group_name=log_group_name(name),
            retention=LOG_RETENTION,
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = iam.Role(scope, f"{construct_id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        if network is not None:
            _allow_network_interfaces(role, name)
        super().__init__(
            scope,
            construct_id,
            function_name=name,
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler=handler,
            code=code,
            timeout=timeout,
            memory_size=memory_mb,
            environment=dict(environment),
            layers=list(layers),
            role=role,
            log_group=log_group,
            tracing=lambda_.Tracing.DISABLED,
            reserved_concurrent_executions=reserved_concurrency,
            recursive_loop=lambda_.RecursiveLoop.ALLOW if may_loop else None,
            vpc=network.vpc if network else None,
            vpc_subnets=network.subnets if network else None,
            security_groups=[network.security_group] if network else None,
            allow_public_subnet=True if network else None,
        )


def build_layer(scope: Construct, construct_id: str, folder: Path, description: str) -> lambda_.LayerVersion:
    """Makes a layer from a folder that create_fipe_api_layer.sh has built."""
    return lambda_.LayerVersion(
        scope,
        construct_id,
        code=lambda_.Code.from_asset(str(folder)),
        compatible_runtimes=[RUNTIME],
        compatible_architectures=[ARCHITECTURE],
        description=description,
    )


def _allow_network_interfaces(role: iam.Role, function_name: str) -> None:
    """Lets the Lambda service manage network interfaces with this role, but not the function's own code.

    Lambda requires these actions on `*`, because the interfaces do not exist yet. The second statement denies
    them to the function's code: only requests from the code carry lambda:SourceFunctionArn.
    Source: Lambda developer guide, "Giving Lambda functions access to resources in an Amazon VPC".
    """
    function_arn = Stack.of(role).format_arn(
        service="lambda",
        resource="function",
        resource_name=function_name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    role.add_to_policy(iam.PolicyStatement(actions=_NETWORK_INTERFACE_ACTIONS, resources=["*"]))
    role.add_to_policy(
        iam.PolicyStatement(
            effect=iam.Effect.DENY,
            actions=_NETWORK_INTERFACE_ACTIONS,
            resources=["*"],
            conditions={"ArnEquals": {"lambda:SourceFunctionArn": function_arn}},
        )
    )
    acknowledge(
        role,
        "AwsSolutions::AwsSolutions-IAM5[Resource::*]",
        "Lambda refuses the function without these actions on every resource; a second statement denies them"
        " to the function's own code.",
    )
