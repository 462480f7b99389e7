"""What watches and starts loads: the pace table, the alarms, their topic, the schedule."""

from botocore.exceptions import ClientError

from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.errors import CliError
from fipe_cli.ledger import read_waits
from fipe_cli.month_list import progress_of, read_list
from fipe_cli.progress import Waits, list_words, refused
from fipe_words import _, marked, plural
from infrastructure import names
from infrastructure.names import OPTIONAL_QUEUES, Function

LATE_SECONDS = 3600
"""What was not told for so long has met a fault. Usually it takes at most 15 minutes."""
ACTIVE = marked("active")
"""The state of a table that works; other states stay as AWS names them."""
PENDING, DELETED = "PendingConfirmation", "Deleted"
"""What SNS lists instead of the ARN of such a subscription."""


def read_pace(deployment: Deployment) -> tuple[list[Finding], Waits | None]:
    """Whether the pace table is there, and what it makes the loaders wait for."""
    part, table = _("pace table"), names.pace_table(deployment.stage)
    try:
        found = deployment.cloud.client("dynamodb").describe_table(TableName=table)["Table"]
        waits = read_waits(deployment.cloud)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        seen = _("{table} is missing, and without it no loader calls a source", table=table)
        return [Finding(Level.FAILED, part, seen, deployment.deploy_again)], None
    except CliError as error:
        return [Finding(Level.FAILED, part, str(error), deployment.deploy_again)], None
    if waits.refusal:
        seen = refused(waits.refusal)
        return [Finding(Level.WARNING, part, seen, _("see the source"))], waits
    return [
        Finding(Level.OK, part, _("{status}; loaders may call", status=_(found["TableStatus"].lower())))
    ], waits


def look_at_alarms(deployment: Deployment) -> list[Finding]:
    """Whether every alarm is there and notifies somebody, and which are on."""
    part = _("alarms")
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
        found.append(
            Finding(
                Level.FAILED,
                part,
                _("missing: {what}", what=", ".join(missing)),
                deployment.deploy_again,
            )
        )
    silent = sorted(
        name for name, alarm in alarms.items() if not (alarm["ActionsEnabled"] and alarm["AlarmActions"])
    )
    if silent:
        command = deployment.cloud.aws_command("cloudwatch", "enable-alarm-actions", "--alarm-names", *silent)
        found.append(
            Finding(
                Level.FAILED,
                part,
                _("nobody is notified by {alarms}", alarms=", ".join(silent)),
                _("{command}, or give it the topic as its action", command=command),
            )
        )
    on = sorted(name for name, alarm in alarms.items() if alarm["StateValue"] == "ALARM")
    if on:
        command = deployment.cloud.aws_command("cloudwatch", "describe-alarms", "--alarm-names", *on)
        what_each_means = _("{command} says in each description", command=command)
        found.append(Finding(Level.WARNING, part, _("on: {alarms}", alarms=", ".join(on)), what_each_means))
    seen = plural(
        "{number:,} alarm, with an action; it is not on",
        "{number:,} alarms, each with an action; none is on",
        len(alarms),
    )
    return found or [Finding(Level.OK, part, seen)]


def look_at_topic(deployment: Deployment) -> list[Finding]:
    """Whether the topic is there, and those who asked for its messages have confirmed that."""
    part, topic = _("topic of the alarms"), names.alarm_topic(deployment.stage)
    # The stage's own queues are no people.
    own = tuple(f":{queue.of(deployment.stage)}" for queue in OPTIONAL_QUEUES)
    arns = [arn for arn in deployment.resources.get("AWS::SNS::Topic", ()) if arn.endswith(topic)]
    sns = deployment.cloud.client("sns")
    try:
        found = [
            each
            for arn in arns
            for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            for each in page["Subscriptions"]
            if each["SubscriptionArn"] != DELETED and not each["Endpoint"].endswith(own)
        ]
    except sns.exceptions.NotFoundException:
        arns = []
    if not arns:
        return [Finding(Level.FAILED, part, _("{topic} is missing", topic=topic), deployment.deploy_again)]
    pending = [each["Endpoint"] for each in found if each["SubscriptionArn"] == PENDING]
    if pending:
        seen = _("{who} has not confirmed, and gets no message", who=", ".join(pending))
        confirm = _("open the link in AWS's mail (look in spam, too); it is valid for two days")
        return [Finding(Level.WARNING, part, seen, confirm)]
    if found:
        confirmed = ", ".join(each["Endpoint"] for each in found)
        return [Finding(Level.OK, part, _("{who} is notified", who=confirmed))]
    deployed = len(deployment.resources.get("AWS::SNS::Subscription", ()))
    if deployed > len(OPTIONAL_QUEUES.intersection(deployment.queues)):
        subscribe = deployment.cloud.aws_command(
            *("sns", "subscribe", "--topic-arn", arns[0], "--protocol", "email"),
            *("--notification-endpoint", "ADDRESS"),
        )
        return [Finding(Level.WARNING, part, _("the subscription of ALARM_EMAIL is gone"), subscribe)]
    seen = _("nobody has subscribed; ALARM_EMAIL=... at a deploy would")
    return [Finding(Level.OK, part, seen)]


def look_at_announcements(deployment: Deployment) -> list[Finding]:
    """Whether everything was told that happened more than an hour ago."""
    part = _("announcements")
    try:
        asked = {"untold_for": LATE_SECONDS}
        untold = deployment.cloud.invoke(Function.LOAD_STATUS, asked, only_reads=True)["untold"]
    except CliError as error:
        return [Finding(Level.FAILED, part, one_line(error), deployment.look_at_logs(Function.LOAD_STATUS))]
    if not untold:
        return [Finding(Level.OK, part, _("nothing has waited for an hour to be told"))]
    what = ", ".join(" ".join(filter(None, (each["kind"], each["reference_month"]))) for each in untold)
    seen = plural(
        "{number:,} was not told for an hour: {what}",
        "{number:,} were not told for an hour: {what}",
        len(untold),
        what=what,
    )
    return [Finding(Level.WARNING, part, seen, f"`fipe --stage {deployment.stage} redrive announcement`")]


def look_at_list(deployment: Deployment) -> list[Finding]:
    """Whether something moves the list of months on, if there is one."""
    part = _("list of months")
    try:
        found = read_list(deployment.cloud)
    except CliError as error:
        return [Finding(Level.FAILED, part, str(error), deployment.deploy_again)]
    if found is None:
        return [Finding(Level.OK, part, _("none was started"))]
    progress = progress_of(found)
    seen = ", ".join(list_words(progress))
    if progress.is_stuck:
        return [Finding(Level.WARNING, part, seen, f"`fipe --stage {deployment.stage} backfill --resume`")]
    return [Finding(Level.OK, part, _("stopped: {progress}", progress=seen) if found.stopped else seen)]


def look_at_schedule(deployment: Deployment) -> list[Finding]:
    """Whether the schedule is on and starts the right function, if one was deployed."""
    part, name = _("schedule"), names.schedule(deployment.stage)
    if name not in deployment.resources.get("AWS::Scheduler::Schedule", ()):
        return [Finding(Level.OK, part, _("none was deployed; SCHEDULE=on would load every new month"))]
    scheduler = deployment.cloud.client("scheduler")
    try:
        schedule = scheduler.get_schedule(Name=name)
    except scheduler.exceptions.ResourceNotFoundException:
        return [Finding(Level.FAILED, part, _("{name} is missing", name=name), deployment.deploy_again)]
    when = f"{schedule['ScheduleExpression']}, {schedule.get('ScheduleExpressionTimezone', 'UTC')}"
    target = schedule["Target"]["Arn"].rpartition(":")[2]
    wanted = Function.MANUFACTURER_LOADER.of(deployment.stage)
    if target != wanted:
        seen = _("{when}, starts {target} instead of {wanted}", when=when, target=target, wanted=wanted)
        return [
            Finding(Level.FAILED, part, seen, _("set its target in the console (EventBridge, Schedules)"))
        ]
    if schedule["State"] != "ENABLED":
        seen = _("{when}, is disabled: no load will start", when=when)
        return [Finding(Level.FAILED, part, seen, _("enable it in the console (EventBridge, Schedules)"))]
    return [Finding(Level.OK, part, _("{when}, starts {wanted}", when=when, wanted=wanted))]
