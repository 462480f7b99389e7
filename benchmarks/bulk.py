"""Writes a history into an empty database in bulk, as loads of all its months would leave it."""

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.database import connected
from benchmarks.history import REFERENCES, History, Published, Stretch
from fipe_api.database.staging import copy_rows

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

SET_SEQUENCES = """
select setval(pg_get_serial_sequence('fipe.model', 'id'), (select max(id) from fipe.model)),
       setval('fipe.vehicle_id_seq', (select max(id) from fipe.vehicle)),
       setval(pg_get_serial_sequence('fipe.load_run', 'id'), (select max(id) from fipe.load_run))
"""


class Seconds(NamedTuple):
    """How long the parts of the work took."""

    prices: float
    vacuum: float
    series: float


def write_history(dsn: str, history: History, months: int = len(REFERENCES)) -> Seconds:
    """Writes the first months of a history, with a complete load of each, and finds all series.

    Args:
        dsn: of an empty database with the schema, as the master user.
        history: whose prices.
        months: how many.
    """
    with connected(dsn) as connection:
        start = time.perf_counter()
        _write_tables(connection, history, months)
        written = time.perf_counter()
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("vacuum (analyze)")
        vacuumed = time.perf_counter()
        cursor.execute("select fipe.renew_series()")
        found = time.perf_counter()
        cursor.execute("vacuum (analyze) fipe.vehicle")
        return Seconds(written - start, vacuumed - written, found - vacuumed)


def _write_tables(connection: "connection", history: History, months: int) -> None:
    with connection, connection.cursor() as cursor:
        # Nothing that is written refers to what is missing, and to check that takes longer than all else.
        cursor.execute("set session_replication_role = replica; set synchronous_commit = off")
        copy_rows(cursor, "fipe.reference_month", ("month", "code"), (
            (each.month, each.code) for each in REFERENCES[:months]
        ))  # fmt: skip
        vehicles = _write_vehicles(
            cursor, [each for each in history.stretches if each.first < months], months
        )
    for number in range(months):
        with connection, connection.cursor() as cursor:
            prices = list(history.month(number))
            _write_prices(cursor, number, prices, vehicles)
            _write_load(cursor, number, [stretch.published for stretch, _ in prices])
    with connection, connection.cursor() as cursor:
        cursor.execute(SET_SEQUENCES)


def _write_vehicles(cursor: "cursor", stretches: Sequence[Stretch], months: int) -> Mapping[Published, int]:
    """Numbers vehicles and models in the order in which loads find them; returns the vehicles' numbers."""
    first: dict[Published, int] = {}
    last: dict[Published, int] = {}
    for stretch in stretches:
        published = stretch.published
        first[published] = min(stretch.first, first.get(published, months))
        last[published] = max(min(stretch.last, months - 1), last.get(published, 0))
    vehicles = {
        each: number for number, each in enumerate(sorted(first, key=lambda each: (first[each], each)), 1)
    }
    models: dict[tuple[object, ...], int] = {}
    for each in vehicles:
        models.setdefault(each[:5], len(models) + 1)
    copy_rows(
        cursor,
        "fipe.model",
        ("vehicle_type", "brand_code", "brand", "model_code", "model", "id"),
        ((*model, number) for model, number in models.items()),
    )
    copy_rows(
        cursor,
        "fipe.vehicle",
        ("id", "model_id", "series_id", "first_month", "last_month", *Published._fields[5:]),
        (
            (number, models[each[:5]], number, REFERENCES[first[each]].month, REFERENCES[last[each]].month,
             *each[5:])
            for each, number in vehicles.items()
        ),
    )  # fmt: skip
    return vehicles


def _write_prices(
    cursor: "cursor", number: int, prices: Sequence[tuple[Stretch, int]], vehicles: Mapping[Published, int]
) -> None:
    month = REFERENCES[number].month.isoformat()
    lines = (f"{vehicles[stretch.published]}\t{month}\t{price}\n" for stretch, price in prices)
    copy = "copy fipe.price (vehicle_id, reference_month, price_brl) from stdin"
    cursor.copy_expert(copy, StringIO("".join(lines)))


def _write_load(cursor: "cursor", number: int, published: Sequence[Published]) -> None:
    """The ledger's rows of a load that was complete, as the adapted ingestor and plans leave them."""
    names = {each[:2]: each.brand for each in published}
    brands: dict[tuple[int, int], list[tuple[int, int]]] = {codes: [] for codes in names}
    prices = Counter((each.vehicle_type, each.brand_code, each.model_code) for each in published)
    for (vehicle_type, brand_code, model_code), vehicles in prices.items():
        brands[vehicle_type, brand_code].append((model_code, vehicles))
    load, reference = number + 1, REFERENCES[number]
    started = datetime(reference.month.year, reference.month.month, 5, tzinfo=UTC)
    ended = started + timedelta(hours=23)
    copy_rows(
        cursor,
        "fipe.load_run",
        ("id", "run_id", "reference_code", "brands_expected", "started_at", "whole_month", "changed",
         "completed_at", "shrunk"),
        [(load, uuid.UUID(int=load), reference.code, len(brands), started, True, len(published), ended,
          False)],
    )  # fmt: skip
    copy_rows(
        cursor,
        "fipe.load_brand",
        ("load_run_id", "vehicle_type", "brand_code", "brand", "models_expected", "completed_at"),
        ((load, *codes, names[codes], len(models), ended) for codes, models in brands.items()),
    )
    copy_rows(
        cursor,
        "fipe.load_brand_plan",
        ("load_run_id", "vehicle_type", "brand_code", "part", "model_codes", "vehicles"),
        (
            (load, *codes, 0, _array(code for code, _ in models), _array(vehicles for _, vehicles in models))
            for codes, models in brands.items()
        ),
    )
    copy_rows(
        cursor,
        "fipe.load_model",
        ("load_run_id", "vehicle_type", "brand_code", "model_code", "prices", "unpriced", "asked_at",
         "received_at"),
        (
            (load, *codes, code, vehicles, 0, started, ended)
            for codes, models in brands.items()
            for code, vehicles in models
        ),
    )  # fmt: skip


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
