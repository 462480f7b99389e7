"""The `make local` job: start the cloud, deploy, load, watch until nothing is left, and say what came."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import requests
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from fipe_cli.cloud import QUEUES
from fipe_cli.database_view import totals
from fipe_cli.ledger import Load, loads_in, snapshot
from fipe_cli.load_options import LoadOptions
from fipe_cli.progress import Snapshot
from fipe_cli.watch import watch
from local_cloud.deployment import client, deploy
from local_cloud.lifecycle import LocalCloudError, start, start_simulator, status, stop
from local_cloud.memory import megabytes
from local_cloud.postgres import Connection
from local_cloud.stage_database import find_database
from local_cloud.state import Endpoint, LocalState

STAGE = "dev"
FIRST_FUNCTION = f"FipeManufacturerLoader-{STAGE}"

_LOOK_SECONDS = 0.5
_LEDGER_SECONDS = 2.0  # reading the ledger and the memory of a dozen processes costs something


class IncompleteLoadError(Exception):
    """The load has ended, but something is missing; the summary said what."""


@dataclass(frozen=True)
class Run:
    """A load that was started: its id and its references' codes."""

    run_id: UUID
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
    began = time.monotonic()
    deploy(state, endpoint, options.context(simulator))
    console.print(f"Deployed at {endpoint.url} in {time.monotonic() - began:.0f} s")
    calls_before = _calls(simulator)
    began = time.monotonic()
    run = _invoke(endpoint, options.payload)
    database = find_database(state, STAGE)
    connection = database.connection() if database else None
    assert connection is not None, "the deploy has made it"
    seen = _Watch(endpoint, connection, run, console)
    seen.until_done()
    _summarise(
        connection,
        run,
        seen,
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
        UUID(document["run_id"]),
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
    """Looks at queues, functions and ledger until nothing is left to do, and shows it."""

    def __init__(self, endpoint: Endpoint, connection: Connection, run: Run, console: Console) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._run = run
        self._console = console
        self._next_ledger = 0.0
        self.loads: list[Load] = []
        self.peak_mb = 0.0
        self.dead: dict[str, int] = {}

    def until_done(self) -> None:
        """Return when the queues are empty and the functions at rest."""
        watch(self._console, f"run {self._run.run_id}", self._look, _LOOK_SECONDS)
        self._read_ledger()

    def _look(self) -> Snapshot:
        seen = status(self._endpoint)
        depths = {
            queue["name"]: int(queue["visible"] + queue["in_flight"] + queue["delayed"])
            for queue in seen["queues"]
        }
        waiting = {kind: depths[f"fipe-{kind}-queue-{STAGE}"] for kind in QUEUES}
        self.dead = {kind: depths[f"fipe-{kind}-dlq-{STAGE}"] for kind in QUEUES}
        busy = _is_busy(seen)
        if time.monotonic() >= self._next_ledger or not (busy or any(waiting.values())):
            self.peak_mb = max(self.peak_mb, megabytes(seen["processes"]))
            self._read_ledger()
            self._next_ledger = time.monotonic() + _LEDGER_SECONDS
        return snapshot(
            self.loads,
            waiting=waiting,
            dead=self.dead,
            calls_per_minute=None,
            brands=self._run.brands,
            busy=busy,
        )

    def _read_ledger(self) -> None:
        with closing(self._connection.open()) as session:
            self.loads = loads_in(session, self._run.run_id)


def _is_busy(seen: dict[str, Any]) -> bool:
    running = sum(figures["running"] + figures["waiting_retries"] for figures in seen["functions"].values())
    return bool(running or sum(seen["event_sources"].values()))


def _summarise(
    connection: Connection, run: Run, seen: _Watch, *, seconds: float, calls: int, console: Console
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
    rows = seen.loads
    console.print(
        f"This load: {sum(row.prices for row in rows):,} prices"
        f" of {sum(row.models_received for row in rows):,} models, "
        f"{sum(row.unpriced for row in rows):,} listed without a price; {seconds:.1f} s"
        + (f", {calls:,} calls" if calls else "")
        + f", at most {seen.peak_mb:,.0f} MiB of memory."
    )
    missing = _missing(run, rows)
    for problem in (
        *missing,
        *(f"{count} failed messages in the {kind} DLQ" for kind, count in seen.dead.items() if count),
    ):
        console.print(f"Missing: {problem}", style="red", markup=False)
    if missing or any(seen.dead.values()):
        raise IncompleteLoadError
    console.print(
        "Complete. Look at it: make local-psql ARGS='-c \"select * from fipe.vehicle_price limit 10\"'"
    )


def _missing(run: Run, rows: list[Load]) -> list[str]:
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
