"""MiniStack with the application in it, the database behind it and the FIPE simulator as its source."""

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fipe_simulator import FipeSimulator
from local_cloud.postgres import PostgresCluster
from tests.conftest import ROOT
from tests.local_cloud_support import eventually

PYTHON = ROOT / ".venv/second-cloud/bin/python"
SHIM = ROOT / "tests/second_cloud/shim.py"
REGION = "sa-east-1"
ACCOUNT = "123456789012"
STACK = "FipeDataStack-dev"
BUCKET = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
EVERY_MINUTE = "cron(* * * * ? *)"
COMMAND_SECONDS = 150

Template = dict[str, Any]


@dataclass(frozen=True, order=True)
class Denial:
    """A call that IAM denied: who made it, what they needed, on what."""

    caller: str
    """The function, or the role that a service was to use."""
    action: str
    resource: str


class SecondCloud:
    """A running MiniStack."""

    def __init__(self, folder: Path, port: int, simulator: FipeSimulator, postgres: PostgresCluster) -> None:
        self.url = f"https://localhost:{port}"
        self.simulator = simulator
        self._folder = folder
        self._postgres = postgres
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FIPE_"))},
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_CA_BUNDLE": str(folder / "ca.pem"),
            "NODE_EXTRA_CA_CERTS": str(folder / "ca.pem"),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }

    # What people do

    def fipe(self, *arguments: str) -> str:
        """Runs the command on the stage; returns what it prints. Raises AssertionError if it fails."""
        ended = subprocess.run(
            [sys.executable, "-m", "fipe_cli", "--stage", "dev", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert ended.returncode == 0, f"fipe {' '.join(arguments)}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def deploy(self, **settings: str) -> None:
        """Deploys the application with the CDK, in the VPC that an account has from the start."""
        ec2 = self.client("ec2")
        (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], EnableDnsHostnames={"Value": True})
        given = {
            "vpc_id": vpc["VpcId"],
            "allowed_ip": "203.0.113.7",
            "fipe_api_url": self.simulator.url,
            "calls_per_minute": "60000",  # not "max", which needs no pace
            "schedule": EVERY_MINUTE,
            **settings,
        }
        self.fipe("deploy", *(f"{name}={value}" for name, value in given.items()))

    def start(self, **payload: Any) -> dict[str, Any]:
        """Invokes FipeManufacturerLoader; returns its answer, which is an error if the function failed."""
        answer = self.client("lambda").invoke(
            FunctionName="FipeManufacturerLoader-dev", Payload=json.dumps(payload)
        )
        document: dict[str, Any] = json.load(answer["Payload"])
        return document

    def stop_schedule(self) -> None:
        """Disables the schedule."""
        scheduler = self.client("scheduler")
        schedule = scheduler.get_schedule(Name="fipe-load-dev")
        kept = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(**{name: schedule[name] for name in kept}, State="DISABLED")

    # What people look at

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        """A client of the account's root, or of other credentials."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            verify=str(self._folder / "ca.pem"),
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
            **{name.lower(): value for name, value in (credentials or CREDENTIALS).items()},
        )

    def as_function(self, function: str, service: str) -> Any:
        """A client with the credentials that the code of a function has."""
        role = self.client("lambda").get_function_configuration(FunctionName=function)["Role"]
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName=function)["Credentials"]
        return self.client(
            service,
            {
                "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
                "AWS_SESSION_TOKEN": given["SessionToken"],
            },
        )

    def denials(self) -> set[Denial]:
        """The calls that IAM has denied since `forget_denials`."""
        return {Denial(**json.loads(line)) for line in self._denied().splitlines()[self._forgotten :]}

    _forgotten = 0

    def forget_denials(self) -> None:
        """Starts to count anew."""
        self._forgotten = len(self._denied().splitlines())

    def _denied(self) -> str:
        path = self._folder / "denied.jsonl"
        return path.read_text() if path.exists() else ""

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Runs a query as the master user; returns its rows."""
        place = self._postgres.connection()
        assert place is not None, "the cluster was never set up"
        with closing(place.open()) as session, session, session.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    def runs(self) -> dict[str, bool]:
        """The runs in the ledger, and whether each is complete."""
        return dict(self.query("select run_id::text, complete from fipe.load_status"))

    def messages(self) -> dict[str, int]:
        """How many messages each queue has, waiting or in flight, but for looks that are due later."""
        states = ("", "NotVisible", "Delayed")
        attributes = [f"ApproximateNumberOfMessages{state}" for state in states]
        sqs = self.client("sqs")
        return {
            url.rsplit("/", 1)[-1]: sum(
                int(count)
                for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=attributes)[
                    "Attributes"
                ].values()
            )
            for url in sqs.list_queues()["QueueUrls"]
            if "announcement-queue" not in url
        }

    # What is changed by hand

    def templates(self) -> tuple[Template, Template]:
        """The templates of the stack and of the stack nested in it, as the CDK deployed them."""
        return self._template(STACK), self._template(self._nested()["PhysicalResourceId"])

    def put_templates(self, parent: Template, child: Template) -> str:
        """Updates the stack to these templates; returns the reasons of what failed, if anything did."""
        parent = copy.deepcopy(parent)
        nested = parent["Resources"][self._nested()["LogicalResourceId"]]["Properties"]
        nested["TemplateURL"] = self._upload(child)
        cloudformation = self.client("cloudformation")
        began = datetime.now(UTC)
        cloudformation.update_stack(
            StackName=STACK,
            TemplateURL=self._upload(parent),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": name, "UsePreviousValue": True} for name in parent.get("Parameters", {})
            ],
        )

        def has_settled() -> bool:
            (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
            return not stack["StackStatus"].endswith("IN_PROGRESS")

        eventually(has_settled, COMMAND_SECONDS)
        events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        return "\n".join(
            event["ResourceStatusReason"]
            for event in events
            if event["Timestamp"] >= began and event["ResourceStatus"].endswith("_FAILED")
        )

    def purge(self) -> None:
        """Empties the queues."""
        sqs = self.client("sqs")
        for url in sqs.list_queues()["QueueUrls"]:
            sqs.purge_queue(QueueUrl=url)

    def _nested(self) -> Any:
        (found,) = (
            each
            for each in self.client("cloudformation").describe_stack_resources(StackName=STACK)[
                "StackResources"
            ]
            if each["ResourceType"] == "AWS::CloudFormation::Stack"
        )
        return found

    def _template(self, stack: str) -> Template:
        body = self.client("cloudformation").get_template(StackName=stack)["TemplateBody"]
        template: Template = json.loads(body) if isinstance(body, str) else body
        return template

    def _upload(self, template: Template) -> str:
        body = json.dumps(template).encode()
        key = f"by-hand/{hashlib.sha256(body).hexdigest()}.json"
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"{self.url}/{BUCKET}/{key}"


def without(template: Template, role: str, action: str, resource: str = "") -> Template:
    """The template with one permission taken out of it.

    Args:
        template: what it was taken from; it stays as it is.
        role: how the logical id of the role begins.
        action: the permission.
        resource: how the logical id begins of what it was given for; empty where that says nothing.

    Raises:
        AssertionError: the template does not give this permission.
    """
    changed = copy.deepcopy(template)
    taken = 0
    for logical_id, policy in changed["Resources"].items():
        if policy["Type"] == "AWS::IAM::Policy" and logical_id.startswith(role):
            statements = policy["Properties"]["PolicyDocument"]["Statement"]
            for statement in statements:
                actions = _listed(statement["Action"])
                if action not in actions or f'"{resource}' not in json.dumps(statement["Resource"]):
                    continue
                taken += 1
                if len(actions) > 1:
                    statement["Action"] = [kept for kept in actions if kept != action]
                else:
                    statement["Resource"] = [
                        kept
                        for kept in _listed(statement["Resource"])
                        if f'"{resource}' not in json.dumps(kept)
                    ]
            statements[:] = [each for each in statements if each["Resource"]]
    assert taken == 1, f"{taken} statements give {role} {action} on {resource}"
    return changed


def _listed(one_or_more: Any) -> list[Any]:
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


@contextmanager
def second_cloud(folder: Path, simulator: FipeSimulator) -> Iterator[SecondCloud]:
    """A MiniStack of its own under `folder`, prepared for the CDK; ends it and everything it has started."""
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    postgres = PostgresCluster(folder / "postgres")
    with (folder / "ministack.log").open("w") as log:
        server = subprocess.Popen(
            [str(PYTHON), str(SHIM), str(port), str(folder), sys.executable],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "MINISTACK_REGION": REGION,
                "MINISTACK_ACCOUNT_ID": ACCOUNT,
                "S3_DATA_DIR": str(folder / "s3"),
                **CREDENTIALS,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        cloud = SecondCloud(folder, port, simulator, postgres)
        eventually(lambda: server.poll() is not None or _answers(cloud))
        assert server.poll() is None, f"MiniStack has not started: {(folder / 'ministack.log').read_text()}"
        cloud.fipe("bootstrap")
        yield cloud
    finally:
        _end(server)
        postgres.stop()


def _answers(cloud: SecondCloud) -> bool:
    with suppress(BotoCoreError, ClientError, OSError):
        return bool(cloud.client("sts").get_caller_identity())
    return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Ends MiniStack with all its functions, which are in its process group."""
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
