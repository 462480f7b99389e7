"""Thousands of requests that mean harm: no error of the server, nothing written, no word of the inside.

The same requests each time. `make test` sends some of them, `make test-faults` all.
"""

import json
import logging
import re
import socket
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from random import Random
from typing import Any

import psycopg2
import pytest

from fipe_query.connections import Pool
from fipe_query.server import CONNECTIONS, PATIENCE, Awaited
from tests.api_server import serving
from tests.builders import JUNE_2026
from tests.databases import as_role, database_with_schema, write_sample
from tests.reliability.bad_requests import in_every_parameter, mixed, operations, others

CLIENTS = 8
TOLD = re.compile(
    r"Traceback|psycopg|site-packages|pg_catalog|fipe_reader|SQLSTATE|uvicorn|starlette|\.py\b|\bline \d+"
    r"|relation \"|syntax error|[Pp]assword|/src/|/tmp/|/home/|X-Injected: yes\r"
)
"""Words of the inside, and a header that only a request had."""


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> Iterator[str]:
    with database_with_schema(postgres_dsn) as fresh:
        with closing(psycopg2.connect(fresh)) as database:
            write_sample(database, JUNE_2026.month)
        yield fresh


class Attacker:
    """A client with a connection per request, which leaves further ones open, in the middle of something."""

    UNFINISHED = (
        b"", b"GET / HTTP/1.1\r\nX-Slow: ", b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/valuations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{",
    )  # fmt: skip

    def __init__(self, port: int) -> None:
        self._port = port
        self._slow = deque[socket.socket]()

    def attack(self, requests: list[bytes]) -> Counter[int]:
        """How often each status was answered; 0 is no answer."""
        statuses = Counter[int]()
        for number, request in enumerate(requests):
            if number % 4 == 0:
                self._leave_one_open(number // 4)
            answered = self._answer(request)
            statuses[check_answer(request, answered)] += 1
        while self._slow:
            self._slow.popleft().close()
        return statuses

    def _leave_one_open(self, number: int) -> None:
        slow = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        slow.sendall(self.UNFINISHED[number % len(self.UNFINISHED)])
        self._slow.append(slow)
        if len(self._slow) > CONNECTIONS / CLIENTS:
            self._slow.popleft().close()

    def _answer(self, request: bytes) -> bytes:
        read = b""
        with (
            socket.create_connection(("127.0.0.1", self._port), timeout=30) as client,
            suppress(ConnectionError),
        ):
            with suppress(ConnectionError):  # an answer may come before the request is whole
                client.sendall(request)
            while part := client.recv(65536):
                read += part
        return read


def check_answer(request: bytes, answered: bytes) -> int:
    """The status of an answer that may go out to anybody; 0 if there is none."""
    if not answered:
        return 0
    head, _, body = answered.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status < 500, (request[:2000], answered)
    if status != 200 or "json" in content_type(head):  # the page's own files may say anything
        assert not TOLD.search(answered.decode("latin-1")), (request[:2000], answered)
    if "json" in content_type(head) and body and b"content-encoding" not in head:
        text = body.decode()
        said, end = json.JSONDecoder().raw_decode(text)
        # Nothing follows but the next answer on this connection.
        assert re.match(r"HTTP/1\.1 \d{3}|$", text[end:]), (request[:2000], text[end:])
        if status >= 400:
            assert set(said) - {"errors"} in ({"error"}, {"type", "title", "status", "detail"}), said
    return status


def content_type(head: bytes) -> str:
    found = re.search(r"content-type: ([^\r]*)", head.decode("latin-1"), re.IGNORECASE)
    return found[1] if found else ""


def contents(dsn: str) -> list[Any]:
    """What would be something else if anything had been written."""
    with closing(psycopg2.connect(dsn)) as database, database, database.cursor() as cursor:
        cursor.execute(
            "select oid::regclass::text from pg_class"
            " where relkind = 'r' and relnamespace = 'fipe'::regnamespace"
        )
        found: list[Any] = []
        for (table,) in cursor.fetchall():
            cursor.execute(f"select md5(string_agg(r::text, ',' order by r::text)) from {table} as r")
            found += [table, cursor.fetchall()]
        cursor.execute(
            "select (select count(*) from pg_class), (select count(*) from pg_proc),"
            " (select count(*) from pg_largeobject_metadata),"
            " (select md5(string_agg(r::text, ',' order by oid)) from pg_roles as r),"
            " (select sum(n_tup_ins + n_tup_upd + n_tup_del)::int from pg_stat_user_tables)"
        )
        return found + cursor.fetchall()


@pytest.mark.parametrize("number", [400, pytest.param(10_000, marks=pytest.mark.faults)])
def test_requests_that_mean_harm(
    dsn: str, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for awaited in Awaited:
        monkeypatch.setitem(PATIENCE, awaited, 1.0)
    before = contents(dsn)
    with serving(dsn) as api:
        random, asked = Random(20), operations(api)
        whole = in_every_parameter(asked) + others()
        random.shuffle(whole)
        requests = [*whole, *(mixed(random, asked, whole) for _ in range(10_000 - len(whole)))][:number]
        port = int(api.url.rpartition(":")[2])
        with ThreadPoolExecutor(CLIENTS) as clients:
            shares = [requests[client::CLIENTS] for client in range(CLIENTS)]
            statuses = sum(clients.map(lambda share: Attacker(port).attack(share), shares), Counter[int]())
        assert api.get("/v1/months").status_code == 200
    print(f"answers per status: {sorted(statuses.items())}")
    assert statuses.total() == number
    assert statuses[200] > number / 20
    assert statuses[0] < number / 100
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert contents(dsn) == before


WRITING = [
    "delete from fipe.price", "update fipe.model set brand = 'x'", "truncate fipe.vehicle",
    "drop schema fipe cascade", "insert into fipe.reference_month (month) values ('1999-01-01')",
    "create table fipe.mine ()", "create table public.mine ()",
    "create function fipe.mine() returns int language sql return 1",
    "alter table fipe.price disable trigger all", "select nextval('fipe.vehicle_id_seq')", "create role mine",
    "alter role fipe_reader superuser", "set role postgres", "copy fipe.model to program 'true'",
    "copy fipe.model to '/tmp/mine'", "select pg_read_file('/etc/passwd')", "select pg_ls_dir('.')",
    "select rolpassword from pg_authid", "select fipe.renew_series()", "alter system set work_mem = '1GB'",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename <> current_user",
    "lock table fipe.price in exclusive mode", "create extension dblink",
]  # fmt: skip


@pytest.mark.parametrize("read_only", ["on", "off"])
def test_what_gets_through_could_write_nothing(dsn: str, read_only: str) -> None:
    """As fipe_reader, on the API's own connections: even a session that has allowed itself to write."""
    before = contents(dsn)
    with closing(Pool(lambda: psycopg2.connect(as_role(dsn, "fipe_reader")), 1)) as pool:
        pool.rows(f"set default_transaction_read_only = {read_only}; select 1")
        for statement in WRITING:
            with pytest.raises(psycopg2.Error) as refused:
                pool.rows(statement)
            assert refused.value.pgcode, statement
    assert contents(dsn) == before
