"""The custom resource that runs the SQL script: it answers CloudFormation in every case, and keeps secrets.

CloudFormation, Secrets Manager and the Lambda service are servers on loopback that speak their HTTP; the
database is a real PostgreSQL.
"""

import hashlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from unittest.mock import ANY

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from infrastructure.names import DASHBOARD_ROLE
from infrastructure.paths import SQL_SCRIPT
from tests.aws import aws_apis, client
from tests.conftest import ROOT
from tests.databases import as_administrator, drop_database
from tests.http_server import asleep, http_server, send_json

sys.path.insert(0, str(ROOT / "lambda"))
import cfnresponse
import dashboard_login
import index

SECRET_NAME = "fipe-database"


@dataclass
class Context:
    """What Lambda hands to a handler, as far as it is used."""

    seconds: float = 60

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class Stack:
    """CloudFormation's end of a custom resource."""

    url: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    content_types: list[str | None] = field(default_factory=list)
    refuse_next: int = 0

    def event(self, kind: str) -> dict[str, Any]:
        return {
            "RequestType": kind,
            "ResponseURL": f"{self.url}/answer?signature=of-this-request",
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/FipeDataStack-dev/1",
            "RequestId": str(uuid.uuid4()),
            "LogicalResourceId": "SqlInitContents",
            "ResourceType": "Custom::FipeDatabase",
            "ResourceProperties": {"ScriptSha256": "0"},
        }

    def only_answer(self) -> dict[str, Any]:
        (answer,) = self.answers
        return answer


@pytest.fixture
def stack() -> Iterator[Stack]:
    def take_answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        if stack.refuse_next:
            stack.refuse_next -= 1
            send_json(request, {}, 503)
            return
        stack.content_types.append(request.headers["Content-Type"])
        stack.answers.append(json.loads(body))
        send_json(request, {})

    with http_server(take_answer) as url:
        stack = Stack(url)
        yield stack


@pytest.fixture
def empty_dsn(postgres_dsn: str) -> Iterator[str]:
    """A database without the schema."""
    name = f"empty_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(postgres_dsn)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"create database {name} template template0")
        yield psycopg2.extensions.make_dsn(postgres_dsn, dbname=name)
    drop_database(postgres_dsn, name)


@pytest.fixture(scope="module")
def secrets_endpoint() -> Iterator[str]:
    with aws_apis() as endpoint:
        yield endpoint


Deploy = Callable[..., None]


@pytest.fixture
def deploy(
    empty_dsn: str, secrets_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Iterator[Deploy]:
    """Gives a function that sets up the secret, the script and the runner of one test."""
    runner: dict[str, Any] = {"reply": None, "states": []}

    def invoke(request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.command == "GET":
            send_json(request, {"State": runner["states"].pop(0)})
        elif runner["states"]:
            asleep(request)
        elif runner["reply"]:
            send_json(request, runner["reply"], **{"X-Amz-Function-Error": "Unhandled"})
        else:
            send_json(request, index.run_sql(json.loads(body), Context()))

    def set_up(
        *,
        script: str | None = None,
        secret: str | None = None,
        dashboard: str | None = None,
        runner_fails_with: Any = None,
        runner_states: Sequence[str] = (),
        **changes: Any,
    ) -> None:
        place = parse_dsn(empty_dsn)
        values = {
            "host": place["host"],
            "port": int(place["port"]),
            "dbname": place["dbname"],
            "username": place["user"],
            "password": place["password"],
        }
        manager = client("secretsmanager", secrets_endpoint)
        created = manager.create_secret(
            Name=f"{SECRET_NAME}-{uuid.uuid4().hex}", SecretString=secret or json.dumps(values | changes)
        )
        monkeypatch.setenv("DB_SECRET_ARN", created["ARN"])
        monkeypatch.delenv("DASHBOARD_SECRET_ARN", raising=False)
        if dashboard is not None:
            name = f"{SECRET_NAME}-{uuid.uuid4().hex}"
            arn = manager.create_secret(Name=name, SecretString=dashboard)["ARN"]
            monkeypatch.setenv("DASHBOARD_SECRET_ARN", arn)
        runner.update(reply=runner_fails_with, states=list(runner_states))
        if script is not None:
            (tmp_path / "script.sql").write_text(script, encoding="utf-8")
            monkeypatch.setattr(index, "SCRIPT", tmp_path / "script.sql")

    monkeypatch.setattr(index, "SCRIPT", ROOT / "create_fipe_db.sql")
    monkeypatch.setattr(index, "CONNECT_PATIENCE_SECONDS", 0)
    monkeypatch.setattr(index, "WAKING", {"Delay": 0, "MaxAttempts": 4})
    with http_server(invoke) as lambda_endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL_LAMBDA": lambda_endpoint,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets_endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SQL_RUNNER": "FipeSqlRunner-dev",
        }.items():
            monkeypatch.setenv(name, value)
        yield set_up


def query(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as database, database.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_create_runs_the_script_and_says_success(deploy: Deploy, stack: Stack, empty_dsn: str):
    deploy()
    event = stack.event("Create")
    index.on_event(event, Context())
    answer = stack.only_answer()
    assert answer["Status"] == "SUCCESS"
    assert {name: answer[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {
        name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")
    }
    assert query(empty_dsn, "select count(*) from fipe.vehicle_price") == [(0,)]


def test_a_runner_that_is_inactive_since_the_last_deploy_is_woken_first(
    deploy: Deploy, stack: Stack, empty_dsn: str
):
    deploy(runner_states=["Inactive", "Pending", "Active"])
    index.on_event(stack.event("Update"), Context())
    assert stack.only_answer()["Status"] == "SUCCESS"
    assert query(empty_dsn, "select count(*) from fipe.vehicle_price") == [(0,)]


def test_a_runner_that_does_not_wake_is_said(deploy: Deploy, stack: Stack):
    deploy(runner_states=["Pending"] * 9)
    index.on_event(stack.event("Update"), Context())
    answer = stack.only_answer()
    assert (answer["Status"], "Max attempts exceeded" in answer["Reason"]) == ("FAILED", True)


def test_update_runs_the_script_again_under_the_same_physical_id(deploy: Deploy, stack: Stack):
    deploy()
    index.on_event(stack.event("Create"), Context())
    index.on_event(stack.event("Update"), Context())
    assert [answer["Status"] for answer in stack.answers] == ["SUCCESS", "SUCCESS"]
    assert len({answer["PhysicalResourceId"] for answer in stack.answers}) == 1


def test_the_ingestors_idle_connections_end_so_that_a_serverless_database_can_pause(
    deploy: Deploy, stack: Stack, empty_dsn: str
):
    deploy()
    index.on_event(stack.event("Create"), Context())
    assert query(empty_dsn, "select rolconfig from pg_roles where rolname = 'fipe_ingestor'") == [
        (["idle_session_timeout=5min", "idle_in_transaction_session_timeout=30s"],)
    ]


def test_delete_touches_nothing(deploy: Deploy, stack: Stack, empty_dsn: str):
    deploy()
    index.on_event(stack.event("Create"), Context())
    deploy(secret="not even a readable secret")
    index.on_event(stack.event("Delete"), Context())
    assert stack.answers[-1]["Status"] == "SUCCESS"
    assert query(empty_dsn, "select count(*) from fipe.vehicle_price") == [(0,)]


def test_bad_sql_fails_with_the_databases_own_words_and_leaves_nothing_behind(
    deploy: Deploy, stack: Stack, empty_dsn: str
):
    deploy(script="create table half_done (id integer);\nselect nonsense from nowhere;")
    index.on_event(stack.event("Create"), Context())
    answer = stack.only_answer()
    assert answer["Status"] == "FAILED"
    assert 'relation "nowhere" does not exist' in answer["Reason"]
    assert query(empty_dsn, "select to_regclass('half_done')") == [(None,)]


def test_a_long_error_fits_into_an_answer(deploy: Deploy, stack: Stack):
    deploy(script=f"select '{'ã€' * 3000}' / 1;")
    index.on_event(stack.event("Create"), Context())
    assert stack.only_answer()["Status"] == "FAILED"
    assert len(json.dumps(stack.only_answer(), ensure_ascii=False).encode()) <= 4096


@pytest.mark.parametrize("change", [{"password": "wrong-password"}, {"port": 1}, {"dbname": "nowhere"}])
def test_a_refused_sign_in_fails_without_showing_the_password(
    deploy: Deploy, stack: Stack, change: dict[str, Any], caplog: pytest.LogCaptureFixture, empty_dsn: str
):
    deploy(**change)
    with caplog.at_level("DEBUG", logger=index.logger.name):
        index.on_event(stack.event("Create"), Context())
    answer = stack.only_answer()
    assert answer["Status"] == "FAILED"
    assert "connection" in answer["Reason"]
    password = change.get("password", parse_dsn(empty_dsn)["password"])
    assert password not in answer["Reason"]


def test_a_wrong_password_is_not_tried_again(deploy: Deploy, stack: Stack, monkeypatch: pytest.MonkeyPatch):
    deploy(password="wrong-password")
    monkeypatch.setattr(index, "CONNECT_PATIENCE_SECONDS", 60)
    monkeypatch.setattr(index.time, "sleep", lambda seconds: pytest.fail(f"waits {seconds} s"))
    index.on_event(stack.event("Create"), Context())
    assert "authentication failed" in stack.only_answer()["Reason"]


@pytest.mark.parametrize(
    "secret", ["not JSON: hush-hush", '{"username": "postgres", "password": "hush-hush"}', '"hush-hush"']
)
def test_a_secret_that_is_not_as_it_should_be_fails_without_its_contents(
    deploy: Deploy, stack: Stack, secret: str
):
    deploy(secret=secret)
    index.on_event(stack.event("Create"), Context())
    answer = stack.only_answer()
    assert answer["Status"] == "FAILED"
    assert (
        "the database's secret must be JSON with host, port, dbname, username and password"
        in answer["Reason"]
    )
    assert "hush-hush" not in answer["Reason"]


def test_a_secret_that_cannot_be_read_fails(deploy: Deploy, stack: Stack, monkeypatch: pytest.MonkeyPatch):
    deploy()
    monkeypatch.setenv("DB_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:gone")
    index.on_event(stack.event("Create"), Context())
    assert stack.only_answer()["Status"] == "FAILED"
    assert "ResourceNotFoundException" in stack.only_answer()["Reason"]


def test_a_runner_that_was_stopped_fails_with_its_last_words(deploy: Deploy, stack: Stack):
    deploy(runner_fails_with={"errorMessage": "2026-11-01T00:00:00Z Task timed out after 300.00 seconds"})
    index.on_event(stack.event("Create"), Context())
    assert stack.only_answer()["Status"] == "FAILED"
    assert "FipeSqlRunner-dev: 2026-11-01T00:00:00Z Task timed out" in stack.only_answer()["Reason"]


def test_a_runner_that_does_not_answer_fails_before_this_functions_own_time_is_up(
    deploy: Deploy, stack: Stack
):
    deploy(script="select pg_sleep(4);")
    index.on_event(stack.event("Create"), Context(seconds=index.TIME_TO_ANSWER_SECONDS + 1))
    assert stack.only_answer()["Status"] == "FAILED"
    assert "Read timeout" in stack.only_answer()["Reason"]


def test_a_deploy_can_be_undone_after_it_has_upgraded_the_schema(
    deploy: Deploy, stack: Stack, empty_dsn: str, caplog: pytest.LogCaptureFixture
):
    deploy()
    index.on_event(stack.event("Create"), Context())
    with closing(psycopg2.connect(empty_dsn)) as database, database:
        database.cursor().execute("update fipe.schema_version set version = 999")
    index.on_event(stack.event("Update"), Context())
    assert [answer["Status"] for answer in stack.answers] == ["SUCCESS", "SUCCESS"]
    assert query(empty_dsn, "select version from fipe.schema_version") == [(999,)]
    assert "did nothing: this database has version 999" in caplog.text


def test_an_exception_before_anything_else_is_answered(
    deploy: Deploy, stack: Stack, monkeypatch: pytest.MonkeyPatch
):
    deploy()
    monkeypatch.delenv("DB_SECRET_ARN")
    event = stack.event("Create")
    del event["RequestType"]
    index.on_event(event, Context())
    assert stack.only_answer()["Status"] == "FAILED"
    assert "RequestType" in stack.only_answer()["Reason"]


def test_a_statement_ends_before_the_functions_time_is_up(deploy: Deploy, empty_dsn: str):
    deploy(script="select pg_sleep(60);")
    place = parse_dsn(empty_dsn)
    outcome = index.run_sql(
        {name: place[name] for name in ("host", "port", "dbname", "user", "password")},
        Context(seconds=index.TIME_TO_ANSWER_SECONDS + 1),
    )
    assert outcome == {"ok": False, "error": "canceling statement due to statement timeout"}


@pytest.fixture
def tokens_only(empty_dsn: str) -> Iterator[None]:
    """The master user is a member of a member of rds_iam, which it cannot undo."""
    name = f"any_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(as_administrator(empty_dsn))) as rds:
        rds.autocommit = True
        rds.cursor().execute(f"create role {name} login in role rds_iam")
        rds.cursor().execute(f"grant {name} to postgres with admin true, inherit false, set false")
        yield
        rds.cursor().execute(f"drop role {name}")


DEPLOYS = [
    ("Create", ROOT / "create_fipe_db.sql", "SUCCESS"),
    ("Update", ROOT / "create_fipe_db.sql", "SUCCESS"),
    ("Update", "create table fipe.half_done (); select 1 / 0", "FAILED"),
    ("Update", ROOT / "create_fipe_db.sql", "SUCCESS"),
]
"""A first deploy, one with a changed script, one whose script fails, and its rollback."""


def run_deploys(deploy: Deploy, stack: Stack, dsn: str) -> None:
    for kind, script, expected in DEPLOYS:
        deploy(script=script if isinstance(script, str) else f"{script.read_text()}\n-- {uuid.uuid4()}")
        index.on_event(stack.event(kind), Context())
        assert stack.answers[-1]["Status"] == expected, stack.answers[-1]["Reason"]
    assert query(dsn, "select to_regclass('fipe.half_done'), (select count(*) from fipe.price)") == [
        (None, 0)
    ]


@pytest.mark.both_postgres
def test_the_password_works_after_every_deploy(
    deploy: Deploy, stack: Stack, empty_dsn: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO", logger=index.logger.name):
        run_deploys(deploy, stack, empty_dsn)
    seen = [record.getMessage() for record in caplog.records if "signed in anew" in record.getMessage()]
    assert seen == ["signed in anew: password ok; IAM token not needed: postgres is no member of rds_iam"] * 3


@pytest.mark.both_postgres
@pytest.mark.usefixtures("tokens_only")
def test_a_master_user_that_needs_a_token_signs_in_with_one_in_every_deploy(
    deploy: Deploy, stack: Stack, empty_dsn: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO", logger=index.logger.name):
        run_deploys(deploy, stack, as_administrator(empty_dsn))
    assert 'PAM authentication failed for user "postgres"; IAM token ok' in caplog.text
    checked = index.on_event({"check": True}, Context())
    assert checked is not None
    assert (checked["ok"], checked["iam_login"]) == (True, "ok")
    assert 'PAM authentication failed for user "postgres"' in checked["password_login"]


@pytest.mark.both_postgres
def test_a_password_that_was_changed_works_once_the_secret_has_it(
    deploy: Deploy, stack: Stack, empty_dsn: str
):
    old = parse_dsn(empty_dsn)["password"]
    with closing(psycopg2.connect(as_administrator(empty_dsn))) as rds, rds:
        try:
            rds.cursor().execute("alter role postgres password 'changed'")
            rds.commit()
            deploy()
            index.on_event(stack.event("Create"), Context())
            assert "password authentication failed" in stack.answers[-1]["Reason"]
            deploy(password="changed")
            index.on_event(stack.event("Create"), Context())
            assert stack.answers[-1]["Status"] == "SUCCESS"
        finally:
            rds.cursor().execute("alter role postgres password %s", (old,))


def test_a_check_says_which_script_made_the_schema_and_how_the_master_signs_in(
    deploy: Deploy, stack: Stack, empty_dsn: str
):
    deploy()
    sha256 = hashlib.sha256(SQL_SCRIPT.read_bytes()).hexdigest()
    expected = {"ok": True, "password_login": "ok", "tls": "off", "script": sha256, "schema": None}
    expected["dashboard_login"] = "off"
    assert index.on_event({"check": True}, Context()) == {"iam_login": ANY, **expected}
    assert query(empty_dsn, "select to_regnamespace('fipe')") == [(None,)]
    index.on_event(stack.event("Create"), Context())
    assert index.on_event({"check": True}, Context()) == {"iam_login": ANY, **expected, "schema": sha256}
    assert len(stack.answers) == 1


def test_a_check_of_a_schema_that_a_person_made_knows_no_script(deploy: Deploy, empty_dsn: str):
    deploy()
    with closing(psycopg2.connect(empty_dsn)) as database, database:
        database.cursor().execute(SQL_SCRIPT.read_text())
    checked = index.on_event({"check": True}, Context())
    assert checked is not None
    assert (checked["ok"], checked["schema"]) == (True, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "wrong-password"}, "password authentication failed"),
        ({"port": 1}, "Connection refused"),
        ({"secret": "hush-hush"}, "the database's secret must be JSON"),
        ({"runner_fails_with": {"errorMessage": "no more memory"}}, "FipeSqlRunner-dev: no more memory"),
    ],
)
def test_a_check_that_fails_says_why(deploy: Deploy, change: dict[str, Any], said: str):
    deploy(**change)
    checked = index.on_event({"check": True}, Context())
    assert checked is not None
    assert checked["ok"] is False
    assert said in checked["error"]


@pytest.fixture
def _no_dashboard(empty_dsn: str) -> Iterator[None]:
    """Roles belong to the whole server, which other tests use as well."""
    yield
    with closing(psycopg2.connect(empty_dsn)) as database:
        dashboard_login.forbid(database)


def sign_in_as_dashboard(dsn: str, password: str) -> "psycopg2.extensions.connection":
    return psycopg2.connect(dsn, user=dashboard_login.ROLE, password=password)


def checked_dashboard() -> str:
    checked = index.on_event({"check": True}, Context())
    assert checked is not None
    return str(checked["dashboard_login"])


@pytest.mark.both_postgres
@pytest.mark.usefixtures("_no_dashboard")
def test_dashboards_sign_in_with_the_password_of_the_secret_and_can_only_read(
    deploy: Deploy, stack: Stack, empty_dsn: str
):
    deploy(dashboard='{"username": "fipe_dashboard", "password": "pässword"}')
    index.on_event(stack.event("Create"), Context())
    assert stack.only_answer()["Status"] == "SUCCESS", stack.only_answer()
    assert checked_dashboard() == "ok"
    with closing(sign_in_as_dashboard(empty_dsn, "pässword")) as database, database.cursor() as cursor:
        cursor.execute("select count(*) from fipe.vehicle_price")
        assert cursor.fetchall() == [(0,)]
        database.rollback()
        database.set_session(readonly=False)
        for statement in ("delete from fipe.price", "create table mine ()", "set role fipe_ingestor"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            database.rollback()
        cursor.execute(
            "select name, setting from pg_settings where name in"
            " ('statement_timeout', 'idle_session_timeout', 'default_transaction_read_only') order by name"
        )
        assert cursor.fetchall() == [
            ("default_transaction_read_only", "on"),
            ("idle_session_timeout", "600000"),
            ("statement_timeout", "300000"),
        ]
    held = "select rolpassword like 'SCRAM-SHA-256$4096:%', rolconnlimit from pg_authid where rolname = "
    assert query(as_administrator(empty_dsn), held + "'fipe_dashboard'") == [(True, 20)]


@pytest.mark.usefixtures("_no_dashboard")
def test_a_deploy_without_it_takes_the_right_to_sign_in_away(deploy: Deploy, stack: Stack, empty_dsn: str):
    deploy(dashboard='{"password": "first"}')
    index.on_event(stack.event("Create"), Context())
    deploy()
    assert "may sign in, although" in checked_dashboard()
    index.on_event(stack.event("Update"), Context())
    assert [answer["Status"] for answer in stack.answers] == ["SUCCESS", "SUCCESS"]
    assert checked_dashboard() == "off"
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        sign_in_as_dashboard(empty_dsn, "first")


@pytest.mark.usefixtures("_no_dashboard")
def test_a_changed_secret_counts_once_the_function_is_invoked(deploy: Deploy, stack: Stack, empty_dsn: str):
    deploy(dashboard='{"password": "first"}')
    index.on_event(stack.event("Create"), Context())
    deploy(dashboard='{"password": "second"}', script="this must not run")
    assert "password authentication failed" in checked_dashboard()
    answer = index.on_event({"set_dashboard_password": True}, Context())
    assert answer is not None
    assert answer["ok"] is True
    assert checked_dashboard() == "ok"
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        sign_in_as_dashboard(empty_dsn, "first")


@pytest.mark.parametrize("secret", ["hush-hush", '{"username": "hush-hush"}', '["hush-hush"]'])
def test_a_dashboards_secret_that_is_not_as_it_should_be_fails_without_its_contents(
    deploy: Deploy, stack: Stack, secret: str
):
    deploy(dashboard=secret)
    index.on_event(stack.event("Create"), Context())
    assert stack.only_answer()["Status"] == "FAILED"
    assert "the secret of fipe_dashboard must be JSON with a password" in stack.only_answer()["Reason"]
    assert "hush-hush" not in stack.only_answer()["Reason"]


@pytest.mark.usefixtures("_no_dashboard")
def test_the_servers_log_never_holds_a_dashboards_password(
    deploy: Deploy, stack: Stack, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    statements: list[Any] = []

    class Noting(psycopg2.extensions.cursor):
        def execute(self, *arguments: Any) -> None:
            super().execute(*arguments)
            statements.append(self.query)

    connect = psycopg2.connect
    monkeypatch.setattr(psycopg2, "connect", lambda *a, **k: connect(*a, **k, cursor_factory=Noting))
    deploy(dashboard='{"password": "hush-hush"}')
    with caplog.at_level("DEBUG", logger=index.logger.name):
        index.on_event(stack.event("Create"), Context())
    assert any(b"alter role fipe_dashboard login" in statement for statement in statements)
    assert not any(b"hush-hush" in statement for statement in statements)
    assert "hush-hush" not in caplog.text


def test_a_secret_that_may_be_read_only_in_a_moment_is_read_then(
    deploy: Deploy, stack: Stack, secrets_endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index, "GRANT_PAUSE_SECONDS", 0)
    deploy()
    calls: list[int] = []

    def refuse_first(request: BaseHTTPRequestHandler, body: bytes) -> None:
        calls.append(1)
        if len(calls) == 1:
            send_json(request, {"__type": "AccessDeniedException", "message": "not yet"}, 400)
        else:
            found = client("secretsmanager", secrets_endpoint).get_secret_value(**json.loads(body))
            send_json(request, {"SecretString": found["SecretString"]})

    with http_server(refuse_first) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        index.on_event(stack.event("Create"), Context())
    assert (stack.only_answer()["Status"], len(calls)) == ("SUCCESS", 2)


def test_the_role_has_one_name():
    assert dashboard_login.ROLE == DASHBOARD_ROLE


def test_an_answer_is_sent_again_when_it_did_not_arrive(stack: Stack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cfnresponse, "FIRST_PAUSE_SECONDS", 0)
    stack.refuse_next = 2
    cfnresponse.send(stack.event("Create"), "SUCCESS", "", "fipe-database")
    assert stack.only_answer()["Status"] == "SUCCESS"


def test_an_answer_has_the_empty_content_type_that_its_url_is_signed_for(stack: Stack):
    cfnresponse.send(stack.event("Create"), "SUCCESS", "", "fipe-database")
    assert stack.content_types == [""]


def test_logs_hold_neither_the_password_nor_the_url_to_answer_at(
    deploy: Deploy, stack: Stack, caplog: pytest.LogCaptureFixture, empty_dsn: str
):
    deploy(script="select nonsense;")
    with caplog.at_level("DEBUG"):
        index.on_event(stack.event("Create"), Context())
    own_lines = "\n".join(
        record.getMessage() for record in caplog.records if record.name == index.logger.name
    )
    assert "Create of SqlInitContents" in own_lines
    assert parse_dsn(empty_dsn)["password"] not in own_lines
    assert "signature" not in own_lines
