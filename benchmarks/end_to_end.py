"""End to end: a month through the local cloud, against a bare client that fetches it and stores nothing.

The bare client has as many threads as the cloud runs loaders at a time. It keeps its connections open, parses
each answer as JSON and drops it. Each of the two has its own simulator process, without a limit.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from benchmarks.cloud import load
from benchmarks.month import month
from benchmarks.rows import Baseline, Row, at_most
from fipe_simulator import Catalogue, write_catalogue

THREADS = 4
REFERENCE = 334
SMALL_MONTH = 5_000
TYPE_NAMES = {1: "carro", 2: "moto", 3: "caminhao"}

Call = tuple[str, dict[str, Any]]


def run() -> Sequence[Row]:
    with TemporaryDirectory() as folder:
        whole, part = Path(folder) / "month.tsv.gz", Path(folder) / "part.tsv.gz"
        write_catalogue(whole, month().rows)
        write_catalogue(part, month().rows[:SMALL_MONTH])
        bare = _bare_seconds(whole)
        loaded = load(whole)
        small = load(part)
    prices = len(month().rows)
    return [
        Row(
            f"{prices:,} prices into the database, {loaded.calls:,} calls",
            loaded.seconds,
            "s",
            Baseline(f"bare client, {THREADS} threads", bare),
            at_most(1.5),
        ),
        Row("the same", loaded.seconds, "s", target=at_most(360)),
        *(
            Row(
                f"memory of {name}, {prices:,} prices",
                figures.max_memory_mb,
                "MiB",
                Baseline(f"{SMALL_MONTH:,} prices", small.functions[name].max_memory_mb),
                at_most(1.1),
            )
            for name, figures in loaded.functions.items()
        ),
        Row(
            f"all processes, simulator and database included, {prices:,} prices",
            loaded.peak_mb,
            "MiB",
            Baseline(f"{SMALL_MONTH:,} prices", small.peak_mb),
        ),
    ]


def _bare_seconds(catalogue: Path) -> float:
    calls = list(_calls(month()))
    local = threading.local()
    with _simulator(catalogue) as url, ThreadPoolExecutor(THREADS) as threads:

        def fetch(call: Call) -> None:
            if not hasattr(local, "session"):
                local.session = requests.Session()
                local.session.trust_env = False
            name, parameters = call
            local.session.post(f"{url}/{name}", data=parameters, timeout=60).json()

        start = time.perf_counter()
        for _ in threads.map(fetch, calls):
            pass
        return time.perf_counter() - start


def _calls(catalogue: Catalogue) -> Iterator[Call]:
    """The calls of a load: reference months, brands, models, model years in the cheaper way, prices."""
    yield "ConsultarTabelaDeReferencia", {}
    for kind in TYPE_NAMES:
        of_type = {"codigoTabelaReferencia": REFERENCE, "codigoTipoVeiculo": kind}
        yield "ConsultarMarcas", of_type
        for brand, _ in catalogue.brands(kind):
            of_brand = {**of_type, "codigoMarca": brand}
            yield "ConsultarModelos", of_brand
            models, years = catalogue.models(kind, brand), catalogue.model_years_of_brand(kind, brand)
            if len(years) < len(models):
                for year in years:
                    asked = {
                        "ano": f"{year.model_year}-{year.fuel_code}",
                        "anoModelo": year.model_year,
                        "codigoTipoCombustivel": year.fuel_code,
                    }
                    yield "ConsultarModelosAtravesDoAno", {**of_brand, **asked}
            else:
                for model, _ in models:
                    yield "ConsultarAnoModelo", {**of_brand, "codigoModelo": model}
    for row in catalogue.rows:
        yield (
            "ConsultarValorComTodosParametros",
            {
                "codigoTabelaReferencia": REFERENCE,
                "codigoTipoVeiculo": row.vehicle_type,
                "codigoMarca": row.brand_code,
                "codigoModelo": row.model_code,
                "anoModelo": row.model_year,
                "codigoTipoCombustivel": row.fuel_code,
                "tipoVeiculo": TYPE_NAMES[row.vehicle_type],
                "modeloCodigoExterno": "",
                "tipoConsulta": "tradicional",
            },
        )


@contextmanager
def _simulator(catalogue: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fipe_simulator", "--catalogue", str(catalogue)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
