"""The queues, their dead letter queues and what reads them."""

import json
from concurrent.futures import Future
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.cloud import Cloud
from fipe_words import _, counted
from infrastructure.names import Queue


class Source(NamedTuple):
    """What brings a function its queue's messages.

    Attributes:
        works: whether it does.
        window: for how many seconds a batch is gathered.
        batch: how many messages the function gets at a time.
    """

    works: bool
    window: int = 0
    batch: int = 0


def look_at_queue(deployment: Deployment, queue: Queue, letters: Future[int]) -> list[Finding]:
    """Whether the queue and its DLQ are as they were deployed, and the DLQ is empty.

    Args:
        deployment: the stage.
        queue: which queue.
        letters: how many dead letters it has.
    """
    sqs = deployment.cloud.client("sqs")
    name, dlq_name = queue.of(deployment.stage), queue.dlq(deployment.stage)
    part, dlq_part = _("{queue} queue", queue=queue), f"{queue} DLQ"
    main, dead = _attributes(sqs, name), _attributes(sqs, dlq_name)
    found = []
    if main is None:
        found.append(Finding(Level.FAILED, part, _("{name} is missing", name=name), deployment.deploy_again))
    else:
        found.append(_look_at_main(deployment.cloud, part, main, dead, deployment.receives.get(name)))
    if dead is None:
        found.append(
            Finding(Level.FAILED, dlq_part, _("{name} is missing", name=dlq_name), deployment.deploy_again)
        )
    else:
        found.append(_look_at_dlq(deployment.cloud, queue, dlq_part, dead, letters.result()))
    return found


def _look_at_main(
    cloud: Cloud, part: str, main: dict[str, str], dead: dict[str, str] | None, receives: int | None
) -> Finding:
    waiting = counted(_messages(main), "message")
    wanted = {"deadLetterTargetArn": dead["QueueArn"] if dead else "", "maxReceiveCount": receives}
    has = json.loads(main.get("RedrivePolicy") or "{}")
    if not has:
        seen = _("{waiting}; a message that fails never becomes a dead letter", waiting=waiting)
        return Finding(Level.FAILED, part, seen, _set(cloud, main["QueueUrl"], "RedrivePolicy", wanted))
    target, count = has["deadLetterTargetArn"], int(has["maxReceiveCount"])
    if target != wanted["deadLetterTargetArn"] or (receives and count != receives):
        seen = _(
            "{waiting}; after {receives} a message moves to {where}",
            waiting=waiting,
            receives=counted(count, "receive"),
            where=target.rpartition(":")[2],
        )
        return Finding(Level.FAILED, part, seen, _set(cloud, main["QueueUrl"], "RedrivePolicy", wanted))
    if not _refuses_http(main):
        return _open_to_http(cloud, part, main)
    where = target.rpartition(":")[2]
    seen = _(
        "{waiting}; after {receives} a message moves to {where}; refuses plain HTTP",
        waiting=waiting,
        receives=counted(count, "receive"),
        where=where,
    )
    return Finding(Level.OK, part, seen)


def _look_at_dlq(cloud: Cloud, queue: Queue, part: str, dead: dict[str, str], letters: int) -> Finding:
    if letters:
        look = _("`fipe --stage {stage} redrive {queue} --dry-run` shows why", stage=cloud.stage, queue=queue)
        return Finding(Level.FAILED, part, counted(letters, "dead letter"), look)
    if not _refuses_http(dead):
        return _open_to_http(cloud, part, dead)
    return Finding(Level.OK, part, _("empty; refuses plain HTTP"))


def _refuses_http(attributes: dict[str, str]) -> bool:
    policy = json.loads(attributes.get("Policy") or "{}")
    return any(
        statement["Effect"] == "Deny"
        and statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        for statement in policy.get("Statement", [])
    )


def _open_to_http(cloud: Cloud, part: str, attributes: dict[str, str]) -> Finding:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": attributes["QueueArn"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    seen = _("its policy is missing or another: it accepts plain HTTP")
    return Finding(Level.FAILED, part, seen, _set(cloud, attributes["QueueUrl"], "Policy", policy))


def _set(cloud: Cloud, url: str, attribute: str, value: object) -> str:
    """The command that sets an attribute of a queue."""
    attributes = json.dumps({attribute: json.dumps(value)})
    return cloud.aws_command("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", attributes)


def _attributes(sqs: Any, name: str) -> dict[str, str] | None:
    """All attributes of a queue and its URL; None if there is no such queue."""
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except ClientError as error:
        if "NonExistentQueue" in error.response["Error"]["Code"]:
            return None
        raise
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return {**found, "QueueUrl": url}


def _messages(attributes: dict[str, str]) -> int:
    return sum(
        int(attributes[f"ApproximateNumberOfMessages{state}"]) for state in ("", "NotVisible", "Delayed")
    )


def look_at_event_source(deployment: Deployment, queue: Queue) -> tuple[Finding, Source]:
    """Whether the queue's function gets its messages."""
    function = queue.consumer
    part = _("event source of {function}", function=function)
    client = deployment.cloud.client("lambda")
    name, of_queue = function.of(deployment.stage), f":{queue.of(deployment.stage)}"
    try:
        mappings = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    except client.exceptions.ResourceNotFoundException:
        mappings = []
    mapping = next((each for each in mappings if each["EventSourceArn"].endswith(of_queue)), None)
    if mapping is None:
        seen = _("missing: nothing brings it the messages of {queue}", queue=of_queue[1:])
        return Finding(Level.FAILED, part, seen, deployment.deploy_again), Source(works=False)
    window, state = mapping["MaximumBatchingWindowInSeconds"], mapping["State"]
    if state != "Enabled":
        enable = deployment.cloud.aws_command(
            "lambda", "update-event-source-mapping", "--uuid", mapping["UUID"], "--enabled"
        )
        level = Level.FAILED if state in ("Disabled", "Disabling") else Level.WARNING
        seen = _("{state}: the messages of {queue} wait", state=state.lower(), queue=of_queue[1:])
        return Finding(level, part, seen, enable), Source(works=False)
    source = Source(works=True, window=window, batch=mapping["BatchSize"])
    problem = mapping.get("LastProcessingResult") or ""
    seen = _(
        "enabled; batches of up to {batch_size}, gathered for {window} s, at most {most} at a time",
        batch_size=mapping["BatchSize"],
        window=window,
        most=mapping.get("ScalingConfig", {}).get("MaximumConcurrency", _("any number")),
    )
    if problem.startswith("PROBLEM"):
        level, seen = Level.WARNING, _("{seen}; Lambda says {problem!r}", seen=seen, problem=problem)
        return Finding(level, part, seen, deployment.look_at_logs(function)), source
    return Finding(Level.OK, part, seen), source
