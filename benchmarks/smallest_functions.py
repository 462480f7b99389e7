"""Functions of 128 MB: what their share of a processor makes of a cold start, and what memory they need.

Each start is a fresh process with 128/1769 of a processor. It imports a handler and works on one message,
with HTTP and a database around it. The packages of the layers and the project's code are copied, and compiled
or not; Python's own modules and boto3 are compiled, as in Lambda's runtime. Where the machine does not let us
limit a process (root and cgroup v1), the CPU time is multiplied instead; that gave a third less. Linux only.
"""

import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.database import point_ingestor_at, server
from benchmarks.month import REPOSITORY
from benchmarks.price_messages import JUNE_2026, price_messages, sqs_events
from benchmarks.processor_share import FULL_PROCESSOR_MB, Run, can_limit, share_of
from benchmarks.rows import Baseline, Row, at_most
from fipe_api.messages import BrandMessage, Message, ModelMessage, ModelYearFuel, to_json
from fipe_simulator import SAMPLE_CATALOGUE, Catalogue, FipeSimulator, read_catalogue
from tests.aws import aws_apis, client, make_pace_table
from tests.builders import RUN, SEARCHED_AT

MEMORY_MB = 128
RUNS = 3
LONGEST_START_SECONDS = 10
"""Lambda ends a start after this time (Lambda developer guide, "Lambda execution environment lifecycle")."""
START = """
import json, resource, sys, time, uuid
from importlib import import_module

def peak_mb():
    # Not ru_maxrss: it counts the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime, peak_mb()

class Context:
    function_name, memory_limit_in_mb, invoked_function_arn = "any", 128, "any"
    aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self):
        return 300_000

start = now()
handler = import_module(sys.argv[1]).handler
imported = now()
handler(json.load(sys.stdin), Context())
print("\\n" + json.dumps([start, imported, now()]))
"""


class ColdStart(NamedTuple):
    """Seconds at the share, and the most memory in MiB, up to the end of the import and of the first work."""

    import_seconds: float
    work_seconds: float
    import_mb: float
    work_mb: float


def run() -> Sequence[Row]:
    with TemporaryDirectory() as folder, _surroundings() as events, share_of(MEMORY_MB) as run_limited:
        copy = _Copy(Path(folder))
        without = _measured(copy, events, run_limited)
        copy.compile(copy.layers)
        with_layers = _measured(copy, events, run_limited)
        copy.compile(copy.code)
        with_code = _measured(copy, events, run_limited)
    return [row for name in events for row in _rows(name, without[name], with_layers[name], with_code[name])]


def _rows(name: str, without: ColdStart, with_layers: ColdStart, with_code: ColdStart) -> Iterator[Row]:
    limit = at_most(LONGEST_START_SECONDS)
    yield Row(f"import {name}, not compiled", without.import_seconds, "s", target=limit)
    compiled = Baseline("not compiled", without.import_seconds)
    yield Row(f"import {name}, layers compiled", with_layers.import_seconds, "s", compiled)
    layers = Baseline("layers compiled", with_layers.import_seconds)
    yield Row(f"import {name}, own code compiled, too", with_code.import_seconds, "s", layers)
    yield Row("then its first message, layers compiled", with_layers.work_seconds, "s")
    yield Row("its memory after the import", with_layers.import_mb, "MiB")
    yield Row("its memory after the first message", with_layers.work_mb, "MiB", target=at_most(MEMORY_MB))


class _Copy:
    """The project's code and the packages of its layers, in folders of their own and not compiled."""

    def __init__(self, folder: Path) -> None:
        self.code, self.layers = folder / "code", folder / "layers"
        self.layers.mkdir()
        uncompiled = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "src/fipe_api", self.code / "fipe_api", ignore=uncompiled)
        for requirements in (REPOSITORY / "lambda-layer").glob("requirements-*.txt"):
            for name in re.findall(r"^([\w-]+)==", requirements.read_text(), re.MULTILINE):
                for part in {
                    file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."
                }:
                    source = Path(str(distribution(name).locate_file(part)))
                    if source.is_dir():
                        shutil.copytree(source, self.layers / part, ignore=uncompiled, dirs_exist_ok=True)
                    else:
                        shutil.copy2(source, self.layers)

    def compile(self, folder: Path) -> None:
        """Compiles a folder as lambda-layer/compile.mjs does, for the Python of this process."""
        mode = ["--invalidation-mode", "unchecked-hash"]
        subprocess.run([sys.executable, "-m", "compileall", "-q", *mode, folder], check=True)


def _packages() -> Iterator[Path]:
    """The folders and modules of the layers' packages, as they are installed here."""
    for requirements in (REPOSITORY / "lambda-layer").glob("requirements-*.txt"):
        for name in re.findall(r"^([\w-]+)==", requirements.read_text(), re.MULTILINE):
            installed = distribution(name)
            parts = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
            yield from (Path(str(installed.locate_file(part))) for part in parts)


def _measured(copy: _Copy, events: Mapping[str, Any], run_limited: Run) -> Mapping[str, ColdStart]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(copy.code), str(copy.layers)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {
        name: ColdStart(
            *(
                statistics.median(figures)
                for figures in zip(
                    *(_cold_start(name, event, environment, run_limited) for _ in range(RUNS)), strict=True
                )
            )
        )
        for name, event in events.items()
    }


def _cold_start(name: str, event: Any, environment: dict[str, str], run_limited: Run) -> ColdStart:
    environment = {**environment, "RDS_USER": "fipe_status" if name == "load.status" else "fipe_ingestor"}
    command = [sys.executable, "-c", START, f"fipe_api.{name}"]
    output = run_limited(command, environment, json.dumps(event))
    start, imported, worked = json.loads(output.splitlines()[-1])
    clock, scale = (0, 1.0) if can_limit() else (1, FULL_PROCESSOR_MB / MEMORY_MB)
    return ColdStart(
        (imported[clock] - start[clock]) * scale,
        (worked[clock] - imported[clock]) * scale,
        imported[2],
        worked[2],
    )


@contextmanager
def _surroundings() -> Iterator[Mapping[str, Any]]:
    """AWS, the source and a database, in this process's environment; gives an event for each handler."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    catalogue = read_catalogue(SAMPLE_CATALOGUE)
    with aws_apis() as aws, FipeSimulator(catalogue) as simulator, server() as postgres:
        point_ingestor_at(postgres.fresh_database())
        queue = client("sqs", aws).create_queue(QueueName="any")["QueueUrl"]
        make_pace_table(client("dynamodb", aws), "pace")
        os.environ |= {
            "AWS_ENDPOINT_URL": aws,
            "FIPE_API_URL": simulator.url,
            "FIPE_CALLS_PER_MINUTE": "6000",
            "PACE_TABLE": "pace",
            "SQS_OUTPUT_URL": queue,
            "SQS_INPUT_URL": queue,
            "SQS_LEDGER_URL": queue,
        }
        yield _events(catalogue)


def _events(catalogue: Catalogue) -> Mapping[str, Any]:
    prices = next(price_messages(catalogue, JUNE_2026, RUN))
    of_brand: dict[str, Any] = {
        "run_id": RUN,
        "reference": JUNE_2026,
        "vehicle_type": prices.vehicle_type,
        "brand": prices.brand,
        "brands_in_run": 1,
    }
    model = ModelMessage(
        **of_brand,
        models_in_brand=1,
        searched_at=SEARCHED_AT,
        model=prices.model,
        years_to_ask=tuple(
            ModelYearFuel(model_year=each.model_year, fuel_code=each.fuel_code) for each in prices.prices
        ),
    )
    messages: dict[str, Message] = {
        "fipe_model_loader": BrandMessage(**of_brand),
        "fipe_price_loader": model,
        "fipe_soma_ingestor": prices,
    }
    return {
        "fipe_manufacturer_loader": {"brands": [prices.brand.code], "vehicle_types": ["car"]},
        **{name: next(sqs_events([to_json(message)], 1)) for name, message in messages.items()},
        "load.status": {},
    }
