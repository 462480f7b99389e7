"""The webhook of a stage: what is deployed for it, and what it may do."""

import pytest

from tests.infrastructure.synthesis import ACCOUNT, REGION, Stacks, as_list, statements_allowing, synthesize

URL = "https://example.com/fipe"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret"
FUNCTION, QUEUE = "AWS::Lambda::Function", "AWS::SQS::Queue"


@pytest.fixture(scope="module")
def stacks() -> Stacks:
    return synthesize(webhook_url=URL, webhook_secret_arn=f"{SECRET}:key-AbCdEf")


def queue(stacks: Stacks, name: str) -> str:
    return stacks.logical_id(QUEUE, "QueueName", name)


def test_without_an_address_there_is_none() -> None:
    stacks = synthesize()
    assert not [name for name in stacks.by_name(FUNCTION, "FunctionName") if "Webhook" in name]
    assert not [name for name in stacks.by_name(QUEUE, "QueueName") if "webhook" in name]
    assert stacks.resources("AWS::SNS::Subscription") == {}


def test_the_topic_sends_announcements_and_no_alarms_to_its_queue(stacks: Stacks) -> None:
    (topic,) = stacks.resources("AWS::SNS::Topic")
    subscription = stacks.only("AWS::SNS::Subscription")
    endpoint = {"Fn::GetAtt": [queue(stacks, "fipe-webhook-queue-dev"), "Arn"]}
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("sqs", endpoint)
    assert (subscription["TopicArn"], subscription["RawMessageDelivery"]) == ({"Ref": topic}, True)
    assert subscription["FilterPolicy"] == {
        "kind": ["load_complete", "load_incomplete", "load_stalled", "month_changed", "backfill_ended"]
    }


def test_only_the_topic_may_send_to_the_queue(stacks: Stacks) -> None:
    (topic,) = stacks.resources("AWS::SNS::Topic")
    name = queue(stacks, "fipe-webhook-queue-dev")
    allowed = [
        statement
        for policy in stacks.resources("AWS::SQS::QueuePolicy").values()
        if {"Ref": name} in as_list(policy["Properties"]["Queues"])
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    (statement,) = allowed
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Ref": topic}}}


def test_it_posts_one_by_one_for_half_a_day_and_then_keeps_a_dead_letter(stacks: Stacks) -> None:
    properties = stacks.by_name(QUEUE, "QueueName")["fipe-webhook-queue-dev"]
    assert properties["RedrivePolicy"]["maxReceiveCount"] == 12
    function = stacks.logical_id(FUNCTION, "FunctionName", "FipeWebhook-dev")
    (source,) = (
        source["Properties"]
        for source in stacks.resources("AWS::Lambda::EventSourceMapping").values()
        if source["Properties"]["FunctionName"] == {"Ref": function}
    )
    assert (source["BatchSize"], source["MaximumBatchingWindowInSeconds"]) == (1, 0)
    alarms = stacks.by_name("AWS::CloudWatch::Alarm", "AlarmName")
    assert {"fipe-webhook-dlq-not-empty-dev", "fipe-FipeWebhook-errors-dev"} <= alarms.keys()


def test_it_stands_outside_the_vpc_and_may_read_its_secrets_and_nothing_else(stacks: Stacks) -> None:
    function = stacks.by_name(FUNCTION, "FunctionName")["FipeWebhook-dev"]
    assert "VpcConfig" not in function
    variables = function["Environment"]["Variables"]
    assert (variables["WEBHOOK_URL"], variables["WEBHOOK_FORMAT"]) == (URL, "json")
    assert variables["WEBHOOK_SECRET_ARN"] == f"{SECRET}:key-AbCdEf"
    main, dlq = (
        {"Fn::GetAtt": [queue(stacks, f"fipe-webhook-{part}-dev"), "Arn"]} for part in ("queue", "dlq")
    )
    allowed = set(map(str, statements_allowing(stacks.statements("FipeWebhook-dev"))))
    consume = (
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ReceiveMessage",
    )
    expected = [
        *((f"sqs:{action}", main) for action in consume),
        ("sqs:SendMessage", dlq),
        ("secretsmanager:GetSecretValue", f"{SECRET}:key-AbCdEf"),
    ]
    assert {each for each in allowed if "logs:" not in each} == set(map(str, expected))


def test_an_address_that_is_a_secret_stands_in_no_template() -> None:
    stacks = synthesize(webhook_url=f"{SECRET}:url-AbCdEf", webhook_format="slack")
    variables = stacks.by_name(FUNCTION, "FunctionName")["FipeWebhook-dev"]["Environment"]["Variables"]
    assert variables["WEBHOOK_URL"] == f"{SECRET}:url-AbCdEf"
    allowed = list(statements_allowing(stacks.statements("FipeWebhook-dev")))
    assert ("secretsmanager:GetSecretValue", f"{SECRET}:url-AbCdEf") in allowed
