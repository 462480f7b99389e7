"""The CDK application: the stack of one stage, from the context and the account that the CDK CLI works in."""

import os
import sys
from collections.abc import Mapping

from aws_cdk import App, Environment

from fipe_data_stack import FipeDataStack
from infrastructure.paths import check_prepared
from stage_settings import SettingsError, StageSettings


def deployment_environment(variables: Mapping[str, str]) -> Environment:
    """The account and region that the CDK CLI found for the user's credentials.

    Raises:
        SettingsError: it found none, and a VPC can be looked up only in an account.
    """
    account, region = variables.get("CDK_DEFAULT_ACCOUNT"), variables.get("CDK_DEFAULT_REGION")
    if not account or not region:
        raise SettingsError(
            [
                "no AWS account or region: set AWS_PROFILE, or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and"
                " AWS_REGION"
            ]
        )
    return Environment(account=account, region=region)


def main() -> None:
    """Synthesizes, or ends with a line for each problem."""
    app = App()
    try:
        settings = StageSettings.from_context(app.node.get_all_context())
        check_prepared()
        FipeDataStack(
            app,
            f"FipeDataStack-{settings.stage}",
            settings=settings,
            env=deployment_environment(os.environ),
        )
    except SettingsError as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main()
