"""What a load has brought so far, read from the database."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg2

from local_cloud.postgres import Connection

VEHICLE_TYPES = {1: "cars", 2: "motorcycles", 3: "trucks"}


@dataclass(frozen=True)
class LoadStatus:
    """A row of fipe.load_status."""

    reference_code: int
    reference_month: date
    brands_expected: int
    brands_complete: int
    models_expected: int
    models_received: int
    prices: int
    unpriced: int
    complete: bool


@dataclass(frozen=True)
class TypeTotals:
    """What the database holds for a reference month and vehicle type."""

    reference_month: date
    vehicle_type: str
    brands: int
    models: int
    prices: int


def load_status(connection: Connection, run_id: str) -> list[LoadStatus]:
    """The rows of a run, by month."""
    columns = ", ".join(LoadStatus.__dataclass_fields__)
    statement = f"select {columns} from fipe.load_status where run_id = %s order by reference_month"  # noqa: S608
    return [LoadStatus(*row) for row in _rows(connection, statement, (run_id,))]


def totals(connection: Connection, reference_codes: Sequence[int]) -> list[TypeTotals]:
    """What the database holds for these references."""
    statement = """
        select reference_month, vehicle_type, count(distinct brand_code),
               count(distinct (brand_code, model_code)), count(*)
        from fipe.vehicle_price
        where reference_code = any(%s)
        group by reference_month, vehicle_type
        order by reference_month, vehicle_type"""
    return [
        TypeTotals(month, VEHICLE_TYPES[vehicle_type], brands, models, prices)
        for month, vehicle_type, brands, models, prices in _rows(
            connection, statement, (list(reference_codes),)
        )
    ]


def _rows(connection: Connection, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with (
        closing(
            psycopg2.connect(
                host=connection.host,
                port=connection.port,
                user=connection.user,
                password=connection.password,
                dbname=connection.database,
            )
        ) as session,
        session.cursor() as cursor,
    ):
        cursor.execute(statement, parameters)
        return cursor.fetchall()
