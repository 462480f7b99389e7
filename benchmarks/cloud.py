"""Loads a catalogue through a new local cloud, as `make local` does, and measures what the functions did."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.month import REPOSITORY
from infrastructure.names import Function
from local_cloud.lifecycle import start, status, stop
from local_cloud.state import LocalState

STAGE = "dev"
SCHEMA_FUNCTIONS = (Function.SQL_RUNNER, Function.SQL_INIT)
"""Functions that run during a deploy, not during a load."""


@dataclass(frozen=True)
class FunctionFigures:
    """What a function did during one load."""

    invocations: int
    billed_seconds: float
    max_memory_mb: int


@dataclass(frozen=True)
class LoadFigures:
    """A load, from the start of FipeManufacturerLoader until all queues are empty."""

    seconds: float
    calls: int
    peak_mb: float
    functions: Mapping[Function, FunctionFigures]


@contextmanager
def cloud_folder() -> Iterator[Path]:
    """A folder for a local cloud, which PostgreSQL's own user can reach."""
    with TemporaryDirectory(prefix="fipe-benchmark-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def environment_of(folder: Path) -> dict[str, str]:
    """The variables of a command that works with the local cloud of a folder."""
    return {**os.environ, "FIPE_LOCAL_DIR": str(folder)}


def load(catalogue: Path, rate: str = "max") -> LoadFigures:
    """Starts a new local cloud, loads a catalogue into it, and removes it.

    Raises:
        subprocess.CalledProcessError: the load failed or was not complete.
    """
    with cloud_folder() as folder:
        state = LocalState(folder)
        endpoint = start(state)
        try:
            ended = subprocess.run(
                [
                    sys.executable, "-m", "fipe_cli", "local", "--json",
                    "--catalogue", str(catalogue), "--rate", rate,
                ],
                env=environment_of(folder),
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )  # fmt: skip
            functions = status(endpoint)["functions"]
        finally:
            stop(state)
    outcome = json.loads(ended.stdout)
    return LoadFigures(
        outcome["seconds"],
        outcome["calls"],
        outcome["peak_memory_mb"],
        {
            function: FunctionFigures(each["invocations"], each["billed_ms"] / 1000, each["max_memory_mb"])
            for function in Function
            if function not in SCHEMA_FUNCTIONS and (each := functions.get(function.of(STAGE)))
        },
    )
