"""Months of the sample as rows, a correction of one, and questions that databases and files answer alike."""

from datetime import date
from decimal import Decimal
from typing import Any

from duckdb import DuckDBPyConnection
from psycopg2.extensions import connection

from fipe_api.database.prices import COLUMNS
from fipe_api.database.writer import PriceRow, write_messages
from fipe_api.messages import Named
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.builders import any_price, any_price_message

SAMPLE = [row for rows in read_catalogue(SAMPLE_CATALOGUE).by_model() for row in rows]

QUESTIONS = {
    "prices of a month by brand": """
        select reference_month, vehicle_type, brand, count(*), sum(price_brl), min(price_brl), max(price_brl)
        from fipe.vehicle_price group by 1, 2, 3 order by 1, 2, 3
    """,
    "history of a code": """
        select reference_month, model, model_year, zero_km, fuel, price_brl
        from fipe.vehicle_price where fipe_code = '038003-2' order by 1, 3, 5
    """,
    "changes since the month before": """
        select june.brand, june.model, june.model_year, june.fuel, may.price_brl, june.price_brl,
               june.price_brl - may.price_brl
        from fipe.vehicle_price as june
        join fipe.vehicle_price as may using (vehicle_type, brand_code, model_code, model_year, fuel_code)
        where june.reference_month = '2026-06-01' and may.reference_month = '2026-05-01'
        order by june.vehicle_type, june.brand_code, june.model_code, june.model_year, june.fuel_code
    """,
    "vehicles in a price range": f"""
        select {", ".join(COLUMNS)} from fipe.vehicle_price where price_brl between 5000 and 20000.50
        order by reference_month, vehicle_type, brand_code, model_code, model_year, fuel_code
    """,
    "new and gone": """
        select vehicle_type, brand_code, model_code, model_year, fuel_code, min(reference_month)
        from fipe.vehicle_price group by 1, 2, 3, 4, 5 having count(*) = 1 order by 1, 2, 3, 4, 5
    """,
}


def priced(month: date, code: int, factor: str = "1") -> list[PriceRow]:
    return [
        PriceRow(month, code, *row[:-1], (row.price_brl * Decimal(factor)).quantize(Decimal("0.01")))
        for row in SAMPLE
    ]


def correct_june(database: connection) -> None:
    """A load finds the first model with one price less, and another one corrected to the cent."""
    first = SAMPLE[0]
    rows = [row for row in SAMPLE if row[:5] == first[:5]]
    corrected = [
        any_price(
            model_year=row.model_year, fuel_code=row.fuel_code, fuel=row.fuel, fipe_code=row.fipe_code,
            price_brl=row.price_brl + Decimal("0.05"),
        )
        for row in rows[:-1]
    ]  # fmt: skip
    message = any_price_message(
        brand=Named(code=first.brand_code, name=first.brand),
        model=Named(code=first.model_code, name=first.model),
        prices=tuple(corrected),
    )
    write_messages(database, [message])


def answer(database: connection, question: str) -> list[Any]:
    """The database's answer."""
    with database, database.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchall()


def answer_of_files(duck: DuckDBPyConnection, files: str, question: str) -> list[Any]:
    """DuckDB's answer. The files are whatever it can select from."""
    duck.sql("create schema if not exists fipe")
    duck.sql(
        "create or replace view fipe.vehicle_price as"
        f" select month as reference_month, * exclude (month, reference_month) from {files}"
    )
    return duck.sql(question).fetchall()
