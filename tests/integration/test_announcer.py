"""FipeAnnouncer, look by look: when it looks again, and what SNS gets. The rest is in tests/reliability."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from fipe_api import fipe_announcer
from fipe_api.aws import clients
from fipe_api.aws.queue_publisher import Outgoing
from fipe_api.environment import announcer_environment, consumer_environment
from fipe_api.fipe_announcer import LATE_SECONDS, LOOKS_FAILED, LOST_SECONDS, pause_after
from fipe_api.load.announcement import Document
from fipe_api.load.stability import LoadStatusError
from fipe_api.load.state import LoadState
from fipe_api.messages import ANNOUNCEMENT_QUEUE, LookMessage, to_json
from tests.aws import client
from tests.builders import JUNE_2026, AnyContext, sqs_event

HOUR, DAY = 3600.0, 86_400.0
CACHED = (announcer_environment, consumer_environment, clients.client)


class Stage:
    """The announcement queue, the topic and a subscriber, and a ledger that says what the test wants."""

    def __init__(self, endpoint: str) -> None:
        self.sqs, sns = client("sqs", endpoint), client("sns", endpoint)
        name = uuid4().hex
        self.queue = self.sqs.create_queue(QueueName=f"announcement-{name}")["QueueUrl"]
        self.subscriber = self.sqs.create_queue(QueueName=f"subscriber-{name}")["QueueUrl"]
        self.topic = sns.create_topic(Name=name)["TopicArn"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.subscriber, AttributeNames=["QueueArn"])
        sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={
                "RawMessageDelivery": "true",
                "FilterPolicy": json.dumps({"kind": ["load_complete"], "stage": ["dev"]}),
            },
        )
        self.asked: list[dict[str, Any]] = []
        self._sent: list[Outgoing] = []
        self.to_tell: list[Document] = []
        self.is_open, self.quiet = True, 0.0
        self.claimed_by_others = 0
        self.fails = False

    def ask(self, look: dict[str, Any]) -> Any:
        self.asked.append(look)
        if self.fails:
            raise LoadStatusError("the database is down")
        claimed = self.to_tell.pop(0) if self.to_tell else None
        return fipe_announcer._Announced(claimed, self.claimed_by_others, self.is_open, self.quiet)

    def work(self, message: LookMessage) -> list[str]:
        """Hands the message to the function; the ids of failed messages."""
        answer = fipe_announcer.handler(sqs_event(to_json(message)), AnyContext())  # type: ignore[arg-type]
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def publish(self, results: Sequence[Sequence[Outgoing]]) -> dict[int, Exception]:
        self._sent += [message for result in results for message in result]
        return {}

    def sent(self) -> list[tuple[LookMessage, int]]:
        """What was sent since the last call, with the delays in seconds."""
        assert {message.queue_url for message in self._sent} <= {self.queue}
        found = [(ANNOUNCEMENT_QUEUE.decode(each.body), each.delay_seconds) for each in self._sent]
        self._sent.clear()
        return found  # type: ignore[return-value]

    def heard(self) -> list[Any]:
        answer = self.sqs.receive_message(QueueUrl=self.subscriber, MessageAttributeNames=["All"])
        return list(answer.get("Messages", []))


@pytest.fixture
def stage(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(endpoint)
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SQS_INPUT_URL": stage.queue,
        "LOAD_STATUS_FUNCTION": "FipeLoadStatus-dev",
        "ANNOUNCEMENT_TOPIC_ARN": stage.topic,
        "STAGE": "dev",
    }.items():
        monkeypatch.setenv(name, value)
    for each in CACHED:
        each.cache_clear()
    monkeypatch.setattr(fipe_announcer, "_ask", stage.ask)
    monkeypatch.setattr(fipe_announcer, "publish", stage.publish)
    yield stage
    for each in CACHED:
        each.cache_clear()


def a_look(**given: Any) -> LookMessage:
    defaults = {"run_id": uuid4(), "reference": JUNE_2026, "began_at": datetime.now(UTC)}
    return LookMessage(**{**defaults, **given})


def a_document(**given: Any) -> Document:
    defaults = {
        "id": uuid4(), "kind": "load_complete", "stage": "dev", "run_id": uuid4(),
        "reference_month": "2026-06", "reference_code": 334, "whole_month": True,
        "state": LoadState.COMPLETE, "prices": 50_332, "compared_with": "2026-05", "new": 412, "gone": 380,
        "changed": 31_022, "duration_seconds": 82_080,
    }  # fmt: skip
    return Document(**{**defaults, **given}).with_text()


def looks(is_open: bool, since_last_result: float, until: float, began: float = 0.0) -> list[float]:
    """When a load is looked at that gets nothing any more, in seconds since its last result."""
    found, now = [], since_last_result
    while now < until and (pause := pause_after(is_open, now, began + now)):
        now += pause
        found.append(now)
    return found


@pytest.mark.usefixtures("stage")
def test_a_load_at_work_is_looked_at_after_a_tenth_of_its_time() -> None:
    assert pause_after(is_open=True, quiet=0.2, elapsed=0.5) == 1
    assert pause_after(is_open=True, quiet=5, elapsed=300) == 30
    assert pause_after(is_open=True, quiet=30, elapsed=DAY) == 900
    elapsed, count = 0.0, 0
    while elapsed < 22.8 * HOUR:
        elapsed += pause_after(is_open=True, quiet=20, elapsed=elapsed) or 0
        count += 1
    assert count < 160


@pytest.mark.usefixtures("stage")
def test_a_day_without_results_is_looked_at_a_few_times() -> None:
    seen = looks(True, 60, DAY)
    assert 3 * HOUR in seen, "as soon as it has stalled"
    assert len(seen) < 20
    ended = looks(True, 60, 100 * DAY)
    assert LOST_SECONDS <= ended[-1] < LOST_SECONDS + 4 * HOUR


@pytest.mark.usefixtures("stage")
def test_a_load_that_is_over_is_looked_at_for_half_an_hour() -> None:
    seen = looks(False, 0.5, DAY, began=DAY)
    assert LATE_SECONDS <= seen[-1] <= 2 * LATE_SECONDS
    assert len(seen) < 15


def test_what_is_told_is_text_for_people_and_a_document_for_programs(stage: Stage) -> None:
    document = a_document()
    stage.to_tell = [document, a_document(kind="load_incomplete")]
    assert stage.work(a_look()) == []
    (heard,) = stage.heard()  # the filter policy lets the other one pass by
    told = json.loads(heard["Body"])
    assert (told["id"], told["prices"], told["text"]) == (str(document.id), 50_332, document.text)
    attributes = {name: value["StringValue"] for name, value in heard["MessageAttributes"].items()}
    assert attributes == {"kind": "load_complete", "stage": "dev"}
    assert [[str(told) for told in look["told"]] for look in stage.asked][:2] == [[], [str(document.id)]]
    assert document.subject == "FIPE dev: 2026-06 is complete, 50,332 prices"


def test_it_looks_again_with_a_delay_until_the_load_is_over(stage: Stage) -> None:
    stage.work(a_look(began_at=datetime.now(UTC) - timedelta(minutes=10)))
    ((again, delay),) = stage.sent()
    assert 60 <= delay <= 62
    stage.is_open, stage.quiet = False, LATE_SECONDS
    stage.work(again)
    assert stage.sent() == []


def test_what_others_have_claimed_is_looked_at_again(stage: Stage) -> None:
    stage.is_open, stage.quiet, stage.claimed_by_others = False, DAY, 1
    stage.work(a_look())
    assert [delay for _, delay in stage.sent()] == [60]


def test_a_pause_that_sqs_does_not_allow_is_several(stage: Stage) -> None:
    stage.quiet = 2 * HOUR
    stage.work(a_look(began_at=datetime.now(UTC) - timedelta(hours=3)))
    ((again, delay),) = stage.sent()
    asked = len(stage.asked)
    assert delay == 900
    stage.work(again)
    assert len(stage.asked) == asked, "neither the function nor the database is woken for it"
    assert [delay for _, delay in stage.sent()] == [900]


def test_looks_that_fail_are_counted_for_the_alarm(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.work(a_look())
    assert LOOKS_FAILED not in capsys.readouterr().out
    stage.fails = True
    stage.work(a_look())
    counted = next(line for line in capsys.readouterr().out.splitlines() if LOOKS_FAILED in line)
    assert json.loads(counted)[LOOKS_FAILED] == [1.0]


def test_what_fails_is_looked_at_again_for_two_days(stage: Stage) -> None:
    stage.fails = True
    message, waited = a_look(), 0
    while not stage.work(message):
        ((message, delay),) = stage.sent()
        waited += delay
    assert DAY < waited < 3 * DAY
    assert stage.sent() == []
