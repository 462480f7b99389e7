"""Scale: the real shape of the history, 309 months and 9.5 million prices, on PostgreSQL 17 and 18.

The months before the last few are written in bulk, as loads would leave them (benchmarks/bulk.py). The last
ones are loaded by the adapted ingestor, each beside the first month into an empty database: what a load costs
is counted in CPU seconds of the ingestor and of its database, and the medians are compared.

A question's time is the median of warm runs, from sending it to having all its rows, after the vacuum and
analyze that autovacuum would do. The versions take turns.
"""

import io
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.bulk import Seconds, write_history
from benchmarks.database import Server, connected, server
from benchmarks.history import REFERENCES, History, Published
from benchmarks.month import REPOSITORY
from benchmarks.price_messages import messages_of
from benchmarks.rows import Baseline, Row, at_most
from fipe_api.fipe_soma_ingestor_adapted import ingest
from fipe_api.messages import to_json

if TYPE_CHECKING:
    from psycopg2.extensions import connection

VERSIONS = (18, 17)
LOADED = 5
"""How many of the last months are loaded; the ones before are written in bulk."""
RUNS = 21
SECONDS_PER_QUESTION = 3.0
"""A slow question is asked less often, but three times."""

QUESTION_MS, COMPARISON_MS, AGGREGATE_MS = 10, 60, 100
EXAMPLE = re.compile(r'^fipe query "(.+)"', re.MULTILINE)
COMPARISON = re.compile(r"fipe\.(price_changes|month_differences|month_by_month|biggest_movers)\(")
AGGREGATE = re.compile(r"\b(count|max)\(")
LARGE_TABLES = ("price", "vehicle", "model", "load_model")
MONTHS = {
    "June 2019, an ordinary month": ("2019-06", "2019-05"),
    "January 2023, when Flex came": ("2023-01", "2022-12"),
    "July 2023, when the other fuels came": ("2023-07", "2023-06"),
    "June 2026 since May 2022": ("2026-06", "2022-05"),
    "September 2026, the newest": ("2026-09", "2026-08"),
}


def run() -> Sequence[Row]:
    with ExitStack() as stack:
        servers = {version: stack.enter_context(server(version)) for version in VERSIONS}
        dsns = {version: each.fresh_database() for version, each in servers.items()}
        start = time.perf_counter()
        with ProcessPoolExecutor() as processes:
            in_bulk = dict(zip(dsns, processes.map(_write_all_but_the_last, dsns.values()), strict=True))
        minutes = (time.perf_counter() - start) / 60
        history = History()
        costs = _cost_rows(servers, dsns, history)
        databases = {version: stack.enter_context(connected(dsn)) for version, dsn in dsns.items()}
        for each in databases.values():
            each.autocommit = True
            each.cursor().execute("vacuum (analyze)")
        questions = _questions(databases[VERSIONS[0]])
        return [
            Row("writing both databases in bulk, at once", minutes, "minutes"),
            *_series_rows(in_bulk),
            *(_wrong_series_row(version, each, history) for version, each in databases.items()),
            *costs,
            *(row for version, each in databases.items() for row in _size_rows(version, each)),
            *(row for question in questions for row in _question_rows(question, databases)),
        ]


def _write_all_but_the_last(dsn: str) -> Seconds:
    return write_history(dsn, History(), len(REFERENCES) - LOADED)


def _series_rows(in_bulk: Mapping[int, Seconds]) -> Iterator[Row]:
    for version, seconds in in_bulk.items():
        yield Row(f"PostgreSQL {version}: finding the series of all vehicles anew", seconds.series, "s")


def _wrong_series_row(version: int, connection: "connection", history: History) -> Row:
    with connection.cursor() as cursor:
        cursor.execute(
            f"select {', '.join(Published._fields)}, series_id"
            " from fipe.vehicle join fipe.model on model.id = model_id"
        )
        series = {Published(*row[:-1]): row[-1] for row in cursor.fetchall()}
    series_of: dict[int, set[int]] = defaultdict(set)
    vehicles_of: dict[int, set[int]] = defaultdict(set)
    for each in history.stretches:
        series_of[each.vehicle].add(series[each.published])
        vehicles_of[series[each.published]].add(each.vehicle)
    wrong = [
        vehicle
        for vehicle, found in series_of.items()
        if len(found) > 1 or any(len(vehicles_of[each]) > 1 for each in found)
    ]
    what = f"PostgreSQL {version}: of {len(series_of):,} vehicles, those that are not just one series"
    return Row(what, len(wrong), "vehicles", target=at_most(0))


# What a load costs ------------------------------------------------------------------------------------------


def _cost_rows(servers: Mapping[int, Server], dsns: Mapping[int, str], history: History) -> list[Row]:
    first: dict[int, list[float]] = {version: [] for version in servers}
    late: dict[int, list[float]] = {version: [] for version in servers}
    for number in range(len(REFERENCES) - LOADED, len(REFERENCES)):
        for version, postgres in servers.items():
            first[version].append(_cost_of_load(postgres, postgres.fresh_database(), history, 0))
            late[version].append(_cost_of_load(postgres, dsns[version], history, number))
    return [
        Row(
            f"PostgreSQL {version}: a load of month {len(REFERENCES)}, per 1,000 prices",
            statistics.median(late[version]),
            "CPU ms",
            Baseline("month 1, in an empty database", statistics.median(first[version])),
            at_most(1.3),
        )
        for version in servers
    ]


def _cost_of_load(postgres: Server, dsn: str, history: History, number: int) -> float:
    """CPU milliseconds per 1,000 prices, of this process and of all the server's processes."""
    messages = list(messages_of(history, number))
    lines = list(map(to_json, messages))
    prices = sum(len(message.prices) for message in messages)
    before = time.process_time() + postgres.cpu_seconds()
    totals = ingest(lines, dsn, report=io.StringIO())
    cost = time.process_time() + postgres.cpu_seconds() - before
    assert totals.refused == 0
    assert totals.changed == prices, totals
    return 1_000_000 * cost / prices


# Size -------------------------------------------------------------------------------------------------------


def _size_rows(version: int, connection: "connection") -> Iterator[Row]:
    with connection.cursor() as cursor:
        cursor.execute("select count(*), pg_database_size(current_database()) from fipe.price")
        prices, all_bytes = cursor.fetchone() or (0, 0)
        cursor.execute(
            "select relname, pg_total_relation_size(oid) from pg_class"
            " where relkind = 'r' and relnamespace = 'fipe'::regnamespace order by 2 desc, 1"
        )
        sizes = cursor.fetchall()
    yield Row(f"PostgreSQL {version}: prices", prices, "rows")
    yield Row(f"PostgreSQL {version}: the database on disk", all_bytes / 2**30, "GiB")
    yield Row(f"PostgreSQL {version}: everything, the ledger included", all_bytes / prices, "bytes a price")
    for table, table_bytes in sizes:
        if table_bytes > prices / 10:
            yield Row(
                f"PostgreSQL {version}: fipe.{table} with its indexes", table_bytes / prices, "bytes a price"
            )


# Questions --------------------------------------------------------------------------------------------------


class _Question(NamedTuple):
    what: str
    sql: str
    most_milliseconds: float
    parameters: tuple[object, ...] = ()
    has_plan: bool = False


def _questions(connection: "connection") -> Iterator[_Question]:
    yield from _examples()
    yield from _of_the_view(connection)
    yield from _comparisons(connection)
    for what, sql in (
        (
            "vehicle_price, by brand",
            "select brand, count(*), avg(price_brl) from fipe.vehicle_price"
            " where reference_month = fipe.newest_month() group by brand",
        ),
        (
            "latest_price, by brand",
            "select brand, count(*), avg(price_brl) from fipe.latest_price"
            " where reference_month = (select fipe.newest_month()) group by brand",
        ),
        (
            "latest_price of all that ever was, by type",
            "select vehicle_type, count(*), avg(price_brl) from fipe.latest_price group by vehicle_type",
        ),
        ("flagged_price, by flag", "select flag, count(*) from fipe.flagged_price group by flag"),
        ("max(reference_month)", "select max(reference_month) from fipe.vehicle_price"),
    ):
        yield _Question(f"newest: {what}", sql, AGGREGATE_MS)


def _examples() -> Iterator[_Question]:
    """The example queries of the documents."""
    documents = (REPOSITORY / "README.md", REPOSITORY / "docs" / "queries.md")
    for sql in dict.fromkeys(sql for each in documents for sql in EXAMPLE.findall(each.read_text())):
        most = (
            COMPARISON_MS
            if COMPARISON.search(sql)
            else AGGREGATE_MS
            if AGGREGATE.search(sql)
            else QUESTION_MS
        )
        yield _Question(sql, sql, most)


def _of_the_view(connection: "connection") -> Iterator[_Question]:
    """What people ask of fipe.vehicle_price: of the largest brand, and of a vehicle in the middle of it."""
    with connection.cursor() as cursor:
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
    yield _Question(
        "the history of one FIPE code",
        "select reference_month, model_year, fuel, price_brl from fipe.vehicle_price"
        " where fipe_code = %s order by reference_month, model_year",
        QUESTION_MS,
        (fipe_code,),
        has_plan=True,
    )
    yield _Question(
        "the latest price of one model year",
        "select reference_month, price_brl from fipe.vehicle_price"
        " where (vehicle_type, brand_code, model_code, model_year, fuel_code) = (%s, %s, %s, %s, %s)"
        " order by reference_month desc limit 1",
        QUESTION_MS,
        (vehicle_type, brand_code, model_code, model_year, fuel_code),
        has_plan=True,
    )
    yield _Question(
        "one month of the largest brand",
        "select model, model_year, fuel, price_brl from fipe.vehicle_price"
        " where reference_month = %s and (vehicle_type, brand_code) = (%s, %s)",
        QUESTION_MS,
        (REFERENCES[-1].month, vehicle_type, brand_code),
        has_plan=True,
    )


def _comparisons(connection: "connection") -> Iterator[_Question]:
    """Questions about whole months; the server adds up price_changes, of which there are 50,000."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select brand from fipe.vehicle_price where reference_month = %s"
            " group by brand order by count(*) desc limit 1",
            (REFERENCES[-1].month,),
        )
        ((brand,),) = cursor.fetchall()
    for when, months in MONTHS.items():
        for what, sql, parameters in (
            (
                "price_changes",
                "select count(*), avg(change_percent) from fipe.price_changes(%s, %s)",
                months,
            ),
            (
                "price_changes of the largest brand",
                "select * from fipe.price_changes(%s, %s) where brand = %s",
                (*months, brand),
            ),
            ("biggest_movers", "select * from fipe.biggest_movers(10, %s, %s)", months),
            (
                "month_differences",
                "select difference, count(*) from fipe.month_differences(%s, %s) group by difference",
                months,
            ),
            *(
                (
                    f"month_by_month{what}",
                    "select * from fipe.month_by_month(%s, (%s::date - 1)::text, %s)",
                    (months[0], f"{months[0]}-01", by),
                )
                for what, by in (("", None), (" of each type", "type"), (" of each brand", "brand"))
            ),
            (
                "vehicles_between",
                "select * from fipe.vehicles_between(%s, 40000, 60000, %s)",
                (brand, months[0]),
            ),
        ):
            yield _Question(f"{when}: {what}", sql, COMPARISON_MS, parameters)


def _question_rows(question: _Question, databases: Mapping[int, "connection"]) -> Iterator[Row]:
    for version, connection in databases.items():
        milliseconds, found = _ask(connection, question)
        what = f"PostgreSQL {version}: {question.what}: {found:,} rows"
        yield Row(what, milliseconds, "ms", target=at_most(question.most_milliseconds))
        if question.has_plan:
            scanned = _tables_scanned(connection, question)
            what = f"PostgreSQL {version}: large tables it reads without an index"
            yield Row(what, len(scanned), "tables", target=at_most(0))


def _tables_scanned(connection: "connection", question: _Question) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("explain " + question.sql, question.parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    return [table for table in LARGE_TABLES if f"Seq Scan on {table} " in plan]


def _ask(connection: "connection", question: _Question) -> tuple[float, int]:
    """Milliseconds from sending the question to having its rows, median of warm runs; and how many rows."""
    seconds: list[float] = []
    with connection.cursor() as cursor:
        while len(seconds) < 4 or (len(seconds) < RUNS and sum(seconds) < SECONDS_PER_QUESTION):
            start = time.perf_counter()
            cursor.execute(question.sql, question.parameters)
            found = len(cursor.fetchall())
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[1:]), found
