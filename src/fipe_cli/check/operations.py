"""What watches and starts loads: the pace table, the alarms, their topic, the schedule."""

from botocore.exceptions import ClientError

from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.errors import CliError
from fipe_cli.ledger import read_waits
from fipe_cli.month_list import progress_of, read_list
from fipe_cli.progress import Waits, counted, duration, list_words
from infrastructure import names
from infrastructure.names import Function

GOOD_NEWS = "load-complete"
PENDING, DELETED = "PendingConfirmation", "Deleted"
"""What SNS lists instead of the ARN of such a subscription."""


def read_pace(deployment: Deployment) -> tuple[list[Finding], Waits | None]:
    """Whether the pace table is there, and what it makes the loaders wait for."""
    part, table = "pace table", names.pace_table(deployment.stage)
    try:
        found = deployment.cloud.client("dynamodb").describe_table(TableName=table)["Table"]
        waits = read_waits(deployment.cloud)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        seen = f"{table} is missing, and without it no loader calls a source"
        return [Finding(Level.FAILED, part, seen, deployment.deploy_again)], None
    except CliError as error:
        return [Finding(Level.FAILED, part, str(error), deployment.deploy_again)], None
    if waits.refusal:
        seen = f"{waits.refusal.reason}: no call for {duration(waits.refusal.seconds)}"
        return [Finding(Level.WARNING, part, seen, "see the source")], waits
    return [Finding(Level.OK, part, f"{found['TableStatus'].lower()}; loaders may call")], waits


def look_at_alarms(deployment: Deployment) -> list[Finding]:
    """Whether every alarm is there and notifies somebody, and which are on."""
    part = "alarms"
    expected = deployment.resources.get("AWS::CloudWatch::Alarm", frozenset())
    pages = deployment.cloud.client("cloudwatch").get_paginator("describe_alarms")
    alarms = {
        alarm["AlarmName"]: alarm
        for page in pages.paginate(AlarmNamePrefix=names.alarm("*", deployment.stage).partition("*")[0])
        for alarm in page["MetricAlarms"]
        if alarm["AlarmName"] in expected
    }
    found = []
    missing = sorted(expected - alarms.keys())
    if missing:
        found.append(Finding(Level.FAILED, part, f"missing: {', '.join(missing)}", deployment.deploy_again))
    silent = sorted(
        name for name, alarm in alarms.items() if not (alarm["ActionsEnabled"] and alarm["AlarmActions"])
    )
    if silent:
        enable = f"`aws cloudwatch enable-alarm-actions --alarm-names {' '.join(silent)}`"
        seen = f"nobody is notified by {', '.join(silent)}"
        found.append(Finding(Level.FAILED, part, seen, f"{enable}, or give it the topic as its action"))
    on = sorted(
        name for name, alarm in alarms.items() if alarm["StateValue"] == "ALARM" and GOOD_NEWS not in name
    )
    if on:
        look = f"`aws cloudwatch describe-alarms --alarm-names {' '.join(on)}` says in each description"
        found.append(Finding(Level.WARNING, part, f"on: {', '.join(on)}", look))
    seen = f"{counted(len(alarms), 'alarm')}, each with an action; none is on"
    return found or [Finding(Level.OK, part, seen)]


def look_at_topic(deployment: Deployment) -> list[Finding]:
    """Whether the topic is there, and those who asked for its messages have confirmed that."""
    part, topic = "topic of the alarms", names.alarm_topic(deployment.stage)
    arns = [arn for arn in deployment.resources.get("AWS::SNS::Topic", ()) if arn.endswith(topic)]
    sns = deployment.cloud.client("sns")
    try:
        found = [
            each
            for arn in arns
            for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            for each in page["Subscriptions"]
            if each["SubscriptionArn"] != DELETED
        ]
    except sns.exceptions.NotFoundException:
        arns = []
    if not arns:
        return [Finding(Level.FAILED, part, f"{topic} is missing", deployment.deploy_again)]
    pending = [each["Endpoint"] for each in found if each["SubscriptionArn"] == PENDING]
    if pending:
        seen = f"{', '.join(pending)} has not confirmed, and gets no message"
        confirm = "open the link in AWS's mail (look in spam, too); it is valid for two days"
        return [Finding(Level.WARNING, part, seen, confirm)]
    if found:
        confirmed = ", ".join(each["Endpoint"] for each in found)
        return [Finding(Level.OK, part, f"{confirmed} is notified")]
    if deployment.resources.get("AWS::SNS::Subscription"):
        subscribe = (
            f"`aws sns subscribe --topic-arn {arns[0]} --protocol email --notification-endpoint ADDRESS`"
        )
        return [Finding(Level.WARNING, part, "the subscription of ALARM_EMAIL is gone", subscribe)]
    seen = "nobody has subscribed; ALARM_EMAIL=... at a deploy would"
    return [Finding(Level.OK, part, seen)]


def look_at_list(deployment: Deployment) -> list[Finding]:
    """Whether something moves the list of months on, if there is one."""
    part = "list of months"
    try:
        found = read_list(deployment.cloud)
    except CliError as error:
        return [Finding(Level.FAILED, part, str(error), deployment.deploy_again)]
    if found is None:
        return [Finding(Level.OK, part, "none was started")]
    progress = progress_of(found)
    seen = ", ".join(list_words(progress))
    if progress.is_stuck:
        return [Finding(Level.WARNING, part, seen, f"`fipe --stage {deployment.stage} backfill --resume`")]
    return [Finding(Level.OK, part, f"stopped; {seen}" if found.stopped else seen)]


def look_at_schedule(deployment: Deployment) -> list[Finding]:
    """Whether the schedule is on and starts the right function, if one was deployed."""
    part, name = "schedule", names.schedule(deployment.stage)
    if name not in deployment.resources.get("AWS::Scheduler::Schedule", ()):
        return [Finding(Level.OK, part, "none was deployed; SCHEDULE=on would load every new month")]
    scheduler = deployment.cloud.client("scheduler")
    try:
        schedule = scheduler.get_schedule(Name=name)
    except scheduler.exceptions.ResourceNotFoundException:
        return [Finding(Level.FAILED, part, f"{name} is missing", deployment.deploy_again)]
    when = f"{schedule['ScheduleExpression']}, {schedule.get('ScheduleExpressionTimezone', 'UTC')}"
    target = schedule["Target"]["Arn"].rpartition(":")[2]
    wanted = Function.MANUFACTURER_LOADER.of(deployment.stage)
    if target != wanted:
        seen = f"{when}, starts {target} instead of {wanted}"
        return [Finding(Level.FAILED, part, seen, "set its target in the console (EventBridge, Schedules)")]
    if schedule["State"] != "ENABLED":
        seen = f"{when}, is disabled: no load will start"
        return [Finding(Level.FAILED, part, seen, "enable it in the console (EventBridge, Schedules)")]
    return [Finding(Level.OK, part, f"{when}, starts {wanted}")]
