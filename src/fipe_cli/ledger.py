"""Reads the progress of a load from the ledger, the queues and the shared pace."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from botocore.exceptions import ClientError
from psycopg2.extras import RealDictCursor
from pydantic import AwareDatetime, BaseModel, ConfigDict

from fipe_api.load.denials import DENIED_KEY
from fipe_api.load.state import LoadState
from fipe_api.source.http_source import LONGEST_WAIT_SECONDS as LONGEST_USUAL_WAIT_SECONDS
from fipe_api.source.pace import SOURCE as PACE_KEY
from fipe_api.source.pace import state_of
from fipe_cli.cloud import Cloud
from fipe_cli.loads import STARTER, calls_per_minute
from fipe_cli.progress import NO_WAITS, Refusal, Snapshot, Waits, counted
from infrastructure import names

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LEDGER_READER = names.Function.LOAD_STATUS


class Load(BaseModel):
    """One reference month of a run, as FipeLoadStatus and fipe.load_status have it."""

    model_config = ConfigDict(extra="ignore")

    run_id: UUID
    reference_code: int
    reference_month: date
    brands_expected: int
    brands_complete: int
    models_expected: int
    models_received: int
    vehicles_expected: int
    prices: int
    unpriced: int
    rejected: int = 0
    corrected: int = 0
    withdrawn: int = 0
    state: LoadState
    complete: bool
    started_at: AwareDatetime
    last_write_at: AwareDatetime
    missing: list[str] = []
    unpriced_prices: list[str] = []


def read_loads(cloud: Cloud, run_id: UUID | None = None) -> list[Load]:
    """The reference months of a run, the oldest first; without a run id, those of the newest run.

    The list is empty if the ledger does not know the run: it was not started, or its plan has not arrived
    yet.
    """
    if run_id is None:
        newest = cloud.invoke(LEDGER_READER, {}, only_reads=True)["loads"]
        return read_loads(cloud, UUID(newest[0]["run_id"])) if newest else []
    answer = cloud.invoke(LEDGER_READER, {"run_id": str(run_id)}, only_reads=True)
    return sorted(map(Load.model_validate, answer["loads"]), key=lambda load: load.reference_month)


class Import(BaseModel):
    """What was imported under one name, as FipeLoadStatus and fipe.import_status have it."""

    model_config = ConfigDict(extra="ignore")

    source: str
    months: int
    first_month: date | None
    last_month: date | None
    added: int
    files: int
    files_unfinished: int
    kept_apart: int

    def words(self) -> str:
        """One line."""
        held = f"{counted(self.months, 'month')}"
        if self.first_month and self.last_month:
            held += f", {self.first_month:%Y-%m} to {self.last_month:%Y-%m}"
        apart = f"; {counted(self.kept_apart, 'row')} kept apart" if self.kept_apart else ""
        files = counted(self.files_unfinished, "file")
        again = "run the same `fipe import` again"
        unfinished = f"; {files} not read to the end: {again}" if self.files_unfinished else ""
        return f"imported as {self.source}: {held}, {counted(self.added, 'price')}{apart}{unfinished}"


def read_imports(cloud: Cloud) -> list[Import]:
    """What was imported, by name."""
    answer = cloud.invoke(LEDGER_READER, {"imports": True}, only_reads=True)
    return [Import.model_validate(row) for row in answer["imports"]]


def loads_in(session: "connection", run_id: UUID) -> list[Load]:
    """Reads the same from the database itself, but without `missing` and `unpriced_prices`."""
    with session.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "select * from fipe.load_status where run_id = %s order by reference_month", (str(run_id),)
        )
        return [Load.model_validate(dict(row)) for row in cursor.fetchall()]


def with_gaps(session: "connection", loads: Sequence[Load]) -> list[Load]:
    """The loads with what they lack and what FIPE denied them, in words."""
    from fipe_api.load.status import gaps  # Powertools takes a while to import, and few commands need it

    return [one.model_copy(update=gaps(session, one.model_dump())) for one in loads]


def resume_payloads(cloud: Cloud, run_id: UUID) -> list[dict[str, Any]]:
    """Payloads that make FipeManufacturerLoader load what the run lacks, and nothing else."""
    answer = cloud.invoke(LEDGER_READER, {"run_id": str(run_id), "resume": True}, only_reads=True)
    payloads: list[dict[str, Any]] = answer["resume"]
    return payloads


Look = Callable[[], tuple[list[Load], Snapshot]]
"""Reads the loads of a run and makes their snapshot."""


def look(cloud: Cloud, run_id: UUID | None = None, brands: int = 0) -> tuple[list[Load], Snapshot]:
    """Reads the loads of a run and makes their snapshot, which says what `brands` is."""
    loads = read_loads(cloud, run_id)
    depths = cloud.queue_depths()
    waits = read_waits(cloud)
    return loads, snapshot(
        loads,
        waiting={kind.value: depth.messages for kind, depth in depths.items()},
        delayed=sum(depth.delayed for depth in depths.values()),
        dead={kind.value: depth.dead for kind, depth in depths.items()},
        calls_per_minute=calls_per_minute(cloud.environment_of(STARTER)),
        waits=waits,
        brands=brands,
        # Waiting messages may belong to a run that the ledger does not know yet; it will be the newest.
        busy=run_id is None and any(depth.messages for depth in depths.values()),
    )


def snapshot(
    loads: Sequence[Load],
    *,
    waiting: Mapping[str, int],
    dead: dict[str, int],
    calls_per_minute: float | None,
    delayed: int = 0,
    waits: Waits = NO_WAITS,
    brands: int = 0,
    busy: bool = False,
) -> Snapshot:
    """The loads together, with the waiting messages per queue.

    Args:
        loads: of one run.
        waiting: messages of all states, per queue.
        delayed: how many of them wait for their time.
        dead: dead letters, per queue.
        calls_per_minute: the limit that the loaders keep to.
        waits: why the source is not called, and until when denied answers are asked for again.
        brands: how many brands the run has, as far as the caller knows; the ledger may know fewer.
        busy: whether functions are running.
    """
    counted = sum(load.brands_expected for load in loads)
    return Snapshot(
        at=datetime.now(UTC),
        months=[f"{load.reference_month:%Y-%m}" for load in loads],
        started_at=min((load.started_at for load in loads), default=None),
        last_write_at=max((load.last_write_at for load in loads), default=None),
        brands=max(brands, counted, waiting["manufacturer"]),
        brands_complete=sum(load.brands_complete for load in loads),
        brands_waiting=waiting["manufacturer"],
        models_found=sum(load.models_expected for load in loads),
        models_received=sum(load.models_received for load in loads),
        calls_found=sum(load.vehicles_expected for load in loads),
        calls_done=sum(load.prices + load.unpriced + load.rejected for load in loads),
        models_waiting=waiting["model"],
        models_to_write=waiting["price"],
        prices=sum(load.prices for load in loads),
        unpriced=sum(load.unpriced for load in loads),
        rejected=sum(load.rejected for load in loads),
        delayed=delayed,
        dead=dead,
        complete=bool(loads) and counted >= brands and all(load.complete for load in loads),
        missing=[what for load in loads for what in load.missing],
        unpriced_prices=[what for load in loads for what in load.unpriced_prices],
        calls_per_minute=calls_per_minute,
        waits=waits,
        busy=busy,
    )


def read_waits(cloud: Cloud) -> Waits:
    """What the loaders wait for, from the table of the shared pace."""
    table = names.pace_table(cloud.stage)
    keys = [{"source": {"S": key}} for key in (PACE_KEY, DENIED_KEY)]
    try:
        answer = cloud.client("dynamodb").batch_get_item(RequestItems={table: {"Keys": keys}})
    except ClientError as error:
        raise cloud.explained(error, f"table {table}") from error
    items = {item["source"]["S"]: item for item in answer["Responses"][table]}
    state = state_of(items.get(PACE_KEY, {}))
    seconds = state.next_call / 1000 - time.time()
    reason = state.outage.kind or "throttled"
    until = items.get(DENIED_KEY, {}).get("until", {}).get("N")
    return Waits(
        refusal=Refusal(reason, seconds) if seconds > LONGEST_USUAL_WAIT_SECONDS else None,
        denied_until=datetime.fromtimestamp(int(until) / 1000, UTC) if until else None,
    )
