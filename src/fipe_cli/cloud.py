"""Where the application runs: a stage in an AWS account, or the local cloud of this folder."""

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from fipe_api.aws.clients import invoke
from fipe_cli.errors import UNREACHABLE, USAGE, CliError
from fipe_cli.function_words import understood
from fipe_words import _
from infrastructure.names import PIPELINE, Function, Queue
from local_cloud.deployment import CDK_HOME, CREDENTIALS, cdk_environment, tools_path, valid_aws_settings
from local_cloud.state import Endpoint, LocalState

_CREDENTIALS_ARE_GIVEN = (
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
# A function may take its whole timeout to answer. No retry: a second invocation would start a second load.
_ONCE = Config(read_timeout=920, connect_timeout=10, retries={"total_max_attempts": 1})
_REPEATED = Config(read_timeout=920, connect_timeout=10, retries={"mode": "standard"})
_BRISK = Config(read_timeout=30, connect_timeout=10)
QUICK = Config(read_timeout=10, connect_timeout=5, retries={"total_max_attempts": 2})
"""For a first call, so that a cloud that hangs is noticed soon."""
_ONE_AT_A_TIME = Lock()
"""Threads that make clients of one session at the same time disturb each other."""


@dataclass(frozen=True)
class QueueDepth:
    """The messages of a queue in all states, and the dead letters.

    Attributes:
        messages: all of them.
        delayed: those that wait for their time.
        in_flight: those that were received: a function works on them, or has failed and they come back later.
        dead: the messages in its dead letter queue.
    """

    messages: int
    delayed: int
    in_flight: int
    dead: int

    @property
    def waiting(self) -> int:
        """The messages that the function can receive now."""
        return self.messages - self.delayed - self.in_flight


@dataclass(frozen=True)
class Cloud:
    """One stage of the application.

    Attributes:
        stage: dev, stg or prd.
        session: whose account and region.
        endpoint: the URL that answers for AWS, or None for AWS itself.
        local: the local cloud of this folder, running or not; None when another cloud is meant.
        profile: the AWS profile that was named, or None.
    """

    stage: str
    session: boto3.Session
    endpoint: str | None = None
    local: LocalState | None = None
    profile: str | None = None

    @property
    def name(self) -> str:
        """The stage and its place, for people."""
        if self.place is None:
            return _("{stage} on this machine", stage=self.stage)
        return _("{stage} on {place}", stage=self.stage, place=self.place)

    @property
    def place(self) -> str | None:
        """The stage's place; None for this machine."""
        if self.local and not self.endpoint:
            return None
        return self.endpoint or f"AWS, {self.session.region_name}"

    @property
    def deploy_command(self) -> str:
        """What deploys the stage."""
        return "make local-up" if self.local and self.stage == "dev" else f"make deploy-{self.stage}"

    @property
    def check_command(self) -> str:
        """What proves that the stage works."""
        return f"make check-{self.stage}" + (f" AWS_PROFILE={self.profile}" if self.profile else "")

    def aws_command(self, *arguments: str) -> str:
        """A command of the AWS command line that works on this cloud, in backquotes, to be copied."""
        keys, options = [], []
        if self.local:
            keys = [
                f"AWS_ACCESS_KEY_ID={CREDENTIALS['aws_access_key_id']}",
                f"AWS_SECRET_ACCESS_KEY={CREDENTIALS['aws_secret_access_key']}",
            ]
            options = ["--region", CREDENTIALS["region_name"]]
        if self.endpoint:
            options += ["--endpoint-url", self.endpoint]
        if self.profile:
            options += ["--profile", self.profile]
        return f"`{shlex.join([*keys, 'aws', *options, *arguments])}`"

    def client(self, service: str, config: Config = _BRISK) -> Any:
        """A boto3 client of the service. Raises CliError when the local cloud is meant and does not run."""
        if self.local:
            self.local_endpoint()
        return self._make_client(service, config)

    @cached_property
    def _make_client(self) -> Callable[[str, Config], Any]:
        # Making a client takes longer than most of its calls, and a load is looked at every second.
        make: Any = self.session.client  # typed for names of services that are literals

        @cache
        def make_client(service: str, config: Config) -> Any:
            with _ONE_AT_A_TIME, valid_aws_settings():
                return make(service, config=config)

        return make_client

    def local_endpoint(self) -> Endpoint:
        """Where the local cloud listens. Raises CliError when another cloud is meant, or it does not run."""
        running = self.local.endpoint() if self.local else None
        if running is None:
            raise CliError(
                _("no local cloud is running: run `make local-up`, or give AWS_PROFILE (--profile) for AWS")
            )
        return running

    def environment(self) -> dict[str, str]:
        """The environment in which the CDK works on the same cloud."""
        if self.local:
            return cdk_environment(self.local_endpoint())
        profile = {"AWS_PROFILE": self.profile} if self.profile else {}
        return {"CDK_HOME": str(CDK_HOME), **os.environ, "PATH": tools_path(), **profile}

    def account(self) -> str:
        """The number of the account that the credentials belong to."""
        return str(self.client("sts").get_caller_identity()["Account"])

    def invoke(self, function: Function, payload: dict[str, Any], *, only_reads: bool = False) -> Any:
        """Invokes a function of the stage and returns its answer.

        Args:
            function: which one.
            payload: what it is invoked with.
            only_reads: it changes nothing, so an invocation that fails may be repeated.

        Raises:
            CliError: there is no such function, or it failed; the text is the function's own.
        """
        name = function.of(self.stage)
        try:
            answer = invoke(self.client("lambda", _REPEATED if only_reads else _ONCE), name, payload)
        except ClientError as error:
            raise self.explained(error, _("function {name}", name=name)) from error
        document = json.load(answer["Payload"])
        if "FunctionError" in answer or "errorType" in document:
            refused = document.get("errorType") == "LoadRequestError"
            words = document.get("errorMessage", f"{name} failed")
            raise CliError(understood(words), USAGE if refused else UNREACHABLE)
        return document

    def environment_of(self, function: Function) -> dict[str, str]:
        """The environment variables of a function of the stage. Raises CliError when it is not there."""
        name = function.of(self.stage)
        try:
            answer = self.client("lambda").get_function_configuration(FunctionName=name)
        except ClientError as error:
            raise self.explained(error, _("function {name}", name=name)) from error
        return dict(answer["Environment"]["Variables"])

    def queue_depths(self) -> dict[Queue, QueueDepth]:
        """The queues of the pipeline, in its order. Raises CliError when one is not there."""
        return {queue: self.queue_depth(queue) for queue in PIPELINE}

    def queue_depth(self, queue: Queue) -> QueueDepth:
        """One of the queues. Raises CliError when it is not there."""
        waiting, delayed, in_flight = self._messages(queue.of(self.stage))
        dead = sum(self._messages(queue.dlq(self.stage)))
        return QueueDepth(waiting + delayed + in_flight, delayed, in_flight, dead)

    def _messages(self, queue: str) -> tuple[int, int, int]:
        """The messages of a queue that wait, are delayed and are in flight."""
        states = ("", "Delayed", "NotVisible")
        attributes = [f"ApproximateNumberOfMessages{state}" for state in states]
        try:
            url = self._queue_url(queue)
            found = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=attributes)
        except ClientError as error:
            raise self.explained(error, _("queue {queue}", queue=queue)) from error
        waiting, delayed, in_flight = (int(found["Attributes"][name]) for name in attributes)
        return waiting, delayed, in_flight

    @cached_property
    def _queue_url(self) -> Callable[[str], str]:
        return cache(lambda queue: self.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"])

    def explained(self, error: ClientError, what: str) -> CliError:
        """Explains an error of AWS: usually something is missing because the stage is not deployed."""
        code = error.response["Error"]["Code"]
        if "NotFound" in code or "NonExistent" in code or "does not exist" in str(error):
            return CliError(
                _(
                    "{what} is missing: {cloud} is not deployed; run `{command}`",
                    what=what,
                    cloud=self.name,
                    command=self.deploy_command,
                )
            )
        return CliError(_("AWS refuses: {error}", error=error))


def find_cloud(stage: str, profile: str | None) -> Cloud:
    """Chooses the cloud, by one rule for every command.

    AWS when `profile`, or AWS_PROFILE, keys or AWS_ENDPOINT_URL in the environment say so; otherwise the
    local cloud of this folder, running or not. A default profile alone never means AWS.

    Raises:
        CliError: AWS_ENDPOINT_URL is no URL.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise CliError(
            _("invalid AWS_ENDPOINT_URL={endpoint}: use a URL like http://localhost:5000", endpoint=endpoint),
            USAGE,
        )
    if profile or endpoint or any(os.environ.get(name) for name in _CREDENTIALS_ARE_GIVEN):
        return Cloud(stage, _session(profile), endpoint, profile=profile)
    return local_cloud(LocalState.from_environment(), stage)


def local_cloud(state: LocalState, stage: str) -> Cloud:
    """A stage on the local cloud of a folder, running or not."""
    running = state.endpoint()
    url = running.url if running else None
    return Cloud(stage, _LocalSession(url), url, state)


def _session(profile: str | None) -> boto3.Session:
    # boto3 knows only AWS_DEFAULT_REGION, the region's older name.
    return boto3.Session(profile_name=profile, region_name=os.environ.get("AWS_REGION") or None)


class _LocalSession(boto3.Session):
    """Clients of the local cloud, as AWS_ENDPOINT_URL would make them."""

    def __init__(self, endpoint: str | None) -> None:
        super().__init__(
            aws_access_key_id=CREDENTIALS["aws_access_key_id"],
            aws_secret_access_key=CREDENTIALS["aws_secret_access_key"],
            region_name=CREDENTIALS["region_name"],
        )
        self._endpoint = endpoint

    def client(self, *names: Any, **options: Any) -> Any:
        return super().client(*names, **{"endpoint_url": self._endpoint, **options})
