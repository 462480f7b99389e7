"""Loads through a local cloud of their own, as `make local` does them, and what the functions did."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.month import REPOSITORY
from local_cloud.lifecycle import start, status, stop
from local_cloud.state import LocalState

SUMMARY = re.compile(r"; ([\d.]+) s, ([\d,]+) calls, at most ([\d,]+) MiB of memory")


@dataclass(frozen=True)
class FunctionFigures:
    """What a function did during one load."""

    invocations: int
    billed_seconds: float
    max_memory_mb: int


@dataclass(frozen=True)
class LoadFigures:
    """A load: from the start of FipeManufacturerLoader to the last message gone."""

    seconds: float
    calls: int
    peak_mb: float
    functions: Mapping[str, FunctionFigures]


@contextmanager
def cloud_folder() -> Iterator[Path]:
    """A folder for a local cloud, which PostgreSQL's own user can reach."""
    with TemporaryDirectory(prefix="fipe-benchmark-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def load(catalogue: Path, rate: str = "max") -> LoadFigures:
    """Loads a catalogue into a new local cloud and takes the cloud away again.

    Raises:
        subprocess.CalledProcessError: something was missing at the end.
    """
    with cloud_folder() as folder:
        state = LocalState(folder)
        endpoint = start(state)
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "local_cloud", "run", "--catalogue", str(catalogue), "--rate", rate],
                env={**os.environ, "FIPE_LOCAL_DIR": str(folder)},
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            functions = status(endpoint)["functions"]
        finally:
            stop(state)
    summary = SUMMARY.search(ended.stdout.replace("\n", " "))
    assert summary is not None, ended.stdout
    seconds, calls, peak_mb = (float(figure.replace(",", "")) for figure in summary.groups())
    return LoadFigures(
        seconds,
        int(calls),
        peak_mb,
        {
            name.removesuffix("-dev"): FunctionFigures(
                each["invocations"], each["billed_ms"] / 1000, each["max_memory_mb"]
            )
            for name, each in functions.items()
            if not name.startswith("FipeSql")
        },
    )
