"""Deploying a stage with the CDK: settings that are checked before anything is created, then the CDK CLI."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError, InvalidInputsError
from fipe_words import _
from infrastructure import names
from local_cloud.deployment import CDK, DEFAULTS, default_vpc
from local_cloud.deployment import deploy as deploy_locally
from local_cloud.lifecycle import start_simulator, status
from local_cloud.source import NO_LIMIT
from local_cloud.state import REPOSITORY, Endpoint
from stage_settings import SettingsError, StageSettings

ZONES_WITHOUT_LAMBDA = {"use1-az3"}
"""Ids of the zones in whose subnets Lambda cannot run functions; a default VPC in us-east-1 includes one."""

REGION_OF_PLANS = "us-east-1"
"""The only region that tells an account's plan."""
_ASKED_ONCE = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})

_ALSO_FROM_ENVIRONMENT = ("VPC_ID", "ALLOWED_IP")

Settings = dict[str, str]
"""Settings of stage_settings.py that were checked, by name."""


def read_settings(cloud: Cloud, given: Sequence[str]) -> Settings:
    """The settings to deploy with.

    On AWS, VPC_ID and ALLOWED_IP may also stand in the environment, and zones without Lambda are
    excluded. On the local cloud everything has a default: its VPC, this machine's address, its simulator.

    Args:
        cloud: where to deploy.
        given: NAME=VALUE, the name in small letters or in capitals; an empty value counts as not given.

    Raises:
        InvalidInputsError: a line for each problem.
        CliError: the cloud cannot be asked.
    """
    named = _names_and_values(given)
    if cloud.local:
        defaults = _local_defaults(cloud.local_endpoint(), named)
    else:
        defaults = {name.lower(): os.environ[name] for name in _ALSO_FROM_ENVIRONMENT if os.environ.get(name)}
    settings = {**defaults, "stage": cloud.stage, **named}
    try:
        checked = StageSettings.from_context(settings)
    except SettingsError as error:
        raise InvalidInputsError(error.problems) from error
    if not cloud.local:
        _refuse_unknown_vpc(cloud, checked.vpc_id)
        _refuse_vpc_without_dns(cloud, checked.vpc_id)
        if not _vpc_has(cloud, checked.vpc_id, "enableDnsHostnames"):
            settings[names.NO_DNS_HOSTNAMES] = checked.vpc_id
        if checked.export_bucket and checked.s3_endpoint == "create":
            _refuse_second_endpoint(cloud, checked)
        zones = _zones_without_lambda(cloud, checked.vpc_id)
        if zones and not checked.excluded_zones:
            settings["excluded_zones"] = ",".join(zones)
    return settings


def account_warnings(cloud: Cloud) -> list[str]:
    """What about the account will make a deploy fail, as far as AWS tells."""
    if cloud.local or _account_plan(cloud) != "FREE":
        return []
    return [
        _(
            "this AWS account is on the Free plan, on which AWS refuses this database with"
            " FreeTierRestrictionError; upgrade the plan first (in the console: Billing, or"
            " `aws freetier upgrade-account-plan --account-plan-type PAID --region us-east-1`)"
        )
    ]


def _account_plan(cloud: Cloud) -> str | None:
    """FREE or PAID. None if AWS does not tell: older accounts have no plan, and asking needs a permission."""
    make: Any = cloud.session.client
    try:
        client = make("freetier", region_name=REGION_OF_PLANS, config=_ASKED_ONCE)
        return str(client.get_account_plan_state()["accountPlanType"])
    except (BotoCoreError, ClientError):
        return None


def deploy(cloud: Cloud, settings: Settings) -> dict[str, str]:
    """Deploys a stage or brings it up to date.

    Returns:
        The stack's outputs, when the CDK did not print them itself.

    Raises:
        CliError, LocalCloudError: it failed.
    """
    if cloud.local:
        if StageSettings.from_context(settings).keeps_data:
            raise CliError(
                _(
                    "{stage} runs only on AWS, where its stack can be protected: give AWS_PROFILE"
                    " (--profile), or use dev or stg here",
                    stage=cloud.stage,
                ),
                USAGE,
            )
        return deploy_locally(cloud.local, cloud.local_endpoint(), settings)
    run_cdk(cloud, "deploy", "--require-approval", "never", *_context(settings))
    return {}


def diff(cloud: Cloud, settings: Settings) -> None:
    """Prints what a deploy would change. Raises CliError when the CDK fails."""
    run_cdk(cloud, "diff", *_context(settings))


def synth(cloud: Cloud, settings: Settings) -> None:
    """Writes the templates to cdk.out. Raises CliError when the CDK fails."""
    run_cdk(cloud, "synth", "--quiet", *_context(settings))


def bootstrap(cloud: Cloud) -> None:
    """Prepares the account and region for the CDK. Raises CliError when the CDK fails."""
    place = f"aws://{cloud.account()}/{cloud.session.region_name}"
    # Without an application: the CDK would run it first, and it needs settings.
    run_cdk(cloud, "bootstrap", "--app", "", place)


def run_cdk(cloud: Cloud, command: str, *arguments: str) -> None:
    """Runs the CDK CLI on the cloud, its output on this terminal.

    Raises:
        CliError: it is not installed, or it failed; its own output says why.
    """
    try:
        ended = subprocess.run(
            [CDK, "--no-notices", command, *arguments],
            cwd=REPOSITORY,
            env=cloud.environment(),
            check=False,
        )
    except FileNotFoundError as error:
        raise CliError(_("the CDK CLI is missing: run `make setup`")) from error
    if ended.returncode:
        raise CliError(_("cdk {command} failed: the lines above say why", command=command))


def _names_and_values(given: Sequence[str]) -> Settings:
    problems = [
        _("invalid setting {entry}: use NAME=VALUE", entry=entry) for entry in given if "=" not in entry
    ]
    problems += [
        _("invalid setting {entry}: use --stage before the command", entry=entry)
        for entry in given
        if entry.lower().startswith("stage=")
    ]
    if problems:
        raise InvalidInputsError(problems)
    pairs = (entry.partition("=") for entry in given)
    return {name.lower(): value for name, _, value in pairs if value}


def _local_defaults(endpoint: Endpoint, given: Mapping[str, str]) -> Settings:
    defaults = {**DEFAULTS, "vpc_id": default_vpc(endpoint)}
    if "fipe_api_url" not in given:
        simulator = status(endpoint)["simulator"] or start_simulator(endpoint, "")
        defaults |= {"fipe_api_url": simulator, "calls_per_minute": NO_LIMIT}
    return defaults


def _context(settings: Settings) -> list[str]:
    return [part for name, value in settings.items() for part in ("--context", f"{name}={value}")]


def _refuse_unknown_vpc(cloud: Cloud, vpc_id: str) -> None:
    """Raises InvalidInputsError when there is no such VPC."""
    account = cloud.account()
    try:
        cloud.client("ec2").describe_vpcs(VpcIds=[vpc_id])
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidVpcID.NotFound":
            raise
        raise InvalidInputsError(
            [
                _(
                    "vpc_id={vpc_id} does not exist in account {account}, {region}; {command} lists what"
                    " does",
                    vpc_id=vpc_id,
                    account=account,
                    region=cloud.session.region_name,
                    command=cloud.aws_command("ec2", "describe-vpcs"),
                )
            ]
        ) from error


def _refuse_vpc_without_dns(cloud: Cloud, vpc_id: str) -> None:
    """Raises InvalidInputsError when functions in the VPC cannot look up the database's host name."""
    if not _vpc_has(cloud, vpc_id, "enableDnsSupport"):
        command = cloud.aws_command("ec2", "modify-vpc-attribute", "--vpc-id", vpc_id, "--enable-dns-support")
        raise InvalidInputsError(
            [
                _(
                    "invalid vpc_id={vpc_id}: the VPC has no DNS resolution, so nothing in it finds the"
                    " database; run {command}",
                    vpc_id=vpc_id,
                    command=command,
                )
            ]
        )


def _refuse_second_endpoint(cloud: Cloud, settings: StageSettings) -> None:
    """Raises InvalidInputsError when the VPC has an S3 gateway endpoint that is not this stage's own.

    A route table takes one only, and CloudFormation would find out after a quarter of an hour.
    """
    s3, own = (
        f"com.amazonaws.{cloud.session.region_name}.s3",
        {("project", "fipe"), ("stage", settings.stage)},
    )
    gateways = [{"Name": "vpc-endpoint-type", "Values": ["Gateway"]}]
    pages = cloud.client("ec2").get_paginator("describe_vpc_endpoints").paginate(Filters=gateways)
    for endpoint in (each for page in pages for each in page["VpcEndpoints"]):
        tags = {(tag["Key"], tag["Value"]) for tag in endpoint.get("Tags", ())}
        if (endpoint["VpcId"], endpoint["ServiceName"]) == (settings.vpc_id, s3) and not own <= tags:
            raise InvalidInputsError(
                [
                    _(
                        "{vpc_id} has an S3 gateway endpoint, {endpoint}, and takes no second one: add"
                        " S3_ENDPOINT=existing",
                        vpc_id=settings.vpc_id,
                        endpoint=endpoint["VpcEndpointId"],
                    )
                ]
            )


def _vpc_has(cloud: Cloud, vpc_id: str, attribute: str) -> bool:
    answer = cloud.client("ec2").describe_vpc_attribute(VpcId=vpc_id, Attribute=attribute)
    return bool(answer[attribute[0].upper() + attribute[1:]]["Value"])


def _zones_without_lambda(cloud: Cloud, vpc_id: str) -> list[str]:
    """The names of those zones of the VPC in which Lambda cannot run functions."""
    of_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}]
    subnets = cloud.client("ec2").describe_subnets(Filters=of_vpc)["Subnets"]
    return sorted(
        {
            subnet["AvailabilityZone"]
            for subnet in subnets
            if subnet["AvailabilityZoneId"] in ZONES_WITHOUT_LAMBDA
        }
    )
