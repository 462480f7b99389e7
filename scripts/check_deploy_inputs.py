"""Checks what a deployment is given before anything is created, and prints the options for cdk.

    cdk deploy $(python -m scripts.check_deploy_inputs stage=dev vpc_id=vpc-0a1b2c3d allowed_ip=203.0.113.7)

Takes the settings of stage_settings.py as NAME=VALUE, the name in small letters or in capitals; one with an
empty value counts as not given. The options are quoted for a shell.
Credentials and region are found as by any AWS tool. Ends with a line for each problem and exit code 1.
"""

import shlex
import sys
from collections.abc import Sequence

from botocore.exceptions import ClientError

from fipe_cli.aws_session import AwsError, aws_errors, aws_session
from stage_settings import SettingsError, StageSettings

ZONES_WITHOUT_LAMBDA = {"use1-az3"}
"""Zones, by id, in whose subnets Lambda refuses to place a function; a default VPC in us-east-1 has one."""


def checked_options(arguments: Sequence[str]) -> list[str]:
    """The `--context NAME=VALUE` options for settings that can be deployed by the present credentials.

    Subnets in zones that Lambda does not serve are excluded, unless excluded_zones says otherwise.

    Raises:
        SettingsError: with a line for each problem.
        AwsError: AWS cannot be asked.
    """
    given = _names_and_values(arguments)
    settings = StageSettings.from_context(given)
    zones = _zones_without_lambda(settings.vpc_id)
    if zones and not settings.excluded_zones:
        given["excluded_zones"] = ",".join(zones)
    return [option for name, value in given.items() if value for option in ("--context", f"{name}={value}")]


def _names_and_values(arguments: Sequence[str]) -> dict[str, str]:
    given = {}
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator:
            raise SettingsError([f"{argument}: give NAME=VALUE"])
        given[name.lower()] = value
    return given


def _zones_without_lambda(vpc_id: str) -> list[str]:
    """The names of those zones of the VPC in which Lambda places no function.

    Raises:
        SettingsError: there is no such VPC.
        AwsError: no credentials, no region, or no answer.
    """
    session = aws_session()
    with aws_errors():
        account = session.client("sts").get_caller_identity()["Account"]
        ec2 = session.client("ec2")
        try:
            ec2.describe_vpcs(VpcIds=[vpc_id])
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidVpcID.NotFound":
                raise
            raise SettingsError(
                [
                    f"vpc_id={vpc_id} does not exist in account {account}, {session.region_name};"
                    " `aws ec2 describe-vpcs` lists what does"
                ]
            ) from error
        subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["Subnets"]
    return sorted(
        {
            subnet["AvailabilityZone"]
            for subnet in subnets
            if subnet["AvailabilityZoneId"] in ZONES_WITHOUT_LAMBDA
        }
    )


def main() -> None:
    """Prints the options, or ends with the problems."""
    try:
        print(shlex.join(checked_options(sys.argv[1:])))
    except (SettingsError, AwsError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
