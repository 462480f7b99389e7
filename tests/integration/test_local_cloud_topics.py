"""Topics of the local cloud: whom they deliver to, and what they refuse, as SNS does."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud_support import Cloud, running_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


class Topic:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.sns, self.sqs = cloud, cloud.client("sns"), cloud.client("sqs")
        self.arn = self.sns.create_topic(Name="told")["TopicArn"]

    def queue(self, name: str, **attributes: str) -> str:
        url = self.cloud.put_queue(name)
        self.sns.subscribe(
            TopicArn=self.arn, Protocol="sqs", Endpoint=self.cloud.arn_of(url), Attributes=attributes
        )
        return url

    def publish(self, message: str, kind: str | None = None, **options: Any) -> None:
        named = {"kind": {"DataType": "String", "StringValue": kind}} if kind else {}
        self.sns.publish(TopicArn=self.arn, Message=message, MessageAttributes=named, **options)

    def bodies(self, url: str) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [message["Body"] for message in found]


@pytest.fixture(scope="module")
def topic(cloud: Cloud) -> Topic:
    return Topic(cloud)


def test_a_queue_gets_what_its_policy_lets_through_as_it_asked_for_it(topic: Topic) -> None:
    policy = json.dumps({"kind": ["good", "better"]})
    raw = topic.queue("raw", RawMessageDelivery="true", FilterPolicy=policy)
    wrapped = topic.queue("wrapped", RawMessageDelivery="false")
    structured = json.dumps({"default": "for all", "sqs": "for queues"})
    topic.publish(structured, "better", MessageStructure="json", Subject="Told")
    topic.publish("an alarm")
    topic.publish("bad news", "bad")
    assert topic.bodies(raw) == ["for queues"]
    notifications = [json.loads(body) for body in topic.bodies(wrapped)]
    assert {each["Message"] for each in notifications} == {"for queues", "an alarm", "bad news"}
    assert {each["Type"] for each in notifications} == {"Notification"}
    assert {each.get("Subject") for each in notifications} == {"Told", None}


@pytest.mark.parametrize(
    ("message", "options", "words"),
    [
        ("told", {"Subject": "Citroën"}, "Subject"),
        ("told", {"Subject": "two\nlines"}, "Subject"),
        ("told", {"Subject": "x" * 100}, "Subject"),
        ("told", {"Subject": " x"}, "Subject"),
        ("told", {"MessageStructure": "json"}, "failed to parse"),
        (json.dumps({"sqs": "told"}), {"MessageStructure": "json"}, "No default entry"),
        ("é" * 131_073, {}, "Message too long"),
    ],
    ids=range(7),
)
def test_what_sns_refuses_is_refused(topic: Topic, message: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        topic.publish(message, **options)
    assert refused.value.response["Error"]["Code"] == "InvalidParameter"


def test_a_subject_of_99_characters_is_taken(topic: Topic) -> None:
    topic.publish("told", Subject="x" * 99)
