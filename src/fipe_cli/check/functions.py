"""The functions: whether they are active and answer, what they use of their memory and of their time."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from msgspec import ValidationError, convert

from fipe_api.aws.self_check import KEY, Facts
from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.cloud import Cloud
from fipe_cli.errors import CliError
from fipe_words import _
from infrastructure import names
from infrastructure.names import Function, Queue

ANSWERING = frozenset(Function) - {Function.SQL_INIT, Function.SQL_RUNNER}
"""The functions of fipe_api."""

MOST_MEMORY = 0.8
"""Warn above this share of a function's memory."""
INIT_LIMIT_SECONDS, LONGEST_INIT_SECONDS = 10, 8
"""Lambda breaks off an init after the first, and begins it again; warn after the second."""
LOG_PATIENCE_SECONDS = 15
"""CloudWatch Logs shows a line some seconds after it was written."""
STREAMS, LINES = 3, 100
"""How many of a log group's newest streams are read, and how many lines at each end."""
NEW_ACCOUNT = 10
"""The concurrent executions of a new account."""

_MEMORY = re.compile(r"REPORT .*Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB")
_INIT = re.compile(r"REPORT .*Init Duration: ([\d.]+) ms")


@dataclass(frozen=True)
class Examined:
    """What was found out about a function, and what it answered, if it did."""

    findings: list[Finding]
    facts: Facts | None = None


def examine(deployment: Deployment, function: Function) -> Examined:
    """Looks at a function, has it answer a check if it can, and reads its log."""
    name = function.of(deployment.stage)
    try:
        found = deployment.cloud.client("lambda").get_function_configuration(FunctionName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        missing = Finding(Level.FAILED, function, _("the function is missing"), deployment.deploy_again)
        return Examined([missing])
    examined = _asked(deployment, function, _state(function, found))
    return Examined([*examined.findings, _look_at_log(deployment, function)], examined.facts)


def _state(function: Function, found: Any) -> Finding:
    state = found.get("State", "Active")
    if state == "Inactive":
        return Finding(Level.WARNING, function, _("was inactive, as nothing called it for weeks"))
    if state == "Pending" or found.get("LastUpdateStatus") == "InProgress":
        return Finding(Level.WARNING, function, _("is being changed"), _("run the check again in a minute"))
    if state != "Active" or found.get("LastUpdateStatus") == "Failed":
        why = found.get("StateReason") or found.get("LastUpdateStatusReason") or _("Lambda gives no reason")
        return Finding(Level.FAILED, function, f"{state.lower()}: {why}", _("deploy it again"))
    return Finding(
        Level.OK,
        function,
        _("active, {runtime}, {memory_size} MB", runtime=found["Runtime"], memory_size=found["MemorySize"]),
    )


def _asked(deployment: Deployment, function: Function, state: Finding) -> Examined:
    if function not in ANSWERING:
        return Examined([state])
    begun = time.monotonic()
    try:
        facts = convert(deployment.cloud.invoke(function, {KEY: {}}, only_reads=True), Facts)
    except CliError as error:
        failed = Finding(
            Level.FAILED,
            function,
            _("fails: {error}", error=one_line(error)),
            deployment.look_at_logs(function),
        )
        return Examined([failed])
    except ValidationError as error:
        old = Finding(
            Level.FAILED, function, _("does not know checks ({error})", error=error), _("deploy this release")
        )
        return Examined([old])
    packages = ", ".join(f"{name} {version}" for name, version in facts.packages.items())
    seconds = time.monotonic() - begun
    seen = _(
        "{seen}, answered in {seconds:.1f} s; Python {python}, {packages}",
        seen=state.seen,
        seconds=seconds,
        python=facts.python,
        packages=packages,
    )
    return Examined([state._replace(seen=seen)], facts)


def _look_at_log(deployment: Deployment, function: Function) -> Finding:
    group, part = names.log_group(function.of(deployment.stage)), _("log of {function}", function=function)
    logs = deployment.cloud.client("logs")
    try:
        reports = _reports(logs, group, patient=function in ANSWERING)
    except logs.exceptions.ResourceNotFoundException:
        return Finding(
            Level.FAILED,
            part,
            _("the log group {group} is missing", group=group),
            _make_log_group(deployment.cloud, group),
        )
    memory = [match.groups() for match in map(_MEMORY.search, reports) if match]
    inits = [float(match[1]) / 1000 for match in map(_INIT.search, reports) if match]
    if not memory:
        return Finding(Level.OK, part, _("no invocation in it"))
    size, used = max(((int(size), int(used)) for size, used in memory), key=lambda each: each[1] / each[0])
    longest = max(inits, default=None)
    seen = (
        _("at most {used} of {size} MB used", used=used, size=size)
        if longest is None
        else _(
            "at most {used} of {size} MB used, the longest init took {seconds:.1f} s",
            used=used,
            size=size,
            seconds=longest,
        )
    )
    if used > MOST_MEMORY * size:
        more = _("give {function} more memory in infrastructure/, and deploy it", function=function)
        return Finding(Level.WARNING, part, _("{seen}: near its memory's end", seen=seen), more)
    if longest and longest > LONGEST_INIT_SECONDS:
        why = _("{seen}; Lambda allows {most} s", seen=seen, most=INIT_LIMIT_SECONDS)
        return Finding(Level.WARNING, part, why, _("deploy compiled layers (lambda-layer/README.md)"))
    return Finding(Level.OK, part, seen)


def _make_log_group(cloud: Cloud, group: str) -> str:
    command = cloud.aws_command("logs", "create-log-group", "--log-group-name", group)
    return _("{command}; until then its lines are lost", command=command)


def _reports(logs: Any, group: str, *, patient: bool) -> list[str]:
    """The REPORT lines at both ends of the newest streams: a stream's first one has the init."""
    until = time.monotonic() + LOG_PATIENCE_SECONDS
    while True:
        found = list(_newest_reports(logs, group))
        if found or not patient or time.monotonic() > until:
            return found
        time.sleep(1)


def _newest_reports(logs: Any, group: str) -> Iterator[str]:
    streams = logs.describe_log_streams(
        logGroupName=group, orderBy="LastEventTime", descending=True, limit=STREAMS
    )["logStreams"]
    for stream, from_head in ((stream, head) for stream in streams for head in (True, False)):
        read = {"logGroupName": group, "logStreamName": stream["logStreamName"], "limit": LINES}
        events = logs.get_log_events(**read, startFromHead=from_head)["events"]
        yield from (event["message"] for event in events if "REPORT " in event["message"])


def look_at_concurrency(deployment: Deployment) -> list[Finding]:
    """Whether the account allows as many executions as the stage may need at a time."""
    client = deployment.cloud.client("lambda")
    limit = client.get_account_settings()["AccountLimit"]
    free, all_of_them = limit["UnreservedConcurrentExecutions"], limit["ConcurrentExecutions"]
    needed = 2 + sum(_concurrency(client, queue, deployment.stage) for queue in deployment.queues)
    seen = _(
        "{free:,} of {total:,} concurrent executions are unreserved, and {stage} uses up to {needed}",
        free=free,
        total=all_of_them,
        stage=deployment.stage,
        needed=needed,
    )
    if free > max(needed, NEW_ACCOUNT):
        return [Finding(Level.OK, _("account"), seen)]
    ask = _("ask AWS for more (Service Quotas, Lambda, Concurrent executions), or Lambda throttles functions")
    return [Finding(Level.WARNING, _("account"), seen, ask)]


def _concurrency(client: Any, queue: Queue, stage: str) -> int:
    with suppress(ClientError):  # the function is missing, which has a line of its own
        found = client.list_event_source_mappings(FunctionName=queue.consumer.of(stage))
        mappings = found["EventSourceMappings"]
        return sum(mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0) for mapping in mappings)
    return 0


def one_line(text: object) -> str:
    """A text without line breaks."""
    return " ".join(str(text).split())
