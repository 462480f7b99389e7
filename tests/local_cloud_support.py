"""A local cloud for one test module: a server in a temporary folder, with small stacks in it."""

import io
import json
import os
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import boto3
import requests
from botocore.config import Config

from local_cloud.state import Endpoint, LocalState

T = TypeVar("T")

ROLE = "arn:aws:iam::123456789012:role/test"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
CREDENTIALS = {
    "aws_access_key_id": "testing",
    "aws_secret_access_key": "testing",
    "region_name": "us-east-1",
}


class Cloud:
    """A running local cloud and the clients of its AWS APIs."""

    def __init__(self, endpoint: Endpoint, state: LocalState) -> None:
        self.endpoint = endpoint
        self.state = state

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint.url,
            config=Config(retries={"max_attempts": 0}, read_timeout=60),
            **CREDENTIALS,
        )

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(f"{self.endpoint.url}/local-cloud/status", timeout=10).json()
        return answer

    def put_function(self, name: str, source: str, *, timeout: int = 10, **settings: Any) -> None:
        """Create a function from the source of its module `index`, which has `handler`."""
        self.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.14",
            Role=ROLE,
            Handler="index.handler",
            Code={"ZipFile": zipped(source)},
            Timeout=timeout,
            **settings,
        )

    def invoke(self, name: str, event: object, **options: Any) -> Any:
        return self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event), **options)

    def put_queue(self, name: str, **attributes: object) -> str:
        answer = self.client("sqs").create_queue(
            QueueName=name, Attributes={key: str(value) for key, value in attributes.items()}
        )
        url: str = answer["QueueUrl"]
        return url

    def arn_of(self, queue_url: str) -> str:
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn: str = attributes["Attributes"]["QueueArn"]
        return arn

    def send(self, queue_url: str, *bodies: str) -> None:
        client = self.client("sqs")
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])
            ]
            assert not client.send_message_batch(QueueUrl=queue_url, Entries=entries)["Failed"]

    def counts(self, queue_url: str) -> dict[str, Any]:
        """The status entry of a queue."""
        name = queue_url.rsplit("/", 1)[-1]
        return next(queue for queue in self.status()["queues"] if queue["name"] == name)

    def is_empty(self, queue_url: str) -> bool:
        return not messages_of(self.counts(queue_url))

    def log(self, function_name: str) -> str:
        log = self.state.log_of(function_name)
        return log.read_text() if log.exists() else ""

    def deploy(self, name: str, template: dict[str, Any], parameters: dict[str, str] | None = None) -> Any:
        """Create a stack and wait for its end; the stack as described."""
        self.client("cloudformation").create_stack(
            StackName=name, TemplateBody=json.dumps(template), Parameters=_parameters(parameters)
        )
        return self.settled_stack(name)

    def update(self, name: str, template: dict[str, Any], parameters: dict[str, str] | None = None) -> Any:
        self.client("cloudformation").update_stack(
            StackName=name, TemplateBody=json.dumps(template), Parameters=_parameters(parameters)
        )
        return self.settled_stack(name)

    def settled_stack(self, name: str) -> Any:
        def look() -> Any:
            stack = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
            return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

        return eventually(look)

    def reasons(self, stack_name: str) -> str:
        """The reasons in the events of a stack, all in one text."""
        events = self.client("cloudformation").describe_stack_events(StackName=stack_name)["StackEvents"]
        return "\n".join(event.get("ResourceStatusReason", "") for event in events)


@contextmanager
def running_cloud(folder: Path) -> Iterator[Cloud]:
    """Start a server on a free port, with its state under `folder`; end it and everything it started."""
    state = LocalState(folder)
    environment = {**os.environ, "FIPE_LOCAL_DIR": str(folder)}
    with (folder / "test-server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "local_cloud.aws.server", "0"], env=environment, stdout=log, stderr=log
        )
    try:
        cloud = Cloud(eventually(state.endpoint), state)
        cloud.client("iam").create_role(RoleName="test", AssumeRolePolicyDocument=json.dumps(TRUST))
        yield cloud
    finally:
        server.terminate()
        server.wait(30)


def eventually(look: Callable[[], T], seconds: float = 60) -> T:
    """The first true answer of `look`. Raises AssertionError when there is none within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := look():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"nothing came within {seconds} s")


def messages_of(queue: dict[str, Any]) -> int:
    """How many messages a queue has, in whatever state. The queue is an entry of a cloud's status."""
    messages: int = queue["visible"] + queue["in_flight"] + queue["delayed"]
    return messages


@contextmanager
def paused(client: Any, function: str) -> Iterator[None]:
    """Keeps a function from receiving messages while the block runs.

    Args:
        client: a client of Lambda in a local cloud.
        function: its name.
    """
    (source,) = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    time.sleep(2)  # a poller checks this once per second, and takes what comes until then
    try:
        yield
    finally:
        client.update_event_source_mapping(UUID=source["UUID"], Enabled=True)


def zipped(source: str) -> bytes:
    """A deployment package with `source` as module index."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("index.py", textwrap.dedent(source))
    return package.getvalue()


def _parameters(values: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in (values or {}).items()]
