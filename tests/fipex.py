"""Prices in the form of FIPEX's files."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

from fipe_api.database.writer import PriceRow

COLUMNS = (
    "tipo_veiculo", "codigo_fipe", "nome_modelo", "nome_marca", "nome_combustivel", "sigla_combustivel",
    "ano_modelo", "zero_km", "valor_centavos", "valor_formatado", "mes_referencia", "ano_referencia",
)  # fmt: skip
TYPES = {1: "carro", 2: "moto", 3: "caminhão"}
LETTERS = {1: "g", 2: "e", 3: "d", 4: "l", 5: "f", 6: "h", 7: "n"}


def fipex_row(row: PriceRow) -> dict[str, Any]:
    zero_km = row.model_year == 32000
    cents = int(100 * row.price_brl)
    return dict(zip(COLUMNS, (
        TYPES[row.vehicle_type], row.fipe_code, row.model, row.brand, row.fuel, LETTERS[row.fuel_code],
        None if zero_km else row.model_year, zero_km, cents, _formatted(cents), row.reference_month.month,
        row.reference_month.year,
    ), strict=True))  # fmt: skip


def _formatted(cents: int) -> str:
    return f"R$ {cents // 100:,}".replace(",", ".") + f",{cents % 100:02}"


def write_csv(file: Path, rows: Iterable[PriceRow]) -> Path:
    with file.open("w", newline="") as target:
        writer = csv.writer(target, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            values = fipex_row(row)
            writer.writerow({**values, "zero_km": str(values["zero_km"]).lower()}.values())
    return file


def write_parquet(file: Path, rows: Iterable[PriceRow]) -> Path:
    parquet.write_table(arrow.Table.from_pylist([fipex_row(row) for row in rows]), file)
    return file
