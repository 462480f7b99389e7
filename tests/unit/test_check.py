"""What `fipe check` makes of what it sees, where no local cloud can show it."""

import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config

from fipe_api.aws.self_check import DatabaseFacts, Facts, SourceFacts, SourceState
from fipe_cli.blocked import when_blocked
from fipe_cli.check import database, functions
from fipe_cli.check.deployment import Deployment, look_at_stack, read_deployment
from fipe_cli.check.findings import Finding, Level, worst
from fipe_cli.check.functions import examine, look_at_concurrency
from fipe_cli.check.lake import look_at_lake
from fipe_cli.check.queues import look_at_event_source
from fipe_cli.check.sources import look_at_sources
from fipe_cli.check.stage import check_stage
from fipe_cli.cloud import QUICK, Cloud
from fipe_cli.errors import CliError, aws_errors
from fipe_cli.progress import Refusal, Waits
from infrastructure.names import Function, Queue
from local_cloud.state import LocalState
from tests.local_cloud_support import CREDENTIALS

SCRIPT = {"script": "a" * 64, "schema": "a" * 64, "dashboard_login": "off"}


def on_aws(region: str = "us-east-1") -> Cloud:
    return Cloud("dev", boto3.Session(**{**CREDENTIALS, "region_name": region}))


class Fake(NamedTuple):
    """A client whose calls give these answers, by name."""

    answers: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return lambda **_: self.answers[name]


def answering(monkeypatch: pytest.MonkeyPatch, invoked: Any = None, **answers: Any) -> Deployment:
    """A stage on AWS whose APIs give these answers."""
    monkeypatch.setattr(Cloud, "client", lambda *_: Fake(answers))
    monkeypatch.setattr(Cloud, "invoke", lambda *_, **__: invoked)
    return Deployment(on_aws(), "CREATE_COMPLETE", {}, {})


def source(state: SourceState, words: str = "2026-06", name: str = "fipe") -> SourceFacts:
    return SourceFacts(name, f"https://{name}.example", state, words)


def facts(*sources: SourceFacts) -> Facts:
    return Facts("3.14.2", {}, list(sources))


LOADERS = (Function.MANUFACTURER_LOADER, Function.MODEL_LOADER)


@pytest.mark.parametrize(
    ("place", "beginning"),
    [
        ({}, "aws"),
        ({"profile": "mine"}, "aws --profile mine"),
        ({"endpoint": "http://localhost:5000"}, "aws --endpoint-url http://localhost:5000"),
        (
            {"endpoint": "http://localhost:5000", "local": LocalState(Path(".local"))},
            "AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing aws --region us-east-1"
            " --endpoint-url http://localhost:5000",
        ),
    ],
)
def test_a_command_to_copy_finds_the_cloud_that_was_checked(place: dict[str, Any], beginning: str) -> None:
    cloud = Cloud("dev", boto3.Session(**CREDENTIALS), **place)
    assert cloud.aws_command("sns", "publish", "--message", "a b") == (
        f"`{beginning} sns publish --message 'a b'`"
    )


def test_a_cloud_that_hangs_is_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = QUICK.merge(Config(read_timeout=0.1))
    assert (QUICK.connect_timeout + QUICK.read_timeout) * QUICK.retries["total_max_attempts"] <= 30
    monkeypatch.setattr("fipe_cli.check.deployment.QUICK", soon)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        cloud = Cloud("dev", boto3.Session(**CREDENTIALS), url)
        with pytest.raises(CliError, match="AWS does not answer: Read timeout on endpoint URL"), aws_errors():
            read_deployment(cloud)


def test_all_loaders_are_answered() -> None:
    (found,) = look_at_sources(on_aws(), dict.fromkeys(LOADERS, facts(source("answered"))), Waits())
    assert found.line() == (
        "ok       official API: answered 2 loaders, newest month 2026-06 (https://fipe.example)"
    )


def test_a_source_that_blocks_one_loader_is_blocked() -> None:
    seen = {
        Function.MANUFACTURER_LOADER: facts(source("answered")),
        Function.MODEL_LOADER: facts(source("blocked", "blocked by the source; try again in 120 s")),
    }
    (found,) = look_at_sources(on_aws(), seen, Waits())
    assert found.line() == (
        "failed   official API: blocked for FipeModelLoader: blocked by the source; try again in 120 s"
        " (https://fipe.example). To do: it blocks the address of the functions in us-east-1. FIPE"
        " is reported to"
        " answer functions in sa-east-1, and to block those in us-east-1: deploy the stage in"
        " sa-east-1, or let"
        " the mirror answer meanwhile (PARALLELUM_CALLS_PER_DAY=500); docs/source.md says more"
    )


def test_nobody_in_sa_east_1_is_sent_there() -> None:
    assert "us-east-1: wait, or let the mirror answer" in when_blocked(on_aws("sa-east-1"))


def test_the_mirror_answers_while_the_official_api_blocks() -> None:
    seen = {Function.MODEL_LOADER: facts(source("blocked", "no"), source("answered", name="parallelum"))}
    official, mirror = look_at_sources(on_aws(), seen, Waits())
    assert (official.level, mirror.level) == (Level.WARNING, Level.OK)
    assert official.seen.endswith("; the mirror answers instead")


def test_the_pace_table_knows_why_a_call_gets_no_turn() -> None:
    seen = {Function.MODEL_LOADER: facts(source("no turn", "the pace allows no call for now"))}
    (busy,) = look_at_sources(on_aws(), seen, Waits())
    (down,) = look_at_sources(on_aws(), seen, Waits(Refusal("down", 40)))
    assert (busy.level, down.level) == (Level.WARNING, Level.FAILED)
    assert busy.to_do == "a load that runs has the next turns: run the check again later"
    assert down.seen.startswith("down for FipeModelLoader")


def test_no_loader_could_ask() -> None:
    (found,) = look_at_sources(on_aws(), dict.fromkeys(LOADERS, None), None)
    assert found.line() == "failed   official API: no loader could ask it. To do: see the loaders above"


def signed_in(cloud: Cloud, **changes: str) -> str:
    given = {"user": "fipe_ingestor", "sslmode": "verify-full", "tls": "TLSv1.3", "done": "wrote"}
    known = Facts("3.14.2", {}, database=DatabaseFacts(**given | changes))
    (found,) = database.look_at_sign_in(cloud, Function.SOMA_INGESTOR, known)
    return found.line()


def test_a_sign_in_says_its_tls() -> None:
    assert signed_in(on_aws()) == (
        "ok       database, as fipe_ingestor: signed in with an IAM token, TLSv1.3, verify-full; wrote"
    )


def test_a_sign_in_without_tls_fails_on_aws() -> None:
    assert signed_in(on_aws(), tls="", sslmode="prefer") == (
        "failed   database, as fipe_ingestor: wrote, but without TLS (sslmode prefer). To do:"
        " deploy again with"
        " DATABASE_TLS=require or verify-full"
    )


@pytest.mark.parametrize(
    "error",
    [
        'connection to server at "db" failed: timeout expired',
        "could not translate host name",
        "Connection refused",
    ],
)
def test_a_database_that_cannot_be_reached(error: str) -> None:
    assert signed_in(on_aws(), error=error).endswith(
        "To do: look whether the cluster is available (`aws rds describe-db-clusters`), or stopped"
    )


def master(monkeypatch: pytest.MonkeyPatch, **answer: Any) -> list[Finding]:
    return database.look_at_master(answering(monkeypatch, answer))


def test_the_master_signs_in_in_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    found = master(
        monkeypatch, ok=True, password_login="ok", iam_login="ok", tls="TLSv1.3, require", **SCRIPT
    )
    assert [one.line() for one in found] == [
        "ok       database, as the master user: signs in with the secret's password and with an IAM token;"
        " TLSv1.3, require",
        "ok       schema: made by the deployed script, aaaaaaaa",
        "ok       database, as fipe_dashboard: may not sign in; a deploy with READER_LOGIN=on lets it",
    ]


def test_the_master_signs_in_with_a_token_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 'FATAL: PAM authentication failed for user "postgres"'
    login, *_ = master(monkeypatch, ok=True, password_login=refused, iam_login="ok", tls="TLSv1.3", **SCRIPT)
    assert login.line() == (
        "warning  database, as the master user: signs in with an IAM token, but the password is refused:"
        f" {refused}. To do: nothing: deploys and `fipe psql` use the token. For the password see"
        f" docs/deploy.md"
    )


def test_the_master_cannot_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 'connection failed: FATAL: password authentication failed for user "postgres"'
    (found,) = master(monkeypatch, ok=False, error=refused)
    assert found.line().startswith(
        f"failed   database, as the master user: {refused}. To do: set the password"
    )


@pytest.mark.parametrize(
    ("login", "level", "seen"),
    [
        ("ok", Level.OK, "signs in with the password of its secret"),
        ("off", Level.OK, "may not sign in; a deploy with READER_LOGIN=on lets it"),
        ("FATAL: password authentication failed", Level.FAILED, "FATAL: password authentication failed"),
    ],
)
def test_the_login_of_dashboards(
    monkeypatch: pytest.MonkeyPatch, login: str, level: Level, seen: str
) -> None:
    answer = SCRIPT | {"password_login": "ok", "iam_login": "ok", "dashboard_login": login}
    *_, found = master(monkeypatch, ok=True, **answer)
    assert (found.level, found.part, found.seen) == (level, "database, as fipe_dashboard", seen)
    assert ("set_dashboard_password" in found.to_do) == (level is Level.FAILED)


def test_the_schema_of_another_script(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"ok": True, "password_login": "ok", "iam_login": "ok", "tls": "", "script": "b" * 64}
    _login, old, *_others = master(monkeypatch, **answer, schema="a" * 64)
    _login, unknown, *_others = master(monkeypatch, **answer, schema=None)
    assert (old.level, unknown.level) == (Level.FAILED, Level.WARNING)
    assert old.seen == "made by script aaaaaaaa, but script bbbbbbbb is deployed"
    assert "psql -1 -c 'set fipe.script_sha256 = " in old.to_do


def state_of(monkeypatch: pytest.MonkeyPatch, **configuration: str) -> str:
    given = {"State": "Active", "Runtime": "python3.14", "MemorySize": 128}
    deployment = answering(
        monkeypatch,
        {"python": "3.14.2", "packages": {"botocore": "1.42.0"}},
        get_function_configuration=given | configuration,
    )
    monkeypatch.setattr(functions, "_look_at_log", lambda *_: Finding(Level.OK, "log", ""))
    return examine(deployment, Function.PRICE_LOADER).findings[0].line()


def test_an_inactive_function_is_woken_by_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_of(monkeypatch, State="Inactive") == (
        "warning  FipePriceLoader: was inactive, as nothing called it for weeks, answered in 0.0 s;"
        " Python 3.14.2, botocore 1.42.0"
    )


def test_a_function_that_lambda_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    words = state_of(monkeypatch, State="Failed", StateReason="the subnet is gone")
    assert words.startswith("failed   FipePriceLoader: failed: the subnet is gone")


def test_a_new_account_has_few_concurrent_executions(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    mappings = {"EventSourceMappings": [{"ScalingConfig": {"MaximumConcurrency": 2}}]}
    deployment = answering(
        monkeypatch, get_account_settings={"AccountLimit": limit}, list_event_source_mappings=mappings
    )
    (found,) = look_at_concurrency(deployment)
    assert found.line() == (
        "warning  account: 10 of 10 concurrent executions are unreserved, and dev uses up to 10. To"
        " do: ask AWS for"
        " more (Service Quotas, Lambda, Concurrent executions), or Lambda throttles functions"
    )


def test_an_event_source_with_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = {
        "EventSourceArn": "arn:aws:sqs:us-east-1:123456789012:fipe-price-queue-dev",
        "MaximumBatchingWindowInSeconds": 30,
        "BatchSize": 10,
        "State": "Enabled",
        "LastProcessingResult": "PROBLEM: Function call failed",
    }
    deployment = answering(monkeypatch, list_event_source_mappings={"EventSourceMappings": [mapping]})
    found, given = look_at_event_source(deployment, Queue.PRICE)
    assert (found.level, given.works, given.window) == (Level.WARNING, True, 30)
    assert "Lambda says 'PROBLEM: Function call failed'" in found.seen


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ("UPDATE_COMPLETE", Level.OK),
        ("UPDATE_IN_PROGRESS", Level.WARNING),
        ("UPDATE_ROLLBACK_COMPLETE", Level.WARNING),
        ("UPDATE_ROLLBACK_FAILED", Level.FAILED),
        ("ROLLBACK_COMPLETE", Level.FAILED),
    ],
)
def test_the_stack(status: str, level: Level) -> None:
    (found,) = look_at_stack(Deployment(on_aws(), status, {}, {}))
    assert found.level is level


def test_of_a_first_deploy_that_failed_only_that_is_said() -> None:
    (found,) = check_stage(Deployment(on_aws(), "ROLLBACK_COMPLETE", {}, {}))
    assert found.to_do.startswith("the first deploy failed: ")


def test_the_worst_finding_counts() -> None:
    levels = [Level.OK, Level.FAILED, Level.WARNING]
    assert worst([Finding(level, "", "") for level in levels]) is Level.FAILED
    assert worst([Finding(Level.WARNING, "", ""), Finding(Level.OK, "", "")]) is Level.WARNING


def lake(**found: str) -> str:
    """What is said of the bucket of a stage that has one, by what its function answers."""
    plain = Deployment(on_aws(), "CREATE_COMPLETE", {}, {})
    assert [finding.seen for finding in look_at_lake(plain, None)] == [
        "none is written; EXPORT_BUCKET=... at a deploy would"
    ]
    deployment = replace(plain, resources={"AWS::Lambda::Function": frozenset({"FipeLakeWriter-dev"})})
    answered = Facts("3.14.2", {}, database=DatabaseFacts("fipe_reader", "require", **found))
    (finding,) = look_at_lake(deployment, answered)
    return finding.line()


def test_the_bucket_is_reached_or_it_is_said_why_not() -> None:
    done = "reached s3://lake, which has 2026-06"
    assert lake(done=done) == f"ok       Parquet in a bucket: {done}"
    assert lake(error="s3://lake: Connect timeout on endpoint URL") == (
        "failed   Parquet in a bucket: s3://lake: Connect timeout on endpoint URL. To do: docs/deploy.md says"
        " what it needs: the S3 endpoint, the bucket in this region, its policy"
    )


def test_a_stage_has_the_queues_that_it_was_deployed_with() -> None:
    everywhere = [Queue.MANUFACTURER, Queue.MODEL, Queue.PRICE, Queue.ANNOUNCEMENT]
    plain = Deployment(on_aws(), "CREATE_COMPLETE", {}, {queue.of("dev"): 5 for queue in everywhere})
    assert plain.queues == everywhere
    more = {Queue.WEBHOOK.of("dev"): 12, Queue.EXPORT.of("dev"): 5}
    assert replace(plain, receives={**plain.receives, **more}).queues == list(Queue)
