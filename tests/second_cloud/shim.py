"""Runs MiniStack, in MiniStack's own venv, with what it lacks for this application.

    python shim.py PORT FOLDER PYTHON

PORT is where it listens, on loopback and with TLS. FOLDER holds the database. It gets the certificate to
trust (`ca.pem`) and a line of JSON per call that IAM denied (`denied.jsonl`). PYTHON is the project's: it
runs the functions, with its packages in place of their layers, and `set_up_database.py`.

Each change replaces one function of MiniStack. If MiniStack has changed one of them, nothing starts, and the
message names it: find out whether the change here is still needed and right, then write down the new digest.
"""

import asyncio
import hashlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config

PORT, FOLDER, PYTHON = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
CA, CERTIFICATE = FOLDER / "ca.pem", FOLDER / "server.pem"
os.environ.update(
    AUTH="true",  # enforces IAM
    GATEWAY_PORT=str(PORT),
    USE_SSL="1",  # the policies of the bucket and of the queues deny plain HTTP
    MINISTACK_SSL_CERT=str(CERTIFICATE),
    MINISTACK_SSL_KEY=str(CERTIFICATE),
    AWS_CA_BUNDLE=str(CA),  # for the functions, which inherit it
    SSL_CERT_FILE=str(CA),
    IOT_MTLS_ENABLED="0",  # opens a port of its own
)

from ministack import app  # noqa: E402 - it reads those variables when it is imported
from ministack.core import iam_actions, iam_evaluator, lambda_runtime  # noqa: E402
from ministack.core.responses import get_account_id, get_region, new_uuid  # noqa: E402
from ministack.services import ec2, eventbridge, iam, lambda_svc, rds, sts  # noqa: E402
from ministack.services.cloudformation import _stacks, provisioners  # noqa: E402

TYPES = provisioners._RESOURCE_HANDLERS
Properties = dict[str, Any]
Function = Callable[..., Any]


def replaces(module: Any, name: str, digest: str) -> Callable[[Function], Function]:
    """Puts a function in the place of one of MiniStack's, which it gets as its first argument."""

    def put(new: Function) -> Function:
        old = getattr(module, name)
        found = hashlib.sha256(inspect.getsource(old).encode()).hexdigest()[:12]
        if found != digest:
            sys.exit(f"MiniStack has changed {module.__name__}.{name}: its digest is {found}, not {digest}")
        setattr(module, name, lambda *args, **options: new(old, *args, **options))
        return new

    return put


# --- IAM: what is denied is written down, and services need the roles that they are given ---


def note(caller: str, action: str, resource: str) -> None:
    """Writes down that a call was denied."""
    with (FOLDER / "denied.jsonl").open("a") as file:
        print(json.dumps({"caller": caller, "action": action, "resource": resource}), file=file)


@replaces(iam_evaluator, "enforce", "cf64b1ee5b09")
def enforce(
    old: Function, key: str, action: str, service: str, region: str, resource_arn: str = "*", **context: Any
) -> Any:
    result = old(key, action, service, region, resource_arn, **context)
    if isinstance(result, iam_evaluator.EvalResult):
        note(result.principal_arn.rsplit("/", 1)[-1], action, resource_arn)
    return result


@replaces(iam_actions, "extract_iam_action", "ec476b92d969")
def extract_iam_action(old: Function, *request: Any) -> str | None:
    """A batch call of SQS needs the permission of the single call.

    Source: Amazon SQS developer guide, "Amazon SQS API permissions: Actions and resource reference".
    """
    action: str | None = old(*request)
    return action.removesuffix("Batch") if action and action.startswith("sqs:") else action


def service_may(service: str, source_arn: str, role_arn: str, action: str, resource: str) -> bool:
    """Whether a service may assume a role for `source_arn`, and the role may do this."""
    caller = source_arn.rpartition(":")[2].rpartition("/")[2]
    account, role = get_account_id(), role_arn.rpartition("/")[2]

    def context(action: str, resource: str, **keys: str) -> Any:
        service_keys = {f"aws:{key}": value for key, value in keys.items()}
        return iam_evaluator.EvalContext(
            service, "Service", "", action, resource, get_region(), service_context=service_keys
        )

    trusts = iam._roles.get_scoped(account, None, role)["AssumeRolePolicyDocument"]
    assumes = context("sts:AssumeRole", role_arn, sourcearn=source_arn, sourceaccount=account)
    if iam_evaluator.evaluate_resource_policy(trusts, assumes, service=service).decision != "Allow":
        note(f"{service} for {caller}", "sts:AssumeRole", role_arn)
        return False
    policies = iam_evaluator._gather_role_policies(role, account)
    if iam_evaluator.evaluate(context(action, resource), policies).decision != "Allow":
        note(caller, action, resource)
        return False
    return True


@replaces(lambda_svc, "_sqs_esm_concurrency", "d3e9d1e865aa")
def _sqs_esm_concurrency(
    old: Function, mapping: Properties, record: Properties, config: Properties, queue: Properties
) -> int:
    """How many batches may run: none without the permissions that Lambda needs to poll a queue.

    Source: Lambda developer guide, "Creating and configuring an Amazon SQS event source mapping".
    """
    role, function, source = config["Role"], config["FunctionArn"], mapping["EventSourceArn"]
    actions = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    may = [service_may("lambda.amazonaws.com", function, role, action, source) for action in actions]
    return int(old(mapping, record, config, queue)) if all(may) else 0


@replaces(eventbridge, "_invoke_target", "550e304af080")
def _invoke_target(
    old: Function, target: Properties, event: Properties, rule: Properties, view: Any = None
) -> None:
    """EventBridge Scheduler assumes the schedule's role, for the schedule's group, and fills in the input.

    Source: EventBridge Scheduler user guide, "Confused deputy prevention" and "Adding context attributes".
    """
    if event["Source"] == "aws.scheduler":
        (schedule,) = event["Resources"]
        group = schedule.replace(":schedule/", ":schedule-group/").rpartition("/")[0]
        role, function = target["RoleArn"], target["Arn"]
        if not service_may("scheduler.amazonaws.com", group, role, "lambda:InvokeFunction", function):
            return
        moment = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        filled = target["Input"].replace("<aws.scheduler.schedule-arn>", schedule)
        target = {**target, "Input": filled.replace("<aws.scheduler.scheduled-time>", moment)}
    old(target, event, rule, view)


# --- CloudFormation ---


@replaces(provisioners, "_update_resource", "21b9b1207f59")
def _update_resource(
    old: Function, kind: str, physical_id: str, before: Properties, after: Properties, stack: str,
    logical_id: str = "", attributes: Properties | None = None,
) -> Any:  # fmt: skip
    """A resource of a nested stack that stays as it is keeps its attributes."""
    known = _stacks[stack]["_resources"].get(logical_id, {}) if stack in _stacks else {}
    return old(kind, physical_id, before, after, stack, logical_id, attributes or known.get("Attributes"))


@replaces(provisioners, "_cw_metric_alarm_record", "4565fcede1eb")
def _cw_metric_alarm_record(old: Function, name: str, properties: Properties) -> Any:
    """An alarm on an expression is kept, but never goes off: no such metric exists."""
    if "Metrics" in properties:
        properties = {**properties, "Metrics": None, "Namespace": "Expression", "MetricName": name}
    return old(name, properties)


def group_rules(direction: str) -> dict[str, Function]:
    """The handlers of a security group's rule that is a resource of its own."""

    def rules(properties: Properties) -> list[Any]:
        return ec2._security_groups[properties["GroupId"]][direction]

    def create(_logical_id: str, properties: Properties, _stack: str) -> tuple[str, Properties]:
        rules(properties).extend(provisioners._ec2_sg_permissions([properties]))
        return f"sgr-{new_uuid()[:17]}", {}

    def delete(_physical_id: str, properties: Properties) -> None:
        if properties["GroupId"] in ec2._security_groups:
            removed = provisioners._ec2_sg_permissions([properties])
            provisioners._ec2_sg_reconcile(rules(properties), removed, [])

    return {"create": create, "delete": delete}


assert "AWS::EC2::SecurityGroupIngress" not in TYPES, "MiniStack has rules of security groups now"
TYPES["AWS::EC2::SecurityGroupIngress"] = group_rules("IpPermissions")
TYPES["AWS::EC2::SecurityGroupEgress"] = group_rules("IpPermissionsEgress")


@replaces(provisioners, "_rds_db_cluster_create", "9e68fe2442e4")
def _rds_db_cluster_create(old: Function, logical_id: str, properties: Properties, stack: str) -> Any:
    """The embedded PostgreSQL stands behind the cluster."""
    name, _ = old(logical_id, properties, stack)
    wanted = {"user": "MasterUsername", "password": "MasterUserPassword", "database": "DatabaseName"}
    settings = {key: properties[value] for key, value in wanted.items()}
    command = [PYTHON, "-m", "tests.second_cloud.set_up_database", str(FOLDER / "postgres")]
    done = subprocess.run(command, input=json.dumps(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the database was not set up: {done.stderr}")
    rds._clusters[name].update(Endpoint="localhost", ReaderEndpoint="localhost", Port=int(done.stdout))
    return name, provisioners._rds_db_cluster_attrs(rds._clusters[name])


TYPES["AWS::RDS::DBCluster"]["create"] = provisioners._rds_db_cluster_create

# --- Functions: this machine's Python and packages; the embedded PostgreSQL has no TLS ---

SET_VARIABLES = "    os.environ.update(env)\n"


@replaces(lambda_runtime, "_detect_runtime_binary", "222e200df2c0")
def _detect_runtime_binary(old: Function, runtime: str) -> tuple[str, str]:
    _, script = old(runtime)
    assert script.count(SET_VARIABLES) == 1, "MiniStack has changed how functions get their variables"
    return PYTHON, script.replace(SET_VARIABLES, f'{SET_VARIABLES}    os.environ["PGSSLMODE"] = "disable"\n')


@replaces(lambda_runtime, "execution_credentials", "cffaadc4f396")
def execution_credentials(old: Function, config: Properties) -> Properties:
    """A role's access key is its own secret, which the gateway of the embedded PostgreSQL expects."""
    credentials: Properties = old(config)
    key = credentials["AWS_ACCESS_KEY_ID"]
    sts._sessions[key]["SecretAccessKey"] = key
    return {**credentials, "AWS_SECRET_ACCESS_KEY": key}


@replaces(lambda_svc, "_resolve_layer_zip", "447d3c3ec42c")
def _resolve_layer_zip(old: Function, layer: Any) -> None:
    """The project's Python has the packages."""


def main() -> None:
    """Serves until a signal ends it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(CA)
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(CERTIFICATE)
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.certfile = config.keyfile = str(CERTIFICATE)
    asyncio.run(serve(app.app, config))


if __name__ == "__main__":
    main()
