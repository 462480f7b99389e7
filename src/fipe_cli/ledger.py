"""Reads the progress of a load from the ledger, the queues and the shared pace."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from botocore.exceptions import ClientError
from msgspec import convert
from psycopg2.extras import RealDictCursor
from pydantic import AwareDatetime, BaseModel, ConfigDict

from fipe_api.load.backfill_list import MonthList
from fipe_api.load.cancellation import cancellation_key
from fipe_api.load.denials import DENIED_KEY
from fipe_api.load.outlook import NOTHING_KNOWN, Outlook, read_outlook
from fipe_api.load.state import LoadState
from fipe_api.source.http_source import LONGEST_WAIT_SECONDS as LONGEST_USUAL_WAIT_SECONDS
from fipe_api.source.pace import SOURCE as PACE_KEY
from fipe_api.source.pace import state_of
from fipe_api.source.rate_control import RateState
from fipe_cli.cloud import Cloud
from fipe_cli.forecast import Limit
from fipe_cli.loads import STARTER, calls_per_minute
from fipe_cli.month_list import ListProgress, progress_of, read_list
from fipe_cli.progress import NO_WAITS, Refusal, Snapshot, Waits
from fipe_words import _, counted, plural
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


@dataclass(frozen=True)
class Run:
    """What the ledger knows of a run.

    Attributes:
        loads: its reference months, the oldest first; none if the ledger does not know it.
        outlook: what is left of it.
    """

    loads: list[Load]
    outlook: Outlook = NOTHING_KNOWN


def read_run(cloud: Cloud, run_id: UUID | None = None, reference_code: int | None = None) -> Run:
    """What FipeLoadStatus answers for a run, or for one of its months; without a run id, for the newest one.

    It has no loads if the ledger does not know the run: it was not started, or its plan has not arrived yet.
    """
    if run_id is None:
        newest = newest_run(cloud)
        return read_run(cloud, newest) if newest else Run([])
    question = {"run_id": str(run_id), "reference_code": reference_code}
    answer = cloud.invoke(LEDGER_READER, question, only_reads=True)
    loads = sorted(map(Load.model_validate, answer["loads"]), key=lambda load: load.reference_month)
    return Run(loads, convert(answer["outlook"], Outlook))


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
    replaced: int
    confirmed: int

    def words(self) -> str:
        """One line."""
        words = _(
            "imported as {source}: {prices} in {months}",
            source=self.source,
            prices=counted(self.added, "price"),
            months=counted(self.months, "month"),
        )
        if self.first_month and self.last_month:
            words += _(", {first:%Y-%m} to {last:%Y-%m}", first=self.first_month, last=self.last_month)
        if self.confirmed:
            words += plural(
                "; {number:,} month confirmed by its sample",
                "; {number:,} months confirmed by their samples",
                self.confirmed,
            )
        if self.kept_apart:
            words += plural("; {number:,} row kept apart", "; {number:,} rows kept apart", self.kept_apart)
        if self.replaced:
            words += plural(
                "; {number:,} price in place of a load's",
                "; {number:,} prices in place of a load's",
                self.replaced,
            )
        if self.files_unfinished:
            words += plural(
                "; {number:,} file not read to the end: run the same `fipe import` again",
                "; {number:,} files not read to the end: run the same `fipe import` again",
                self.files_unfinished,
            )
        return words


def read_imports(cloud: Cloud) -> list[Import]:
    """What was imported, by name."""
    answer = cloud.invoke(LEDGER_READER, {"imports": True}, only_reads=True)
    return [Import.model_validate(row) for row in answer["imports"]]


def newest_run(cloud: Cloud) -> UUID | None:
    """The run that was started last; None if there is none."""
    newest = cloud.invoke(LEDGER_READER, {}, only_reads=True)["loads"]
    return UUID(newest[0]["run_id"]) if newest else None


def run_in(session: "connection", run_id: UUID, reference_code: int | None = None) -> Run:
    """Reads the same from the database itself, but without `missing` and `unpriced_prices`."""
    with session.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "select * from fipe.load_status where run_id = %s and (%s is null or reference_code = %s)"
            " order by reference_month",
            (str(run_id), reference_code, reference_code),
        )
        loads = [Load.model_validate(dict(row)) for row in cursor.fetchall()]
    return Run(loads, read_outlook(session, run_id, reference_code))


def read_part(
    found: MonthList | None, run_id: UUID, read: Callable[[UUID, int | None], Run]
) -> tuple[Run, ListProgress | None]:
    """Reads a run; of one that loads a list of months, only the month at work until its end.

    Args:
        found: the stage's list.
        run_id: the run.
        read: reads a run, or one of its months.

    Returns:
        What was read, and how far the run's list is if it has one.
    """
    if found is None or found.run_id != run_id:
        return read(run_id, None), None
    progress = progress_of(found)
    if found.is_over:
        return read(run_id, None), progress
    return read(run_id, found.at_work.reference.code) if found.at_work else Run([]), progress


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
    known = run_id or newest_run(cloud)
    run, of_list = Run([]), None
    if known:
        run, of_list = read_part(read_list(cloud), known, partial(read_run, cloud))
    depths = cloud.queue_depths()
    return run.loads, snapshot(
        run,
        waiting={kind.value: depth.messages for kind, depth in depths.items()},
        delayed=sum(depth.delayed for depth in depths.values()),
        dead={kind.value: depth.dead for kind, depth in depths.items()},
        waits=read_waits(cloud, known, calls_per_minute(cloud.environment_of(STARTER))),
        brands=brands,
        of_list=of_list,
        # Waiting messages may belong to a run that the ledger does not know yet; it will be the newest.
        busy=run_id is None and any(depth.messages for depth in depths.values()),
    )


def snapshot(
    run: Run,
    *,
    waiting: Mapping[str, int],
    dead: dict[str, int],
    delayed: int = 0,
    waits: Waits = NO_WAITS,
    brands: int = 0,
    of_list: ListProgress | None = None,
    busy: bool = False,
) -> Snapshot:
    """The loads of a run together, with the waiting messages per queue.

    Args:
        run: what the ledger knows.
        waiting: messages of all states, per queue.
        delayed: how many of them wait for their time.
        dead: dead letters, per queue.
        waits: what the loaders wait for, and which limit they keep to.
        brands: how many brands the run has, as far as the caller knows; the ledger may know fewer.
        of_list: how far the run's list of months is.
        busy: whether functions are running.
    """
    loads, outlook = run.loads, run.outlook
    brands = 0 if of_list else brands
    ahead = of_list.calls_to_come if of_list else 0.0
    expected = sum(load.brands_expected for load in loads)
    all_brands = max(brands, expected, 0 if loads else waiting["manufacturer"])
    unpriced, rejected = sum(load.unpriced for load in loads), sum(load.rejected for load in loads)
    # A resume searches brands again, to ask for the models that are missing.
    again = max(0, waiting["manufacturer"] - (all_brands - outlook.brands_searched))
    return Snapshot(
        at=datetime.now(UTC),
        months=[f"{load.reference_month:%Y-%m}" for load in loads],
        brands=all_brands,
        brands_searched=outlook.brands_searched,
        brands_complete=sum(load.brands_complete for load in loads),
        models=sum(load.models_received for load in loads),
        models_expected=outlook.models,
        prices=sum(load.prices for load in loads),
        prices_expected=outlook.prices - unpriced - rejected,
        unpriced=unpriced,
        rejected=rejected,
        waiting=sum(waiting.values()),
        results_waiting=waiting["price"],
        delayed=delayed,
        dead=dead,
        state_in_ledger=_state(loads, is_whole=expected >= brands),
        missing=[what for load in loads for what in load.missing],
        unpriced_prices=[what for load in loads for what in load.unpriced_prices],
        calls_left=outlook.calls_left + again * outlook.calls_to_search_again + ahead
        if loads
        else ahead or None,
        arrivals=outlook.arrivals,
        waits=waits,
        of_list=of_list,
        busy=busy,
    )


def _state(loads: Sequence[Load], *, is_whole: bool) -> LoadState:
    """The ledger's word for all loads of a run together: the one that is furthest from complete."""
    states = {load.state for load in loads}
    if not states or not is_whole:
        states.add(LoadState.LOADING)
    order = (LoadState.CANCELLED, LoadState.LOADING, LoadState.INCOMPLETE, LoadState.COMPLETE)
    return next(state for state in order if state in states)


def read_waits(cloud: Cloud, run_id: UUID | None = None, calls_per_minute: float | None = None) -> Waits:
    """What the loaders wait for, from the table of the shared pace.

    Args:
        cloud: where the stage is.
        run_id: the run, if it is known.
        calls_per_minute: the stage's limit, or None without one.
    """
    table = names.pace_table(cloud.stage)
    run_key = [cancellation_key(run_id)] if run_id else []
    keys = [{"source": {"S": key}} for key in (PACE_KEY, DENIED_KEY, *run_key)]
    try:
        answer = cloud.client("dynamodb").batch_get_item(RequestItems={table: {"Keys": keys}})
    except ClientError as error:
        raise cloud.explained(error, _("table {table}", table=table)) from error
    items = {item["source"]["S"]: item for item in answer["Responses"][table]}
    state = state_of(items.get(PACE_KEY, {}))
    seconds = state.next_call / 1000 - time.time()
    until = items.get(DENIED_KEY, {}).get("until", {}).get("N")
    cancellation = items.get(run_key[0]) if run_key else None
    cap = calls_per_minute and calls_per_minute / 60
    throttled_to = 60 * state.ceiling if state.ceiling and (cap is None or state.ceiling < cap) else None
    return Waits(
        refusal=Refusal(state.outage.kind or "throttled", seconds)
        if seconds > LONGEST_USUAL_WAIT_SECONDS
        else None,
        denied_until=datetime.fromtimestamp(int(until) / 1000, UTC) if until else None,
        limit=_limit(state, throttled_to, calls_per_minute),
        throttled_to=throttled_to,
        cancelled=_is_cancelled(cancellation) if cancellation else None,
    )


def _is_cancelled(item: Mapping[str, Any]) -> bool:
    """Whether a run is cancelled. One that only gives way to another load is not."""
    return bool(item["cancelled"]["BOOL"]) and not item.get("waits_for", {}).get("S")


def _limit(state: RateState, throttled_to: float | None, calls_per_minute: float | None) -> Limit:
    """The limit of the stage, or the lower one that the source seems to have."""
    if throttled_to:
        return Limit(throttled_to, rest_seconds=state.rest.lasted / 1000)
    return Limit(calls_per_minute, is_reached=state.next_call / 1000 >= time.time())
