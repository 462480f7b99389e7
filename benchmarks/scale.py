"""Scale: 330 months of 50,332 prices loaded by the adapted ingestor, their size, and what people ask of them.

Every month has the same vehicles, each of which has risen or fallen by itself, and a run of its own in the
ledger. What a month costs is counted in CPU seconds of the ingestor and of its database, the last months and
the first side by side. A query's time is the median of warm runs, from sending it to having all its rows,
after the vacuum and analyze that autovacuum would do. The examples of the README are asked of one month as
well.
"""

import io
import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from random import Random
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from msgspec import to_builtins

from benchmarks.database import Server, connected, server
from benchmarks.month import REPOSITORY, month
from benchmarks.price_messages import JUNE_2026, price_messages
from benchmarks.rows import Baseline, Row, at_most
from fipe_api.fipe_soma_ingestor_adapted import ingest
from fipe_api.messages import PriceMessage

if TYPE_CHECKING:
    from psycopg2.extensions import connection

MONTHS = 330
AROUND = 5
"""The last months, each loaded beside the first into an empty database; the medians are compared."""
RUNS = 21
EXAMPLE = re.compile(r'^fipe query "(.+)"', re.MULTILINE)
LARGE_TABLES = ("price", "vehicle", "model", "load_model")


def run() -> Sequence[Row]:
    lines = _Lines(list(price_messages(month(), JUNE_2026, UUID(int=0))))
    with server() as postgres:
        dsn = postgres.fresh_database()
        start = time.perf_counter()
        for number in range(MONTHS - AROUND):
            _cost_of_load(postgres, dsn, lines.of_month(number))
        first, late = [], []
        for number in range(MONTHS - AROUND, MONTHS):
            dsn_of_one_month = postgres.fresh_database()
            first.append(_cost_of_load(postgres, dsn_of_one_month, lines.of_month(0)))
            late.append(_cost_of_load(postgres, dsn, lines.of_month(number)))
        minutes = (time.perf_counter() - start) / 60
        with _vacuumed(dsn_of_one_month) as of_one_month, _vacuumed(dsn) as connection:
            return [
                Row(f"loading {MONTHS} months", minutes, "minutes"),
                Row(
                    f"month {MONTHS}",
                    statistics.median(late),
                    "CPU s",
                    Baseline("month 1", statistics.median(first)),
                    at_most(1.3),
                ),
                *_sizes(connection),
                *(row for query in _queries(connection) for row in _query_rows(connection, query)),
                *_example_rows("one month", of_one_month, 10),
                *_example_rows(f"{MONTHS} months", connection, 50),
            ]


@contextmanager
def _vacuumed(dsn: str) -> Iterator["connection"]:
    with connected(dsn) as connection:
        connection.autocommit = True
        connection.cursor().execute("vacuum (analyze)")
        yield connection


class _Lines:
    """The JSON Lines of any month, as messages of the price queue: made from a template, which is quick."""

    def __init__(self, messages: Sequence[PriceMessage]) -> None:
        self._prices = [float(price.price_brl) for message in messages for price in message.prices]
        self._template = "\n".join(map(_template, messages))

    def of_month(self, number: int) -> Iterator[str]:
        """The lines of the month with that number, counted from January 1999, at prices of its own."""
        day = f"{1999 + number // 12}-{number % 12 + 1:02}-01"
        reference = json.dumps({"code": 1000 + number, "month": day})
        level, moved = 0.5 + number / MONTHS, Random(number).uniform
        prices = (f"{price * level * moved(0.97, 1.03):.2f}" for price in self._prices)
        text = self._template.replace("RUN", str(UUID(int=number))).replace('"REFERENCE"', reference)
        return iter((text % tuple(prices)).split("\n"))


def _template(message: PriceMessage) -> str:
    line = to_builtins(message)
    line |= {"run_id": "RUN", "reference": "REFERENCE"}
    line["prices"] = [price | {"price_brl": "PRICE"} for price in line["prices"]]
    return json.dumps(line).replace("%", "%%").replace("PRICE", "%s")


def _cost_of_load(postgres: Server, dsn: str, lines: Iterator[str]) -> float:
    """CPU seconds to load the lines, of this process and of all the server's processes."""
    before = time.process_time() + postgres.cpu_seconds()
    totals = ingest(lines, dsn, report=io.StringIO())
    cost = time.process_time() + postgres.cpu_seconds() - before
    assert totals.refused == 0
    assert totals.changed == len(month().rows), totals
    return cost


def _sizes(connection: "connection") -> list[Row]:
    with connection, connection.cursor() as cursor:
        cursor.execute("select count(*), pg_total_relation_size('fipe.price') from fipe.price")
        rows, price_bytes = cursor.fetchone() or (0, 0)
        cursor.execute("select pg_database_size(current_database())")
        (all_bytes,) = cursor.fetchone() or (0,)
    return [
        Row("prices", rows, "rows"),
        Row("the database on disk", all_bytes / 2**30, "GiB"),
        Row("fipe.price with its indexes", price_bytes / rows, "bytes a row"),
        Row("everything, the ledger included", all_bytes / rows, "bytes a row"),
    ]


class _Query(NamedTuple):
    what: str
    sql: str
    parameters: tuple[object, ...]


def _queries(connection: "connection") -> list[_Query]:
    """What people ask; of the largest brand, and of a vehicle in the middle of it."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "select vehicle_type, brand_code from fipe.model"
            " group by vehicle_type, brand_code order by count(*) desc, vehicle_type, brand_code limit 1"
        )
        vehicle_type, brand_code = cursor.fetchone() or (0, 0)
        cursor.execute(
            """
            select model_code, model_year, fuel_code, fipe_code
            from fipe.vehicle join fipe.model on model.id = model_id
            where (vehicle_type, brand_code) = (%s, %s)
            order by vehicle.id
            offset 1000 limit 1
            """,
            (vehicle_type, brand_code),
        )
        model_code, model_year, fuel_code, fipe_code = cursor.fetchone() or (0, 0, 0, "")
    newest = date(1999 + (MONTHS - 1) // 12, (MONTHS - 1) % 12 + 1, 1)
    return [
        _Query(
            "the history of one FIPE code",
            "select reference_month, model_year, fuel, price_brl from fipe.vehicle_price"
            " where fipe_code = %s order by reference_month, model_year",
            (fipe_code,),
        ),
        _Query(
            "the latest price of one model year",
            "select reference_month, price_brl from fipe.vehicle_price"
            " where (vehicle_type, brand_code, model_code, model_year, fuel_code) = (%s, %s, %s, %s, %s)"
            " order by reference_month desc limit 1",
            (vehicle_type, brand_code, model_code, model_year, fuel_code),
        ),
        _Query(
            "one month of the largest brand",
            "select model, model_year, fuel, price_brl from fipe.vehicle_price"
            " where reference_month = %s and (vehicle_type, brand_code) = (%s, %s)",
            (newest, vehicle_type, brand_code),
        ),
    ]


def _query_rows(connection: "connection", query: _Query) -> tuple[Row, Row]:
    with connection.cursor() as cursor:
        cursor.execute("explain " + query.sql, query.parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    milliseconds, found = _ask(connection, query)
    scanned = [table for table in LARGE_TABLES if f"Seq Scan on {table} " in plan]
    return (
        Row(f"{query.what}: {found:,} rows", milliseconds, "ms", target=at_most(10)),
        Row("large tables it reads without an index", len(scanned), "tables", target=at_most(0)),
    )


def _example_rows(of_what: str, connection: "connection", most_milliseconds: float) -> Iterator[Row]:
    """A row for each example query of docs/queries.md."""
    for sql in EXAMPLE.findall((REPOSITORY / "docs" / "queries.md").read_text()):
        milliseconds, found = _ask(connection, _Query(sql, sql, ()))
        yield Row(f"{of_what}, {sql}: {found:,} rows", milliseconds, "ms", target=at_most(most_milliseconds))


def _ask(connection: "connection", query: _Query) -> tuple[float, int]:
    """Milliseconds from sending the query to having its rows, median of warm runs; and how many rows."""
    seconds = []
    with connection.cursor() as cursor:
        for _ in range(RUNS):
            start = time.perf_counter()
            cursor.execute(query.sql, query.parameters)
            found = len(cursor.fetchall())
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[1:]), found
