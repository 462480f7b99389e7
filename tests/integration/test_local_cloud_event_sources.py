"""Event sources from SQS: batches, windows, partial failures, redrive and concurrency as in Lambda.

Each invocation writes down what it was given, in a file of the folder that NOTES names.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_support import Cloud, eventually, running_cloud

FUNCTION = """
    import json, os, time, uuid
    from pathlib import Path

    def handler(event, context):
        started = time.time()
        bodies = [record["body"] for record in event["Records"]]
        directions = [json.loads(body) if body.startswith("{") else {} for body in bodies]
        time.sleep(max(direction.get("sleep", 0) for direction in directions))
        note = {"bodies": bodies, "started": started, "ended": time.time(), "records": event["Records"]}
        Path(os.environ["NOTES"], uuid.uuid4().hex).write_text(json.dumps(note))
        if any(direction.get("crash") for direction in directions):
            os._exit(1)
        if any(direction.get("error") for direction in directions):
            raise RuntimeError("no")
        return {"batchItemFailures": [
            {"itemIdentifier": record["messageId"]}
            for record, direction in zip(event["Records"], directions) if direction.get("fail")
        ]}
"""
names = (f"source-{number}" for number in count())


class Source:
    """A queue, its dead letter queue, and a function that is fed from it."""

    def __init__(
        self, cloud: Cloud, folder: Path, *, visibility: int = 1, max_receives: int = 3, **settings: Any
    ) -> None:
        self.cloud = cloud
        self.name = next(names)
        self._notes = folder / self.name
        self._notes.mkdir()
        self.dead = cloud.put_queue(f"{self.name}-dlq")
        redrive = {"deadLetterTargetArn": cloud.arn_of(self.dead), "maxReceiveCount": max_receives}
        self.queue = cloud.put_queue(
            f"{self.name}-queue", VisibilityTimeout=visibility, RedrivePolicy=json.dumps(redrive)
        )
        cloud.put_function(
            self.name, FUNCTION, timeout=1, Environment={"Variables": {"NOTES": str(self._notes)}}
        )
        self.mapping = cloud.client("lambda").create_event_source_mapping(
            EventSourceArn=cloud.arn_of(self.queue),
            FunctionName=self.name,
            **{"FunctionResponseTypes": ["ReportBatchItemFailures"], **settings},
        )["UUID"]

    def send(self, *bodies: object) -> None:
        self.cloud.send(self.queue, *(body if isinstance(body, str) else json.dumps(body) for body in bodies))

    def notes(self) -> list[dict[str, Any]]:
        return sorted(
            (json.loads(path.read_text()) for path in self._notes.iterdir() if path.stat().st_size),
            key=lambda note: note["started"],
        )

    def received(self) -> list[str]:
        return [body for note in self.notes() for body in note["bodies"]]

    def wait_until_done(self) -> None:
        eventually(lambda: self.cloud.is_empty(self.queue))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


def test_delivers_each_message_once_and_deletes_it(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, visibility=30)
    bodies = [f"message {number}" for number in range(45)]
    source.send(*bodies)
    source.wait_until_done()
    assert sorted(source.received()) == sorted(bodies)
    assert cloud.is_empty(source.dead)


def test_shapes_a_record_as_lambda_does(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path)
    cloud.client("sqs").send_message(
        QueueUrl=source.queue,
        MessageBody="olá",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "brand"}},
    )
    source.wait_until_done()
    (record,) = source.notes()[0]["records"]
    assert record["body"] == "olá"
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == cloud.arn_of(source.queue)
    assert record["awsRegion"] == "us-east-1"
    assert record["md5OfBody"] == hashlib.md5("olá".encode()).hexdigest()
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert set(record["attributes"]) == {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }
    assert record["messageAttributes"]["kind"]["stringValue"] == "brand"
    assert record["messageId"]
    assert record["receiptHandle"]


def test_keeps_to_the_batch_size(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, BatchSize=4)
    source.send(*(f"{number}" for number in range(10)))
    source.wait_until_done()
    assert max(len(note["bodies"]) for note in source.notes()) <= 4


def test_starts_an_environment_before_the_first_message_and_does_not_count_its_wait(
    cloud: Cloud, tmp_path: Path
) -> None:
    source = Source(cloud, tmp_path)
    assert cloud.status()["functions"][source.name]["warm"] == 1
    time.sleep(3)
    source.send("one")
    eventually(lambda: "Init Duration" in cloud.log(source.name))
    figures = cloud.status()["functions"][source.name]
    assert figures["cold_starts"] == 1
    assert figures["billed_ms"] < 3000


def test_waits_for_the_window_to_fill_a_batch(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, visibility=30, BatchSize=100, MaximumBatchingWindowInSeconds=2)
    for number in range(5):
        source.send(*(f"{number}-{item}" for item in range(5)))
    source.wait_until_done()
    assert [len(note["bodies"]) for note in source.notes()] == [25]


def test_does_not_wait_when_the_batch_is_full(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, visibility=600, BatchSize=10, MaximumBatchingWindowInSeconds=300)
    source.send(*(f"{number}" for number in range(20)))
    source.wait_until_done()
    assert [len(note["bodies"]) for note in source.notes()] == [10, 10]


def test_ends_a_batch_at_the_payload_limit(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, visibility=30, BatchSize=100, MaximumBatchingWindowInSeconds=1)
    for number in range(8):
        source.send(f"{number}" * 1_000_000)
    source.wait_until_done()
    sizes = [sum(map(len, note["bodies"])) for note in source.notes()]
    assert sum(sizes) == 8_000_000
    assert max(sizes) <= 6 * 2**20


def test_leaves_only_the_messages_that_failed(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, visibility=2, max_receives=2, BatchSize=3)
    source.send("good", {"fail": True}, "fine")
    source.wait_until_done()
    received = source.received()
    assert (received.count("good"), received.count("fine"), received.count('{"fail": true}')) == (1, 1, 2)
    assert cloud.counts(source.dead)["visible"] == 1


def test_leaves_the_whole_batch_when_partial_failures_are_not_switched_on(
    cloud: Cloud, tmp_path: Path
) -> None:
    source = Source(cloud, tmp_path, FunctionResponseTypes=[])
    source.send({"fail": True})
    source.wait_until_done()
    assert len(source.received()) == 1
    assert cloud.is_empty(source.dead)


@pytest.mark.parametrize("how", ["error", "crash"])
def test_moves_a_message_to_the_dead_letter_queue_when_its_function_failed_each_time(
    cloud: Cloud, tmp_path: Path, how: str
) -> None:
    source = Source(cloud, tmp_path, max_receives=3)
    source.send({how: True})
    eventually(lambda: cloud.counts(source.dead)["visible"])
    assert len(source.received()) == 3
    assert [note["records"][0]["attributes"]["ApproximateReceiveCount"] for note in source.notes()] == [
        "1",
        "2",
        "3",
    ]


def test_runs_at_most_as_many_batches_at_once_as_the_maximum_concurrency(
    cloud: Cloud, tmp_path: Path
) -> None:
    source = Source(cloud, tmp_path, visibility=60, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    source.send(*({"sleep": 0.2, "number": number} for number in range(10)))
    source.wait_until_done()
    notes = source.notes()
    at_once = [
        sum(note["started"] <= moment["started"] < note["ended"] for note in notes) for moment in notes
    ]
    assert max(at_once) == 2


def test_receives_nothing_while_it_is_disabled(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path, Enabled=False)
    source.send("waiting")
    assert cloud.counts(source.queue)["visible"] == 1
    cloud.client("lambda").update_event_source_mapping(UUID=source.mapping, Enabled=True)
    source.wait_until_done()
    assert source.received() == ["waiting"]


def test_is_refused_when_the_visibility_timeout_is_shorter_than_the_functions_timeout(cloud: Cloud) -> None:
    cloud.put_function("slow", FUNCTION, timeout=60)
    queue = cloud.put_queue("hasty", VisibilityTimeout=30)
    with pytest.raises(ClientError, match="less than Function timeout"):
        cloud.client("lambda").create_event_source_mapping(
            EventSourceArn=cloud.arn_of(queue), FunctionName="slow"
        )


@pytest.mark.parametrize("settings", [{"BatchSize": 100}, {"MaximumBatchingWindowInSeconds": 301}])
def test_is_refused_with_settings_that_lambda_refuses(
    cloud: Cloud, tmp_path: Path, settings: dict[str, int]
) -> None:
    source = Source(cloud, tmp_path)
    client = cloud.client("lambda")
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        client.update_event_source_mapping(UUID=source.mapping, **settings)
    client.delete_event_source_mapping(UUID=source.mapping)
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        client.create_event_source_mapping(
            EventSourceArn=cloud.arn_of(source.queue), FunctionName=source.name, **settings
        )


def test_sends_only_what_sqs_takes(cloud: Cloud) -> None:
    queue, client = cloud.put_queue("strict"), cloud.client("sqs")
    bodies = {"fine": "Citroën", "control": "a\x01b"}
    answer = client.send_message_batch(
        QueueUrl=queue, Entries=[{"Id": name, "MessageBody": body} for name, body in bodies.items()]
    )
    assert [entry["Id"] for entry in answer["Successful"]] == ["fine"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [
        ("control", "InvalidMessageContents")
    ]
    with pytest.raises(ClientError, match="InvalidMessageContents"):
        client.send_message(QueueUrl=queue, MessageBody=bodies["control"])
    with pytest.raises(ClientError, match="shorter than 1048576 bytes"):
        client.send_message(QueueUrl=queue, MessageBody="é" * 600_000)
    with pytest.raises(ClientError, match="InvalidAttributeValue"):
        client.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "43201"})
    assert cloud.counts(queue)["visible"] == 1


def test_ends_when_it_is_deleted(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(cloud, tmp_path)
    source.send("first")
    source.wait_until_done()
    cloud.client("lambda").delete_event_source_mapping(UUID=source.mapping)
    eventually(lambda: source.mapping not in cloud.status()["event_sources"])
    source.send("second")
    assert cloud.counts(source.queue)["visible"] == 1


def test_keeps_its_pace_with_thousands_of_messages_waiting(cloud: Cloud, tmp_path: Path) -> None:
    source = Source(
        cloud, tmp_path, visibility=120, BatchSize=100, MaximumBatchingWindowInSeconds=1, Enabled=False
    )
    source.send(*(f"{number}" for number in range(5000)))
    cloud.client("lambda").update_event_source_mapping(UUID=source.mapping, Enabled=True)
    source.wait_until_done()
    assert len(set(source.received())) == len(source.received()) == 5000
