"""FipeLakeWriter: only where a bucket is named, with no more rights than it needs, and no NAT gateway."""

from pathlib import Path
from typing import Any

import pytest

from infrastructure.paths import API_LAYER, PSYCOPG2_LAYER, PYARROW_LAYER
from tests.infrastructure.synthesis import Stacks, stage, statements_allowing, synthesize

FUNCTION = "FipeLakeWriter-dev"
ALARM = "AWS::CloudWatch::Alarm"
MEGABYTES_OF_A_FUNCTION = 250
"""Its code and layers together, unzipped (Lambda developer guide, "Lambda quotas")."""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """In the place of the layer, which is only built when it is needed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("infrastructure.lake.PYARROW_LAYER", tmp_path_factory.mktemp("pyarrow"))
        yield


@pytest.fixture(scope="module")
def stacks(layer: None) -> Stacks:  # noqa: ARG001
    return synthesize(export_bucket="my-lake")


def function(stacks: Stacks) -> Any:
    return stacks.by_name("AWS::Lambda::Function", "FunctionName")[FUNCTION]


def test_a_stage_without_a_bucket_has_nothing_of_it():
    plain = stage("dev")
    assert FUNCTION not in plain.by_name("AWS::Lambda::Function", "FunctionName")
    assert "AWS::EC2::VPCEndpoint" not in {each["Type"] for each in plain.resources().values()}
    assert "fipe-export-queue-dev" not in plain.by_name("AWS::SQS::Queue", "QueueName")
    assert not [name for name in plain.by_name(ALARM, "AlarmName") if "export" in name or "Lake" in name]


def test_it_reads_the_database_as_a_reader_and_may_write_nothing_but_the_files_of_months(stacks: Stacks):
    variables = function(stacks)["Environment"]["Variables"]
    assert (variables["RDS_USER"], variables["EXPORT_BUCKET"]) == ("fipe_reader", "my-lake")
    allowed = [
        (action, str(resource))
        for action, resource in statements_allowing(stacks.statements(FUNCTION))
        if not action.startswith(("logs:", "ec2:", "sqs:"))
    ]
    assert [action for action, _ in allowed] == ["rds-db:connect", "s3:GetObject", "s3:PutObject"]
    assert allowed[0][1].count("/fipe_reader") == 1
    assert all(":s3:::my-lake/reference_month=*/prices.parquet" in resource for _, resource in allowed[1:])


def test_it_reaches_the_database_and_s3_alone(stacks: Stacks):
    endpoint = stacks.only("AWS::EC2::VPCEndpoint")
    assert endpoint["VpcEndpointType"] == "Gateway"
    assert endpoint["RouteTableIds"] == ["rtb-public0", "rtb-public1", "rtb-public2"]
    assert "PolicyDocument" not in endpoint
    group = stacks.logical_id("AWS::EC2::SecurityGroup", "GroupDescription", "The function that writes to S3")
    assert function(stacks)["VpcConfig"]["SecurityGroupIds"] == [{"Fn::GetAtt": [group, "GroupId"]}]
    outwards = stacks.resources("AWS::EC2::SecurityGroup")[group]["Properties"]["SecurityGroupEgress"]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in outwards] == [(443, 443)]
    to_database = stacks.resources("AWS::EC2::SecurityGroupEgress").values()
    assert [rule["Properties"]["FromPort"] for rule in to_database].count(5432) == len(to_database)


@pytest.mark.usefixtures("layer")
def test_a_vpc_that_has_an_endpoint_gets_no_second_one():
    there = synthesize(export_bucket="my-lake", s3_endpoint="existing")
    assert there.resources("AWS::EC2::VPCEndpoint") == {}
    assert function(there)["Environment"]["Variables"]["EXPORT_BUCKET"] == "my-lake"


def test_it_is_told_of_months_that_are_complete_or_have_changed(stacks: Stacks):
    subscription = stacks.only("AWS::SNS::Subscription")
    assert subscription["FilterPolicy"] == {"kind": ["load_complete", "month_changed"]}
    assert (subscription["Protocol"], subscription["RawMessageDelivery"]) == ("sqs", True)
    queues = stacks.by_name("AWS::SQS::Queue", "QueueName")
    queue = queues["fipe-export-queue-dev"]
    assert queue["VisibilityTimeout"] >= function(stacks)["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5


def test_its_queue_and_function_are_watched_as_all_others_are(stacks: Stacks):
    topic = stacks.only("AWS::SNS::Subscription")["TopicArn"]
    alarms = stacks.by_name(ALARM, "AlarmName")
    more = alarms.keys() - stage("dev").by_name(ALARM, "AlarmName").keys()
    assert more == {
        "fipe-export-dlq-not-empty-dev",
        "fipe-export-message-old-dev",
        "fipe-FipeLakeWriter-errors-dev",
        "fipe-FipeLakeWriter-throttles-dev",
    }
    assert all(alarms[name]["AlarmActions"] == [topic] for name in more)
    assert (
        "`make redrive-dev QUEUE=export DRY_RUN=1`"
        in (alarms["fipe-export-dlq-not-empty-dev"]["AlarmDescription"])
    )
    assert {"ExportQueueUrl", "ExportDLQUrl"} <= stacks.parent.to_json()["Outputs"].keys()


@pytest.mark.skipif(
    not PYARROW_LAYER.is_dir(), reason="EXPORT_BUCKET=yes ./create_fipe_api_layer.sh builds it"
)
def test_its_layers_fit_into_a_function():
    files = [
        path for folder in (API_LAYER, PSYCOPG2_LAYER, PYARROW_LAYER) for path in Path(folder).rglob("*")
    ]
    size = sum(path.stat().st_size for path in files if path.is_file()) / 2**20
    assert size < MEGABYTES_OF_A_FUNCTION / 2
    compiled = [path.name for path in files if ".cpython-" in path.name and path.suffix == ".so"]
    assert all("cpython-314-aarch64-linux-gnu" in name for name in compiled)
