"""`cdk bootstrap` and `cdk deploy` of the application into the local cloud, by the project's CDK CLI."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from fipe_words import _
from local_cloud.command_errors import USAGE, CommandError
from local_cloud.deployed import BOOTSTRAP_STACK, Deployed, fingerprint
from local_cloud.lifecycle import LocalCloudError, status
from local_cloud.state import ACCESS_KEY, REGION, REPOSITORY, Endpoint, LocalState
from local_cloud.steps import step

ACCOUNT = "123456789012"
CDK = REPOSITORY / "node_modules/.bin/cdk"
DEFAULTS = {
    "stage": "dev",
    "allowed_ip": "127.0.0.1",
    # On AWS a batching window saves invocations, which cost money. Here it would only make people wait.
    "batching_window_seconds": "1",
}
CACHES = REPOSITORY / ".venv/.cache"
"""Of the CDK. Not in the home folder, which may be read-only."""
CDK_HOME = CACHES / "cdk"
CREDENTIALS = {
    "aws_access_key_id": ACCESS_KEY,
    "aws_secret_access_key": ACCESS_KEY,
    "aws_session_token": ACCESS_KEY,
    "region_name": REGION,
}


def client(endpoint: Endpoint, service: str, **options: Any) -> Any:
    """A boto3 client of the local cloud; it ignores the user's AWS credentials."""
    make: Any = boto3.client  # typed for names of services that are literals
    with valid_aws_settings():
        return make(service, endpoint_url=endpoint.url, **CREDENTIALS, **options)


@contextmanager
def valid_aws_settings() -> Iterator[None]:
    """For making a client, which reads AWS's settings. Raises CommandError when one of them is invalid."""
    try:
        yield
    except ValueError as error:  # botocore says no more, for example for AWS_MAX_ATTEMPTS=many
        raise CommandError(
            _("invalid AWS setting, in a variable AWS_... or in ~/.aws/config: {error}", error=error),
            exit_code=USAGE,
        ) from error


def default_vpc(endpoint: Endpoint) -> str:
    """The id of the VPC that is there from the start."""
    return str(status(endpoint)["default_vpc"])


def deploy(state: LocalState, endpoint: Endpoint, context: Mapping[str, str]) -> dict[str, str]:
    """Deploy the application as it is now, with `context`; returns the outputs of its stack.

    Settings that `context` leaves out get the DEFAULTS of the local cloud. If something has changed since the
    last deploy, the CDK deploys. Otherwise a new cloud gets the stacks of the last deploy, and a cloud that
    has them already stays as it is.

    Raises:
        LocalCloudError: it failed; the text gives the reason.
    """
    settings = {**DEFAULTS, "vpc_id": default_vpc(endpoint), **context}
    cloudformation, s3 = client(endpoint, "cloudformation"), client(endpoint, "s3")
    deployed = Deployed(state.root / "deployed")
    inputs = fingerprint(settings)
    if deployed.is_current(inputs) and not cloudformation.describe_stacks()["Stacks"]:
        with step(_("Making the stacks of the last deploy again")):
            _restore(deployed, cloudformation, s3)
    elif not (deployed.is_current(inputs) and deployed.is_in(cloudformation)):
        deployed.forget()
        with step(_("Deploying with the CDK")):
            _deploy_with_cdk(state, endpoint, settings)
        deployed.save(inputs, _stack(cloudformation, settings["stage"])["StackName"], cloudformation, s3)
    outputs = _stack(cloudformation, settings["stage"])["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _stack(cloudformation: Any, stage: str) -> dict[str, Any]:
    """The stack of a stage: the one whose name ends in the stage, and which is part of no other."""
    return next(
        stack
        for stack in cloudformation.describe_stacks()["Stacks"]
        if stack["StackName"].endswith(f"-{stage}") and not stack.get("ParentId")
    )


def _restore(deployed: Deployed, cloudformation: Any, s3: Any) -> None:
    try:
        deployed.restore(cloudformation, s3)
    except (BotoCoreError, ClientError, OSError) as error:
        deployed.forget()
        raise LocalCloudError(
            _(
                "the stacks of the last deploy cannot be made again: {error};"
                " run `make local-down`, then try again",
                error=error,
            )
        ) from error


def _deploy_with_cdk(state: LocalState, endpoint: Endpoint, settings: Mapping[str, str]) -> None:
    log = state.logs / "deploy.log"
    log.unlink(missing_ok=True)
    if not _is_bootstrapped(endpoint):
        # Not in the repository: where there is a cdk.json, the CDK would run the application first.
        _cdk(endpoint, log, state.root, "bootstrap", f"aws://{ACCOUNT}/{REGION}")
    options = [part for name, value in settings.items() for part in ("--context", f"{name}={value}")]
    places = ["--output", str(state.root / "cdk.out")]
    _cdk(endpoint, log, REPOSITORY, "deploy", "--require-approval", "never", *places, *options)


def _is_bootstrapped(endpoint: Endpoint) -> bool:
    stacks = client(endpoint, "cloudformation").describe_stacks()["Stacks"]
    return any(stack["StackName"] == BOOTSTRAP_STACK for stack in stacks)


def _cdk(endpoint: Endpoint, log: Path, folder: Path, *arguments: str) -> None:
    command = [str(CDK), "--no-notices", *arguments]
    try:
        with log.open("a") as file:
            exit_code = _run_with_children(command, folder, cdk_environment(endpoint), file)
    except FileNotFoundError as error:
        raise LocalCloudError(_("the CDK CLI is missing: run `make setup`")) from error
    if exit_code:
        raise LocalCloudError(
            _(
                "cdk {command} failed: {reason} (all of it: {log})",
                command=arguments[0],
                reason=_reason(log.read_text()),
                log=log,
            )
        )


def _run_with_children(
    command: list[str], folder: Path, environment: Mapping[str, str], output: IO[str]
) -> int:
    """Run a command to its end. If that is interrupted, end it with all processes that it has started."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # and so a process group, which can be ended as a whole
    )
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def tools_path() -> str:
    """The PATH on which the CDK CLI finds Node.js, and this Python to run the application with."""
    folders = [Path(sys.executable).parent, REPOSITORY / "node_modules/.bin", os.environ.get("PATH", "")]
    return os.pathsep.join(map(str, folders))


def cdk_environment(endpoint: Endpoint) -> dict[str, str]:
    """The user's environment without their AWS settings: nothing may reach a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return {
        **kept,
        "PATH": tools_path(),
        "CDK_HOME": str(CDK_HOME),
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(CACHES / "jsii"),
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        "NO_COLOR": "1",
    }


def _reason(output: str) -> str:
    """The most helpful line of the CDK's output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if lines and "Subprocess exited with error" in lines[-1]:
        return lines[-2] if len(lines) > 1 else lines[-1]
    for mark in ("CREATE_FAILED", "UPDATE_FAILED", "❌", "rror:"):
        telling = [line for line in lines if mark in line]
        if telling:
            return telling[0]
    return lines[-1] if lines else _("it printed nothing")
