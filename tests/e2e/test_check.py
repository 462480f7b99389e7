"""`fipe check` on a deployed local cloud: one part after the other is broken by hand, and it names each.

What a test breaks, it mends again. So each test also shows that the one before was noticed as mended.
"""

import json
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import psycopg2
import pytest

from fipe_api.aws.self_check import DROPPED
from fipe_api.source.pace import FRESH_MS
from fipe_cli import redrive_dlq
from fipe_cli.check import dead_letters
from fipe_cli.check.deployment import read_deployment
from fipe_cli.check.findings import Level
from fipe_cli.check.stage import check_stage
from fipe_cli.cloud import local_cloud
from fipe_simulator import SAMPLE_CATALOGUE, Fault, Faults, FipeSimulator, read_catalogue
from infrastructure.names import Function, log_group
from local_cloud.postgres import clusters
from local_cloud.state import LocalState
from tests.e2e.make import ROOT, Place, place
from tests.local_cloud_support import eventually

pytestmark = pytest.mark.walkthrough

PARTS = 47
UNCONFIRMED = (
    "warning  topic of the alarms: me@example.com has not confirmed, and gets no message."
    " To do: open the link in AWS's mail (look in spam, too); it is valid for two days"
)
"""Nobody gets mail from a local cloud, so this line is always there."""
BLOCKED = (
    "it blocks the address of this machine: wait, use a proxy (HTTPS_PROXY), or let the mirror answer"
    " meanwhile (PARALLELUM_CALLS_PER_DAY=500); docs/source.md says more"
)
AGAIN = (
    "make it again by hand as the stack's template has it; destroying and deploying the stage helps, too,"
    " but deletes its database"
)
SCRIPT = re.compile(
    r"`fipe --stage dev psql -1 -c 'set fipe.script_sha256 = '\"'\"'[0-9a-f]{64}'\"'\"'' -f"
    r" create_fipe_db.sql`"
    " makes tables, roles and rights as they should be"
)
REPORT = "REPORT RequestId: 1\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\t"


def logs_of(function: Function) -> str:
    return f"`fipe --stage dev logs --function {function} --level ERROR` shows more"


class Stage:
    """A stage that is deployed on a local cloud, with an alarm's address and a schedule."""

    def __init__(self, here: Place, source: FipeSimulator) -> None:
        self.here, self.source = here, source
        started = here.make("local-up", "SOURCE=fipe", "RATE=max", environment={"FIPE_API_URL": source.url})
        assert started.returncode == 0, started.stdout + started.stderr
        self.cloud = local_cloud(LocalState(here.folder), "dev")
        self.account = self.cloud.account()
        # What a command of the AWS command line begins with, so that it finds this cloud.
        self.aws = (
            "AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing aws --region us-east-1"
            f" --endpoint-url {self.cloud.endpoint}"
        )

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [ROOT / ".venv/bin/fipe", *arguments],
            env=self.here.environment(),
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def fipe(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / ".venv/bin/fipe", *arguments],
            env=self.here.environment(),
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def client(self, service: str) -> Any:
        return self.cloud.client(service)

    def lines(self) -> list[str]:
        """What a check finds that is not ok, line by line."""
        findings = list(check_stage(read_deployment(self.cloud)))
        return [finding.line() for finding in findings if finding.level is not Level.OK]

    def url(self, name: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    def arn(self, service: str, name: str) -> str:
        return f"arn:aws:{service}:us-east-1:{self.account}:{name}"

    def sql(self, *statements: str) -> None:
        """Runs statements as the master user, in one transaction."""
        ended = self.fipe("psql", "-1", *(part for statement in statements for part in ("-c", statement)))
        assert ended.returncode == 0, ended.stderr

    def sql_as_rds(self, *statements: str) -> None:
        """Runs statements as RDS itself: the master user may not drop roles."""
        cluster: Any = clusters(self.here.folder / "postgres")[0]
        database = cluster.connection().database
        variables = cluster.socket_environment("rdsadmin", database)
        place = {name.removeprefix("PG").lower(): value for name, value in variables.items()}
        place["dbname"] = place.pop("database")
        with closing(psycopg2.connect(**place)) as rds, rds, rds.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def run_the_script(self) -> None:
        """Does what a line says is to do."""
        line = next(one for one in self.lines() if "`fipe --stage dev psql" in one)
        command = shlex.split(line.split("`")[1])
        ended = self.fipe(*command[1:])
        assert ended.returncode == 0, ended.stderr

    def forget_the_outage(self) -> None:
        self.client("dynamodb").delete_item(TableName="fipe-pace-dev", Key={"source": {"S": "fipe"}})

    def messages(self) -> int:
        """Messages of all queues, and dead letters."""
        return sum(depth.messages + depth.dead for depth in self.cloud.queue_depths().values())


@pytest.fixture(scope="module")
def source() -> Iterator[FipeSimulator]:
    with FipeSimulator(read_catalogue(SAMPLE_CATALOGUE)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, source: FipeSimulator) -> Iterator[Stage]:
    with place(tmp_path_factory.mktemp("check")) as here, pytest.MonkeyPatch.context() as patch:
        # Only the checks that run in this process wait less.
        patch.setattr(dead_letters, "LOOK_SECONDS", 0.1)
        patch.setattr(redrive_dlq, "FOLLOW_SECONDS", 0.1)
        yield Stage(here, source)


@pytest.fixture(scope="module")
def stage(plain: Stage) -> Stage:
    """The stage after another deploy, with alarms by mail and a schedule."""
    ended = plain.here.make(
        "deploy-dev", "SCHEDULE=on", "ALARM_EMAIL=me@example.com", "CALLS_PER_MINUTE=max",
        f"FIPE_API_URL={plain.source.url}", "BATCHING_WINDOW_SECONDS=0",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "prove that every part works: make check-dev"
    return plain


def test_a_plain_local_cloud_is_all_ok(plain: Stage) -> None:
    before = plain.here.query("select count(*) from fipe.load_run union all select count(*) from fipe.price")
    ended = plain.here.make("check-dev")
    lines = ended.stdout.splitlines()
    assert (ended.returncode, {line.split()[0] for line in lines}) == (0, {"ok"}), ended.stdout
    assert len(lines) == PARTS
    assert "SCHEDULE=on would load every new month" in ended.stdout
    assert (
        plain.here.query("select count(*) from fipe.load_run union all select count(*) from fipe.price")
        == before
    )
    assert plain.messages() == 0


def test_checks_for_scripts_at_the_same_time_do_not_disturb_each_other(stage: Stage) -> None:
    checks = [stage.begin("check", "--json") for _ in range(2)]
    for check in checks:
        output, error = check.communicate(timeout=300)
        document = json.loads(output)
        assert (document["stage"], document["level"]) == ("dev", "warning"), output
        assert (check.returncode, error) == (0, "")
        assert [f"{one['part']}: {one['seen']}" for one in document["checks"] if one["level"] != "ok"] == [
            "topic of the alarms: me@example.com has not confirmed, and gets no message"
        ]
    schedule = next(one for one in document["checks"] if one["part"] == "schedule")
    assert schedule["seen"] == "cron(0 9 1-10 * ? *), America/Sao_Paulo, starts FipeManufacturerLoader-dev"


@contextmanager
def faults(stage: Stage, fault: Fault) -> Iterator[list[str]]:
    stage.source.faults = Faults.of(fault, rate=1)
    yield []
    stage.source.faults = Faults()
    stage.forget_the_outage()


@contextmanager
def source_blocked(stage: Stage) -> Iterator[list[str]]:
    with faults(stage, Fault.FORBIDDEN):
        yield [
            r"failed   official API: blocked for FipeManufacturerLoader: blocked by the source; try again in"
            rf" 1[12]\d s \({stage.source.url}\). To do: {re.escape(BLOCKED)}",
            r"warning  pace table: blocked: no call for (1 min \d+ s|2 min 0 s). To do: see the source",
        ]


@contextmanager
def source_down(stage: Stage) -> Iterator[list[str]]:
    with faults(stage, Fault.STATUS_502):
        yield [
            r"failed   official API: down for \w+: the source is down \(HTTP 502\); try again in \d+ s"
            rf" \({stage.source.url}\). To do: wait, or look whether the source works in a browser;"
            " loads go on by themselves",
        ]


@contextmanager
def source_throttles(stage: Stage) -> Iterator[list[str]]:
    # Whichever loader is refused first, the others do not ask any more.
    fault = Fault.TOO_MANY_REQUESTS_RETRY_AFTER
    stage.source.faults = Faults(rates={fault: 1}, retry_after_seconds=60)
    try:
        yield [
            r"warning  official API: throttled for \w+: (throttled by the source|the pace allows no call for"
            rf" now); try again in \d+ s \({stage.source.url}\)."
            " To do: wait; if it happens often, deploy with lower CALLS_PER_MINUTE",
            r"warning  pace table: throttled: no call for .*. To do: see the source",
        ]
    finally:
        stage.source.faults = Faults()
        stage.forget_the_outage()


@contextmanager
def source_with_other_answers(stage: Stage) -> Iterator[list[str]]:
    with faults(stage, Fault.TRUNCATED_JSON):
        yield [
            r"failed   official API: unusable for FipeManufacturerLoader: .*"
            rf" \({stage.source.url}\). To do: look in a browser whether the source has changed;"
            rf" docs/source.md",
        ]


@contextmanager
def role_missing(stage: Stage) -> Iterator[list[str]]:
    stage.sql_as_rds("drop owned by fipe_status", "drop role fipe_status")
    yield [
        'failed   database, as fipe_status: .* authentication failed for user "fipe_status".'
        f" To do: {SCRIPT.pattern}"
    ]
    stage.run_the_script()


@contextmanager
def wrong_secret(stage: Stage) -> Iterator[list[str]]:
    secrets = stage.client("secretsmanager")
    (found,) = secrets.list_secrets()["SecretList"]
    before = secrets.get_secret_value(SecretId=found["ARN"])["SecretString"]
    changed = json.dumps({**json.loads(before), "password": "another"})
    secrets.put_secret_value(SecretId=found["ARN"], SecretString=changed)
    yield ["(failed |warning) +database, as the master user: .* authentication failed for user .*"]
    secrets.put_secret_value(SecretId=found["ARN"], SecretString=before)


@contextmanager
def schema_of_another_script(stage: Stage) -> Iterator[list[str]]:
    stage.sql("update fipe.schema_version set script_sha256 = repeat('0', 64)")
    yield [
        "failed   schema: made by script 00000000, but script [0-9a-f]{8} is deployed."
        f" To do: {SCRIPT.pattern}"
    ]
    stage.run_the_script()


@contextmanager
def right_revoked(stage: Stage) -> Iterator[list[str]]:
    stage.sql("revoke insert on fipe.price from fipe_ingestor")
    yield [
        "failed   database, as fipe_ingestor: permission denied for table price.*. To do: " + SCRIPT.pattern
    ]
    stage.sql("grant insert on fipe.price to fipe_ingestor")


@contextmanager
def rare_right_revoked(stage: Stage) -> Iterator[list[str]]:
    stage.sql("revoke insert on fipe.price_revision from fipe_ingestor")
    yield [
        "failed   database, as fipe_ingestor: permission denied for table price_revision.*. To do: "
        + SCRIPT.pattern
    ]
    stage.sql("grant insert on fipe.price_revision to fipe_ingestor")


@contextmanager
def old_schema(stage: Stage) -> Iterator[list[str]]:
    stage.sql("alter table fipe.load_brand_plan rename column vehicles to cars")
    yield [
        'failed   database, as fipe_ingestor: column "vehicles" of relation "load_brand_plan" does'
        " not exist.*."
        f" To do: {SCRIPT.pattern}",
    ]
    stage.sql("alter table fipe.load_brand_plan rename column cars to vehicles")


@contextmanager
def attribute(stage: Stage, queue: str, name: str, value: str) -> Iterator[str]:
    """Gives a queue's attribute another value; the queue's URL."""
    sqs, url = stage.client("sqs"), stage.url(queue)
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={name: value})
    yield url
    sqs.set_queue_attributes(QueueUrl=url, Attributes={name: before})


@contextmanager
def policy_removed(stage: Stage, name: str, part: str) -> Iterator[list[str]]:
    with attribute(stage, name, "Policy", "") as url:
        yield [
            f"failed   {part}: its policy is missing or another: it accepts plain HTTP. To do:"
            rf" `{stage.aws} sqs set-queue-attributes --queue-url {url} --attributes .*aws:SecureTransport.*`"
        ]


def queue_policy_removed(stage: Stage) -> AbstractContextManager[list[str]]:
    return policy_removed(stage, "fipe-model-queue-dev", "model queue")


def dlq_policy_removed(stage: Stage) -> AbstractContextManager[list[str]]:
    return policy_removed(stage, "fipe-price-dlq-dev", "price DLQ")


@contextmanager
def redrive_policy_changed(stage: Stage) -> Iterator[list[str]]:
    target = stage.arn("sqs", "fipe-price-dlq-dev")
    changed = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 1})
    with attribute(stage, "fipe-price-queue-dev", "RedrivePolicy", changed) as url:
        yield [
            "failed   price queue: 0 messages; after 1 receive a message moves to fipe-price-dlq-dev. To do:"
            rf" `{stage.aws} sqs set-queue-attributes --queue-url {url} --attributes .*maxReceiveCount.*5.*`"
        ]


@contextmanager
def redrive_policy_of_another_queue(stage: Stage) -> Iterator[list[str]]:
    target = stage.arn("sqs", "fipe-model-dlq-dev")
    changed = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 5})
    with attribute(stage, "fipe-price-queue-dev", "RedrivePolicy", changed) as url:
        yield [
            "failed   price queue: 0 messages; after 5 receives a message moves to fipe-model-dlq-dev. To do:"
            rf" `{stage.aws} sqs set-queue-attributes --queue-url {url} --attributes .*fipe-price-dlq-dev.*`",
            "failed   price DLQ and back: AWS refuses: .* must be configured as a Dead Letter Queue",
        ]


def mapping(stage: Stage, function: Function) -> dict[str, Any]:
    name = function.of("dev")
    found = stage.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    (one,) = found
    return dict(one)


@contextmanager
def event_source_disabled(stage: Stage) -> Iterator[list[str]]:
    uuid = mapping(stage, Function.PRICE_LOADER)["UUID"]
    stage.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)
    yield [
        "failed   event source of FipePriceLoader: disabled: the messages of fipe-model-queue-dev wait."
        f" To do: `{stage.aws} lambda update-event-source-mapping --uuid {uuid} --enabled`",
        "failed   model DLQ and back: not tried: FipePriceLoader does not get messages."
        " To do: see FipePriceLoader and its event source above",
    ]
    stage.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=True)


@contextmanager
def event_source_deleted(stage: Stage) -> Iterator[list[str]]:
    known = mapping(stage, Function.MODEL_LOADER)
    stage.client("lambda").delete_event_source_mapping(UUID=known["UUID"])
    yield [
        "failed   event source of FipeModelLoader: missing: nothing brings it the messages of"
        f" fipe-manufacturer-queue-dev. To do: {AGAIN}",
        "failed   manufacturer DLQ and back: not tried: FipeModelLoader does not get messages."
        " To do: see FipeModelLoader and its event source above",
    ]
    stage.client("lambda").create_event_source_mapping(
        FunctionName="FipeModelLoader-dev",
        EventSourceArn=known["EventSourceArn"],
        BatchSize=known["BatchSize"],
        MaximumBatchingWindowInSeconds=known["MaximumBatchingWindowInSeconds"],
        ScalingConfig=known["ScalingConfig"],
        FunctionResponseTypes=known["FunctionResponseTypes"],
    )


@contextmanager
def dead_letter(stage: Stage) -> Iterator[list[str]]:
    sqs, url = stage.client("sqs"), stage.url("fipe-price-dlq-dev")
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    yield [
        "failed   price DLQ: 1 dead letter. To do: `fipe --stage dev redrive price --dry-run` shows why",
        "warning  price DLQ and back: not tried, as it would move 1 dead letter back."
        " To do: `fipe --stage dev redrive price`",
    ]
    sqs.purge_queue(QueueUrl=url)


@contextmanager
def function_crashes(stage: Stage) -> Iterator[list[str]]:
    with handler(stage, Function.PRICE_LOADER, "fipe_api.nowhere.handler"):
        yield [
            "failed   FipePriceLoader: fails: Unable to import module 'fipe_api.nowhere': No module named"
            f" 'fipe_api.nowhere'. To do: {logs_of(Function.PRICE_LOADER)}",
            "failed   model DLQ and back: not tried: FipePriceLoader does not get messages."
            " To do: see FipePriceLoader and its event source above",
        ]


@contextmanager
def function_of_another_release(stage: Stage) -> Iterator[list[str]]:
    with handler(stage, Function.LOAD_STATUS, "json.loads"):
        yield [
            "failed   FipeLoadStatus: fails: .*. To do: " + logs_of(Function.LOAD_STATUS),
            "failed   database, by FipeLoadStatus: not looked at. To do: see FipeLoadStatus above",
        ]


@contextmanager
def handler(stage: Stage, function: Function, changed: str) -> Iterator[None]:
    client, name = stage.client("lambda"), function.of("dev")
    before = client.get_function_configuration(FunctionName=name)["Handler"]
    client.update_function_configuration(FunctionName=name, Handler=changed)
    yield
    client.update_function_configuration(FunctionName=name, Handler=before)


@contextmanager
def report(stage: Stage, function: Function, line: str) -> Iterator[None]:
    """A function's log with one more line."""
    logs, group = stage.client("logs"), log_group(function.of("dev"))
    logs.create_log_stream(logGroupName=group, logStreamName="by-hand")
    event = {"timestamp": int(time.time() * 1000) + 5000, "message": line}
    logs.put_log_events(logGroupName=group, logStreamName="by-hand", logEvents=[event])
    yield
    logs.delete_log_stream(logGroupName=group, logStreamName="by-hand")


@contextmanager
def memory_near_its_end(stage: Stage) -> Iterator[list[str]]:
    with report(stage, Function.PRICE_LOADER, f"{REPORT}Max Memory Used: 120 MB"):
        yield [
            r"warning  log of FipePriceLoader: at most 120 of 128 MB used, the longest init took [\d.]+ s:"
            " near its memory's end. To do: give FipePriceLoader more memory in infrastructure/, and deploy"
            " it"
        ]


@contextmanager
def init_near_its_end(stage: Stage) -> Iterator[list[str]]:
    line = f"{REPORT}Max Memory Used: 60 MB\tInit Duration: 9321.10 ms"
    with report(stage, Function.MODEL_LOADER, line):
        yield [
            r"warning  log of FipeModelLoader: at most \d+ of 128 MB used, the longest init took 9.3 s;"
            r" Lambda allows 10 s. To do: deploy compiled layers \(lambda-layer/README.md\)"
        ]


@contextmanager
def log_group_missing(stage: Stage) -> Iterator[list[str]]:
    logs, group = stage.client("logs"), "/aws/lambda/FipeModelLoader-dev"
    logs.delete_log_group(logGroupName=group)
    yield [
        f"failed   log of FipeModelLoader: the log group {group} is missing."
        f" To do: `{stage.aws} logs create-log-group --log-group-name {group}`;"
        " until then its lines are lost",
        f"failed   manufacturer DLQ and back: the log group {group} is missing, so nothing says"
        f" whether it came"
        f" back. To do: {logs_of(Function.MODEL_LOADER)}",
    ]
    logs.create_log_group(logGroupName=group)


@contextmanager
def pace_table_missing(stage: Stage) -> Iterator[list[str]]:
    dynamodb = stage.client("dynamodb")
    dynamodb.delete_table(TableName="fipe-pace-dev")
    time.sleep(FRESH_MS / 1000)  # for so long a loader believes what it read in the check before
    yield [
        r"failed   official API: not asked for FipeManufacturerLoader: the pace table is missing, and without"
        rf" it no loader calls a source \({stage.source.url}\). To do: see the pace table below",
        f"failed   pace table: fipe-pace-dev is missing, and without it no loader calls a source."
        f" To do: {AGAIN}",
        rf"failed   list of months: table fipe-pace-dev is missing: .*. To do: {AGAIN}",
    ]
    ended = stage.fipe("load")
    assert (ended.returncode, ended.stderr) == (
        3,
        "error: the pace table is missing, and without it no loader calls a source; `make check-dev` says"
        " what to do\n",
    )
    dynamodb.create_table(
        TableName="fipe-pace-dev",
        KeySchema=[{"AttributeName": "source", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "source", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


@contextmanager
def schedule(stage: Stage, **changes: Any) -> Iterator[None]:
    scheduler = stage.client("scheduler")
    found = scheduler.get_schedule(Name="fipe-load-dev")
    needed = (
        "Name",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "FlexibleTimeWindow",
        "Target",
        "State",
    )
    before = {name: found[name] for name in needed}
    scheduler.update_schedule(**before | changes)
    yield
    scheduler.update_schedule(**before)


@contextmanager
def schedule_disabled(stage: Stage) -> Iterator[list[str]]:
    with schedule(stage, State="DISABLED"):
        yield [
            r"failed   schedule: cron\(0 9 1-10 \* \? \*\), America/Sao_Paulo, is disabled: no load"
            r" will start."
            r" To do: enable it in the console \(EventBridge, Schedules\)"
        ]


@contextmanager
def schedule_of_another_function(stage: Stage) -> Iterator[list[str]]:
    target = {"Arn": stage.arn("lambda", "function:Other"), "RoleArn": stage.arn("iam", "role/test")}
    with schedule(stage, Target=target):
        yield [
            r"failed   schedule: cron\(0 9 1-10 \* \? \*\), America/Sao_Paulo, starts Other instead of"
            r" FipeManufacturerLoader-dev. To do: set its target in the console \(EventBridge, Schedules\)"
        ]


@contextmanager
def schedule_missing(stage: Stage) -> Iterator[list[str]]:
    scheduler = stage.client("scheduler")
    found = scheduler.get_schedule(Name="fipe-load-dev")
    scheduler.delete_schedule(Name="fipe-load-dev")
    yield [f"failed   schedule: fipe-load-dev is missing. To do: {AGAIN}"]
    needed = (
        "Name",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "FlexibleTimeWindow",
        "Target",
        "State",
    )
    scheduler.create_schedule(**{name: found[name] for name in needed})


@contextmanager
def alarm(stage: Stage, name: str, **changes: Any) -> Iterator[None]:
    watch = stage.client("cloudwatch")
    (found,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    needed = (
        "AlarmName", "AlarmDescription", "ActionsEnabled", "AlarmActions", "MetricName", "Namespace",
        "Statistic", "Dimensions", "Period", "EvaluationPeriods", "Threshold", "ComparisonOperator",
        "TreatMissingData",
    )  # fmt: skip
    before = {key: found[key] for key in needed}
    if changes:
        watch.put_metric_alarm(**before | changes)
    else:
        watch.delete_alarms(AlarmNames=[name])
    yield
    watch.put_metric_alarm(**before)


@contextmanager
def alarm_without_action(stage: Stage) -> Iterator[list[str]]:
    name = "fipe-price-dlq-not-empty-dev"
    with alarm(stage, name, AlarmActions=[]):
        yield [
            f"failed   alarms: nobody is notified by {name}. To do: `{stage.aws} cloudwatch"
            f" enable-alarm-actions --alarm-names {name}`, or give it the topic as its action"
        ]


@contextmanager
def alarm_missing(stage: Stage) -> Iterator[list[str]]:
    with alarm(stage, "fipe-price-dlq-not-empty-dev"):
        yield [f"failed   alarms: missing: fipe-price-dlq-not-empty-dev. To do: {AGAIN}"]


@contextmanager
def alarm_on(stage: Stage) -> Iterator[list[str]]:
    name, watch = "fipe-FipePriceLoader-errors-dev", stage.client("cloudwatch")
    watch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    yield [
        f"warning  alarms: on: {name}. To do: `{stage.aws} cloudwatch describe-alarms --alarm-names {name}`"
        f" says in each"
        " description"
    ]
    watch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="by hand")


@contextmanager
def concurrency_of_a_new_account(stage: Stage) -> Iterator[list[str]]:
    client = stage.client("lambda")
    client.put_function_concurrency(FunctionName="FipeSqlInit-dev", ReservedConcurrentExecutions=990)
    yield [
        "warning  account: 10 of 1,000 concurrent executions are unreserved, and dev uses up to 10."
        " To do: ask AWS"
        r" for more \(Service Quotas, Lambda, Concurrent executions\), or Lambda throttles functions"
    ]
    client.delete_function_concurrency(FunctionName="FipeSqlInit-dev")


@contextmanager
def backlog(stage: Stage) -> Iterator[list[str]]:
    uuid = mapping(stage, Function.SOMA_INGESTOR)["UUID"]
    stage.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=False)
    time.sleep(1.5)  # the poller looks at its mapping once a second
    url = stage.url("fipe-price-queue-dev")
    stage.client("sqs").send_message(
        QueueUrl=url, MessageBody='{"check": "left by a command that was killed"}'
    )
    yield [
        "failed   event source of FipeSomaIngestor: disabled: the messages of fipe-price-queue-dev"
        " wait. To do: .*",
        "failed   price DLQ and back: not tried: FipeSomaIngestor does not get messages. To do: .*",
    ]
    stage.client("lambda").update_event_source_mapping(UUID=uuid, Enabled=True)
    eventually(lambda: stage.messages() == 0)


Break = Callable[[Stage], Any]


@pytest.mark.parametrize(
    "broken",
    [
        wrong_secret, schema_of_another_script,
        source_blocked, source_down, source_throttles, source_with_other_answers,
        role_missing, right_revoked, rare_right_revoked, old_schema,
        queue_policy_removed, dlq_policy_removed, redrive_policy_changed, redrive_policy_of_another_queue,
        event_source_disabled, event_source_deleted, dead_letter, backlog,
        function_crashes, function_of_another_release, memory_near_its_end, init_near_its_end,
        log_group_missing, pace_table_missing,
        schedule_disabled, schedule_of_another_function, schedule_missing,
        alarm_without_action, alarm_missing, alarm_on, concurrency_of_a_new_account,
    ],
    ids=lambda broken: broken.__name__,
)  # fmt: skip
def test_names_what_is_broken(stage: Stage, broken: Break) -> None:
    with broken(stage) as expected:
        lines = stage.lines()
    print(broken.__name__, *lines, sep="\n")
    lines.remove(UNCONFIRMED)
    assert len(lines) == len(expected)
    for line, pattern in zip(lines, expected, strict=True):
        assert line == pattern or re.fullmatch(pattern, line), pattern


def test_a_subscription_that_is_gone(stage: Stage) -> None:
    sns, topic = stage.client("sns"), stage.arn("sns", "fipe-alarms-dev")
    (subscription,) = sns.list_subscriptions()["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    assert stage.lines() == [
        "warning  topic of the alarms: the subscription of ALARM_EMAIL is gone. To do:"
        f" `{stage.aws} sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS`"
    ]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="me@example.com")
    assert stage.lines() == [UNCONFIRMED]


def test_what_a_check_did_is_in_the_logs_alone(stage: Stage) -> None:
    assert stage.lines() == [UNCONFIRMED]
    assert stage.messages() == 0
    dropped = stage.client("logs").filter_log_events(
        logGroupName="/aws/lambda/FipeSomaIngestor-dev", filterPattern=f'"{DROPPED}"'
    )
    assert dropped["events"]
    assert stage.here.query(
        "select (select count(*) from fipe.load_run) + (select count(*) from fipe.model)"
    ) == ["0"]


def test_a_check_that_is_interrupted_leaves_nothing_behind(stage: Stage) -> None:
    for seconds in (1.0, 1.6, 2.2):
        check = stage.begin("check")
        time.sleep(seconds)
        check.send_signal(signal.SIGINT)
        _, error = check.communicate(timeout=30)
        assert (check.returncode, error) in ((130, "interrupted\n"), (0, "")), error
        eventually(lambda: stage.messages() == 0)


def test_a_load_says_at_once_that_the_source_blocks_this_address(stage: Stage) -> None:
    with faults(stage, Fault.FORBIDDEN):
        begun = time.monotonic()
        ended = stage.fipe("load", "--brands", "Acura")
        assert time.monotonic() - begun < 60
        first, second, _ = ended.stdout.splitlines()
        assert re.fullmatch(r"run \S+ waits to start: blocked by the source; try again in 1[12]\d s", first)
        assert second == f"the source: {BLOCKED}"
        stage.client("sqs").purge_queue(QueueUrl=stage.url("fipe-manufacturer-queue-dev"))


def test_a_function_and_a_queue_that_are_gone(stage: Stage) -> None:
    """The last test: nothing makes them again."""
    stage.client("lambda").delete_function(FunctionName="FipeLoadStatus-dev")
    stage.client("sqs").delete_queue(QueueUrl=stage.url("fipe-manufacturer-dlq-dev"))
    lines = stage.lines()
    assert f"failed   FipeLoadStatus: the function is missing. To do: {AGAIN}" in lines
    assert f"failed   manufacturer DLQ: fipe-manufacturer-dlq-dev is missing. To do: {AGAIN}" in lines
    ended = stage.fipe("check")
    assert ended.returncode == 1


def test_a_stage_that_is_not_deployed(stage: Stage) -> None:
    ended = stage.fipe("--stage", "stg", "check")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == (
        "error: stack FipeDataStack-stg is missing: stg on"
        f" {stage.cloud.endpoint} is not deployed; run `make deploy-stg`\n"
    )
