"""Where the application runs: a stage in an AWS account, or the local cloud of this folder."""

import json
import os
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from fipe_api.aws.clients import invoke
from fipe_cli.errors import UNREACHABLE, USAGE, CliError
from local_cloud.deployment import CREDENTIALS
from local_cloud.state import LocalState

QUEUES = ("manufacturer", "model", "price")
_CREDENTIALS_ARE_GIVEN = (
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
# A function may work for its whole timeout before it answers; a second invocation would be a second load.
_ONCE = Config(read_timeout=920, connect_timeout=10, retries={"total_max_attempts": 1})
_REPEATED = Config(read_timeout=920, connect_timeout=10, retries={"mode": "standard"})
_BRISK = Config(read_timeout=30, connect_timeout=10)


@dataclass(frozen=True)
class QueueDepth:
    """The messages of a queue in all states, and those of its dead letter queue."""

    messages: int
    dead: int


@dataclass(frozen=True)
class Cloud:
    """One stage of the application.

    Attributes:
        stage: dev, stg or prd.
        session: whose account and region.
        endpoint: the URL that answers for AWS, or None for AWS itself.
        local: the local cloud of this folder, running or not; None when another cloud is meant.
    """

    stage: str
    session: boto3.Session
    endpoint: str | None = None
    local: LocalState | None = None

    @property
    def name(self) -> str:
        """The stage and its place, for people."""
        if self.local and not self.endpoint:
            return f"{self.stage} on this machine"
        return f"{self.stage} on {self.endpoint or f'AWS, {self.session.region_name}'}"

    @property
    def deploy_command(self) -> str:
        """What deploys the stage; on the local cloud, with the variables that `make local-up` prints."""
        return "make local-up" if self.local and self.stage == "dev" else f"make deploy-{self.stage}"

    def client(self, service: str, config: Config = _BRISK) -> Any:
        """A boto3 client of the service. Raises CliError when the local cloud is meant and does not run."""
        if self.local and not self.endpoint:
            raise CliError("no local cloud is running: `make local-up` starts one; for AWS give --profile")
        make: Any = self.session.client  # typed for names of services that are literals
        return make(service, config=config)

    def invoke(self, function: str, payload: dict[str, Any], *, only_reads: bool = False) -> Any:
        """What a function of the stage answers.

        Args:
            function: its name, without the stage.
            payload: what it is invoked with.
            only_reads: that it changes nothing, so that an invocation which fails may be repeated.

        Raises:
            CliError: there is no such function, or it failed; with its own words.
        """
        name = f"{function}-{self.stage}"
        try:
            answer = invoke(self.client("lambda", _REPEATED if only_reads else _ONCE), name, payload)
        except ClientError as error:
            raise self.explained(error, f"function {name}") from error
        document = json.load(answer["Payload"])
        if "FunctionError" in answer:
            refused = document.get("errorType") == "LoadRequestError"
            words = document.get("errorMessage", f"{name} failed")
            raise CliError(words, USAGE if refused else UNREACHABLE)
        return document

    def environment_of(self, function: str) -> dict[str, str]:
        """The environment variables of a function of the stage. Raises CliError when it is not there."""
        name = f"{function}-{self.stage}"
        try:
            answer = self.client("lambda").get_function_configuration(FunctionName=name)
        except ClientError as error:
            raise self.explained(error, f"function {name}") from error
        return dict(answer["Environment"]["Variables"])

    def queue_depths(self) -> dict[str, QueueDepth]:
        """The queues by kind, the first of the pipeline first. Raises CliError when one is not there."""
        sqs = self.client("sqs")
        return {
            kind: QueueDepth(
                self._messages(sqs, f"fipe-{kind}-queue-{self.stage}"),
                self._messages(sqs, f"fipe-{kind}-dlq-{self.stage}"),
            )
            for kind in QUEUES
        }

    def _messages(self, sqs: Any, queue: str) -> int:
        states = ("", "NotVisible", "Delayed")
        names = [f"ApproximateNumberOfMessages{state}" for state in states]
        try:
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        except ClientError as error:
            raise self.explained(error, f"queue {queue}") from error
        return sum(int(attributes[name]) for name in names)

    def explained(self, error: ClientError, what: str) -> CliError:
        """An error of AWS's in words: above all, that something is not there because nothing was deployed."""
        code = error.response["Error"]["Code"]
        if "NotFound" in code or "NonExistent" in code or "does not exist" in str(error):
            return CliError(
                f"{what} is not there: {self.name} is not deployed; `{self.deploy_command}` deploys it"
            )
        return CliError(f"AWS: {error}")


def find_cloud(stage: str, profile: str | None) -> Cloud:
    """The cloud that is meant.

    In this order: --profile; AWS_ENDPOINT_URL or credentials in the environment; the local cloud of this
    folder, running or not.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if profile:
        return Cloud(stage, _session(profile), endpoint)
    if endpoint or any(os.environ.get(name) for name in _CREDENTIALS_ARE_GIVEN):
        return Cloud(stage, _session(), endpoint)
    state = LocalState.from_environment()
    running = state.endpoint()
    url = running.url if running else None
    return Cloud(stage, _LocalSession(url), url, state)


def _session(profile: str | None = None) -> boto3.Session:
    # boto3 knows the region's variable by its older name only.
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
