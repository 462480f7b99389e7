"""Ingestion: the ingestor's handler from SQS event to commit, against raw COPY and against row by row.

A month is written into a fresh database, then the same month again by another run, then the same prices as
the next month, whose vehicles are all known. COPY gets the finished rows of fipe.price, keys resolved, in one
statement, into the same table with its primary and foreign keys; for comparison, also the finished rows of
all tables that a first month fills. Row by row is the usual first version: a connection with a password a
message, and for each brand, model, model year and price a select, then an insert or an update. All take
turns, several rounds, and the median of each counts: the machine is slower in some minutes than in others.
"""

import gc
import io
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import json
from msgspec.structs import replace

from benchmarks.database import Server, connected, point_ingestor_at, server
from benchmarks.month import month
from benchmarks.price_messages import JULY_2026, JUNE_2026, STAGE, price_messages, sqs_events
from benchmarks.rows import Baseline, Row, at_least, at_most
from fipe_api import fipe_soma_ingestor
from fipe_api.aws.observability import logger
from fipe_api.messages import PriceMessage, to_json
from infrastructure.names import Function

SMALL_BATCHES, LARGE_BATCH = (10, 100), 1_000
ROW_BY_ROW_MESSAGES = 100
ROUNDS = 5
FILLED_TABLES = (
    "fipe.reference_month", "fipe.model", "fipe.vehicle", "fipe.price",
    "fipe.load_run", "fipe.load_brand", "fipe.load_brand_plan", "fipe.load_model",
)  # fmt: skip
FIRST_RUN, SECOND_RUN = UUID(int=1), UUID(int=2)
INGESTOR = Function.SOMA_INGESTOR.of(STAGE)


@dataclass
class LambdaContext:
    """What the handler's decorators read of Lambda's context."""

    function_name: str = INGESTOR
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = f"arn:aws:lambda:us-east-1:123456789012:function:{INGESTOR}"
    aws_request_id: str = "00000000-0000-0000-0000-000000000001"


def run() -> Sequence[Row]:
    logger.setLevel("WARNING")
    june = list(price_messages(month(), JUNE_2026, FIRST_RUN))
    prices = len(month().rows)
    small: dict[int, list[float]] = {size: [] for size in SMALL_BATCHES}
    with server() as postgres:
        row_by_row, copies, loads = [], [], []
        for _ in range(ROUNDS):
            row_by_row.append(_row_by_row(postgres, june[:ROW_BY_ROW_MESSAGES]))
            copies.append(_Copy.of(postgres, june))
            loads.append(_Load.of(postgres, june))
            for count, seconds in small.items():
                seconds.append(_ingest(postgres.fresh_database(), june, count))
    first, again, further = (
        median(seconds) for seconds in zip(*(load.seconds for load in loads), strict=True)
    )
    dead = max(load.dead for load in loads)
    copy = Baseline("raw COPY", prices / median(each.prices for each in copies))
    copy_of_all = Baseline("raw COPY of all tables", prices / median(each.all_tables for each in copies))
    size = f"{LARGE_BATCH:,} messages an invocation"
    return [
        *(
            Row(f"first month, {count:,} messages an invocation", prices / median(seconds), "rows/s", copy)
            for count, seconds in small.items()
        ),
        Row(f"first month, {size}", prices / first, "rows/s", copy, at_least(0.35)),
        Row(f"a further month, {size}", prices / further, "rows/s", copy, at_least(0.35)),
        Row(f"first month, {size}", prices / first, "rows/s", copy_of_all),
        Row(
            f"first month, {size}",
            prices / first,
            "rows/s",
            Baseline("row by row", median(row_by_row)),
            at_least(100),
        ),
        Row(
            f"a loaded month again, {size}",
            prices / again,
            "rows/s",
            Baseline("loading it", prices / first),
            at_least(2),
        ),
        Row("dead or updated rows of the month's tables after it", dead.of_month, "rows", target=at_most(0)),
        Row("the same of the ledger, which follows the run", dead.of_ledger, "rows"),
    ]


class _DeadRows(NamedTuple):
    """Rows that were updated or are dead, in the tables of what was published and in those of the ledger."""

    of_month: int
    of_ledger: int


class _Load(NamedTuple):
    """Seconds of a month into an empty database, of the same again, and of the next month.

    dead is counted after the same again.
    """

    seconds: tuple[float, float, float]
    dead: _DeadRows

    @classmethod
    def of(cls, postgres: Server, june: Sequence[PriceMessage]) -> "_Load":
        june_again = [replace(message, run_id=SECOND_RUN) for message in june]
        july = [replace(message, reference=JULY_2026) for message in june]
        dsn = postgres.fresh_database()
        first, again = (_ingest(dsn, messages, LARGE_BATCH) for messages in (june, june_again))
        dead = _dead_rows(dsn)
        return cls((first, again, _ingest(dsn, july, LARGE_BATCH)), dead)


def _ingest(dsn: str, messages: Sequence[PriceMessage], batch_size: int) -> float:
    """Seconds from the first event to the last commit."""
    point_ingestor_at(dsn)
    context = LambdaContext()
    events = list(sqs_events([to_json(message) for message in messages], batch_size))
    fipe_soma_ingestor._connection()
    # Garbage collections shall walk through what the handler makes, not through the month held here.
    gc.collect()
    gc.freeze()
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):  # the metrics
        for event in events:
            answer = fipe_soma_ingestor.handler(event, context)
            assert not answer["batchItemFailures"], answer
    return time.perf_counter() - start


class _Copy(NamedTuple):
    """Seconds to COPY a month's finished rows of fipe.price, and of all tables that a first month fills."""

    prices: float
    all_tables: float

    @classmethod
    def of(cls, postgres: Server, messages: Sequence[PriceMessage]) -> "_Copy":
        dsn = postgres.fresh_database()
        _ingest(dsn, messages, LARGE_BATCH)
        with connected(dsn) as connection, connection.cursor() as cursor:
            rows = {table: io.StringIO() for table in FILLED_TABLES}
            for table, text in rows.items():
                cursor.copy_expert(f"copy {table} to stdout", text)

            def seconds(*tables: str) -> float:
                cursor.execute(f"truncate {', '.join(tables)} cascade")
                connection.commit()
                start = time.perf_counter()
                for table in tables:
                    rows[table].seek(0)
                    cursor.copy_expert(f"copy {table} from stdin", rows[table])
                connection.commit()
                return time.perf_counter() - start

            all_tables = seconds(*FILLED_TABLES)
            return cls(seconds("fipe.price"), all_tables)


def _row_by_row(postgres: Server, messages: Sequence[PriceMessage]) -> float:
    """Rows a second of the usual first version, on a part of the month."""
    dsn = postgres.fresh_database()
    with connected(dsn) as connection, connection:
        reference = messages[0].reference
        connection.cursor().execute(
            "insert into fipe.reference_month values (%s, %s)", (reference.code, reference.month)
        )
    start = time.perf_counter()
    for message in messages:
        _write_row_by_row(dsn, json.decode(to_json(message), type=PriceMessage))
    return sum(len(message.prices) for message in messages) / (time.perf_counter() - start)


def _write_row_by_row(dsn: str, message: PriceMessage) -> None:
    month = message.reference.month
    with connected(dsn) as connection, connection, connection.cursor() as cursor:

        def upsert(table: str, keys: dict[str, Any], values: dict[str, Any], answer: str) -> int:
            """Selects a row; inserts it or updates what is another value; answers one of its columns."""
            where = " and ".join(f"{key} = %({key})s" for key in keys)
            cursor.execute(f"select {answer}, {', '.join(values)} from fipe.{table} where {where}", keys)
            found = cursor.fetchone()
            if found is None:
                columns = [*keys, *values]
                places = ", ".join(f"%({column})s" for column in columns)
                cursor.execute(
                    f"insert into fipe.{table} ({', '.join(columns)}) values ({places}) returning {answer}",
                    keys | values,
                )
                found = cursor.fetchone()
            elif found[1:] != tuple(values.values()):
                changes = ", ".join(f"{column} = %({column})s" for column in values)
                cursor.execute(f"update fipe.{table} set {changes} where {where}", keys | values)
            assert found is not None
            return int(found[0])

        for price in message.prices:
            model = {
                "vehicle_type": message.vehicle_type,
                "brand_code": message.brand.code,
                "model_code": message.model.code,
            }
            model_id = upsert(
                "model", model, {"brand": message.brand.name, "model": message.model.name}, "id"
            )
            vehicle = {"model_id": model_id, "model_year": price.model_year, "fuel_code": price.fuel_code}
            described = {
                "fuel": price.fuel,
                "fipe_code": price.fipe_code,
                "last_month": month,
                "series_id": 0,
            }
            vehicle_id = upsert("vehicle", vehicle, described, "id")
            of_month = {"vehicle_id": vehicle_id, "reference_month": month}
            upsert("price", of_month, {"price_brl": price.price_brl}, "vehicle_id")


def _dead_rows(dsn: str) -> _DeadRows:
    fipe_soma_ingestor._connection().close()  # the server counts what a session did at its end, at the latest
    fipe_soma_ingestor._connection.cache_clear()
    with connected(dsn) as connection, connection.cursor() as cursor:
        while True:
            cursor.execute(
                "select sum(n_tup_ins),"
                " sum(n_dead_tup + n_tup_upd) filter (where relname not like 'load%'),"
                " sum(n_dead_tup + n_tup_upd) filter (where relname like 'load%')"
                " from pg_stat_user_tables where schemaname = 'fipe'"
            )
            inserted, *dead = cursor.fetchone() or (0, 0, 0)
            cursor.execute("select count(*) from fipe.load_model")
            (models,) = cursor.fetchone() or (0,)
            if inserted >= models:
                return _DeadRows(*map(int, dead))
            connection.rollback()
