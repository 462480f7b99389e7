"""Import: the whole history in FIPEX's form, against COPY of the same rows into the same tables.

309 months and 9.5 million prices (benchmarks/history.py), imported into an empty database as `fipe import`
does it, signed in as fipe_importer; then once more. Then COPY brings what the import has made, the tables of
models, vehicles and prices, into another empty database, whose indexes and checks are all there.
"""

import os
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from psycopg2.extensions import make_dsn
from rich.console import Console

from benchmarks.database import connected, server
from benchmarks.history import REFERENCES, History, Published
from benchmarks.rows import Baseline, Row, at_least, at_most
from fipe_cli.imports.run import Imported, Options, import_files

if TYPE_CHECKING:
    from psycopg2.extensions import connection

MONTHS = int(os.environ.get("FIPE_IMPORT_MONTHS", len(REFERENCES)))
TYPES = {1: "carro", 2: "moto", 3: "caminhão"}
LETTERS = {1: "g", 2: "e", 3: "d", 4: "l", 5: "f", 6: "h", 7: "n"}
HEADER = (
    "tipo_veiculo\tcodigo_fipe\tnome_modelo\tnome_marca\tnome_combustivel\tsigla_combustivel\tano_modelo\tzero_km"
    "\tvalor_centavos\tvalor_formatado\tmes_referencia\tano_referencia\n"
)
TABLES = ("reference_month", "model", "vehicle", "price")
COLUMNS = """
select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
where attrelid = %s::regclass and attnum > 0 and attgenerated = '' and not attisdropped
"""
MINUTES = 6


def run() -> Sequence[Row]:
    with TemporaryDirectory(prefix="fipe-import-") as folder, server() as postgres:
        file = Path(folder) / "fipex.csv"
        with ProcessPoolExecutor(1) as other:  # the history takes more memory than the import
            other.submit(write_fipex, file, MONTHS).result()
        dsn = postgres.fresh_database()
        importing, first = _imported(dsn, file)
        again, second = _imported(dsn, file)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        prices = first.written.added
        assert second.written.added == 0
        with connected(dsn) as imported, connected(postgres.fresh_database()) as copied:
            price_bytes = _one(imported, "select pg_total_relation_size('fipe.price')")
            copying = sum(_copy(imported, copied, table) for table in TABLES)
    copy_rate = Baseline("COPY of the same rows", prices / copying)
    return [
        Row("the file in FIPEX's form", prices, "prices"),
        Row("import into an empty database", prices / importing, "prices a second", copy_rate, at_least(0.6)),
        Row("import into an empty database", importing / 60, "minutes", target=at_most(MINUTES)),
        Row("the same file again", again, "s", Baseline("the first time", importing), at_most(0.5)),
        Row("fipe.price with its indexes", price_bytes / prices, "bytes a price"),
        Row("memory of the importing process at most", memory, "MiB"),
    ]


def write_fipex(file: Path, months: int) -> None:
    """Writes the first months of the history as FIPEX does, the oldest first."""
    history = History()
    texts: dict[Published, str] = {}
    with file.open("w") as target:
        target.write(HEADER)
        for number in range(months):
            target.writelines(_lines(history, number, texts))


def _lines(history: History, number: int, texts: dict[Published, str]) -> Iterator[str]:
    month = REFERENCES[number].month
    end = f"\t{month.month}\t{month.year}\n"
    for stretch, price in history.month(number):
        named = texts.get(stretch.published)
        if named is None:
            named = texts[stretch.published] = _named(stretch.published)
        yield f"{named}\t{price}00\tR$ {price:,}".replace(",", ".") + ",00" + end


def _named(each: Published) -> str:
    year, zero_km = ("", "true") if each.model_year == 32000 else (str(each.model_year), "false")
    return "\t".join((
        TYPES[each.vehicle_type], each.fipe_code, each.model.replace(",", "."), each.brand, each.fuel,
        LETTERS[each.fuel_code], year, zero_km,
    ))  # fmt: skip


def _imported(dsn: str, file: Path) -> tuple[float, Imported]:
    with connected(make_dsn(dsn)) as session:
        with session, session.cursor() as cursor:
            cursor.execute("set session authorization fipe_importer; set work_mem = '64MB'")
        start = time.perf_counter()
        (done,) = import_files(session, [file], Options(), Console(stderr=True))
        return time.perf_counter() - start, done


def _copy(source: "connection", target: "connection", table: str) -> float:
    """Seconds that COPY takes to bring a table into the other database."""
    columns = _one(source, COLUMNS, f"fipe.{table}")
    text = BytesIO()
    source.cursor().copy_expert(f"copy fipe.{table} ({columns}) to stdout", text)
    text.seek(0)
    start = time.perf_counter()
    with target, target.cursor() as cursor:
        cursor.copy_expert(f"copy fipe.{table} ({columns}) from stdin", text)
    return time.perf_counter() - start


def _one(connection: "connection", query: str, *parameters: object) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        ((value,),) = cursor.fetchall()
        return value  # type: ignore[no-any-return]
