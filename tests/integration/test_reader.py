"""fipe_reader, which `fipe query`, `export` and `report` sign in as: it reads, and can do nothing else."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection, make_dsn
from typer.testing import CliRunner

from fipe_api.database.statements import BEGIN_WRITING
from fipe_api.database.writer import write_messages
from fipe_cli.__main__ import app
from fipe_cli.cloud import Cloud, find_cloud
from fipe_cli.database import WAKING, AwsDatabase, open_database
from fipe_cli.errors import CliError
from infrastructure import names
from local_cloud.database_gateway import ADMINISTRATOR
from local_cloud.postgres import Connection, clusters
from local_cloud.postgres import make_dsn as local_dsn
from local_cloud.stage_database import stage_database
from local_cloud.state import REPOSITORY, LocalState
from tests.builders import any_price, any_price_message
from tests.databases import as_role
from tests.local_database import local_database, use_folder

sys.path.insert(0, str(REPOSITORY / "lambda"))
import dashboard_login

PRICES = "select count(*) from fipe.price"


@pytest.fixture(scope="module")
def master(folder: Path) -> Iterator[Connection]:
    """The master user of a stage on this machine, with two prices in its database."""
    with local_database(folder) as known:
        with closing(known.open()) as database:
            write_messages(database, [any_price_message(prices=(any_price(), any_price(model_year=2015)))])
        with stage_database(LocalState(folder)):  # which the last command would stop otherwise
            yield known


@pytest.fixture(autouse=True)
def _environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_folder(folder, monkeypatch)


pytestmark = pytest.mark.usefixtures("master")


def as_master(master: Connection, sql: str) -> list[tuple[Any, ...]]:
    with closing(master.open()) as database, database, database.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def as_reader(master: Connection) -> connection:
    place = make_dsn(host=master.host, port=master.port, dbname=master.database)
    return psycopg2.connect(as_role(place, "fipe_reader"))


def query(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["query", *arguments])
    return ended.exit_code, ended.output


def test_no_lock_of_a_reader_keeps_writers_waiting(master: Connection) -> None:
    with closing(as_reader(master)) as database, database.cursor() as cursor:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("lock table fipe.writers_turn in exclusive mode")
        database.rollback()
        cursor.execute(
            "select pg_advisory_xact_lock(x'46495045'::integer), (select count(*) from fipe.writers_turn)"
        )
        cursor.execute(f"select * from fipe.vehicle_price; {PRICES}")
        with closing(master.open()) as writer, writer.cursor() as waiting:
            waiting.execute("set lock_timeout = '2s'")
            waiting.execute(BEGIN_WRITING)


ESCAPE = "commit; begin read write; delete from fipe.price; commit; select 1"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (ESCAPE, "one statement"),
        ("select 1; select 2", "one statement"),
        ("select 1; commit; delete from fipe.price", "one statement"),
        ("commit", "one statement"),
        ("", "one statement"),
        ("delete from fipe.price", "one statement"),
        ("set role postgres", "one statement"),
        ("delete from fipe.price returning *", "read-only"),
        ("with gone as (delete from fipe.price returning 1) select * from gone", "read-only"),
        ("select * from pg_authid", "permission denied"),
        ("select pg_read_file('/etc/passwd')", "permission denied"),
        ("select lo_from_bytea(0, 'x')", "read-only"),
        ("select set_config('role', 'postgres', false)", "permission denied"),
        ("select set_config('transaction_read_only', 'off', false), lo_creat(1)", "read-write"),
    ],
)
def test_query_can_do_nothing_but_ask(master: Connection, sql: str, words: str) -> None:
    exit_code, said = query(sql)
    assert (exit_code, words in said) == (2, True), said
    assert as_master(master, PRICES) == [(2,)]


@pytest.mark.parametrize(
    "sql",
    ["select 1;", "table fipe.price", "values (1)", "explain select 1", "show work_mem", "select '%s {}'"],
)
def test_query_takes_every_kind_of_question(sql: str) -> None:
    assert query(sql)[0] == 0


@pytest.fixture(scope="module")
def _other_users_and_tables(master: Connection) -> None:
    with closing(master.open()) as database, database, database.cursor() as cursor:
        cursor.execute("create schema elsewhere; create table elsewhere.secret ()")
        cursor.execute("create role ana login password 'any' in role fipe_readers")
    with closing(master.open()) as database:
        dashboard_login.allow(database, "any")


@pytest.mark.usefixtures("_other_users_and_tables")
@pytest.mark.parametrize("stolen", ["fipe_reader", "ana", "fipe_dashboard"])
@pytest.mark.parametrize(
    "statement",
    [
        "insert into fipe.reference_month values (1, '2001-01-01')",
        "update fipe.price set price_brl = 0",
        "delete from fipe.price",
        "truncate fipe.price",
        "drop table fipe.price",
        "create table fipe.mine ()",
        "create table public.mine ()",
        "create temporary table mine ()",
        "create schema mine",
        "create role other",
        "alter role fipe_reader superuser",
        "set role fipe_ingestor",
        "copy fipe.price to program 'true'",
        "select * from pg_authid",
        "select * from elsewhere.secret",
    ],
)
def test_readers_can_do_nothing_else_even_without_the_command(
    master: Connection, stolen: str, statement: str
) -> None:
    member = Connection(master.host, master.port, stolen, "any", master.database)
    with closing(as_reader(master) if stolen == "fipe_reader" else member.open()) as database:
        database.set_session(readonly=False)
        with database.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)


def test_readers_read_every_table_view_and_function_of_the_schema(master: Connection) -> None:
    with closing(master.open()) as database, database.cursor() as cursor:
        cursor.execute("select oid::regclass::text from pg_class where relnamespace = 'fipe'::regnamespace"
                       " and relkind in ('r', 'v')")  # fmt: skip
        relations = [name for (name,) in cursor.fetchall()]
        assert len(relations) > 15
    with closing(as_reader(master)) as database, database.cursor() as cursor:
        for name in relations:
            cursor.execute(f"select * from {name} limit 1")
        cursor.execute("select * from fipe.search_models('gol'), fipe.price_history('005340-6')")


def test_a_readers_transaction_only_reads_unless_it_says_otherwise(master: Connection) -> None:
    with closing(as_reader(master)) as database, database.cursor() as cursor:
        cursor.execute("show transaction_read_only")
        assert cursor.fetchone() == ("on",)


@pytest.mark.parametrize("command", ["export", "report"])
def test_export_and_report_sign_in_as_the_reader(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = []
    connect = psycopg2.connect

    def noting(**keywords: Any) -> connection:
        users.append(keywords["user"])
        return connect(**keywords)

    monkeypatch.setattr("fipe_cli.database.psycopg2.connect", noting)
    file = tmp_path / ("prices.csv" if command == "export" else "report.html")
    ended = CliRunner().invoke(app, [command, str(file)])
    assert (ended.exit_code, users) == (0, ["fipe_reader"]), ended.output


def test_a_query_that_takes_too_long_is_cancelled_and_the_error_says_what_to_do() -> None:
    began = time.monotonic()
    exit_code, said = query("select pg_sleep(60)", "--timeout", "1")
    assert time.monotonic() - began < 10
    assert exit_code == 2
    assert "cancelled after 1 s" in said
    assert "--timeout 10 (0: no limit)" in said


def test_a_query_that_another_session_cancels_is_not_called_too_slow() -> None:
    cancel = "select pg_cancel_backend(pg_backend_pid())"
    assert query(cancel) == (3, "error: the query was cancelled by another session of the database\n")


def test_a_time_limit_that_postgresql_cannot_keep_is_refused() -> None:
    assert query("show statement_timeout", "--timeout", "2147483")[0] == 0
    exit_code, said = query("show statement_timeout", "--timeout", "2147484")
    assert (exit_code, "--timeout" in said) == (2, True)


def test_a_query_has_a_time_limit_unless_told_otherwise() -> None:
    assert query("show statement_timeout") == (0, "statement_timeout\n1min\n")
    assert query("show statement_timeout", "--timeout", "0") == (0, "statement_timeout\n0\n")


RUNNING = "select count(*) from pg_stat_activity where usename = 'fipe_reader' and state = 'active'"


def wait_until(master: Connection, queries: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while as_master(master, RUNNING) != [(queries,)]:
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def running(sql: str, master: Connection) -> Iterator["subprocess.Popen[str]"]:
    """`fipe query` while the server works on the statement."""
    # A process that was started in the background may ignore Ctrl-C, and would hand that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command = subprocess.Popen(
            [sys.executable, "-m", "fipe_cli", "query", sql],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        wait_until(master, queries=1, seconds=30)
        yield command
    finally:
        command.kill()
        command.communicate()


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("select pg_sleep(50)", id="that sleeps"),
        pytest.param("select count(*) from generate_series(1, 1e10)", id="that computes"),
        pytest.param("select pg_sleep(0.01) from generate_series(1, 1e6)", id="among its rows"),
    ],
)
def test_ctrl_c_cancels_a_query_on_the_server_long_before_its_end(master: Connection, sql: str) -> None:
    with running(sql, master) as command:
        command.send_signal(signal.SIGINT)
        wait_until(master, queries=0, seconds=15)
        _, said = command.communicate(timeout=30)
    assert (command.returncode, said) == (130, "interrupted\n")


def test_the_server_gives_up_a_query_whose_command_was_killed(master: Connection) -> None:
    with running("select pg_sleep(50)", master) as command:
        command.kill()
        wait_until(master, queries=0, seconds=15)


# On AWS -----------------------------------------------------------------------------------------------------


class OnAws:
    """A stage on AWS whose database is the one at `place`."""

    def __init__(self, place: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_REGION", "sa-east-1")
        monkeypatch.setenv("PGSSLMODE", "disable")
        known = {"RDS_HOST": place.host, "RDS_PORT": str(place.port), "RDS_DATABASE": place.database}
        monkeypatch.setattr(
            Cloud, "environment_of", lambda _, function: {"FipeSomaIngestor": known}[function]
        )
        self.cloud = find_cloud("dev", None)


def test_on_aws_the_reader_signs_in_with_a_token_signed_on_this_machine(
    master: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = OnAws(master, monkeypatch)
    variables = AwsDatabase(aws.cloud)._variables_of(names.READER_ROLE)
    assert variables["PGUSER"] == "fipe_reader"
    assert variables["PGPASSWORD"].startswith(
        f"{master.host}:{master.port}/?Action=connect&DBUser=fipe_reader"
    )
    with open_database(aws.cloud) as database, database.session() as session, session.cursor() as cursor:
        cursor.execute("select current_user")
        assert cursor.fetchone() == ("fipe_reader",)


def test_on_aws_the_importer_signs_in_the_same_way(
    master: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = OnAws(master, monkeypatch)
    assert "DBUser=fipe_importer" in AwsDatabase(aws.cloud)._variables_of(names.IMPORTER_ROLE)["PGPASSWORD"]
    with (
        open_database(aws.cloud) as database,
        database.importer_session() as session,
        session.cursor() as cursor,
    ):
        cursor.execute("select current_user")
        assert cursor.fetchone() == ("fipe_importer",)
    monkeypatch.setattr("infrastructure.names.IMPORTER_ROLE", "nobody")
    with (
        open_database(aws.cloud) as database,
        pytest.raises(CliError, match=r"rds-db:connect on arn:aws:rds-db:sa-east-1:\*:dbuser:\*/nobody"),
        database.importer_session(),
    ):
        pass


class MasterOnAws(OnAws):
    """OnAws, with a stack and a secret that have the master user's password."""

    def __init__(self, place: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(place, monkeypatch)
        known = {
            "host": place.host, "port": place.port, "dbname": place.database,
            "username": place.user, "password": place.password,
        }  # fmt: skip
        outputs = {"Outputs": [{"OutputKey": "DBSecretArn", "OutputValue": "arn"}]}
        stubs = {
            "cloudformation": SimpleNamespace(describe_stacks=lambda **_: {"Stacks": [outputs]}),
            "secretsmanager": SimpleNamespace(
                get_secret_value=lambda **_: {"SecretString": json.dumps(known)}
            ),
        }
        client = Cloud.client
        monkeypatch.setattr(Cloud, "client", lambda own, name: stubs.get(name) or client(own, name))


@pytest.fixture
def _tokens_only(master: Connection, folder: Path) -> Iterator[None]:
    """The master user is a member of a member of rds_iam, as when it has made such a role."""
    (cluster,) = clusters(LocalState(folder).postgres)
    rds = cluster.socket_environment(ADMINISTRATOR, master.database)
    with closing(psycopg2.connect(local_dsn(rds))) as database, database.cursor() as cursor:
        database.autocommit = True
        cursor.execute("grant fipe_status to postgres with admin true, inherit false, set false")
        yield
        cursor.execute("revoke fipe_status from postgres")


def test_on_aws_psql_signs_in_with_the_password(master: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = AwsDatabase(MasterOnAws(master, monkeypatch).cloud).master_variables()
    assert variables["PGPASSWORD"] == master.password


@pytest.mark.parametrize("secret", ["x", "{}", '"text"'])
def test_a_damaged_secret_is_one_line(
    master: Connection, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setattr(json, "dumps", lambda _: secret)
    with pytest.raises(CliError, match="the database's secret is damaged: write it anew, as JSON with host"):
        AwsDatabase(MasterOnAws(master, monkeypatch).cloud).master_variables()


@pytest.mark.usefixtures("_tokens_only")
def test_on_aws_psql_signs_in_with_a_token_when_the_database_refuses_the_password(
    master: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = AwsDatabase(MasterOnAws(master, monkeypatch).cloud).master_variables()
    assert variables["PGPASSWORD"].startswith(f"{master.host}:{master.port}/?Action=connect&DBUser=postgres")
    signed_in = make_dsn(
        host=variables["PGHOST"], port=variables["PGPORT"], user=variables["PGUSER"],
        password=variables["PGPASSWORD"], dbname=variables["PGDATABASE"],
    )  # fmt: skip
    psycopg2.connect(signed_in).close()


@pytest.mark.usefixtures("_tokens_only")
def test_on_aws_psql_says_which_permission_the_token_needs(
    master: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = MasterOnAws(master, monkeypatch)
    monkeypatch.setattr("fipe_cli.database.sign_token", lambda *_: "refused")
    with pytest.raises(CliError, match=r"rds-db:connect on arn:aws:rds-db:sa-east-1:\*:dbuser:\*/postgres"):
        AwsDatabase(aws.cloud).master_variables()


def test_a_database_that_takes_long_to_answer_is_said_to_wake(
    master: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect = psycopg2.connect

    def wake(**keywords: Any) -> connection:
        time.sleep(0.3)
        return connect(**keywords)

    aws = OnAws(master, monkeypatch)
    monkeypatch.setattr("fipe_cli.database.psycopg2.connect", wake)
    for patience, said in ((5, ""), (0.1, f"{WAKING}\n")):
        monkeypatch.setattr("fipe_cli.database.WAKING_SECONDS", patience)
        with open_database(aws.cloud) as database, database.session():
            pass
        assert capsys.readouterr().err == said


def test_ctrl_c_ends_the_wait_for_a_database_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        waiting = f"from fipe_cli.database import _connect; _connect(host='127.0.0.1', port={port})"
        command = subprocess.Popen([sys.executable, "-c", waiting], stderr=subprocess.PIPE, text=True)
        kept_open = silent.accept()
        time.sleep(0.5)
        began = time.monotonic()
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=30)
        kept_open[0].close()
    assert time.monotonic() - began < 5
    assert "KeyboardInterrupt" in said


def test_without_the_permission_the_error_names_it_and_the_way_that_works(
    master: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refuses with the words that Aurora has, but for "PAM" in place of "password"."""
    aws = OnAws(master, monkeypatch)
    monkeypatch.setattr("infrastructure.names.READER_ROLE", "nobody")
    with (
        open_database(aws.cloud) as database,
        pytest.raises(CliError, match="authentication failed") as refused,
        database.session(),
    ):
        pass
    said = str(refused.value)
    assert "rds-db:connect on arn:aws:rds-db:sa-east-1:*:dbuser:*/nobody" in said
    assert "`fipe psql` works without it" in said
