"""Cold start: importing a handler, against importing boto3 and the one library that it cannot do without.

Each import runs in a fresh interpreter. The two kinds alternate, so that changes in the machine's load affect
both alike; the median counts. What Lambda does before (fetch the code, start Python) is the same for both.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.rows import Baseline, Row, at_most

RUNS = 15
LIBRARY_OF_HANDLER = {
    "fipe_manufacturer_loader": "requests",
    "fipe_model_loader": "requests",
    "fipe_price_loader": "requests",
    "fipe_soma_ingestor": "psycopg2",
    "load.status": "psycopg2",
}
TIMED_IMPORT = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def run() -> Sequence[Row]:
    return [_row(handler, library) for handler, library in LIBRARY_OF_HANDLER.items()]


def _row(handler: str, library: str) -> Row:
    least, ours = f"import boto3, {library}", f"import fipe_api.{handler}"
    seconds = [(_seconds(least), _seconds(ours)) for _ in range(RUNS + 1)][
        1:
    ]  # the first run fills the disk cache
    return Row(
        what=ours,
        value=1000 * statistics.median(pair[1] for pair in seconds),
        unit="ms",
        baseline=Baseline(least, 1000 * statistics.median(pair[0] for pair in seconds)),
        target=at_most(1.5),
    )


def _seconds(statement: str) -> float:
    ended = subprocess.run(
        [sys.executable, "-c", TIMED_IMPORT.format(statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(ended.stdout)
