"""What lies in a dead letter queue, why, and how it gets back: SQS's move tasks, and our command."""

import io
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from typer.testing import CliRunner

from fipe_api.aws.self_check import DROPPED
from fipe_cli import redrive_dlq
from fipe_cli.__main__ import app
from fipe_cli.background import in_background
from fipe_cli.check import dead_letters
from fipe_cli.check.dead_letters import Door, count_letters
from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.queues import Source
from fipe_cli.cloud import Cloud as FipeCloud
from fipe_cli.errors import CliError
from fipe_cli.redrive_dlq import UNKNOWN_REASON, DeadLetterQueue, move_back, show
from infrastructure.names import PIPELINE, Function, Queue
from tests.local_cloud_support import CREDENTIALS, Cloud, eventually, running_cloud

WIDE = {"COLUMNS": "200"}

stages = (f"stage{number}" for number in count())


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def session(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint.url)
    return boto3.Session(**CREDENTIALS)


class Stage:
    """The price queue of a stage, with its dead letter queue."""

    def __init__(self, cloud: Cloud, session: boto3.Session) -> None:
        self.name = next(stages)
        self.cloud = cloud
        self.dead = cloud.put_queue(f"fipe-price-dlq-{self.name}")
        redrive = {"deadLetterTargetArn": cloud.arn_of(self.dead), "maxReceiveCount": 1}
        self.queue = cloud.put_queue(f"fipe-price-queue-{self.name}", RedrivePolicy=json.dumps(redrive))
        self.dead_arn = cloud.arn_of(self.dead)
        self.letters = DeadLetterQueue(FipeCloud(self.name, session), Queue.PRICE)
        self.sqs = cloud.client("sqs")

    def fail(self, *bodies: str) -> list[str]:
        """Sends messages and receives them once too often; their ids."""
        self.cloud.send(self.queue, *bodies)
        ids: list[str] = []
        while len(ids) < len(bodies):
            found = self.sqs.receive_message(QueueUrl=self.queue, VisibilityTimeout=0, MaxNumberOfMessages=10)
            ids += [message["MessageId"] for message in found["Messages"]]
        self.sqs.receive_message(QueueUrl=self.queue)
        assert self.waiting(self.dead) == len(bodies)
        return ids

    def waiting(self, url: str) -> int:
        return int(self.cloud.counts(url)["visible"])

    def log(self, message_id: str, error: str) -> None:
        logs, group = self.cloud.client("logs"), f"/aws/lambda/FipeSomaIngestor-{self.name}"
        stream = uuid.uuid4().hex
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        line = {"level": "WARNING", "message": "message failed", "message_id": message_id, "error": error}
        now = int(datetime.now(UTC).timestamp() * 1000)
        logs.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": now, "message": json.dumps(line)}],
        )


@pytest.fixture
def stage(cloud: Cloud, session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """One without its waits: a local cloud has one server."""
    monkeypatch.setattr(redrive_dlq, "POLL_SECONDS", 0)
    monkeypatch.setattr(redrive_dlq, "FOLLOW_SECONDS", 0.05)
    return Stage(cloud, session)


# SQS's move tasks -------------------------------------------------------------------------------------------


def test_a_move_without_a_destination_goes_to_the_queue_that_the_message_came_from(stage: Stage) -> None:
    (message_id,) = stage.fail("a")
    stage.sqs.start_message_move_task(SourceArn=stage.dead_arn)
    eventually(lambda: stage.waiting(stage.queue) == 1)
    (message,) = stage.sqs.receive_message(QueueUrl=stage.queue, AttributeNames=["All"])["Messages"]
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("a", "1")
    assert message["MessageId"] != message_id, "a moved message is a new one"


def test_a_move_without_a_destination_fails_on_a_message_that_came_from_no_queue(stage: Stage) -> None:
    stage.cloud.send(stage.dead, "sent by hand")
    stage.sqs.start_message_move_task(SourceArn=stage.dead_arn)
    task = eventually(
        lambda: next(
            task
            for task in stage.sqs.list_message_move_tasks(SourceArn=stage.dead_arn)["Results"]
            if task["Status"] != "RUNNING"
        )
    )
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert stage.waiting(stage.dead) == 1


def test_one_move_runs_at_a_time_at_the_rate_asked_for_and_can_be_cancelled(stage: Stage) -> None:
    stage.fail(*(str(number) for number in range(20)))
    start = stage.sqs.start_message_move_task(SourceArn=stage.dead_arn, MaxNumberOfMessagesPerSecond=1)
    with pytest.raises(ClientError, match="Only one active task is allowed"):
        stage.sqs.start_message_move_task(SourceArn=stage.dead_arn)
    (task,) = stage.sqs.list_message_move_tasks(SourceArn=stage.dead_arn)["Results"]
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", start["TaskHandle"])
    assert (task["MaxNumberOfMessagesPerSecond"], task["ApproximateNumberOfMessagesToMove"]) == (1, 20)
    stage.sqs.cancel_message_move_task(TaskHandle=start["TaskHandle"])
    (task,) = stage.sqs.list_message_move_tasks(SourceArn=stage.dead_arn)["Results"]
    assert task["Status"] == "CANCELLED"
    assert "TaskHandle" not in task
    assert stage.waiting(stage.dead) + stage.waiting(stage.queue) == 20
    assert stage.waiting(stage.dead) > 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.sqs.start_message_move_task(SourceArn=s.dead_arn + "x"), "SourceArn parameter doesn't"),
        (
            lambda s: s.sqs.start_message_move_task(SourceArn=s.cloud.arn_of(s.queue)),
            "must be configured as a Dead Letter Queue",
        ),
        (
            lambda s: s.sqs.start_message_move_task(SourceArn=s.dead_arn, DestinationArn=s.dead_arn),
            "cannot be the same",
        ),
        (
            lambda s: s.sqs.start_message_move_task(SourceArn=s.dead_arn, MaxNumberOfMessagesPerSecond=501),
            "between 1 and 500",
        ),
        (lambda s: s.sqs.list_message_move_tasks(SourceArn=s.dead_arn, MaxResults=11), "between 1 and 10"),
        (lambda s: s.sqs.cancel_message_move_task(TaskHandle="gone"), "Task does not exist"),
    ],
    ids=["no such queue", "no DLQ", "to itself", "too fast", "too many", "no such task"],
)
def test_refuses_what_sqs_refuses(stage: Stage, call, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        call(stage)


# What a check makes of them ---------------------------------------------------------------------------------

CHECK = '{"check": "another check"}'


def test_a_message_that_a_check_has_on_its_way_is_no_dead_letter(stage: Stage) -> None:
    assert stage.letters.letters() == 0
    stage.cloud.send(stage.dead, CHECK)
    assert stage.letters.letters() == 0
    stage.cloud.send(stage.dead, "{}", '{"check": 1}')
    assert stage.letters.letters() == 2
    assert stage.waiting(stage.dead) == 3


def test_letters_that_somebody_else_looks_at_are_counted(stage: Stage) -> None:
    stage.cloud.send(stage.dead, "{}", CHECK)
    stage.sqs.receive_message(QueueUrl=stage.dead, MaxNumberOfMessages=1, VisibilityTimeout=20)
    assert stage.letters.letters() == 1


CONSUMER = f"""
    def handler(event, context):
        for record in event["Records"]:
            print("{DROPPED}", record["body"])
"""


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(dead_letters, "PATIENCE_SECONDS", 1.0)


def try_the_way(stage: Stage, session: boto3.Session) -> Finding:
    deployment = Deployment(FipeCloud(stage.name, session), "CREATE_COMPLETE", {}, {})
    letters = in_background(lambda: count_letters(deployment, Queue.PRICE))
    source, door = Source(works=True, batch=2), Door()
    return dead_letters.try_the_way(deployment, Queue.PRICE, letters, source, door, consumer_answers=True)


def hide_a_message(stage: Stage) -> None:
    """As a batch does that failed a moment ago."""
    stage.cloud.send(stage.queue, "failed")
    stage.sqs.receive_message(QueueUrl=stage.queue, VisibilityTimeout=1800)


@pytest.mark.usefixtures("_quickly")
def test_the_way_of_a_dead_letter_is_tried_though_failed_messages_are_hidden(
    stage: Stage, session: boto3.Session
) -> None:
    hide_a_message(stage)
    stage.cloud.put_function(Function.SOMA_INGESTOR.of(stage.name), CONSUMER)
    stage.cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=stage.cloud.arn_of(stage.queue),
        FunctionName=Function.SOMA_INGESTOR.of(stage.name),
        BatchSize=2,
    )
    found = try_the_way(stage, session)
    assert found.level is Level.OK, found
    assert found.seen.startswith("a message came back to FipeSomaIngestor, which dropped it, in ")


@pytest.mark.usefixtures("_quickly")
def test_a_function_that_may_be_busy_is_not_called_broken(stage: Stage, session: boto3.Session) -> None:
    hide_a_message(stage)
    stage.cloud.put_function(Function.SOMA_INGESTOR.of(stage.name), CONSUMER)
    found = try_the_way(stage, session)
    assert (found.level, found.to_do) == (Level.WARNING, "run the check again when no load runs")
    assert found.seen.endswith(" within 1 s: it may be busy with 1 other message")


def test_more_messages_than_a_batch_would_come_before_the_checks(
    stage: Stage, session: boto3.Session
) -> None:
    stage.cloud.send(stage.queue, "one", "two")
    found = try_the_way(stage, session)
    assert (found.level, found.seen) == (
        Level.WARNING, "not tried: 2 messages would come before it",
    )  # fmt: skip


# The command ------------------------------------------------------------------------------------------------


def test_a_peek_tells_the_reasons_and_leaves_the_messages(stage: Stage) -> None:
    bodies = [f"message {number}" for number in range(12)]
    first, *_ = stage.fail(*bodies)
    stage.log(first, "ValidationError: no")
    stage.log(first, "DataError: numeric field overflow")
    letters = stage.letters.peek(limit=20)
    assert sorted(letter.body for letter in letters) == sorted(bodies)
    assert {letter.message_id: letter.reason for letter in letters}[first] == (
        "DataError: numeric field overflow"
    )
    assert [letter.reason for letter in letters].count(UNKNOWN_REASON) == 11
    assert stage.waiting(stage.dead) == 12


def test_a_redrive_moves_everything_back_messages_sent_by_hand_included(stage: Stage) -> None:
    stage.fail("a", "b")
    stage.cloud.send(stage.dead, "sent by hand")
    moves = list(stage.letters.redrive())
    assert (moves[-1].moved, moves[-1].to_move, moves[-1].is_over) == (3, 3, True)
    assert (stage.waiting(stage.dead), stage.waiting(stage.queue)) == (0, 3)


def test_a_redrive_follows_one_that_runs_already(stage: Stage) -> None:
    stage.fail("a", "b", "c")
    stage.sqs.start_message_move_task(SourceArn=stage.dead_arn, MaxNumberOfMessagesPerSecond=2)
    *_, last = stage.letters.redrive()
    assert (last.moved, last.is_over) == (3, True)
    tasks = stage.sqs.list_message_move_tasks(SourceArn=stage.dead_arn, MaxResults=10)["Results"]
    assert len(tasks) == 1


def test_a_redrive_that_is_cancelled_says_how_far_it_came(stage: Stage) -> None:
    stage.fail(*(str(number) for number in range(20)))
    moves = stage.letters.redrive(rate=1)
    next(moves)
    (task,) = stage.sqs.list_message_move_tasks(SourceArn=stage.dead_arn)["Results"]
    stage.sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])
    with pytest.raises(CliError, match=r"SQS stopped after \d+ messages: it was cancelled"):
        list(moves)


def test_shows_what_a_message_is_about_and_says_what_it_moved(stage: Stage) -> None:
    message = {
        "reference": {"code": 334, "month": "2026-06-01"},
        "brand": {"code": 21, "name": "Fiat"},
        "model": {"code": 1, "name": "UNO Mille"},
    }
    start = {"kind": "start", "run_id": "7", "references": []}
    (message_id, *_) = stage.fail(json.dumps(message), "[not JSON", json.dumps(start))
    stage.log(message_id, "DataError: no")
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    show(stage.letters, console)
    assert move_back(stage.letters, None, console) == 3
    for words in (
        f"fipe-price-dlq-{stage.name}: 3 messages",
        "the start of run 7",
        "2026-06 Fiat UNO Mille",
        "[not JSON",
        "1 of 3 looked at: DataError: no",
        "3 moved back",
    ):
        assert words in shown.getvalue()


def test_shows_a_message_and_its_reason_as_they_are(stage: Stage) -> None:
    (message_id,) = stage.fail("[/x] :smile:")
    stage.log(message_id, "DataError: [/y] :smile:")
    shown = io.StringIO()
    show(stage.letters, Console(file=shown, width=200))
    assert "[/x] :smile:" in shown.getvalue()
    assert shown.getvalue().count("DataError: [/y] :smile:") == 2


def test_what_was_seen_counts_also_while_the_depth_of_the_queue_lags_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    assert not show(stage.letters, console)
    stage.fail("one", "two")
    monkeypatch.setattr(stage.letters, "depth", lambda: 0)  # what SQS may say for a minute
    assert show(stage.letters, console)
    assert f"fipe-price-dlq-{stage.name}: 2 messages" in shown.getvalue()


@pytest.fixture
def _on_the_cloud(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the command find the cloud."""
    for name, value in (
        ("AWS_ENDPOINT_URL", cloud.endpoint.url), ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_on_the_cloud")
def test_a_month_that_could_not_be_written_is_a_dead_letter_that_the_command_brings_back(
    cloud: Cloud,
) -> None:
    urls = {}
    for queue in (*PIPELINE, Queue.ANNOUNCEMENT, Queue.EXPORT):  # a stage with a bucket, without a webhook
        dead = cloud.put_queue(queue.dlq("stg"))
        redrive = json.dumps({"deadLetterTargetArn": cloud.arn_of(dead), "maxReceiveCount": 5})
        urls[queue] = cloud.put_queue(queue.of("stg"), RedrivePolicy=redrive, VisibilityTimeout=0)
    export = urls[Queue.EXPORT]
    cloud.send(export, '{"version": 1, "kind": "load_complete", "reference_month": "2026-06"}')
    sqs = cloud.client("sqs")
    received = [len(sqs.receive_message(QueueUrl=export).get("Messages", [])) for _ in range(6)]
    assert (received, cloud.counts(dead)["visible"]) == ([1, 1, 1, 1, 1, 0], 1)

    shown = CliRunner().invoke(app, ["--stage", "stg", "redrive", "export", "--dry-run"], env=WIDE)
    assert "fipe-export-dlq-stg: 1 message\n" in shown.stdout
    assert "load_complete 2026-06 " in shown.stdout
    moved = CliRunner().invoke(app, ["--stage", "stg", "redrive", "--json"])
    assert json.loads(moved.stdout)["moved"] == {**dict.fromkeys(urls, 0), "export": 1}
    assert (cloud.counts(export)["visible"], cloud.counts(dead)["visible"]) == (1, 0)


@pytest.mark.usefixtures("_on_the_cloud")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("redrive", "prices"),
            "error: unknown queue prices: use manufacturer, model, price, announcement, webhook, export or"
            " all",
        ),
        (
            ("--stage", "prd", "redrive"),
            "error: queue fipe-manufacturer-dlq-prd is missing: prd on {url} is not deployed; run"
            " `make deploy-prd`",
        ),
    ],
)
def test_the_command_refuses_in_one_line(cloud: Cloud, arguments: tuple[str, ...], words: str) -> None:
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exit_code != 0
    assert ended.stderr == words.format(url=cloud.endpoint.url) + "\n"
