"""The `make local` job: start the cloud, deploy, load, watch until nothing is left, and say what came."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from botocore.config import Config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from local_cloud.database_view import LoadStatus, load_status, totals
from local_cloud.deployment import client, deploy
from local_cloud.lifecycle import LocalCloudError, start, start_simulator, status, stop
from local_cloud.load_options import LoadOptions
from local_cloud.memory import megabytes
from local_cloud.postgres import Connection, clusters
from local_cloud.state import Endpoint, LocalState

STAGE = "dev"
FIRST_FUNCTION = f"FipeManufacturerLoader-{STAGE}"
DATABASE_PREFIX = f"FipeDataStack-{STAGE}"

_LOOK_SECONDS = 0.5
_LEDGER_SECONDS = 2.0  # reading the ledger and the memory of a dozen processes costs something
_PLAIN_LINE_SECONDS = 10.0
_QUIET_LOOKS = 3  # a message may be between two queues for the length of a look


class IncompleteLoadError(Exception):
    """The load has ended, but something is missing; the summary said what."""


@dataclass(frozen=True)
class Run:
    """A load that was started: its id and its references' codes."""

    run_id: str
    reference_codes: list[int]
    brands: int


def run_load(state: LocalState, options: LoadOptions, console: Console) -> None:
    """Do the whole job.

    Raises LocalCloudError when it cannot be done, IncompleteLoadError when something is missing or in a DLQ.
    """
    lock = state.run_lock()
    if not lock.acquire(blocking=False):
        raise LocalCloudError("another `make local` is running; wait for its end")
    try:
        with _cloud(state, console) as endpoint:
            _load(state, endpoint, options, console)
    finally:
        lock.release()


def connection_of_stage(state: LocalState) -> Connection:
    """How to connect to the database of the stage. Raises LocalCloudError before the first deploy."""
    for cluster in clusters(state.postgres):
        connection = cluster.connection()
        if cluster.name.startswith(DATABASE_PREFIX) and connection is not None:
            return connection
    raise LocalCloudError("there is no database yet: `make local` makes it")


@contextmanager
def _cloud(state: LocalState, console: Console) -> Iterator[Endpoint]:
    """The cloud that runs already, or one for this job alone."""
    running = state.endpoint()
    if running is not None:
        console.print(f"Using the local cloud at {running.url}")
        yield running
        return
    endpoint = start(state)
    try:
        yield endpoint
    finally:
        stop(state)


def _load(state: LocalState, endpoint: Endpoint, options: LoadOptions, console: Console) -> None:
    simulator = start_simulator(endpoint, options.catalogue) if options.source == "simulator" else None
    with console.status("Deploying with the CDK"):
        began = time.monotonic()
        deploy(state, endpoint, options.context(simulator))
    console.print(f"Deployed at {endpoint.url} in {time.monotonic() - began:.0f} s")
    calls_before = _calls(simulator)
    began = time.monotonic()
    run = _invoke(endpoint, options.payload)
    connection = connection_of_stage(state)
    watch = _Watch(endpoint, connection, run, console)
    watch.until_done()
    _summarise(
        connection,
        run,
        watch,
        seconds=time.monotonic() - began,
        calls=_calls(simulator) - calls_before,
        console=console,
    )


def _invoke(endpoint: Endpoint, payload: dict[str, Any]) -> Run:
    patient = Config(read_timeout=900, retries={"max_attempts": 0})
    answer = client(endpoint, "lambda", config=patient).invoke(
        FunctionName=FIRST_FUNCTION, Payload=json.dumps(payload)
    )
    document = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise LocalCloudError(document.get("errorMessage", "FipeManufacturerLoader failed"))
    return Run(
        document["run_id"],
        [reference["code"] for reference in document["references"]],
        document["brands_sent"],
    )


def _calls(simulator: str | None) -> int:
    """Calls that the simulator has answered."""
    if simulator is None:
        return 0
    origin = simulator.removesuffix("/api/veiculos")
    return int(requests.get(f"{origin}/_simulator/stats", timeout=10).json()["total"])


class _Watch:
    """Looks at queues and ledger until nothing is left to do, and shows it."""

    def __init__(self, endpoint: Endpoint, connection: Connection, run: Run, console: Console) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._run = run
        self._console = console
        self.peak_mb = 0.0
        self.dead: dict[str, int] = {}

    def until_done(self) -> None:
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        brands = progress.add_task("brands", total=self._run.brands, note="")
        models = progress.add_task("models", total=None, note="")
        next_ledger = next_line = 0.0
        rows: list[LoadStatus] = []
        quiet = 0
        with progress:
            while quiet < _QUIET_LOOKS:
                seen = status(self._endpoint)
                waiting = _waiting(seen)
                quiet = 0 if waiting or _is_busy(seen) else quiet + 1
                if quiet == _QUIET_LOOKS or time.monotonic() >= next_ledger:
                    self.peak_mb = max(self.peak_mb, megabytes(seen["processes"]))
                    rows = load_status(self._connection, self._run.run_id)
                    next_ledger = time.monotonic() + _LEDGER_SECONDS
                progress.update(brands, completed=sum(row.brands_complete for row in rows))
                progress.update(
                    models,
                    completed=sum(row.models_received for row in rows),
                    total=sum(row.models_expected for row in rows) or None,
                    note=f"{sum(row.prices for row in rows):,} prices, {waiting:,} messages waiting",
                )
                if not self._console.is_terminal and time.monotonic() >= next_line:
                    self._console.print(_line(self._run, rows, waiting))
                    next_line = time.monotonic() + _PLAIN_LINE_SECONDS
                time.sleep(_LOOK_SECONDS)
        self.dead = {queue["name"]: _count(queue) for queue in seen["queues"] if _holds_failures(queue)}


def _waiting(seen: dict[str, Any]) -> int:
    return sum(_count(queue) for queue in seen["queues"] if not queue["is_dead_letter_queue"])


def _holds_failures(queue: dict[str, Any]) -> bool:
    return bool(queue["is_dead_letter_queue"] and _count(queue))


def _count(queue: dict[str, Any]) -> int:
    return int(queue["visible"] + queue["in_flight"] + queue["delayed"])


def _is_busy(seen: dict[str, Any]) -> bool:
    running = sum(figures["running"] + figures["waiting_retries"] for figures in seen["functions"].values())
    return bool(running or sum(seen["event_sources"].values()))


def _line(run: Run, rows: list[LoadStatus], waiting: int) -> str:
    return (
        f"brands {sum(row.brands_complete for row in rows)}/{run.brands}, "
        f"models {sum(row.models_received for row in rows)}/{sum(row.models_expected for row in rows)}, "
        f"prices {sum(row.prices for row in rows)}, {waiting} messages waiting"
    )


def _summarise(
    connection: Connection, run: Run, watch: _Watch, *, seconds: float, calls: int, console: Console
) -> None:
    table = Table("month", "type", "brands", "models", "prices", title="In the database")
    for line in totals(connection, run.reference_codes):
        table.add_row(
            f"{line.reference_month:%Y-%m}",
            line.vehicle_type,
            f"{line.brands:,}",
            f"{line.models:,}",
            f"{line.prices:,}",
        )
    console.print(table)
    rows = load_status(connection, run.run_id)
    console.print(
        f"This load: {sum(row.prices for row in rows):,} prices"
        f" of {sum(row.models_received for row in rows):,} models, "
        f"{sum(row.unpriced for row in rows):,} listed without a price; {seconds:.1f} s"
        + (f", {calls:,} calls" if calls else "")
        + f", at most {watch.peak_mb:,.0f} MiB of memory."
    )
    missing = _missing(run, rows)
    for problem in (
        *missing,
        *(f"{count} failed messages in {name}" for name, count in watch.dead.items()),
    ):
        console.print(f"Missing: {problem}", style="red", markup=False)
    if missing or watch.dead:
        raise IncompleteLoadError
    console.print(
        "Complete. Look at it: make local-psql ARGS='-c \"select * from fipe.vehicle_price limit 10\"'"
    )


def _missing(run: Run, rows: list[LoadStatus]) -> list[str]:
    silent = set(run.reference_codes) - {row.reference_code for row in rows}
    return [
        *(f"everything of reference {code}" for code in sorted(silent)),
        *(
            f"{row.reference_month:%Y-%m}: {row.brands_complete} of {row.brands_expected} brands are complete"
            f", {row.models_received} of {row.models_expected} models came"
            for row in rows
            if not row.complete
        ),
    ]
