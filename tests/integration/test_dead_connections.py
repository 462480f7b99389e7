"""Connections to the database that die while a function is frozen, loudly or without a word."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import annotated_types
import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from fipe_api import fipe_soma_ingestor
from fipe_api.database import connection
from fipe_api.messages import to_json
from stage_settings import StageSettings
from tests.builders import AnyContext, any_price_message, sqs_event
from tests.tcp_proxy import TcpProxy, tcp_proxy

SILENCE_SECONDS = 1
SECONDS_FOR_A_BATCH = 15

FREEZES = {TcpProxy.die_loudly: 20, TcpProxy.die_silently: 5}

Deaths = pytest.mark.parametrize(
    "die",
    [
        TcpProxy.die_loudly,
        pytest.param(
            TcpProxy.die_silently,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux can drop packets so"),
        ),
    ],
)


@pytest.fixture
def proxy(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    """In front of the database, whose tokens are for the proxy's port."""
    place = parse_dsn(dsn)
    with tcp_proxy(place["host"], int(place["port"])) as one:
        for name, value in {
            "RDS_HOST": "localhost",
            "RDS_PORT": str(one.port),
            "RDS_DATABASE": place["dbname"],
            "RDS_USER": place["user"],
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(connection, "get_db_password", lambda _: place["password"])
        monkeypatch.setattr(connection, "SILENCE_SECONDS", SILENCE_SECONDS)
        monkeypatch.setattr(connection, "PAUSE_SECONDS", 0.01)
        fipe_soma_ingestor._connection.cache_clear()
        yield one
        fipe_soma_ingestor._connection.cache_clear()


def ingest() -> Any:
    return fipe_soma_ingestor.handler(sqs_event(to_json(any_price_message())), AnyContext())


def stored(dsn: str) -> int:
    with closing(psycopg2.connect(dsn)) as database, database.cursor() as cursor:
        cursor.execute("select count(*) from fipe.price")
        ((count,),) = cursor.fetchall()
    return int(count)


def test_the_shortest_timeout_leaves_time_to_find_a_connection_dead_and_to_make_another() -> None:
    (least,) = (
        rule.ge
        for rule in StageSettings.model_fields["function_timeout_seconds"].metadata
        if isinstance(rule, annotated_types.Ge)
    )
    assert least >= connection.SILENCE_SECONDS + connection.CONNECT_SECONDS + SECONDS_FOR_A_BATCH


@Deaths
def test_a_batch_after_a_freeze_is_written_over_a_new_connection(
    dsn: str, proxy: TcpProxy, die: Callable[[TcpProxy], None]
) -> None:
    for number in range(1, FREEZES[die] + 2):
        began = time.monotonic()
        assert ingest() == {"batchItemFailures": []}
        assert time.monotonic() - began < SILENCE_SECONDS + 5
        assert (stored(dsn), proxy.accepted) == (number, number)
        die(proxy)


@Deaths
def test_a_connection_that_dies_while_a_statement_runs_is_noticed(
    proxy: TcpProxy, die: Callable[[TcpProxy], None]
) -> None:
    with closing(connection.connect("any")) as database, database.cursor() as cursor:
        die(proxy)
        began = time.monotonic()
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("select pg_sleep(60)")
        assert time.monotonic() - began < SILENCE_SECONDS + 5


@pytest.mark.usefixtures("proxy")
def test_a_sign_in_that_is_refused_for_a_moment_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    """Aurora refuses valid tokens while it has too little memory for its IAM agent."""
    passwords = iter(["refused", "refused", parse_dsn(dsn)["password"]])
    monkeypatch.setattr(connection, "get_db_password", lambda _: next(passwords))
    connection.connect("any").close()
    assert next(passwords, None) is None


@pytest.mark.usefixtures("proxy")
def test_a_database_that_cannot_be_reached_is_tried_three_times_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    monkeypatch.setattr(connection, "get_db_password", lambda _: tried.append("once more") or "any")
    monkeypatch.setenv("RDS_PORT", "1")
    assert len(ingest()["batchItemFailures"]) == 1
    assert len(tried) == connection.ATTEMPTS
