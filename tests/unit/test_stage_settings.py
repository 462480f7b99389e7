"""The settings of a stage: defaults, and one clear line for each problem."""

import json
import re
from importlib.metadata import distribution
from typing import Any

import pytest

from stage_settings import ENGINE_VERSIONS, SettingsError, StageSettings

NEEDED = {"stage": "dev", "vpc_id": "vpc-0a1b2c3d", "allowed_ip": "203.0.113.7"}


def settings(**changes: Any) -> StageSettings:
    return StageSettings.from_context(NEEDED | changes)


def problems(context: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        StageSettings.from_context(context)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def test_defaults_are_those_of_the_design():
    given = settings()
    assert (given.database_name, given.database_user, given.instance_class) == (
        "fipedata",
        "postgres",
        "db.t3.medium",
    )
    assert (given.backup_days, given.function_timeout_seconds, given.batch_size) == (7, 300, 10)
    assert (given.batching_window_seconds, given.max_receive_count) == (30, 5)
    assert (given.retention_days, given.dlq_retention_days) == (4, 14)
    assert given.calls_per_minute == "40"


def test_takes_the_texts_of_a_command_line():
    given = settings(batch_size="100", batching_window_seconds="1", calls_per_minute="max")
    assert (given.batch_size, given.batching_window_seconds, given.calls_per_minute) == (100, 1, "max")


def test_an_empty_text_counts_as_not_given():
    assert settings(calls_per_minute="").calls_per_minute == "40"
    assert problems(NEEDED | {"vpc_id": ""}) == problems({k: v for k, v in NEEDED.items() if k != "vpc_id"})


def test_leaves_the_contexts_other_keys_alone():
    settings(
        **{
            "@aws-cdk/core:checkSecretUsage": True,
            "cli-telemetry": False,
            "vpc-provider:account=1": {"vpcId": "x"},
        }
    )


def test_names_every_missing_setting_in_a_line_of_its_own():
    assert problems({}) == [
        "stage is missing: give dev, stg or prd",
        "vpc_id is missing: give the VPC for the database, such as vpc-0a1b2c3d",
        "allowed_ip is missing: give the address that may connect to the database, such as 203.0.113.7, or a"
        " block, such as 203.0.113.0/24",
    ]


@pytest.mark.parametrize(
    ("given", "cidr"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1/32"),
    ],
)
def test_takes_an_address_or_a_block(given: str, cidr: str):
    assert settings(allowed_ip=given).allowed_ip == cidr


@pytest.mark.parametrize(
    ("given", "trouble"),
    [
        ("123.456.789.0", "not an IPv4 address"),
        ("0.0.0.0/0", "opens the database to the world"),
        ("0.0.0.0", "opens the database to the world"),
        ("128.0.0.0/1", "opens the database to the world"),
        ("203.0.113.7/24", "use 203.0.113.0/24 for the block, or a single address"),
        ("2001:db8::1", "not an IPv4 address"),
        ("everyone", "not an IPv4 address"),
    ],
)
def test_refuses_an_address_that_is_none_or_opens_the_database_to_the_world(given: str, trouble: str):
    (problem,) = problems(NEEDED | {"allowed_ip": given})
    assert problem.startswith(f"invalid allowed_ip={given}: ")
    assert trouble in problem


@pytest.mark.parametrize("given", ["0.0.0.0/0", "128.0.0.0/1"])
def test_opens_to_the_whole_world_only_with_an_explicit_setting(given: str):
    assert settings(allowed_ip=given, allow_the_world="true").allowed_ip == given
    (problem,) = problems(NEEDED | {"allowed_ip": given, "allow_the_world": "false"})
    assert "allow_the_world=true" in problem


@pytest.mark.parametrize(
    ("given", "expression"),
    [
        ("off", "off"),
        ("on", "cron(0 9 1-10 * ? *)"),
        ("rate(1 day)", "rate(1 day)"),
        ("cron(0 6 * * ? *)", "cron(0 6 * * ? *)"),
    ],
)
def test_loads_on_a_schedule_when_one_is_set(given: str, expression: str):
    assert settings(schedule=given).schedule == expression
    assert settings().schedule == "off"


def test_a_serverless_database_has_a_most_that_is_no_less_than_its_least():
    (problem,) = problems(NEEDED | {"serverless_min_acu": "8", "serverless_max_acu": "4"})
    assert problem.startswith("invalid serverless_min_acu=8: use at most serverless_max_acu=4")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage", "production"),
        ("vpc_id", "vpc-xyz"),
        ("batch_size", "ten"),
        ("batch_size", "10001"),
        ("function_timeout_seconds", "901"),
        ("function_timeout_seconds", "89"),
        ("model_concurrency", "1"),
        ("calls_per_minute", "0"),
        ("calls_per_minute", "0.00"),
        ("calls_per_minute", "-1"),
        ("calls_per_minute", "fast"),
        ("calls_per_minute", "nan"),
        ("fipe_api_url", "veiculos.fipe.org.br"),
        ("fipe_api_url", "ftp://veiculos.fipe.org.br/api"),
        ("engine_version", "13.4"),
        ("instance_class", "t3.medium"),
        ("database_name", "fipe-data"),
        ("backup_days", "0"),
        ("log_level", "TRACE"),
        ("database_subnets", "secret"),
        ("excluded_zones", "us-east-1e, us-east-1f"),
        ("retry_delay_seconds", "901"),
        ("instance_class", "db.serverles"),
        ("serverless_min_acu", "0.3"),
        ("serverless_max_acu", "0.5"),
        ("serverless_pause_minutes", "4"),
        ("schedule", "daily"),
        ("schedule", "at(2026-12-01T09:00:00)"),
        ("alarm_email", "me"),
        ("database_tls", "disable"),
        ("stalled_hours", "0"),
        ("allow_the_world", "perhaps"),
        ("webhook_url", "http://example.com/fipe"),
        ("webhook_url", "http://localhost.example.com/fipe"),
        ("webhook_url", "https://me:password@example.com/fipe"),
        ("webhook_url", "ftp://example.com"),
        ("webhook_secret_arn", "whsec_c2VjcmV0"),
        ("webhook_format", "html"),
    ],
)
def test_refuses_an_invalid_value(name: str, value: str):
    (problem,) = problems(NEEDED | {name: value})
    assert problem.startswith(f"invalid {name}={value}: ")
    assert "use " in problem


@pytest.mark.parametrize(
    "name", ["admin", "rdsadmin", "rds_superuser", "pg_dba", "fipe_ingestor", "user", "table", "public"]
)
def test_refuses_a_master_user_that_rds_refuses_or_the_application_needs(name: str):
    (problem,) = problems(NEEDED | {"database_user": name})
    assert problem.startswith(
        f"invalid database_user={name}: a reserved name; use the name of the master user"
    )


@pytest.mark.parametrize("name", ["postgres", "administrator", "dbadmin", "fipe", "pgadmin"])
def test_takes_another_master_user(name: str):
    assert settings(database_user=name).database_user == name


@pytest.mark.parametrize("version", ["17.3", "17.8", "17.12", "18.5", "16.9", "17"])
def test_refuses_a_version_that_aurora_does_not_have_and_names_those_that_it_has(version: str):
    (problem,) = problems(NEEDED | {"engine_version": version})
    assert problem == (
        f"invalid engine_version={version}: no such version; use a version of Aurora PostgreSQL: 17.4, 17.5,"
        " 17.6, 17.7, 17.9, 17.10, 17.11, 18.3, 18.4 or 18.6"
    )


def test_the_newest_17_is_the_default():
    newest = max((version for version in ENGINE_VERSIONS if version.startswith("17.")), key=_number)
    assert settings().engine_version == newest


def test_the_versions_are_those_that_cfn_lint_knows():
    # Without an import of the package, which takes a second.
    rules = distribution("cfn-lint").locate_file(
        "cfnlint/data/schemas/extensions/aws_rds_dbcluster/engine_version.json"
    )
    (known,) = (
        rule["then"]["properties"]["EngineVersion"]["enum"]
        for rule in json.loads(rules.read_text())["allOf"]
        if rule["if"]["properties"]["Engine"].get("const") == "aurora-postgresql"
    )
    assert {version for version in known if re.match(r"1[78]\.", version)} == set(ENGINE_VERSIONS)


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize("budget", ["40", "0.5", "max", "1200"])
def test_takes_a_budget_of_calls_as_a_number_or_max(budget: str):
    assert settings(calls_per_minute=budget).calls_per_minute == budget


def test_a_dlq_keeps_messages_no_shorter_than_its_queue():
    (problem,) = problems(NEEDED | {"retention_days": "10", "dlq_retention_days": "9"})
    assert problem.startswith("invalid dlq_retention_days=9: use at least retention_days=10")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://hooks.slack.com/services/T0/B0/X",
        "http://localhost:8000/told",
        "http://127.0.0.1/told",
        "arn:aws:secretsmanager:sa-east-1:123456789012:secret:url-AbCdEf",
    ],
)
def test_takes_an_address_for_the_webhook(url: str):
    assert settings(webhook_url=url, webhook_format="slack").webhook_url == url


def test_what_is_for_the_webhook_needs_its_address():
    for name, value in {
        "webhook_format": "teams",
        "webhook_secret_arn": "arn:aws:secretsmanager:sa-east-1:123456789012:secret:key-AbCdEf",
    }.items():
        (problem,) = problems(NEEDED | {name: value})
        assert problem == "webhook_url is missing: webhook_secret_arn and webhook_format need it"


def test_large_batches_need_a_window():
    (problem,) = problems(NEEDED | {"batch_size": "11", "batching_window_seconds": "0"})
    assert problem.startswith(
        "invalid batch_size=11: use at most 10, or a batching_window_seconds of at least 1"
    )


def test_an_unknown_setting_is_refused_with_the_one_that_was_meant():
    assert problems(NEEDED | {"batch_sise": "5"}) == ["unknown setting batch_sise: did you mean batch_size?"]
    assert problems(NEEDED | {"colour": "red"}) == ["unknown setting colour: docs/settings.md lists all"]


def test_only_production_keeps_its_data():
    assert [settings(stage=stage).keeps_data for stage in ("dev", "stg", "prd")] == [False, False, True]
