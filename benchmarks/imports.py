"""Import: the whole history in FIPEX's form, against COPY of the same rows into the same tables.

309 months and 9.5 million prices (benchmarks/history.py), imported into an empty database as `fipe import`
does it, from the command to its end; then once more. Then COPY brings what the import has made, the tables of
models, vehicles and prices, into another empty database, whose indexes and checks are all there.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

from benchmarks.database import SCHEMA
from benchmarks.history import REFERENCES, History, Published
from benchmarks.month import REPOSITORY
from benchmarks.rows import Baseline, Row, at_least, at_most
from local_cloud.postgres import PostgresCluster, make_dsn
from local_cloud.stage_database import stage_database
from local_cloud.state import LocalState

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
MINUTES, MEBIBYTES = 6, 1024


class _Import(NamedTuple):
    """What `fipe import --json` said, how long it took, and the most memory that it had."""

    said: dict[str, Any]
    seconds: float
    mebibytes: float


def run() -> Sequence[Row]:
    with TemporaryDirectory(prefix="fipe-import-") as name, _stage(Path(name)) as (imported, copied):
        file = Path(name) / "fipex.csv"
        with ProcessPoolExecutor(1) as other:
            other.submit(write_fipex, file, MONTHS).result()
        first, again = _import(Path(name), file), _import(Path(name), file)
        prices = first.said["added"]
        assert again.said["added"] == 0
        with closing(psycopg2.connect(imported)) as source, closing(psycopg2.connect(copied)) as target:
            price_bytes = _one(source, "select pg_total_relation_size('fipe.price')")
            copying = sum(_copy(source, target, table) for table in TABLES)
    copy_rate = Baseline("COPY of the same rows", prices / copying)
    return [
        Row("the file in FIPEX's form", prices, "prices"),
        Row(
            "import into an empty database",
            prices / first.seconds,
            "prices a second",
            copy_rate,
            at_least(0.6),
        ),
        Row("import into an empty database", first.seconds / 60, "minutes", target=at_most(MINUTES)),
        Row(
            "the same file again", again.seconds, "s", Baseline("the first time", first.seconds), at_most(0.5)
        ),
        Row("fipe.price with its indexes", price_bytes / prices, "bytes a price"),
        Row("memory of the importing process at most", first.mebibytes, "MiB", target=at_most(MEBIBYTES)),
    ]


@contextmanager
def _stage(folder: Path) -> Iterator[tuple[str, str]]:
    """A stage's database on this machine, empty, and another one beside it: DSNs of their Unix socket.

    The import connects over that socket, too, so neither pays for the gateway before the TCP port.
    """
    folder.chmod(0o755)  # PostgreSQL's own user has to get through
    cluster = PostgresCluster(LocalState(folder).postgres / "FipeDataStack-dev-cluster")
    cluster.start()
    try:
        databases = ("copied", "fipedata")
        for name in databases:
            cluster.set_up(user="postgres", password=uuid.uuid4().hex, database=name)
        copied, imported = (make_dsn(cluster.socket_environment("postgres", name)) for name in databases)
        for each in (copied, imported):
            with closing(psycopg2.connect(each)) as owner, owner:
                owner.cursor().execute(SCHEMA.read_text())
        with stage_database(LocalState(folder)):  # which the command would stop otherwise
            yield imported, copied
    finally:
        cluster.stop()


def _import(folder: Path, file: Path) -> _Import:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))}
    start = time.perf_counter()
    command = subprocess.Popen(
        [sys.executable, "-m", "fipe_cli", "import", str(file), "--json"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, env={**kept, "FIPE_LOCAL_DIR": str(folder)},
    )  # fmt: skip
    assert command.stdout is not None
    said = command.stdout.read()
    _, status, used = os.wait4(command.pid, 0)
    seconds = time.perf_counter() - start
    command.returncode = os.waitstatus_to_exitcode(status)
    assert command.returncode == 0
    return _Import(json.loads(said), seconds, used.ru_maxrss / 1024)


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
