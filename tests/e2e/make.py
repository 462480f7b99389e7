"""Runs the project's commands as a user does, with a .local/ folder of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fipe_simulator import Catalogue
from local_cloud.postgres import clusters

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE_COLUMNS = (
    "vehicle_type, brand_code, brand, model_code, model, model_year, fuel_code, fuel, fipe_code, price_brl"
)
TABLES = ("reference_month", "model", "vehicle", "price", "price_revision", "model_answer")


class Place:
    """A folder in place of .local/, so that a test never meets another cloud or database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "FIPE_", "MAKE"))
        }
        return {**kept, "FIPE_LOCAL_DIR": str(self.folder), **more}

    def make(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=ROOT,
            env=self.environment(**(environment or {})),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def query(self, sql: str) -> list[str]:
        """The lines that psql prints for a query, columns separated by tabs."""
        (cluster,) = clusters(self.folder / "postgres")
        cluster.start()
        connection = cluster.connection()
        assert connection is not None
        ended = subprocess.run(
            [cluster.psql, "-XAt", "-F", "\t", "-c", sql],
            env={**os.environ, **cluster.socket_environment(connection.user, connection.database)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.removesuffix("\n").split("\n")

    def prices(self, month: str) -> set[str]:
        """The prices of a month, with the columns and the format of a catalogue file."""
        where = f"where reference_month = '{month}-01'"
        return set(self.query(f"select {CATALOGUE_COLUMNS} from fipe.vehicle_price {where}"))

    def row_versions(self) -> list[str]:
        """A text that changes if a published row is written again: each row's place and transaction."""
        version = "md5(string_agg(concat(ctid, xmin), ' ' order by ctid))"
        return self.query(
            " union all ".join(f"select '{table}', count(*), {version} from fipe.{table}" for table in TABLES)
        )


def lines(catalogue: Catalogue) -> set[str]:
    """A catalogue's rows as lines of its file."""
    return {"\t".join(map(str, row)) for rows in catalogue.by_model() for row in rows}


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """A place. At the end, stops what still runs there."""
    one = Place(folder)
    try:
        yield one
    finally:
        subprocess.run(
            [ROOT / ".venv/bin/python", "-m", "local_cloud", "down", "--all"],
            cwd=ROOT, env=one.environment(), capture_output=True, check=False, timeout=60,
        )  # fmt: skip
