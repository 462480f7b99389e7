"""Signing in to the local cloud's PostgreSQL: as strict as Aurora about passwords, tokens and its master."""

import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import boto3
import psycopg2
import pytest
from botocore import auth
from psycopg2.extensions import make_dsn, parse_dsn

from local_cloud import postgres
from local_cloud.postgres import PostgresCluster
from tests.builders import ROOT_SQL
from tests.databases import as_administrator, as_role, cluster
from tests.local_cloud_support import CREDENTIALS, eventually

pytestmark = pytest.mark.both_postgres

TOKENS_ONLY = "PAM authentication failed for user"
OWN_ROLES = ["fipe_ingestor", "fipe_importer", "fipe_status", "fipe_reader", "fipe_watcher"]


@pytest.fixture
def role(postgres_dsn: str) -> Iterator[Callable[..., str]]:
    """Makes roles, as the master user does or as RDS itself does, and drops them at the end."""
    made = []

    def make(attributes: str = "login", maker: str = postgres_dsn) -> str:
        made.append(f"role_{uuid.uuid4().hex}")
        run(maker, f"create role {made[-1]} {attributes}")
        return made[-1]

    yield make
    for name in reversed(made):
        run(as_administrator(postgres_dsn), f"drop role {name}")


def run(dsn: str, sql: str) -> list[Any]:
    with closing(psycopg2.connect(dsn)) as database, database, database.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def token(dsn: str, user: str, **changes: str) -> str:
    place = parse_dsn(dsn)
    rds = boto3.client("rds", **{**CREDENTIALS, **changes})
    return str(rds.generate_db_auth_token(DBHostname=place["host"], Port=int(place["port"]), DBUsername=user))


def refusal(dsn: str, user: str, password: str) -> str:
    with pytest.raises(psycopg2.OperationalError) as refused:
        psycopg2.connect(make_dsn(dsn, user=user, password=password))
    return str(refused.value)


def user_of(dsn: str) -> str:
    ((user,),) = run(dsn, "select current_user")
    return str(user)


# Who signs in how -------------------------------------------------------------------------------------------


def test_the_master_user_is_no_superuser_but_makes_roles_and_databases(postgres_dsn: str) -> None:
    ((*attributes, groups),) = run(
        postgres_dsn,
        "select rolsuper, rolcreaterole, rolcreatedb, rolreplication, array(select roleid::regrole::text"
        " from pg_auth_members where member = pg_roles.oid and inherit_option) from pg_roles"
        " where rolname = current_user",
    )
    assert (attributes, groups) == ([False, True, True, False], ["rds_superuser"])
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(postgres_dsn, "select pg_read_file('/etc/passwd')")


@pytest.mark.parametrize("name", OWN_ROLES)
def test_the_scripts_roles_sign_in_with_a_token_and_with_nothing_else(dsn: str, name: str) -> None:
    assert user_of(as_role(dsn, name)) == name
    assert f'{TOKENS_ONLY} "{name}"' in refusal(dsn, name, "any-password")


def test_the_script_leaves_the_master_users_password_valid(dsn: str) -> None:
    """Whoever creates a role becomes a member of it, so the master user does not create those with tokens."""
    assert user_of(dsn) == "postgres"
    with closing(psycopg2.connect(dsn)) as database, database:
        database.cursor().execute(ROOT_SQL.read_text())
    assert user_of(dsn) == "postgres"
    assert run(dsn, "select from pg_roles where rolname = 'fipe_role_maker'") == []
    members = f"select from pg_auth_members where roleid::regrole::text = any (array{OWN_ROLES})"
    assert run(dsn, members) == []


@pytest.mark.parametrize("options", ["admin true, inherit false, set false", "inherit true", "set true"])
def test_a_member_of_a_member_signs_in_with_a_token_only_whatever_the_membership_allows(
    dsn: str, role: Callable[..., str], options: str
) -> None:
    person, group = (role(of, as_administrator(dsn)) for of in ("login password 'any'", "nologin"))
    run(as_administrator(dsn), f"grant {group} to {person} with {options}")
    run(dsn, f"grant rds_iam to {group}")
    assert TOKENS_ONLY in refusal(dsn, person, "any")
    assert user_of(as_role(dsn, person)) == person
    run(as_administrator(dsn), f"revoke {group} from {person}")
    assert user_of(make_dsn(dsn, user=person, password="any")) == person


def test_a_master_user_that_creates_a_role_with_tokens_has_no_password_any_more_and_cannot_undo_it(
    dsn: str, role: Callable[..., str]
) -> None:
    """What RDS for PostgreSQL 16 and later does, and why the script goes another way."""
    name = role("login", dsn)
    assert user_of(dsn) == "postgres"
    run(dsn, f"grant rds_iam to {name}")
    assert TOKENS_ONLY in refusal(dsn, "postgres", parse_dsn(dsn)["password"])
    by_token = as_role(dsn, "postgres")
    run(by_token, f"revoke {name} from postgres")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(by_token, f"revoke {name} from postgres granted by rdsadmin")
    assert TOKENS_ONLY in refusal(dsn, "postgres", parse_dsn(dsn)["password"])


@pytest.mark.parametrize("user", ["postgres", "nobody"])
def test_everybody_else_signs_in_with_a_password_only(dsn: str, user: str) -> None:
    for password in ("wrong", token(dsn, user)):
        assert f'password authentication failed for user "{user}"' in refusal(dsn, user, password)


# Tokens -----------------------------------------------------------------------------------------------------


def old_token(dsn: str, age: timedelta, monkeypatch: pytest.MonkeyPatch) -> str:
    then = datetime.now(UTC) - age
    monkeypatch.setattr(auth, "get_current_datetime", lambda **_: then)
    return token(dsn, "fipe_reader")


def test_a_token_is_good_for_15_minutes(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    young = old_token(dsn, timedelta(minutes=14), monkeypatch)
    assert user_of(make_dsn(dsn, user="fipe_reader", password=young)) == "fipe_reader"
    for age in (timedelta(minutes=16), -timedelta(minutes=10)):
        assert TOKENS_ONLY in refusal(dsn, "fipe_reader", old_token(dsn, age, monkeypatch))


def test_a_token_is_for_one_user_one_address_and_one_secret(dsn: str) -> None:
    elsewhere = make_dsn(dsn, host="example.com")
    of_another_port = make_dsn(dsn, port="1")
    good = token(dsn, "fipe_reader")
    for wrong in (
        token(dsn, "fipe_status"),
        token(elsewhere, "fipe_reader"),
        token(of_another_port, "fipe_reader"),
        token(dsn, "fipe_reader", aws_secret_access_key="another"),
        good.replace("fipe_reader", "fipe_status"),
        good.replace("Expires=900", "Expires=90000"),
        good[:-1],
        "",
        "not a token",
        "x" * 10_000,
    ):
        assert TOKENS_ONLY in refusal(dsn, "fipe_reader", wrong or " ")


def test_a_token_of_temporary_credentials_is_good(dsn: str) -> None:
    temporary = token(dsn, "fipe_reader", aws_session_token="a/long+token==" * 40)
    assert user_of(make_dsn(dsn, user="fipe_reader", password=temporary)) == "fipe_reader"


# The connection ---------------------------------------------------------------------------------------------


def test_large_data_passes_both_ways_and_a_query_can_be_cancelled(dsn: str) -> None:
    with closing(psycopg2.connect(dsn)) as database, database.cursor() as cursor:
        cursor.execute("select length(%s), repeat('x', 20000000)", ("y" * 20_000_000,))
        ((there, back),) = cursor.fetchall()
        assert (there, len(back)) == (20_000_000, 20_000_000)
        cursor.execute("set statement_timeout = '30s'")
        database.commit()
        Timer(0.5, database.cancel).start()
        with pytest.raises(psycopg2.errors.QueryCanceled, match="user request"):
            cursor.execute("select pg_sleep(20)")


def test_what_is_no_client_of_postgresql_does_no_harm(dsn: str) -> None:
    place = parse_dsn(dsn)
    for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 8, b"\xff" * 100):
        with socket.create_connection((place["host"], int(place["port"]))) as stranger:
            stranger.sendall(words)
    assert user_of(dsn) == "postgres"


@pytest.fixture
def own_cluster(tmp_path: Path, postgres_version: int) -> Iterator[PostgresCluster]:
    one = cluster(tmp_path / "cluster", postgres_version)
    one.start()
    yield one
    one.stop()


def test_the_gateway_outlives_a_crash_of_a_process_of_postgresql(own_cluster: PostgresCluster) -> None:
    place = own_cluster.set_up(user="postgres", password="any", database="fipedata")
    with closing(place.open()) as session, session.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        ((process,),) = cursor.fetchall()
        os.kill(process, signal.SIGKILL)
        with pytest.raises(psycopg2.Error):
            cursor.execute("select 1")

    def opens() -> bool:
        try:
            place.open().close()
        except psycopg2.OperationalError:
            return False
        return True

    assert eventually(opens)


def test_a_server_that_recovers_from_a_crash_stops(
    own_cluster: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FAST_STOP_SECONDS", 2.0)
    place = own_cluster.set_up(user="postgres", password="any", database="fipedata")
    with closing(place.open()) as session, session.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        ((process,),) = cursor.fetchall()
        os.kill(process, signal.SIGKILL)
    own_cluster.stop()
    assert own_cluster.processes() == []
    own_cluster.start()
    place.open().close()


def test_a_gateway_that_was_killed_starts_again_at_the_same_port(own_cluster: PostgresCluster) -> None:
    place = own_cluster.set_up(user="postgres", password="any", database="fipedata")
    gateway = own_cluster.processes()[-1]
    os.kill(gateway, signal.SIGKILL)
    eventually(lambda: own_cluster.port is None)
    assert own_cluster.start() == place.port
    place.open().close()
    own_cluster.stop()
    assert own_cluster.processes() == []
    with pytest.raises(psycopg2.OperationalError):
        place.open()
