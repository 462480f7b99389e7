"""The API: each question over HTTP beside its bare SQL, with 50 clients, and beside a load that is written.

The history has the real shape: 309 months, 9.5 million prices. The server is a process of its own, as with
`fipe serve`; the clients are threads of this one, so all share this machine's processors. An answer that is
not kept is asked for with a parameter that nobody has used before.
"""

import asyncio
import http.client
import itertools
import json
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
from fastapi import FastAPI

from benchmarks.bulk import write_history
from benchmarks.database import connected, server
from benchmarks.history import REFERENCES, History
from benchmarks.price_messages import messages_of
from benchmarks.rows import Baseline, Row, at_least, at_most
from fipe_api.database.writer import write_messages
from fipe_query.application import create_application
from fipe_query.connections import Pool
from fipe_query.connections import Row as DatabaseRow
from fipe_query.server import create_server
from tests.databases import as_role

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CLIENTS = 50
SECONDS = 5.0
RUNS = 15
VEHICLES = 40
"""How many vehicles are asked about in turn."""
BATCH = 10
"""Messages per transaction of the load, as the ingestor has them."""
TYPES = {1: "cars", 2: "motorcycles", 3: "trucks"}


class Question(NamedTuple):
    """A path to ask for, and what to post to it, if anything."""

    path: str
    body: bytes | None = None

    @property
    def method(self) -> str:
        """How it is asked."""
        return "POST" if self.body else "GET"

    @property
    def anew(self) -> "Question":
        """The same, as no kept answer answers it."""
        mark = "&" if "?" in self.path else "?"
        return self._replace(path=f"{self.path}{mark}unlike={next(_NUMBERS)}")


_NUMBERS = itertools.count()


class _RecordingPool(Pool):
    """A pool that keeps what it was asked."""

    asked: list[tuple[str, dict[str, Any]]]

    def rows(self, question: str, **values: Any) -> list[DatabaseRow]:
        self.asked.append((question, values))
        return super().rows(question, **values)


class _Load(NamedTuple):
    """What came of asking for a while: seconds per answer, and the statuses other than 200."""

    seconds: list[float]
    failures: list[int]

    @property
    def per_second(self) -> float:
        return len(self.seconds) / SECONDS

    @property
    def p99_ms(self) -> float:
        return 1000 * statistics.quantiles(self.seconds, n=100)[98]


def run() -> Sequence[Row]:
    with server() as postgres:
        dsn = postgres.fresh_database()
        history = History()
        write_history(dsn, history, len(REFERENCES) - 1)
        with connected(dsn) as owner:
            owner.autocommit = True
            owner.cursor().execute("vacuum (analyze)")
        questions = _questions(dsn)
        with _serving(dsn) as port:
            return [
                *(row for name, several in questions.items() for row in _rows(name, several, dsn, port)),
                *_rows_beside_a_load(questions, dsn, port, history),
            ]


def _questions(dsn: str) -> Mapping[str, list[Question]]:
    """The questions, about vehicles of the newest month that are chosen at random, always the same."""
    with connected(dsn) as database, database.cursor() as cursor:
        cursor.execute(
            "select vehicle_type, brand_code, model_code, fipe_code, model_year, fuel_code"
            " from fipe.vehicle_price where reference_month = fipe.newest_month() order by 4, 5, 6"
        )
        chosen = Random(1).sample(cursor.fetchall(), VEHICLES)
    listed = [
        {"code": code, "year": str(year), "fuel": ""} for _kind, _brand, _model, code, year, _fuel in chosen
    ]
    value = json.dumps({"vehicles": listed}).encode()

    def paths(written: str) -> list[Question]:
        keys = ("type", "brand", "model", "code", "year", "fuel")
        return [
            Question(written.format(**dict(zip(keys, (TYPES[each[0]], *each[1:]), strict=True))))
            for each in chosen
        ]

    return {
        "brands": [Question(f"/api/v2/{kind}/brands") for kind in TYPES.values()],
        "models of a brand": paths("/api/v2/{type}/brands/{brand}/models"),
        "years of a model": paths("/api/v2/{type}/brands/{brand}/models/{model}/years"),
        "price": paths("/api/v2/{type}/{code}/years/{year}-{fuel}"),
        "history": paths("/api/v2/{type}/{code}/years/{year}-{fuel}/history"),
        "search": [Question(f"/v1/search?q={words}") for words in ("gol", "corolla+xei", "hb20", "scania+r")],
        "depreciation": paths("/v1/vehicles/{code}/depreciation"),
        "movers of a month": [Question("/v1/months/latest/movers")],
        f"value of {VEHICLES} vehicles": [Question("/v1/valuations", value)],
    }


# One question at a time, and 50 clients --------------------------------------------------------------------


def _rows(name: str, questions: Sequence[Question], dsn: str, port: int) -> Iterator[Row]:
    bare = 1000 * statistics.median(_bare(question, dsn) for question in questions[:RUNS])
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        timed = [_ask(client, question.anew) for question, _ in zip(itertools.cycle(questions), range(RUNS))]
    alone = 1000 * statistics.median(seconds for seconds, _ in timed)
    yield Row(f"{name}: not kept, one client", alone, "ms", Baseline("its SQL", bare))
    anew = _under_load([question.anew for question in questions for _ in range(200)], port)
    loads = [(f"not kept, {CLIENTS} clients", anew)]
    if questions[0].body is None:  # an answer to what is posted is never kept
        loads.append((f"kept, {CLIENTS} clients", _under_load(questions, port)))
    for what, load in loads:
        yield Row(f"{name}: {what}", load.per_second, "answers per second")
        yield Row(f"{name}: {what}, p99", load.p99_ms, "ms")
        yield Row(f"{name}: {what}, other answers than 200", len(load.failures), "answers", target=at_most(0))


def _bare(question: Question, dsn: str) -> float:
    """The median time of the SQL behind a question, in seconds."""
    with closing(_RecordingPool(lambda: _reader(dsn))) as pool:
        pool.asked = []
        asyncio.run(_answer(create_application(pool), question))
        statements = [each for each in pool.asked if "pg_current_snapshot" not in each[0]]
    times = []
    with closing(_reader(dsn)) as session, session.cursor() as cursor:
        for _ in range(3):
            start = time.perf_counter()
            for statement, values in statements:
                cursor.execute(statement, values)
                cursor.fetchall()
            times.append(time.perf_counter() - start)
    return statistics.median(times)


async def _answer(app: FastAPI, question: Question) -> None:
    """Has the application answer without a server."""
    path, _, query = question.path.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": question.method, "path": path, "root_path": "",
        "query_string": query.encode(), "headers": [(b"content-type", b"application/json")], "scheme": "http",
        "server": ("127.0.0.1", 80),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": question.body or b"", "more_body": False}

    async def send(_part: MutableMapping[str, Any]) -> None:
        pass

    await app(scope, receive, send)


def _under_load(questions: Sequence[Question], port: int) -> _Load:
    """Has all clients ask the questions in turn for a while."""
    end = time.perf_counter() + SECONDS
    turn = itertools.cycle(questions)
    lock = threading.Lock()
    load = _Load([], [])

    def ask_on() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            while time.perf_counter() < end:
                with lock:
                    question = next(turn)
                seconds, status = _ask(client, question)
                load.seconds.append(seconds)
                if status != http.client.OK:
                    load.failures.append(status)

    with ThreadPoolExecutor(CLIENTS) as clients:
        for each in [clients.submit(ask_on) for _ in range(CLIENTS)]:
            each.result()
    return load


def _ask(client: http.client.HTTPConnection, question: Question) -> tuple[float, int]:
    """Seconds until the answer is there, and its status."""
    start = time.perf_counter()
    headers = {"Content-Type": "application/json"} if question.body else {}
    client.request(question.method, question.path, question.body, headers)
    answer = client.getresponse()
    answer.read()
    return time.perf_counter() - start, answer.status


# Beside a load ----------------------------------------------------------------------------------------------


def _rows_beside_a_load(
    questions: Mapping[str, Sequence[Question]], dsn: str, port: int, history: History
) -> Iterator[Row]:
    number = len(REFERENCES) - 1
    messages = list(messages_of(history, number))
    batches = iter([messages[at : at + BATCH] for at in range(0, len(messages), BATCH)])
    heavy = [question.anew for each in questions.values() for question in each for _ in range(100)]
    Random(1).shuffle(heavy)
    with connected(dsn) as database:
        alone = _written(database, batches)
        quiet = _under_load(heavy, port)
        asked: list[_Load] = []
        clients = threading.Thread(target=lambda: asked.append(_under_load(heavy, port)))
        clients.start()
        beside = _written(database, batches)
        clients.join()
    what = f"a load beside {CLIENTS} clients that ask everything"
    yield Row(
        f"{what}: transactions of {BATCH} messages",
        beside,
        "per second",
        Baseline("nobody asks", alone),
        at_least(0.25),
    )
    yield Row(
        f"{what}: answers that are not kept",
        asked[0].per_second,
        "per second",
        Baseline("nothing is written", quiet.per_second),
    )
    yield Row(f"{what}: other answers than 200", len(asked[0].failures), "answers", target=at_most(0))


def _written(database: "connection", batches: Iterator[Sequence[Any]]) -> float:
    """Transactions per second."""
    end, written = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        write_messages(database, next(batches))
        written += 1
    return written / SECONDS


# The server -------------------------------------------------------------------------------------------------


@contextmanager
def _serving(dsn: str) -> Iterator[int]:
    """The API in a process of its own; its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(dsn, listener), daemon=True
        )
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def _serve(dsn: str, listener: socket.socket) -> None:
    with closing(Pool(lambda: _reader(dsn))) as pool:
        create_server(create_application(pool)).run(sockets=[listener])


def _reader(dsn: str) -> "connection":
    return psycopg2.connect(as_role(dsn, "fipe_reader"))
