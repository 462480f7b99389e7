"""The API's connections, few and read only, and its answers, which are kept while they are right."""

import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import psycopg2
import pytest
from psycopg2.errors import QueryCanceled, ReadOnlySqlTransaction
from psycopg2.extensions import connection

from fipe_api.database.writer import write_messages, write_rows
from fipe_query import connections
from fipe_query.connections import BusyError, Pool
from tests.api_server import Api, serving
from tests.builders import MAY_2026, any_price_message, any_price_row, any_run_plan
from tests.databases import as_role, database_with_schema


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> Iterator[str]:
    with database_with_schema(postgres_dsn) as fresh:
        yield fresh


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with closing(Pool(lambda: psycopg2.connect(as_role(dsn, "fipe_reader")), 1)) as one:
        yield one


@pytest.fixture(scope="module")
def api(dsn: str) -> Iterator[Api]:
    with serving(dsn, connections=1) as running:
        yield running


def test_a_question_does_not_wait_for_ever_for_its_turn(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WAIT_SECONDS", 0.05)
    began, may_go_on = threading.Event(), threading.Event()

    def connect_slowly() -> connection:
        began.set()
        assert may_go_on.wait(20)
        return psycopg2.connect(as_role(dsn, "fipe_reader"))

    with closing(Pool(connect_slowly, 1)) as pool:
        slow = threading.Thread(target=lambda: pool.rows("select 1"))
        slow.start()
        assert began.wait(20)
        with pytest.raises(BusyError):
            pool.rows("select 1")
        may_go_on.set()
        slow.join()
        assert pool.rows("select 1 as one")[0].one == 1


def test_a_connection_that_is_gone_is_replaced(pool: Pool, dsn: str) -> None:
    ((pid,),) = pool.rows("select pg_backend_pid()")
    with closing(psycopg2.connect(dsn)) as admin, admin, admin.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    assert pool.rows("select pg_backend_pid() as pid")[0].pid != pid


def test_a_session_can_neither_write_nor_work_for_ever(pool: Pool) -> None:
    with pytest.raises(ReadOnlySqlTransaction):
        pool.rows("create temporary table mine ()")
    assert pool.rows("show statement_timeout")[0].statement_timeout == "10s"
    pool.rows("select set_config('statement_timeout', '10ms', false)")
    with pytest.raises(QueryCanceled):
        pool.rows("select pg_sleep(1)")


def test_an_answer_is_kept_until_something_is_written(api: Api, dsn: str) -> None:
    path = "/api/v2/references"
    assert api.get(path).json() == []
    with closing(psycopg2.connect(dsn)) as database:
        write_rows(database, [any_price_row(MAY_2026.month, MAY_2026.code, 100)])
    first = api.get(path)
    assert first.json() == [{"code": "333", "month": "maio de 2026"}]
    has_it = {"If-None-Match": first.headers["ETag"]}
    assert api.get(path, headers=has_it).status_code == 304
    with closing(psycopg2.connect(dsn)) as database:
        write_rows(database, [any_price_row(MAY_2026.month, MAY_2026.code, 200)])
    assert api.get(path, headers=has_it).status_code == 304, "what it says is still the same"
    assert api.get("/api/v2/cars/005340-6/years/2020-1").json()["price"] == "R$ 200,00"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("/v1/search?q=vw#x", "/v1/search?q=vw"),
        ("/api/v2/cars/brands", "/api/v2/cars%0A/brands"),
        ("/api/v2/cars/brands?", "/api/v2/cars/brands%3F"),
    ],
)
def test_an_answer_is_kept_for_its_own_address_alone(dsn: str, first: str, then: str) -> None:
    with serving(dsn) as asked, serving(dsn) as fresh:
        assert ask_as_written(asked, first) != ask_as_written(fresh, then)
        assert ask_as_written(asked, then) == ask_as_written(fresh, then)


def ask_as_written(api: Api, path: str) -> tuple[int, bytes]:
    """The answer to a path that libraries would change."""
    with closing(HTTPConnection(api.url.removeprefix("http://"), timeout=20)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()


def test_a_month_that_is_being_loaded_is_not_the_one_without_a_name(postgres_dsn: str) -> None:
    with database_with_schema(postgres_dsn) as fresh, closing(psycopg2.connect(fresh)) as database:
        write_rows(database, [any_price_row(MAY_2026.month, MAY_2026.code, 100)])
        write_messages(database, [any_run_plan(brands_in_run=2), any_price_message()])
        with serving(fresh) as api:
            (newest,) = api.get("/v1/months").json()["items"][:1]
            assert (newest["month"], newest["loaded"], newest["complete"]) == ("2026-06-01", "loading", False)
            assert [each["code"] for each in api.get("/api/v2/references").json()] == ["333"]
            assert api.get("/api/v2/cars/005340-6/years").json()[0]["code"] == "2020-1"
            named = api.get("/api/v2/cars/005340-6/years?reference=334")
            assert (named.json()[0]["code"], named.headers["Cache-Control"]) == ("2014-3", "no-cache")
            since_loading = api.get("/v1/months/2026-05/movers?since=2026-06")
            assert since_loading.headers["Cache-Control"] == "no-cache"


def test_failures_say_nothing_of_the_inside(api: Api, dsn: str) -> None:
    with closing(psycopg2.connect(dsn)) as admin, admin, admin.cursor() as cursor:
        cursor.execute("alter table fipe.vehicle rename to hidden")
        cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'fipe_reader'")
    answered = api.get("/api/v2/cars/005340-6/years/2020-1/history")
    assert answered.status_code == 500
    assert answered.json() == {"error": "an error of the server: its log says more"}
    with closing(psycopg2.connect(dsn)) as admin, admin, admin.cursor() as cursor:
        cursor.execute("alter table fipe.hidden rename to vehicle")
