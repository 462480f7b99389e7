"""What tells people how it goes: alarms, their topic, the dashboard; and the schedule."""

import json
from typing import Any

import pytest

from fipe_api.fipe_announcer import LOOKS_FAILED
from fipe_api.load.request import parse_request
from fipe_api.load.state import LoadState
from infrastructure import names
from tests.infrastructure.synthesis import ACCOUNT, REGION, Stacks, stage, synthesize

ALARM = "AWS::CloudWatch::Alarm"
PIPELINE = ["manufacturer", "model", "price"]
KINDS = [*PIPELINE, "announcement"]
WORKERS = ["FipeManufacturerLoader", "FipeModelLoader", "FipePriceLoader", "FipeSomaIngestor"]
FUNCTIONS = [*WORKERS, "FipeAnnouncer"]


@pytest.fixture(scope="module", params=["dev", "stg", "prd"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stacks(name: str) -> Stacks:
    return stage(name)


@pytest.fixture(scope="module")
def alarms(stacks: Stacks, name: str) -> dict[str, Any]:
    """By their names without `fipe-` and the stage."""
    return {
        alarm.removeprefix("fipe-").removesuffix(f"-{name}"): properties
        for alarm, properties in stacks.by_name(ALARM, "AlarmName").items()
    }


def test_there_is_an_alarm_for_everything_that_needs_attention(alarms: dict[str, Any]):
    assert set(alarms) == {
        *(f"{kind}-dlq-not-empty" for kind in KINDS),
        *(f"{kind}-message-old" for kind in KINDS),
        *(f"{function}-{trouble}" for function in FUNCTIONS for trouble in ("errors", "throttles")),
        "load-stalled",
        "load-incomplete",
        "looks-failed",
        "database-large",
        "database-local-storage-low",
        "database-connections",
    }


def test_every_alarm_goes_to_the_topic_says_what_to_do_and_is_silent_without_data(
    stacks: Stacks, alarms: dict[str, Any]
):
    (topic,) = stacks.resources("AWS::SNS::Topic")
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        assert len(alarm["AlarmDescription"]) > 40
        assert alarm["TreatMissingData"] == "notBreaching"


@pytest.mark.parametrize("kind", KINDS)
def test_one_dead_letter_is_enough(stacks: Stacks, alarms: dict[str, Any], name: str, kind: str):
    alarm = alarms[f"{kind}-dlq-not-empty"]
    dlq = stacks.logical_id("AWS::SQS::Queue", "QueueName", f"fipe-{kind}-dlq-{name}")
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": [dlq, "QueueName"]}}]
    assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (1, 1, 300)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_old_after_half_of_the_time_that_its_queue_keeps_it(alarms: dict[str, Any], kind: str):
    alarm = alarms[f"{kind}-message-old"]
    assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateAgeOfOldestMessage", 2 * 24 * 3600)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_error_of_a_function_is_enough_and_throttling_has_to_last(
    stacks: Stacks, alarms: dict[str, Any], name: str, function: str
):
    logical_id = stacks.logical_id("AWS::Lambda::Function", "FunctionName", f"{function}-{name}")
    errors, throttles = alarms[f"{function}-errors"], alarms[f"{function}-throttles"]
    for alarm, metric, periods in ((errors, "Errors", 1), (throttles, "Throttles", 3)):
        assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": logical_id}}]
        assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", metric)
        assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (1, periods, 300)


def test_an_alarm_says_that_a_load_is_stalled_only_while_nobody_looks_who_would_tell_it(
    stacks: Stacks, alarms: dict[str, Any], name: str
):
    alarm = alarms["load-stalled"]
    queries = {query["Id"]: query for query in alarm["Metrics"]}
    metrics = {
        name: query["MetricStat"]["Metric"] for name, query in queries.items() if "MetricStat" in query
    }
    assert {name: metric["MetricName"] for name, metric in metrics.items()} == {
        **{f"waiting{number}": "ApproximateNumberOfMessagesVisible" for number in range(3)},
        "written": "NumberOfMessagesDeleted",
        "looks": "NumberOfMessagesDeleted",
    }
    assert metrics["written"]["Dimensions"] == metrics["waiting2"]["Dimensions"]
    announcements = stacks.logical_id("AWS::SQS::Queue", "QueueName", f"fipe-announcement-queue-{name}")
    assert metrics["looks"]["Dimensions"][0]["Value"] == {"Fn::GetAtt": [announcements, "QueueName"]}
    (formula,) = (query["Expression"] for query in alarm["Metrics"] if query["ReturnData"])
    assert formula == "IF((waiting0 + waiting1 + waiting2) > 0 AND written < 1 AND looks < 1, 1, 0)"
    assert {query["MetricStat"]["Period"] for query in queries.values() if "MetricStat" in query} == {3600}
    assert alarm["EvaluationPeriods"] == 3


def test_looks_that_fail_for_two_hours_are_reported(alarms: dict[str, Any], name: str):
    alarm = alarms["looks-failed"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("Fipe", LOOKS_FAILED, "Sum")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": f"FipeAnnouncer-{name}"}]
    assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (1, 2, 3600)


def test_a_load_that_ends_incomplete_is_reported_by_its_own_stage(alarms: dict[str, Any], name: str):
    assert (
        LoadState.COMPLETE.metric,
        LoadState.INCOMPLETE.metric,
    ) == (names.LOADS_COMPLETE, names.LOADS_INCOMPLETE)
    alarm, metric = alarms["load-incomplete"], LoadState.INCOMPLETE.metric
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("Fipe", metric, "Sum")
    assert alarm["Dimensions"] == [{"Name": "service", "Value": f"FipeSomaIngestor-{name}"}]


def test_the_database_is_watched_without_being_asked_anything(alarms: dict[str, Any]):
    metrics = {name: alarm for name, alarm in alarms.items() if name.startswith("database-")}
    assert {name: alarm["MetricName"] for name, alarm in metrics.items()} == {
        "database-large": "VolumeBytesUsed",
        "database-local-storage-low": "FreeLocalStorage",
        "database-connections": "DatabaseConnections",
    }
    assert all(alarm["Namespace"] == "AWS/RDS" for alarm in metrics.values())
    assert metrics["database-local-storage-low"]["ComparisonOperator"] == "LessThanThreshold"
    assert metrics["database-large"]["Threshold"] == 20 * 2**30
    assert metrics["database-connections"]["Threshold"] == 42


def test_low_local_storage_says_what_helps_the_database_that_there_is():
    def advice(**settings: str) -> str:
        alarms = synthesize(**settings).by_name(ALARM, "AlarmName")
        return str(alarms["fipe-database-local-storage-low-dev"]["AlarmDescription"])

    assert advice().endswith("or deploy with a larger INSTANCE_CLASS.")
    assert "an INSTANCE_CLASS that is not serverless" in advice(instance_class="db.serverless")


def test_thresholds_follow_the_settings():
    alarms = synthesize(
        stalled_hours="5", database_alarm_gib="7", ingestor_concurrency="10", retention_days="2"
    ).by_name(ALARM, "AlarmName")
    assert alarms["fipe-load-stalled-dev"]["EvaluationPeriods"] == 5
    assert alarms["fipe-database-large-dev"]["Threshold"] == 7 * 2**30
    assert alarms["fipe-database-connections-dev"]["Threshold"] == 50
    assert alarms["fipe-model-message-old-dev"]["Threshold"] == 24 * 3600


def test_only_alarms_of_the_stage_may_use_the_topic_and_only_over_tls(stacks: Stacks, name: str):
    refused, allowed = stacks.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Condition"] == {
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:fipe-*-{name}"}
    }


def test_alarms_are_mailed_to_an_address_that_is_given(stacks: Stacks):
    assert stacks.resources("AWS::SNS::Subscription") == {}
    subscription = synthesize(alarm_email="me@example.com").only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "me@example.com")


def test_the_dashboard_shows_the_pipeline_from_left_to_right(stacks: Stacks, name: str):
    dashboard = stacks.only("AWS::CloudWatch::Dashboard")
    assert dashboard["DashboardName"] == f"fipe-{name}-{REGION}"
    parts = dashboard["DashboardBody"]["Fn::Join"][1]
    body = json.loads("".join(part if isinstance(part, str) else "x" for part in parts))
    places = {widget["properties"]["title"]: (widget["y"], widget["x"]) for widget in body["widgets"]}
    in_order = sorted(places, key=lambda title: places[title])
    assert in_order[:9] == [
        f"FIPE {name}",
        *WORKERS,
        *(f"{kind} queue" for kind in PIPELINE),
        "Into the database",
    ]
    assert places["FipeModelLoader"][1] == places["model queue"][1]


def test_nothing_is_loaded_by_the_calendar_unless_asked_for(stacks: Stacks):
    assert stacks.resources("AWS::Scheduler::Schedule") == {}


def test_a_schedule_loads_the_newest_reference_until_it_is_stable():
    stacks = synthesize(schedule="on")
    schedule = stacks.only("AWS::Scheduler::Schedule")
    start = stacks.logical_id("AWS::Lambda::Function", "FunctionName", "FipeManufacturerLoader-dev")
    assert schedule["Name"] == "fipe-load-dev"
    assert schedule["ScheduleExpression"] == "cron(0 9 1-10 * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "America/Sao_Paulo"
    assert schedule["Target"]["Arn"] == {"Fn::GetAtt": [start, "Arn"]}
    payload = json.loads(schedule["Target"]["Input"])
    assert payload == {
        "reference": "latest",
        "until_stable": True,
        "start_key": "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time>",
    }
    assert parse_request(payload).until_stable


def test_a_schedule_may_start_loads_and_nothing_else():
    stacks = synthesize(schedule="rate(7 days)")
    role_id = stacks.only("AWS::Scheduler::Schedule")["Target"]["RoleArn"]["Fn::GetAtt"][0]
    role = stacks.resources("AWS::IAM::Role")[role_id]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {
            "aws:SourceAccount": ACCOUNT,
            "aws:SourceArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/default",
        }
    }
    (policy,) = (
        policy["Properties"]["PolicyDocument"]["Statement"]
        for policy in stacks.resources("AWS::IAM::Policy").values()
        if {"Ref": role_id} in policy["Properties"]["Roles"]
    )
    start = stacks.logical_id("AWS::Lambda::Function", "FunctionName", "FipeManufacturerLoader-dev")
    assert policy == [
        {"Action": "lambda:InvokeFunction", "Effect": "Allow", "Resource": {"Fn::GetAtt": [start, "Arn"]}}
    ]
