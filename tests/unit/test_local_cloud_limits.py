"""The local cloud refuses what AWS refuses, before it reaches AWS."""

import json
from typing import Any

import pytest
from moto.awslambda.exceptions import LambdaClientError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sqs.exceptions import SQSException

from local_cloud.aws.queues.limits import check_attributes, check_batch, check_body, unacceptable_entries
from local_cloud.aws.queues.message_queue import StandardQueue
from local_cloud.aws.runner.limits import check_event, check_function, check_mapping
from local_cloud.aws.stacks.custom_resource_answers import CustomResourceAnswers

MIB = 2**20


def redrive(receives: object) -> str:
    return json.dumps({"deadLetterTargetArn": "arn", "maxReceiveCount": receives})


@pytest.mark.parametrize(
    "attributes",
    [
        {"DelaySeconds": "901"},
        {"MaximumMessageSize": 1023},
        {"MaximumMessageSize": MIB + 1},
        {"MessageRetentionPeriod": 59},
        {"MessageRetentionPeriod": "1209601"},
        {"ReceiveMessageWaitTimeSeconds": 21},
        {"VisibilityTimeout": 43201},
        {"RedrivePolicy": redrive(0)},
        {"RedrivePolicy": json.loads(redrive("1001"))},
    ],
)
def test_refuses_an_attribute_that_is_out_of_range(attributes: dict[str, Any]) -> None:
    with pytest.raises(SQSException, match=next(iter(attributes))):
        check_attributes(attributes)


def test_accepts_the_bounds_of_attributes() -> None:
    check_attributes({"DelaySeconds": 900, "VisibilityTimeout": "43200", "RedrivePolicy": redrive(1000)})
    check_attributes({"MessageRetentionPeriod": 1209600, "RedrivePolicy": ""})


def test_a_queue_keeps_its_policy_when_another_attribute_changes() -> None:
    policy = json.dumps({"Statement": [{"Effect": "Deny"}]})
    queue = StandardQueue("work", "us-east-1", DEFAULT_ACCOUNT_ID, Policy=policy)
    queue._set_attributes({"VisibilityTimeout": 60})
    assert (queue.policy, queue.visibility_timeout) == (policy, 60)
    queue._set_attributes({"Policy": ""})
    assert queue.policy is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "must contain the parameter MessageBody"),
        ("a\x00b", "Invalid characters"),
        ("a\x1bb", "Invalid characters"),
        ("a\ufffeb", "Invalid characters"),
        ("é" * 6, "shorter than 10 bytes"),
    ],
)
def test_refuses_a_body_as_sqs_does(body: str, reason: str) -> None:
    with pytest.raises(SQSException, match=reason):
        check_body(body, largest_bytes=10)


def test_accepts_a_body_of_any_valid_characters() -> None:
    check_body("\t\r\n Citroën 🚗", largest_bytes=100)


def test_counts_the_bytes_of_a_batch() -> None:
    check_batch(["é" * (MIB // 4)] * 2)
    with pytest.raises(SQSException, match=f"You have sent {MIB + 2} bytes"):
        check_batch(["é" * (MIB // 4), "é" * (MIB // 4 + 1)])


def test_refuses_only_those_entries_of_a_batch_that_have_invalid_characters() -> None:
    entries = {"0": {"Id": "a", "MessageBody": "fine"}, "1": {"Id": "b", "MessageBody": "\x01"}}
    (failure,) = unacceptable_entries(entries).items()
    assert failure[0] == "1"
    assert (failure[1]["Id"], failure[1]["Code"]) == ("b", "InvalidMessageContents")
    assert failure[1]["SenderFault"]


def test_refuses_an_event_that_is_too_large() -> None:
    check_event(b"x" * 6 * MIB, asynchronous=False)
    check_event(b"x" * MIB, asynchronous=True)
    for size, asynchronous in ((6 * MIB + 1, False), (MIB + 1, True)):
        with pytest.raises(LambdaClientError, match="Request must be smaller than"):
            check_event(b"x" * size, asynchronous=asynchronous)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"Timeout": 901}, "Value '901' at 'timeout' .* less than or equal to 900"),
        ({"Timeout": "0"}, "greater than or equal to 1"),
        ({"MemorySize": 64}, "Value '64' at 'memorySize' .* greater than or equal to 128"),
        ({"Layers": ["arn"] * 6}, "more than 5 layers"),
        ({"Environment": {"Variables": {"AWS_REGION": "x", "A": "x"}}}, "reserved keys.*AWS_REGION"),
        ({"Environment": {"Variables": {"A": "é" * 2048}}}, "exceeded the 4KB limit"),
    ],
)
def test_refuses_settings_of_a_function_as_lambda_does(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(LambdaClientError, match=reason):
        check_function(settings)


def test_accepts_the_bounds_of_a_function() -> None:
    check_function({"Timeout": 900, "MemorySize": "10240", "Layers": None, "Environment": None})
    check_function({"Environment": {"Variables": {"A": "x" * 4000}}})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"BatchSize": 10_001, "MaximumBatchingWindowInSeconds": 1}, "less than or equal to 10000"),
        ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
        ({"MaximumBatchingWindowInSeconds": 301}, "less than or equal to 300"),
        ({"ScalingConfig": {"MaximumConcurrency": 1}}, "greater than or equal to 2"),
        ({"ScalingConfig": {"MaximumConcurrency": "1001"}}, "less than or equal to 1000"),
    ],
)
def test_refuses_settings_of_a_mapping_as_lambda_does(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(LambdaClientError, match=reason):
        check_mapping(settings)


def test_accepts_the_bounds_of_a_mapping() -> None:
    check_mapping({"BatchSize": "10000", "MaximumBatchingWindowInSeconds": 300, "ScalingConfig": {}})
    check_mapping({"BatchSize": 10, "ScalingConfig": {"MaximumConcurrency": 2}})


def test_takes_a_custom_resources_answer_of_more_than_4096_bytes_for_a_failure() -> None:
    answers = CustomResourceAnswers("http://localhost:1")
    url, answer = answers.expect()
    document = {"Status": "SUCCESS", "PhysicalResourceId": "id", "Data": {"Long": "x" * 4096}}
    assert answers.deliver(url.removeprefix("http://localhost:1"), json.dumps(document).encode())
    assert answer.result(0) == {"Status": "FAILED", "Reason": "Response object is too long."}
