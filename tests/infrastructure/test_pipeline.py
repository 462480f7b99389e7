"""Queues, functions and what each function may do."""

from typing import Any

import pytest

from tests.conftest import ROOT
from tests.infrastructure.synthesis import (
    ACCOUNT,
    REGION,
    Stacks,
    as_list,
    stage,
    statements_allowing,
    synthesize,
)

FUNCTION, QUEUE, LOG, EVENT_SOURCE = (
    "AWS::Lambda::Function",
    "AWS::SQS::Queue",
    "AWS::Logs::LogGroup",
    "AWS::Lambda::EventSourceMapping",
)
LOADERS = ["FipeManufacturerLoader", "FipeModelLoader", "FipePriceLoader"]
WITH_ROLE = {"FipeSomaIngestor": "fipe_ingestor", "FipeLoadStatus": "fipe_status"}
ANNOUNCER = "FipeAnnouncer"
WORKERS = [*LOADERS, *WITH_ROLE, ANNOUNCER]
IN_VPC = [*WITH_ROLE, "FipeSqlRunner"]
ALL = [*WORKERS, "FipeSqlInit", "FipeSqlRunner"]
KINDS = ["manufacturer", "model", "price", "announcement"]
FED = {"FipeModelLoader": "manufacturer", "FipePriceLoader": "model", "FipeSomaIngestor": "price"}
FEEDS = {"FipeManufacturerLoader": "manufacturer", "FipeModelLoader": "model", "FipePriceLoader": "price"}


@pytest.fixture(scope="module", params=["dev", "stg", "prd"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stacks(name: str) -> Stacks:
    return stage(name)


def functions(stacks: Stacks) -> dict[str, Any]:
    """By their names, without the stage."""
    return {
        name.partition("-")[0]: function
        for name, function in stacks.by_name(FUNCTION, "FunctionName").items()
    }


def queue_id(stacks: Stacks, kind: str) -> str:
    (found,) = (
        logical_id
        for logical_id, queue in stacks.resources(QUEUE).items()
        if queue["Properties"]["QueueName"].startswith(f"fipe-{kind}-queue-")
    )
    return found


def url(stacks: Stacks, kind: str) -> dict[str, str]:
    return {"Ref": queue_id(stacks, kind)}


def arn(stacks: Stacks, kind: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [queue_id(stacks, kind), "Arn"]}


# Queues -----------------------------------------------------------------------------------------------------


def test_there_are_four_queues_with_their_dlqs(stacks: Stacks, name: str):
    assert set(stacks.by_name(QUEUE, "QueueName")) == {
        f"fipe-{kind}-{part}-{name}" for kind in KINDS for part in ("queue", "dlq")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_goes_to_its_own_dlq_after_five_receives(stacks: Stacks, name: str, kind: str):
    queue = stacks.by_name(QUEUE, "QueueName")[f"fipe-{kind}-queue-{name}"]
    dlq = stacks.logical_id(QUEUE, "QueueName", f"fipe-{kind}-dlq-{name}")
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": [dlq, "Arn"]},
        "maxReceiveCount": 5,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_dlq_takes_messages_of_its_queue_only(stacks: Stacks, name: str, kind: str):
    dlq = stacks.by_name(QUEUE, "QueueName")[f"fipe-{kind}-dlq-{name}"]
    assert dlq["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:fipe-{kind}-queue-{name}"],
    }


def test_messages_are_kept_for_four_days_and_in_a_dlq_for_fourteen(stacks: Stacks):
    for queue_name, queue in stacks.by_name(QUEUE, "QueueName").items():
        days = 14 if "-dlq-" in queue_name else 4
        assert queue["MessageRetentionPeriod"] == days * 24 * 60 * 60


def test_queues_are_encrypted_and_refuse_plain_http(stacks: Stacks):
    queues = stacks.resources(QUEUE)
    assert all(queue["Properties"]["SqsManagedSseEnabled"] for queue in queues.values())
    refusing = {
        as_list(policy["Properties"]["Queues"])[0]["Ref"]
        for policy in stacks.resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and statement["Action"] == "sqs:*"
    }
    assert refusing == set(queues)


@pytest.mark.parametrize(
    ("timeout", "window"),
    [("300", "30"), ("900", "300"), ("90", "0")],
    ids=["defaults", "longest", "shortest"],
)
def test_a_message_stays_invisible_for_six_timeouts_and_the_window(timeout: str, window: str):
    stacks = synthesize(function_timeout_seconds=timeout, batching_window_seconds=window)
    for queue_name, queue in stacks.by_name(QUEUE, "QueueName").items():
        if "-queue-" in queue_name:
            # A message that has an invocation of its own is tried again as soon as that must have ended.
            timeouts = 1 if queue_name == "fipe-announcement-queue-dev" else 6
            assert queue["VisibilityTimeout"] == timeouts * int(timeout) + int(window)
            assert queue["VisibilityTimeout"] <= 43_200


# Event sources ----------------------------------------------------------------------------------------------


def event_source(stacks: Stacks, function: str) -> dict[str, Any]:
    (logical_id,) = (
        logical_id
        for logical_id, resource in stacks.resources(FUNCTION).items()
        if resource["Properties"]["FunctionName"].partition("-")[0] == function
    )
    (source,) = (
        source["Properties"]
        for source in stacks.resources(EVENT_SOURCE).values()
        if source["Properties"]["FunctionName"] == {"Ref": logical_id}
    )
    return dict(source)


@pytest.mark.parametrize("function", FED)
def test_a_function_is_fed_in_batches_and_reports_failed_messages_alone(stacks: Stacks, function: str):
    source = event_source(stacks, function)
    assert source["EventSourceArn"] == arn(stacks, FED[function])
    assert source["BatchSize"] == 10
    assert source["MaximumBatchingWindowInSeconds"] == 30
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_what_is_to_be_told_is_looked_at_at_once_and_one_by_one(stacks: Stacks):
    source = event_source(stacks, ANNOUNCER)
    assert source["EventSourceArn"] == arn(stacks, "announcement")
    assert (source["BatchSize"], source["MaximumBatchingWindowInSeconds"]) == (1, 0)
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_nothing_else_is_fed_and_nothing_has_reserved_concurrency(stacks: Stacks):
    assert len(stacks.resources(EVENT_SOURCE)) == len([*FED, ANNOUNCER])
    assert all("ReservedConcurrentExecutions" not in function for function in functions(stacks).values())


# Functions --------------------------------------------------------------------------------------------------


def test_functions_have_their_names(stacks: Stacks, name: str):
    assert set(stacks.by_name(FUNCTION, "FunctionName")) == {f"{function}-{name}" for function in ALL}


@pytest.mark.parametrize("function", ALL)
def test_functions_run_python_3_14_on_arm64_without_tracing(stacks: Stacks, function: str):
    found = functions(stacks)[function]
    assert found["Runtime"] == "python3.14"
    assert found["Architectures"] == ["arm64"]
    assert "TracingConfig" not in found


@pytest.mark.parametrize("function", WORKERS)
def test_workers_have_five_minutes(stacks: Stacks, function: str):
    assert functions(stacks)[function]["Timeout"] == 300


@pytest.mark.parametrize(
    ("function", "handler"),
    [
        ("FipeManufacturerLoader", "fipe_api.fipe_manufacturer_loader.handler"),
        ("FipeModelLoader", "fipe_api.fipe_model_loader.handler"),
        ("FipePriceLoader", "fipe_api.fipe_price_loader.handler"),
        ("FipeSomaIngestor", "fipe_api.fipe_soma_ingestor.handler"),
        ("FipeLoadStatus", "fipe_api.load.status.handler"),
        ("FipeAnnouncer", "fipe_api.fipe_announcer.handler"),
        ("FipeSqlInit", "index.on_event"),
        ("FipeSqlRunner", "index.run_sql"),
    ],
)
def test_functions_run_their_handlers(stacks: Stacks, function: str, handler: str):
    assert functions(stacks)[function]["Handler"] == handler


@pytest.mark.parametrize("function", ALL)
def test_a_function_logs_to_its_own_group_which_forgets(stacks: Stacks, name: str, function: str):
    group = stacks.logical_id(LOG, "LogGroupName", f"/aws/lambda/{function}-{name}")
    assert functions(stacks)[function]["LoggingConfig"]["LogGroup"] == {"Ref": group}
    assert stacks.resources(LOG)[group]["Properties"]["RetentionInDays"] == 30
    assert stacks.resources(LOG)[group]["DeletionPolicy"] == "Delete"


def test_only_the_functions_that_work_with_the_database_stand_in_the_vpc(stacks: Stacks):
    assert {name for name, function in functions(stacks).items() if "VpcConfig" in function} == set(IN_VPC)


def test_only_functions_that_hand_back_to_their_own_queue_may_loop(stacks: Stacks):
    looping = {
        name for name, function in functions(stacks).items() if function.get("RecursiveLoop") == "Allow"
    }
    assert looping == {"FipeModelLoader", "FipePriceLoader", "FipeAnnouncer"}


@pytest.mark.parametrize(
    ("function", "layers"),
    [("FipeSqlInit", 0), ("FipeSqlRunner", 1), ("FipeModelLoader", 1), ("FipeSomaIngestor", 2)],
)
def test_functions_have_the_layers_they_import(stacks: Stacks, function: str, layers: int):
    assert len(functions(stacks)[function].get("Layers", [])) == layers


# Environment ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", LOADERS)
def test_loaders_know_the_source_the_pace_and_the_next_queue(stacks: Stacks, function: str):
    variables = functions(stacks)[function]["Environment"]["Variables"]
    (pace,) = stacks.resources("AWS::DynamoDB::Table")
    assert variables["SQS_OUTPUT_URL"] == url(stacks, FEEDS[function])
    assert variables["SQS_LEDGER_URL"] == url(stacks, "price")
    assert variables["FIPE_API_URL"] == "https://veiculos.fipe.org.br/api/veiculos"
    assert variables["FIPE_CALLS_PER_MINUTE"] == "40"
    assert variables["PACE_TABLE"] == {"Ref": pace}
    assert variables["REJECTED_ANSWERS_URL"] == url(stacks, "price")
    assert variables["BLOCKED_REST_SECONDS"] == "120"
    assert not [variable for variable in variables if variable.startswith("PARALLELUM")]


@pytest.mark.parametrize("function", ["FipeManufacturerLoader", "FipeModelLoader"])
def test_what_starts_a_load_knows_how_long_the_queues_keep_it(stacks: Stacks, function: str):
    assert functions(stacks)[function]["Environment"]["Variables"]["RETENTION_DAYS"] == "4"


@pytest.mark.parametrize("function", ["FipeManufacturerLoader", "FipeModelLoader"])
def test_what_starts_a_load_knows_who_tells_of_it(stacks: Stacks, function: str):
    variables = functions(stacks)[function]["Environment"]["Variables"]
    assert variables["SQS_ANNOUNCEMENT_URL"] == url(stacks, "announcement")


def test_the_announcer_knows_whom_to_ask_and_whom_to_tell(stacks: Stacks, name: str):
    variables = functions(stacks)[ANNOUNCER]["Environment"]["Variables"]
    (topic,) = stacks.resources("AWS::SNS::Topic")
    assert variables["SQS_INPUT_URL"] == url(stacks, "announcement")
    assert variables["ANNOUNCEMENT_TOPIC_ARN"] == {"Ref": topic}
    assert variables["LOAD_STATUS_FUNCTION"] == {
        "Ref": stacks.logical_id(FUNCTION, "FunctionName", f"FipeLoadStatus-{name}")
    }
    assert (variables["STAGE"], variables["STALLED_HOURS"]) == (name, "3")


@pytest.mark.parametrize("function", FED)
def test_consumers_know_their_own_queue(stacks: Stacks, function: str):
    variables = functions(stacks)[function]["Environment"]["Variables"]
    assert variables["SQS_INPUT_URL"] == url(stacks, FED[function])


def test_the_consumers_that_can_wait_know_how_long_to_wait_with_a_failed_message(stacks: Stacks):
    knowing = {
        name
        for name, function in functions(stacks).items()
        if function.get("Environment", {}).get("Variables", {}).get("RETRY_DELAY_SECONDS") == "30"
    }
    assert knowing == {"FipeModelLoader", "FipePriceLoader", "FipeAnnouncer"}


@pytest.mark.parametrize(("function", "role"), WITH_ROLE.items())
def test_a_function_with_a_role_knows_the_database(stacks: Stacks, function: str, role: str):
    variables = functions(stacks)[function]["Environment"]["Variables"]
    (child,) = stacks.resources("AWS::CloudFormation::Stack").values()
    (cluster,) = stacks.resources("AWS::RDS::DBCluster")
    given = child["Properties"]["Parameters"]
    assert given[variables["RDS_HOST"]["Ref"]] == {"Fn::GetAtt": [cluster, "Endpoint.Address"]}
    assert given[variables["RDS_PORT"]["Ref"]] == {"Fn::GetAtt": [cluster, "Endpoint.Port"]}
    assert (variables["RDS_DATABASE"], variables["RDS_USER"]) == ("fipedata", role)


@pytest.mark.parametrize("function", WORKERS)
def test_workers_log_and_measure_under_their_own_name_in_each_stage(stacks: Stacks, name: str, function: str):
    variables = functions(stacks)[function]["Environment"]["Variables"]
    assert variables["POWERTOOLS_SERVICE_NAME"] == f"{function}-{name}"
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == "Fipe"
    assert variables["POWERTOOLS_LOG_LEVEL"] == "INFO"


def test_settings_reach_the_functions_and_event_sources():
    stacks = synthesize(
        fipe_api_url="http://localhost:8080/api/veiculos",
        calls_per_minute="max",
        retry_delay_seconds="5",
        log_level="DEBUG",
        batch_size="100",
        batching_window_seconds="1",
        model_concurrency="3",
        price_concurrency="10",
        ingestor_concurrency="4",
        max_receive_count="7",
        database_name="prices",
    )
    variables = functions(stacks)["FipePriceLoader"]["Environment"]["Variables"]
    assert variables["FIPE_API_URL"] == "http://localhost:8080/api/veiculos"
    assert variables["FIPE_CALLS_PER_MINUTE"] == "max"
    assert variables["RETRY_DELAY_SECONDS"] == "5"
    assert variables["POWERTOOLS_LOG_LEVEL"] == "DEBUG"
    assert functions(stacks)["FipeSomaIngestor"]["Environment"]["Variables"]["RDS_DATABASE"] == "prices"
    assert stacks.only("AWS::RDS::DBCluster")["DatabaseName"] == "prices"
    concurrency = {name: event_source(stacks, name)["ScalingConfig"]["MaximumConcurrency"] for name in FED}
    assert concurrency == {"FipeModelLoader": 3, "FipePriceLoader": 10, "FipeSomaIngestor": 4}
    assert all(event_source(stacks, name)["BatchSize"] == 100 for name in FED)
    queue = stacks.by_name(QUEUE, "QueueName")["fipe-price-queue-dev"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 7


TOKEN_ARN = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:parallelum-AbCdEf"


def test_loaders_know_the_fallback_and_may_read_its_token_when_there_is_one():
    stacks = synthesize(parallelum_calls_per_day="1000", parallelum_token_secret_arn=TOKEN_ARN)
    for function in WORKERS:
        variables = functions(stacks)[function]["Environment"]["Variables"]
        may = permissions(stacks, "dev", function, "secretsmanager")
        if function in LOADERS:
            assert variables["PARALLELUM_URL"] == "https://fipe.parallelum.com.br/api/v2"
            assert variables["PARALLELUM_CALLS_PER_DAY"] == "1000"
            assert variables["PARALLELUM_TOKEN_SECRET_ARN"] == TOKEN_ARN
            assert may == {("secretsmanager:GetSecretValue", TOKEN_ARN)}
        else:
            assert "PARALLELUM_URL" not in variables
            assert not may


# Permissions ------------------------------------------------------------------------------------------------

CONSUME = {
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
}
NETWORK_INTERFACES = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}


def permissions(stacks: Stacks, name: str, function: str, service: str) -> set[tuple[str, str]]:
    """What a function may do with a service: the actions, each with its resource."""
    return {
        (action, str(resource))
        for action, resource in statements_allowing(stacks.statements(f"{function}-{name}"))
        if action.startswith(f"{service}:")
    }


@pytest.mark.parametrize("function", WORKERS)
def test_a_function_may_use_its_own_queues_only(stacks: Stacks, name: str, function: str):
    source, target = FED.get(function), FEEDS.get(function)
    expected = {(action, str(arn(stacks, source))) for action in CONSUME} if source else set()
    # Loaders send plans and rejected answers to the price queue.
    targets = {target, "price"} if target else set()
    expected |= {("sqs:SendMessage", str(arn(stacks, target))) for target in targets}
    if source and target:
        expected |= {("sqs:SendMessage", str(arn(stacks, source)))}
    if function == ANNOUNCER:
        expected = {(action, str(arn(stacks, "announcement"))) for action in CONSUME | {"sqs:SendMessage"}}
    if function in ("FipeManufacturerLoader", "FipeModelLoader"):
        expected |= {("sqs:SendMessage", str(arn(stacks, "announcement")))}
    assert permissions(stacks, name, function, "sqs") == expected


@pytest.mark.parametrize("function", ALL)
def test_only_the_announcer_may_tell_the_topic(stacks: Stacks, name: str, function: str):
    (topic,) = stacks.resources("AWS::SNS::Topic")
    expected = {("sns:Publish", str({"Ref": topic}))} if function == ANNOUNCER else set()
    assert permissions(stacks, name, function, "sns") == expected


@pytest.mark.parametrize("function", WORKERS)
def test_only_loaders_may_touch_the_pace_and_only_its_items(stacks: Stacks, name: str, function: str):
    (pace,) = stacks.resources("AWS::DynamoDB::Table")
    actions = ("GetItem", "PutItem", "UpdateItem") if function in LOADERS else ()
    expected = {(f"dynamodb:{action}", str({"Fn::GetAtt": [pace, "Arn"]})) for action in actions}
    assert permissions(stacks, name, function, "dynamodb") == expected


@pytest.mark.parametrize(("function", "role"), WITH_ROLE.items())
def test_a_function_may_connect_as_its_own_role_to_this_cluster_only(
    stacks: Stacks, name: str, function: str, role: str
):
    ((action, resource),) = (
        (action, resource)
        for action, resource in statements_allowing(stacks.statements(f"{function}-{name}"))
        if action.startswith("rds")
    )
    assert action == "rds-db:connect"
    prefix, cluster, user = resource["Fn::Join"][1]
    assert prefix == f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:"
    assert "DBClusterResourceId" in cluster["Ref"]
    assert user == f"/{role}"


def test_the_sql_runner_may_connect_as_the_master_user_to_this_cluster_only(stacks: Stacks, name: str):
    (cluster,) = stacks.resources("AWS::RDS::DBCluster")
    ((action, resource),) = (
        (action, resource)
        for action, resource in statements_allowing(stacks.statements(f"FipeSqlRunner-{name}"))
        if action.startswith("rds")
    )
    assert action == "rds-db:connect"
    assert resource["Fn::Join"][1] == [
        f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:",
        {"Fn::GetAtt": [cluster, "DBClusterResourceId"]},
        "/postgres",
    ]


def test_only_the_sql_init_may_read_the_secret(stacks: Stacks, name: str):
    (secret,) = stacks.resources("AWS::SecretsManager::SecretTargetAttachment")
    for function in ALL:
        secrets = permissions(stacks, name, function, "secretsmanager")
        if function == "FipeSqlInit":
            assert ("secretsmanager:GetSecretValue", str({"Ref": secret})) in secrets
            assert {resource for _, resource in secrets} == {str({"Ref": secret})}
        else:
            assert not secrets


def test_a_function_may_invoke_only_those_it_needs_and_wait_for_one(stacks: Stacks, name: str):
    loaders = ("FipeManufacturerLoader", "FipeModelLoader", "FipePriceLoader")
    waits_for = {"FipeSqlInit": "FipeSqlRunner", **dict.fromkeys((*loaders, ANNOUNCER), "FipeLoadStatus")}
    wakes = {"FipeManufacturerLoader": "FipeSomaIngestor"}

    def allowed(function: str | None, *actions: str) -> set[tuple[str, str]]:
        if function is None:
            return set()
        target = stacks.logical_id(FUNCTION, "FunctionName", f"{function}-{name}")
        return {(f"lambda:{action}", str({"Fn::GetAtt": [target, "Arn"]})) for action in actions}

    for function in ALL:
        assert permissions(stacks, name, function, "lambda") == (
            allowed(waits_for.get(function), "InvokeFunction", "GetFunctionConfiguration")
            | allowed(wakes.get(function), "InvokeFunction")
        )


@pytest.mark.parametrize("function", ALL)
def test_a_function_may_write_to_its_own_log_only(stacks: Stacks, name: str, function: str):
    group = stacks.logical_id(LOG, "LogGroupName", f"/aws/lambda/{function}-{name}")
    assert permissions(stacks, name, function, "logs") == {
        (action, str({"Fn::GetAtt": [group, "Arn"]}))
        for action in ("logs:CreateLogStream", "logs:PutLogEvents")
    }


@pytest.mark.parametrize("function", ALL)
def test_nothing_is_allowed_on_everything_but_what_lambda_demands_for_the_vpc(
    stacks: Stacks, name: str, function: str
):
    allowed = list(statements_allowing(stacks.statements(f"{function}-{name}")))
    assert not [action for action, _ in allowed if "*" in action]
    wide = {action for action, resource in allowed if "*" in str(resource)}
    assert wide == (NETWORK_INTERFACES if function in IN_VPC else set())


@pytest.mark.parametrize("function", IN_VPC)
def test_a_functions_own_code_may_not_touch_network_interfaces(stacks: Stacks, name: str, function: str):
    (denied,) = (
        statement for statement in stacks.statements(f"{function}-{name}") if statement["Effect"] == "Deny"
    )
    assert set(denied["Action"]) == NETWORK_INTERFACES
    assert denied["Condition"] == {
        "ArnEquals": {
            "lambda:SourceFunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}-{name}"
        }
    }


def test_each_function_has_a_role_of_its_own_without_managed_policies(stacks: Stacks):
    roles = stacks.resources("AWS::IAM::Role")
    used = [function["Role"]["Fn::GetAtt"][0] for function in functions(stacks).values()]
    assert sorted(used) == sorted(roles)
    assert not any("ManagedPolicyArns" in role["Properties"] for role in roles.values())


# The pace ---------------------------------------------------------------------------------------------------


def test_the_pace_is_an_on_demand_table_keyed_by_source(stacks: Stacks, name: str):
    table = stacks.only("AWS::DynamoDB::Table")
    assert table["TableName"] == f"fipe-pace-{name}"
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["KeySchema"] == [{"AttributeName": "source", "KeyType": "HASH"}]


def test_every_variable_of_a_function_is_explained(name: str):
    stacks = synthesize(stage=name, parallelum_calls_per_day="500", webhook_url="https://example.com")
    explained = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    variables = {
        variable
        for function in functions(stacks).values()
        for variable in function.get("Environment", {}).get("Variables", {})
    }
    assert {variable for variable in variables if f"`{variable}`" not in explained} == set()
