"""The CDK application: builds the stack of one stage from the CDK context."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from fipe_data_stack import FipeDataStack
from infrastructure import names
from infrastructure.paths import check_prepared
from stage_settings import SettingsError, StageSettings


def deployment_environment(variables: Mapping[str, str]) -> Environment:
    """Reads the account and region that the CDK CLI has found with the user's credentials.

    Raises:
        SettingsError: it found none; without them the VPC cannot be looked up.
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


def check_vpc_lookup(context: Mapping[str, Any], settings: StageSettings, env: Environment) -> None:
    """Raises SettingsError if the CDK CLI did not find the VPC; it leaves its error in the context."""
    for key, value in context.items():
        if key.startswith("vpc-provider:") and settings.vpc_id in key and "$providerError" in value:
            trouble = str(value["$providerError"]).partition(" matching {")[0]
            raise SettingsError(
                [f"invalid vpc_id={settings.vpc_id} in account {env.account}, {env.region}: {trouble}"]
            )


def make_readable(assembly: Path) -> None:
    """Gives what is packed the same modes on every machine.

    A zip holds its files' modes, and Lambda runs as another user: it cannot read the files of a checkout that
    was made with umask 077.
    """
    for packed in assembly.glob("asset.*/**/*"):
        packed.chmod(0o755 if packed.is_dir() or packed.stat().st_mode & 0o100 else 0o644)


def main() -> None:
    """Synthesizes the templates, or prints one line per problem and exits."""
    app = App()
    try:
        context = app.node.get_all_context()
        settings = StageSettings.from_context(context)
        env = deployment_environment(os.environ)
        check_vpc_lookup(context, settings, env)
        check_prepared(with_pyarrow=bool(settings.export_bucket))
        FipeDataStack(app, names.stack(settings.stage), settings=settings, env=env)
    except SettingsError as error:
        sys.exit(str(error))
    make_readable(Path(app.synth().directory))


if __name__ == "__main__":
    main()
