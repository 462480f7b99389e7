"""Prices as Parquet: rows go in, the bytes of a file come out. Where the bytes go is up to the caller.

A month is one row group: readers skip whole months by their statistics, and 50,000 rows in the order of their
names are small (0.5 MB) and quick to read.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import pyarrow as arrow
from pyarrow import parquet

from fipe_api.database.prices import Rows

TYPES = {
    "reference_month": arrow.date32(), "month": arrow.date32(), "reference_code": arrow.int32(),
    "vehicle_type": arrow.int8(), "brand_code": arrow.int32(), "brand": arrow.string(),
    "model_code": arrow.int32(), "model": arrow.string(), "model_year": arrow.int16(),
    "zero_km": arrow.bool_(), "fuel_code": arrow.int16(), "fuel": arrow.string(),
    "fipe_code": arrow.string(), "price_brl": arrow.decimal128(12, 2),
}  # fmt: skip


def write_months(
    target: IO[bytes],
    columns: Sequence[str],
    months: Iterable[Iterable[Rows]],
    notes: Mapping[str, str] | None = None,
) -> int:
    """Write prices; returns how many.

    Args:
        target: where the bytes go.
        columns: the columns of the rows, in their order.
        months: the rows of each month, in batches. Only one month is in memory at a time.
        notes: what the file says of itself; read_note reads it.
    """
    schema = arrow.schema([(name, TYPES[name]) for name in columns], metadata=dict(notes or {}))
    rows = 0
    with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
        for batches in months:
            table = arrow.Table.from_batches((_record_batch(batch, schema) for batch in batches), schema)
            writer.write_table(table)
            rows += table.num_rows
    return rows


def read_note(source: Any, name: str) -> str | None:
    """What a file says of itself under this name; None if it says nothing, or is no Parquet file.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        notes = parquet.read_metadata(source).metadata or {}
    except arrow.ArrowInvalid:
        return None
    return notes[name.encode()].decode() if name.encode() in notes else None


def _record_batch(rows: Rows, schema: arrow.Schema) -> arrow.RecordBatch:
    columns = [
        arrow.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    return arrow.record_batch(columns, schema=schema)
