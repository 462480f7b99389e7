"""Stacks in the local cloud: the resources that moto lacks, failures, rollback, nested stacks."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests
from botocore.exceptions import ClientError

from local_cloud.state import REGION, SIMULATOR_PATH
from tests.local_cloud_support import ROLE, Cloud, eventually, running_cloud

ANSWERING_FUNCTION = """
import json, urllib.request

def handler(event, context):
    properties = event["ResourceProperties"]
    before = json.dumps(event.get("OldResourceProperties"))
    print("asked", event["RequestType"], before, json.dumps(properties))
    if properties.get("Crash") == "true":
        raise RuntimeError("nothing works")
    failed = properties.get("Fail") == "true" and event["RequestType"] != "Delete"
    answer = {
        "Status": "FAILED" if failed else "SUCCESS",
        "Reason": 'syntax error at or near "tabel"',
        "PhysicalResourceId": properties.get("Id", "database"),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": {"Version": properties.get("Version", "")},
    }
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request).close()
"""


def function(name: str, code: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": name,
            "Runtime": "python3.14",
            "Handler": "index.handler",
            "Role": ROLE,
            "Timeout": 20,
            "Code": {"ZipFile": code},
        },
    }


def custom_resource_stack(name: str, **properties: object) -> dict[str, Any]:
    return {
        "Resources": {
            "Answering": function(f"{name}-function", ANSWERING_FUNCTION),
            "Init": {
                "Type": "Custom::FipeDatabase",
                "Properties": {"ServiceToken": {"Fn::GetAtt": ["Answering", "Arn"]}, **properties},
            },
        },
        "Outputs": {"Version": {"Value": {"Fn::GetAtt": ["Init", "Version"]}}},
    }


def secret_reference(key: str) -> dict[str, Any]:
    return {"Fn::Join": ["", ["{{resolve:secretsmanager:", {"Ref": "Secret"}, f":SecretString:{key}::}}}}"]]}


DATABASE_STACK: dict[str, Any] = {
    "Resources": {
        "Secret": {
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {
                "Name": "fipe-database",
                "GenerateSecretString": {
                    "SecretStringTemplate": json.dumps({"username": "postgres"}),
                    "GenerateStringKey": "password",
                    "ExcludeCharacters": "\"@/\\ '",
                    "PasswordLength": 30,
                },
            },
        },
        "Cluster": {
            "Type": "AWS::RDS::DBCluster",
            "Properties": {
                "Engine": "aurora-postgresql",
                "EngineVersion": "17.5",
                "DatabaseName": "fipedata",
                "BackupRetentionPeriod": 7,
                "MasterUsername": secret_reference("username"),
                "MasterUserPassword": secret_reference("password"),
            },
        },
        "Writer": {
            "Type": "AWS::RDS::DBInstance",
            "Properties": {
                "DBClusterIdentifier": {"Ref": "Cluster"},
                "DBInstanceClass": "db.t3.medium",
                "Engine": "aurora-postgresql",
            },
        },
        "Attachment": {
            "Type": "AWS::SecretsManager::SecretTargetAttachment",
            "Properties": {
                "SecretId": {"Ref": "Secret"},
                "TargetId": {"Ref": "Cluster"},
                "TargetType": "AWS::RDS::DBCluster",
            },
        },
    },
    "Outputs": {
        "Host": {"Value": {"Fn::GetAtt": ["Cluster", "Endpoint.Address"]}},
        "Port": {"Value": {"Fn::GetAtt": ["Cluster", "Endpoint.Port"]}},
        "ResourceId": {"Value": {"Fn::GetAtt": ["Cluster", "DBClusterResourceId"]}},
        "Secret": {"Value": {"Ref": "Attachment"}},
    },
}


def outputs(stack: Any) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        cloud.client("s3").create_bucket(Bucket="templates")
        yield cloud


def connect(secret: dict[str, Any], **instead: Any) -> Any:
    place = {
        "host": secret["host"],
        "port": secret["port"],
        "user": secret["username"],
        "password": secret["password"],
        "dbname": secret["dbname"],
    }
    return closing(psycopg2.connect(**{**place, **instead}))


def test_creates_a_cluster_that_its_secret_opens(cloud: Cloud) -> None:
    stack = cloud.deploy("database", DATABASE_STACK)
    assert stack["StackStatus"] == "CREATE_COMPLETE", cloud.reasons("database")
    shown = outputs(stack)
    answer = cloud.client("secretsmanager").get_secret_value(SecretId=shown["Secret"])
    secret = json.loads(answer["SecretString"])
    assert (secret["engine"], secret["dbname"], secret["host"]) == ("postgres", "fipedata", shown["Host"])
    assert secret["port"] == int(shown["Port"])
    assert len(secret["password"]) == 30
    with connect(secret) as session, session.cursor() as cursor:
        cursor.execute("show timezone")
        assert cursor.fetchone() == ("UTC",)
        cursor.execute("create role fipe_ingestor login")
    with pytest.raises(psycopg2.OperationalError):
        connect(secret, password="wrong")
    (cluster,) = cloud.client("rds").describe_db_clusters()["DBClusters"]
    assert (cluster["Endpoint"], cluster["Port"]) == (shown["Host"], int(shown["Port"]))
    assert cluster["DbClusterResourceId"] == shown["ResourceId"]
    assert cluster["BackupRetentionPeriod"] == 7
    assert len(cluster["DBClusterMembers"]) == 1


def test_a_password_is_changed_by_the_rds_api(cloud: Cloud) -> None:
    template = json.loads(json.dumps(DATABASE_STACK))
    template["Resources"]["Secret"]["Properties"]["Name"] = "rotated"
    shown = outputs(cloud.deploy("rotated", template))
    answer = cloud.client("secretsmanager").get_secret_value(SecretId=shown["Secret"])
    secret = json.loads(answer["SecretString"])
    cloud.client("rds").modify_db_cluster(
        DBClusterIdentifier=secret["dbClusterIdentifier"],
        MasterUserPassword="another-password",
        ApplyImmediately=True,
    )
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(secret)
    with connect(secret, password="another-password"):
        pass
    (status,) = (
        one["Status"]
        for one in cloud.client("rds").describe_db_clusters()["DBClusters"]
        if one["DBClusterIdentifier"] == secret["dbClusterIdentifier"]
    )
    assert status == "available"


def test_takes_over_what_changes_in_a_cluster_and_its_instance(cloud: Cloud) -> None:
    template = json.loads(json.dumps(DATABASE_STACK))
    template["Resources"]["Secret"]["Properties"]["Name"] = "changed"
    before = cloud.deploy("changed", template)
    template["Resources"]["Cluster"]["Properties"]["BackupRetentionPeriod"] = 14
    template["Resources"]["Writer"]["Properties"]["DBInstanceClass"] = "db.t4g.large"
    after = cloud.update("changed", template)
    assert after["StackStatus"] == "UPDATE_COMPLETE", cloud.reasons("changed")
    assert outputs(after) == outputs(before)
    resources = cloud.client("cloudformation").describe_stack_resources(StackName="changed")
    names = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources["StackResources"]}
    rds = cloud.client("rds")
    (cluster,) = rds.describe_db_clusters(DBClusterIdentifier=names["Cluster"])["DBClusters"]
    (writer,) = rds.describe_db_instances(DBInstanceIdentifier=names["Writer"])["DBInstances"]
    assert (cluster["BackupRetentionPeriod"], writer["DBInstanceClass"]) == (14, "db.t4g.large")


def test_keeps_the_data_of_a_database_when_its_stack_is_deleted_and_created_again(cloud: Cloud) -> None:
    def secret_of(stack: Any) -> dict[str, Any]:
        client = cloud.client("secretsmanager")
        value: dict[str, Any] = json.loads(
            client.get_secret_value(SecretId=outputs(stack)["Secret"])["SecretString"]
        )
        return value

    template = json.loads(json.dumps(DATABASE_STACK))
    template["Resources"]["Secret"]["Properties"]["Name"] = "kept"
    first = secret_of(cloud.deploy("kept", template))
    with connect(first) as session, session, session.cursor() as cursor:
        cursor.execute("create table kept as select 1 as one")
    cloud.client("cloudformation").delete_stack(StackName="kept")
    eventually(lambda: not _stack_exists(cloud, "kept"))
    second = secret_of(cloud.deploy("kept", template))
    assert second["password"] != first["password"]
    with connect(second) as session, session.cursor() as cursor:
        cursor.execute("select one from kept")
        assert cursor.fetchone() == (1,)


def test_creates_a_custom_resource_and_passes_on_its_data(cloud: Cloud) -> None:
    stack = cloud.deploy("custom", custom_resource_stack("custom", Version="7", Number=3, Flag=False))
    assert stack["StackStatus"] == "CREATE_COMPLETE", cloud.reasons("custom")
    assert outputs(stack) == {"Version": "7"}
    assert '"Number": "3", "Flag": "false"' in cloud.log("custom-function")


def test_asks_a_custom_resource_again_only_when_its_properties_change(cloud: Cloud) -> None:
    cloud.deploy("change", custom_resource_stack("change", Version="1"))
    unchanged = {**custom_resource_stack("change", Version="1"), "Description": "another text"}
    assert cloud.update("change", unchanged)["StackStatus"] == "UPDATE_COMPLETE"
    assert "asked Update" not in cloud.log("change-function")
    stack = cloud.update("change", custom_resource_stack("change", Version="2"))
    assert outputs(stack) == {"Version": "2"}
    assert 'asked Update {"ServiceToken"' in cloud.log("change-function")


def test_deletes_the_old_custom_resource_when_an_update_gives_a_new_one(cloud: Cloud) -> None:
    cloud.deploy("moved", custom_resource_stack("moved", Id="old"))
    cloud.update("moved", custom_resource_stack("moved", Id="new"))
    assert cloud.log("moved-function").count("asked Delete") == 1


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"Fail": "true"}, 'Message returned: syntax error at or near "tabel"'),
        ({"Crash": "true"}, "failed and did not answer: nothing works"),
    ],
)
def test_fails_and_rolls_back_with_the_reason_in_the_events(
    cloud: Cloud, properties: dict[str, str], reason: str
) -> None:
    name = f"failing-{next(iter(properties)).lower()}"
    stack = cloud.deploy(name, custom_resource_stack(name, **properties))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in cloud.reasons(name)
    with pytest.raises(ClientError, match="not found"):
        cloud.invoke(f"{name}-function", {})


def test_rolls_back_to_the_last_template_when_an_update_fails(cloud: Cloud) -> None:
    template = custom_resource_stack("back", Version="1")
    cloud.deploy("back", template)
    worse = custom_resource_stack("back", Version="2", Fail="true")
    worse["Resources"]["Extra"] = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "extra"}}
    stack = cloud.update("back", worse)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "syntax error" in cloud.reasons("back")
    assert outputs(stack) == {"Version": "1"}
    assert not [queue for queue in cloud.status()["queues"] if queue["name"] == "extra"]


def test_updates_a_nested_stack_in_place_and_shows_its_outputs(cloud: Cloud) -> None:
    def child(visibility: int) -> None:
        template = {
            "Parameters": {"Name": {"Type": "String"}},
            "Resources": {
                "Queue": {
                    "Type": "AWS::SQS::Queue",
                    "Properties": {"QueueName": {"Ref": "Name"}, "VisibilityTimeout": visibility},
                }
            },
            "Outputs": {"Url": {"Value": {"Ref": "Queue"}}},
        }
        cloud.client("s3").put_object(
            Bucket="templates", Key=f"child-{visibility}.json", Body=json.dumps(template).encode()
        )

    def parent(visibility: int) -> dict[str, Any]:
        child(visibility)
        url = f"{cloud.endpoint.url}/templates/child-{visibility}.json"
        return {
            "Resources": {
                "Child": {
                    "Type": "AWS::CloudFormation::Stack",
                    "Properties": {"TemplateURL": url, "Parameters": {"Name": "nested-queue"}},
                }
            },
            "Outputs": {"QueueUrl": {"Value": {"Fn::GetAtt": ["Child", "Outputs.Url"]}}},
        }

    queue = outputs(_deploy_by_change_set(cloud, "parent", parent(30), "CREATE"))["QueueUrl"]
    cloud.send(queue, "kept")
    stack = _deploy_by_change_set(cloud, "parent", parent(60), "UPDATE")
    assert outputs(stack)["QueueUrl"] == queue
    client = cloud.client("sqs")
    attributes = client.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["ApproximateNumberOfMessages"]) == ("60", "1")


def test_creates_resources_after_those_they_depend_on(cloud: Cloud) -> None:
    queue = {"Type": "AWS::SQS::Queue"}
    template = {
        "Resources": {
            "First": {**queue, "DependsOn": ["Second"]},
            "Second": {**queue, "DependsOn": "Third"},
            "Third": queue,
        }
    }
    _deploy_by_change_set(cloud, "ordered", template, "CREATE")
    events = cloud.client("cloudformation").describe_stack_events(StackName="ordered")["StackEvents"]
    made = [
        event["LogicalResourceId"]
        for event in reversed(events)
        if event["ResourceStatus"] == "CREATE_COMPLETE"
    ]
    assert made == ["Third", "Second", "First", "ordered"]


def test_sets_the_policy_of_a_queue(cloud: Cloud) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    template = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "guarded"}},
            "Policy": {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Statement": [statement]}},
            },
        },
        "Outputs": {"Url": {"Value": {"Ref": "Queue"}}},
    }
    url = outputs(cloud.deploy("guarded", template))["Url"]
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])[
        "Attributes"
    ]
    assert json.loads(attributes["Policy"])["Statement"] == [statement]


def test_refuses_a_public_database_in_a_vpc_without_host_names_as_rds_does(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")
        for number, zone in enumerate("ab")
    ]
    template = json.loads(json.dumps(DATABASE_STACK))
    template["Resources"]["Secret"]["Properties"]["Name"] = "public"
    template["Resources"]["Subnets"] = {
        "Type": "AWS::RDS::DBSubnetGroup",
        "Properties": {
            "DBSubnetGroupDescription": "public",
            "SubnetIds": [one["Subnet"]["SubnetId"] for one in subnets],
        },
    }
    template["Resources"]["Cluster"]["Properties"]["DBSubnetGroupName"] = {"Ref": "Subnets"}
    template["Resources"]["Writer"]["Properties"]["PubliclyAccessible"] = True
    stack = cloud.deploy("public", template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    events = cloud.client("cloudformation").describe_stack_events(StackName="public")["StackEvents"]
    (reason,) = (
        event["ResourceStatusReason"]
        for event in events
        if event["ResourceStatus"] == "CREATE_FAILED" and event["LogicalResourceId"] == "Writer"
    )
    assert "does not support DNS resolution, DNS hostnames, or both" in reason
    ec2.modify_vpc_attribute(VpcId=vpc_id, EnableDnsHostnames={"Value": True})
    cloud.client("cloudformation").delete_stack(StackName="public")
    eventually(lambda: not _stack_exists(cloud, "public"))
    assert cloud.deploy("public", template)["StackStatus"] == "CREATE_COMPLETE"


def test_lists_the_resource_types_that_it_skipped(cloud: Cloud) -> None:
    stack = cloud.deploy("unknown", {"Resources": {"Thing": {"Type": "AWS::Unknown::Thing"}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert "AWS::Unknown::Thing" in cloud.status()["skipped_resource_types"]


def test_does_not_delete_a_protected_stack(cloud: Cloud) -> None:
    cloud.client("cloudformation").create_stack(
        StackName="protected",
        TemplateBody=json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}),
        EnableTerminationProtection=True,
    )
    with pytest.raises(ClientError, match="TerminationProtection"):
        cloud.client("cloudformation").delete_stack(StackName="protected")


def _deploy_by_change_set(cloud: Cloud, name: str, template: dict[str, Any], kind: str) -> Any:
    client = cloud.client("cloudformation")
    change_set = client.create_change_set(
        StackName=name, ChangeSetName="change", ChangeSetType=kind, TemplateBody=json.dumps(template)
    )["Id"]
    client.execute_change_set(ChangeSetName=change_set)
    return cloud.settled_stack(name)


def _stack_exists(cloud: Cloud, name: str) -> bool:
    try:
        cloud.client("cloudformation").describe_stacks(StackName=name)
    except ClientError:
        return False
    return True


OPERATIONS_STACK = {
    "Resources": {
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "news"}},
        "Policy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {
                "Topics": [{"Ref": "Topic"}],
                "PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Sid": "OnlyThis"}]},
            },
        },
        "Mail": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {
                "TopicArn": {"Ref": "Topic"},
                "Protocol": "email",
                "Endpoint": "me@example.com",
            },
        },
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "AlarmName": "too-much",
                "AlarmActions": [{"Ref": "Topic"}],
                "ComparisonOperator": "GreaterThanThreshold",
                "EvaluationPeriods": 1,
                "Metrics": [
                    {"Id": "total", "Expression": "m1 * 2", "ReturnData": True},
                    {
                        "Id": "m1",
                        "ReturnData": False,
                        "MetricStat": {
                            "Metric": {"Namespace": "Fipe", "MetricName": "PricesReceived"},
                            "Period": 300,
                            "Stat": "Sum",
                        },
                    },
                ],
                "Threshold": 7,
            },
        },
        "Schedule": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "Name": "daily",
                "ScheduleExpression": "rate(1 day)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:a", "RoleArn": ROLE},
            },
        },
    }
}


def test_creates_changes_and_deletes_alarms_topics_and_schedules(cloud: Cloud) -> None:
    def alarm() -> Any:
        return cloud.client("cloudwatch").describe_alarms(AlarmNames=["too-much"])["MetricAlarms"]

    stack = cloud.deploy("operations", OPERATIONS_STACK)
    assert stack["StackStatus"] == "CREATE_COMPLETE", cloud.reasons("operations")
    sns = cloud.client("sns")
    (subscription,) = sns.list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "me@example.com")
    (listed,) = sns.list_subscriptions_by_topic(TopicArn=subscription["TopicArn"])["Subscriptions"]
    assert listed["SubscriptionArn"] == "PendingConfirmation"
    policy = sns.get_topic_attributes(TopicArn=subscription["TopicArn"])["Attributes"]["Policy"]
    assert json.loads(policy)["Statement"] == [{"Sid": "OnlyThis"}]
    (made,) = alarm()
    assert (made["Threshold"], made["AlarmActions"]) == (7, [subscription["TopicArn"]])
    assert {query["Id"] for query in made["Metrics"]} == {"total", "m1"}
    schedule = cloud.client("scheduler").get_schedule(Name="daily")
    assert schedule["ScheduleExpression"] == "rate(1 day)"

    changed = json.loads(json.dumps(OPERATIONS_STACK))
    changed["Resources"]["Alarm"]["Properties"]["Threshold"] = 8
    changed["Resources"]["Schedule"]["Properties"]["ScheduleExpression"] = "rate(2 days)"
    assert cloud.update("operations", changed)["StackStatus"] == "UPDATE_COMPLETE"
    assert alarm()[0]["Threshold"] == 8
    schedule = cloud.client("scheduler").get_schedule(Name="daily")
    assert schedule["ScheduleExpression"] == "rate(2 days)"

    cloud.client("cloudformation").delete_stack(StackName="operations")
    eventually(lambda: not _stack_exists(cloud, "operations"))
    assert alarm() == []
    assert sns.list_subscriptions()["Subscriptions"] == []
    assert cloud.client("scheduler").list_schedules()["Schedules"] == []


def test_a_property_that_the_api_does_not_know_fails_the_stack(cloud: Cloud) -> None:
    template = json.loads(json.dumps(OPERATIONS_STACK))
    template["Resources"] = {"Alarm": template["Resources"]["Alarm"]}
    template["Resources"]["Alarm"]["Properties"] |= {"AlarmActions": [], "Treshold": 7}
    assert cloud.deploy("misspelt", template)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert 'Unknown parameter in input: "Treshold"' in cloud.reasons("misspelt")


def test_reports_a_deleted_change_set_as_aws_does(cloud: Cloud) -> None:
    client = cloud.client("cloudformation")
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    _deploy_by_change_set(cloud, "changed", template, "CREATE")
    client.delete_change_set(StackName="changed", ChangeSetName="change")
    with pytest.raises(client.exceptions.ChangeSetNotFoundException):
        client.describe_change_set(StackName="changed", ChangeSetName="change")


def test_an_update_may_keep_a_parameter_that_names_an_ssm_parameter(cloud: Cloud) -> None:
    cloud.client("ssm").put_parameter(Name="/version", Value="21", Type="String")
    template: dict[str, Any] = {
        "Parameters": {"Version": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/version"}},
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
    }
    cloud.deploy("versioned", template)
    template["Resources"]["Another"] = {"Type": "AWS::SQS::Queue"}
    client = cloud.client("cloudformation")
    change_set = client.create_change_set(
        StackName="versioned",
        ChangeSetName="change",
        ChangeSetType="UPDATE",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": "Version", "UsePreviousValue": True}],
    )
    client.execute_change_set(ChangeSetName=change_set["Id"])
    stack = cloud.settled_stack("versioned")
    assert stack["StackStatus"] == "UPDATE_COMPLETE", cloud.reasons("versioned")


BUSY_FUNCTION = """
import subprocess, time

def handler(event, context):
    if event:
        print("child", subprocess.Popen(["sleep", "600"]).pid)
        time.sleep(600)
"""


def test_nothing_that_a_cloud_started_outlives_it_when_it_is_killed(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as cloud:
        cloud.deploy("database", DATABASE_STACK)
        requests.post(cloud.endpoint.url + SIMULATOR_PATH, timeout=60).raise_for_status()
        cloud.put_function("idle", BUSY_FUNCTION)
        cloud.invoke("idle", {})
        cloud.put_function("busy", BUSY_FUNCTION, timeout=900)
        cloud.invoke("busy", {"sleep": 1}, InvocationType="Event")
        child = int(eventually(lambda: re.search(r"child (\d+)", cloud.log("busy")))[1])
        started = {child, *cloud.status()["processes"]} - {cloud.endpoint.pid}
        assert {psutil.Process(pid).name() for pid in started} >= {"postgres", "sleep"}
        assert len(started) >= 6
        os.kill(cloud.endpoint.pid, signal.SIGKILL)
        assert eventually(lambda: not [pid for pid in started if psutil.pid_exists(pid)], seconds=20)
