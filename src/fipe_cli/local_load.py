"""`fipe local`: start the local cloud, deploy, load, watch until the load ends, and say what came."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from rich.console import Console
from rich.table import Table

from fipe_api.environment import OFFICIAL_URL
from fipe_api.load.state import LoadState
from fipe_cli.cloud import Cloud, local_cloud
from fipe_cli.database_view import TypeTotals, totals
from fipe_cli.function_words import understood
from fipe_cli.ledger import Load, read_part, read_waits, run_in, snapshot, with_gaps
from fipe_cli.loads import (
    STARTER,
    StartedLoad,
    calls_per_minute,
    refuse_what_the_source_lacks,
    start,
)
from fipe_cli.month_list import read_list
from fipe_cli.progress import Snapshot
from fipe_cli.watch import follow_load
from fipe_words import _, counted, in_english, plural
from infrastructure.names import PIPELINE, Queue
from local_cloud import lifecycle
from local_cloud.deployment import deploy
from local_cloud.lifecycle import LocalCloudError
from local_cloud.memory import megabytes
from local_cloud.postgres import Connection
from local_cloud.source import Source
from local_cloud.stage_database import find_database
from local_cloud.state import Endpoint, LocalState
from local_cloud.steps import step

if TYPE_CHECKING:
    from psycopg2.extensions import connection

STAGE = "dev"
WEBHOOK_SECONDS, WEBHOOK_LOOK_SECONDS = 15.0, 0.2
"""How long a load waits at its end for its webhook, and how often it looks."""


@dataclass(frozen=True)
class Outcome:
    """A load that has ended.

    Attributes:
        started: what was started.
        loads: its reference months, as the ledger has them.
        seen: the last look.
        stored: what the database holds of these months.
        seconds: from its start to the last look.
        calls: calls that the simulator answered; 0 for another source.
        peak_memory_mb: the most memory that all processes of the local cloud took together, in MiB.
    """

    started: StartedLoad
    loads: list[Load]
    seen: Snapshot
    stored: list[TypeTotals]
    seconds: float
    calls: int
    peak_memory_mb: float

    @property
    def problems(self) -> list[str]:
        """What is missing, a line each; none when everything is in the database."""
        codes = {reference.code for reference in self.started.references}
        return [
            *(
                _("everything of reference {code}", code=code)
                for code in sorted(codes - {o.reference_code for o in self.loads})
            ),
            *(
                f"{one.reference_month:%Y-%m}, {understood(what)}"
                for one in self.loads
                for what in one.missing
            ),
            *(
                plural(
                    "{number} failed message in the {kind} DLQ",
                    "{number} failed messages in the {kind} DLQ",
                    count,
                    kind=kind,
                )
                for kind, count in self.seen.dead.items()
                if count
            ),
        ]

    @property
    def state(self) -> LoadState:
        """Complete only if nothing is missing anywhere."""
        return LoadState.INCOMPLETE if self.problems and not self.seen.cancelled else self.seen.state

    def document(self) -> dict[str, Any]:
        """For scripts."""
        with in_english():
            return {
                **self.started.model_dump(mode="json"),
                **self.seen.document(),
                "state": self.state,
                "complete": self.state == LoadState.COMPLETE,
                "missing": self.problems,
                "seconds": round(self.seconds, 3),
                "calls": self.calls,
                "peak_memory_mb": round(self.peak_memory_mb, 1),
            }


@contextmanager
def finished_load(
    state: LocalState, source: Source, payload: dict[str, Any], console: Console, webhook_url: str = ""
) -> Iterator[Outcome]:
    """Does the whole job. A cloud that runs already is used and left running; another is stopped at the end,
    when the caller has shown the outcome, and the webhook, if there is one, has got it.

    Raises:
        LocalCloudError: another job runs, or the cloud or the deploy fails.
        CliError: the load cannot be started.
    """
    lock = state.run_lock()
    if not lock.acquire(blocking=False):
        raise LocalCloudError(_("another `make local` is running: wait until it ends"))
    try:
        _refuse_what_the_source_lacks(source, payload)
        with _running_cloud(state, console) as (endpoint, stays):
            context = source.context(endpoint) | ({"webhook_url": webhook_url} if webhook_url else {})
            _deploy(state, endpoint, context, console)
            with _told_when_left(console, load_goes_on=stays):
                cloud = local_cloud(state, STAGE)
                outcome = _load(cloud, endpoint, source, payload, console)
            yield outcome
            if webhook_url:
                _tell_webhook(cloud, endpoint, console)
    finally:
        lock.release()


def interrupted_by_signals() -> None:
    """From now on SIGTERM and SIGHUP end the command as Ctrl-C does, so that it stops what it has started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _interrupt)


def _interrupt(*_: object) -> None:
    # make passes on what its whole process group was sent: a second signal would end the cleaning up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _refuse_what_the_source_lacks(source: Source, payload: dict[str, Any]) -> None:
    """Refuses a month or a brand that the source does not have, before anything is started."""
    if not source.is_simulator or payload.keys() & {"reference", "brands"}:
        with source.answering() as url:
            refuse_what_the_source_lacks(url or OFFICIAL_URL, payload)


@contextmanager
def _told_when_left(console: Console, *, load_goes_on: bool) -> Iterator[None]:
    """Says after Ctrl-C what becomes of the load."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            _("The load goes on: `fipe status` shows it, `fipe cancel` ends it.")
            if load_goes_on
            else _("The load ends with the local cloud; what came stays in the database.")
        )
        raise


@contextmanager
def _running_cloud(state: LocalState, console: Console) -> Iterator[tuple[Endpoint, bool]]:
    """The cloud that runs already, or one for this job alone; and whether it stays when the job ends."""
    running = state.endpoint()
    if running is not None:
        console.print(_("Using the local cloud at {url}", url=running.url))
        yield running, True
        return
    endpoint = lifecycle.start(state)
    try:
        yield endpoint, False
    finally:
        with step(_("Stopping the local cloud")):
            lifecycle.stop(state)


def _deploy(state: LocalState, endpoint: Endpoint, context: dict[str, str], console: Console) -> None:
    began = time.monotonic()
    deploy(state, endpoint, context)
    console.print(
        _("Deployed at {url} in {seconds:.0f} s", url=endpoint.url, seconds=time.monotonic() - began)
    )


def _load(
    cloud: Cloud, endpoint: Endpoint, source: Source, payload: dict[str, Any], console: Console
) -> Outcome:
    calls_before = _simulator_calls(endpoint, source)
    began = time.monotonic()
    started = start(cloud, payload)
    with closing(LocalLook.connection(cloud).open()) as session:
        session.autocommit = True
        look = LocalLook(cloud, endpoint, session, started)
        loads, seen = follow_load(console, cloud, started.run_id, look=look)
        found = read_list(cloud) if started.to_come else None
        return Outcome(
            started.without({each.reference.code for each in found.left_out} if found else set()),
            with_gaps(session, loads),
            seen,
            totals(session, [one.reference_code for one in loads]),
            seconds=time.monotonic() - began,
            calls=_simulator_calls(endpoint, source) - calls_before,
            peak_memory_mb=look.peak_memory_mb,
        )


def _tell_webhook(cloud: Cloud, endpoint: Endpoint, console: Console) -> None:
    """Waits until the webhook has been told of the load, but not for long, and says how that went."""
    queue, dlq = Queue.WEBHOOK.of(STAGE), Queue.WEBHOOK.dlq(STAGE)
    untold = "select count(*) from fipe.announcement where told_at is null"
    until = time.monotonic() + WEBHOOK_SECONDS
    with closing(LocalLook.connection(cloud).open()) as session, session.cursor() as cursor:
        session.autocommit = True
        while time.monotonic() < until:
            cursor.execute(untold)
            ((left,),) = cursor.fetchall()
            seen = {one["name"]: one for one in lifecycle.status(endpoint)["queues"]}
            waiting = sum(seen[queue][state] for state in ("visible", "in_flight", "delayed"))
            if not (left or waiting or seen[dlq]["visible"]):
                console.print(_("The webhook has the announcement."))
                return
            time.sleep(WEBHOOK_LOOK_SECONDS)
    console.print(
        _("The webhook did not take the announcement within {seconds:.0f} s.", seconds=WEBHOOK_SECONDS)
    )


class LocalLook:
    """Looks at a load by the local cloud's own means, which slow it down less than AWS's APIs.

    Attributes:
        peak_memory_mb: the most memory seen.
    """

    def __init__(self, cloud: Cloud, endpoint: Endpoint, session: "connection", started: StartedLoad) -> None:
        self.peak_memory_mb = 0.0
        self._cloud = cloud
        self._endpoint = endpoint
        self._session = session
        self._started = started
        self._limit = calls_per_minute(cloud.environment_of(STARTER))

    @staticmethod
    def connection(cloud: Cloud) -> Connection:
        """How to connect to the database of a stage that is deployed."""
        assert cloud.local is not None, "this is the local cloud"
        database = find_database(cloud.local, cloud.stage)
        connection = database.connection() if database else None
        assert connection is not None, "the deploy has made the database"
        return connection

    def __call__(self) -> tuple[list[Load], Snapshot]:
        """Looks at the load and at the memory."""
        run, of_list = read_part(read_list(self._cloud), self._started.run_id, partial(run_in, self._session))
        seen = lifecycle.status(self._endpoint)
        self.peak_memory_mb = max(self.peak_memory_mb, megabytes(seen["processes"]))
        messages = {one["name"]: one["visible"] + one["in_flight"] + one["delayed"] for one in seen["queues"]}
        delayed = {one["name"]: one["delayed"] for one in seen["queues"]}
        running = sum(one["running"] + one["waiting_retries"] for one in seen["functions"].values())
        return run.loads, snapshot(
            run,
            waiting={queue.value: messages[queue.of(STAGE)] for queue in PIPELINE},
            dead={queue.value: messages[queue.dlq(STAGE)] for queue in PIPELINE},
            delayed=sum(delayed[queue.of(STAGE)] for queue in PIPELINE),
            waits=read_waits(self._cloud, self._started.run_id, self._limit),
            brands=self._started.brands_sent,
            of_list=of_list,
            busy=bool(running or sum(seen["event_sources"].values())),
        )


def _simulator_calls(endpoint: Endpoint, source: Source) -> int:
    """Calls that the simulator has answered."""
    if not source.is_simulator:
        return 0
    origin = lifecycle.status(endpoint)["simulator"].removesuffix("/api/veiculos")
    return int(requests.get(f"{origin}/_simulator/stats", timeout=10).json()["total"])


def summarise(outcome: Outcome, console: Console) -> None:
    """Prints what is in the database, what the load took, and what is missing."""
    table = Table(_("month"), _("type"), _("brands"), _("models"), _("prices"), title=_("In the database"))
    for line in outcome.stored:
        table.add_row(
            f"{line.reference_month:%Y-%m}",
            _(line.vehicle_type),
            _("{count:,}", count=line.brands),
            _("{count:,}", count=line.models),
            _("{count:,}", count=line.prices),
        )
    console.print(table)
    prices, models, unpriced = (
        sum(getattr(one, what) for one in outcome.loads) for what in ("prices", "models_received", "unpriced")
    )
    console.print(
        _(
            "This load: {prices} of {models}, {unpriced:,} listed without a price; {seconds:.1f} s, {calls},"
            " at most {memory:,.0f} MiB of memory.",
            prices=counted(prices, "price"),
            models=counted(models, "model"),
            unpriced=unpriced,
            seconds=outcome.seconds,
            calls=counted(outcome.calls, "call"),
            memory=outcome.peak_memory_mb,
        )
        if outcome.calls
        else _(
            "This load: {prices} of {models}, {unpriced:,} listed without a price; {seconds:.1f} s, at most"
            " {memory:,.0f} MiB of memory.",
            prices=counted(prices, "price"),
            models=counted(models, "model"),
            unpriced=unpriced,
            seconds=outcome.seconds,
            memory=outcome.peak_memory_mb,
        )
    )
    corrected, withdrawn = (
        sum(getattr(one, what) for one in outcome.loads) for what in ("corrected", "withdrawn")
    )
    if corrected or withdrawn:
        console.print(
            _(
                "Since an earlier load of the month: {corrected:,} prices corrected, {withdrawn:,} withdrawn;"
                " fipe.price_revision has what they were.",
                corrected=corrected,
                withdrawn=withdrawn,
            )
        )
    for one in outcome.loads:
        for denied in one.unpriced_prices:
            console.print(
                _(
                    "Without a price: {month:%Y-%m}, {denied}",
                    month=one.reference_month,
                    denied=understood(denied),
                ),
                markup=False,
            )
    for problem in outcome.problems:
        console.print(_("Missing: {problem}", problem=problem), style="red", markup=False)
    console.print(_last_line(outcome), markup=False)


def _last_line(outcome: Outcome) -> str:
    if outcome.state == LoadState.COMPLETE:
        return _(
            "Complete. Look at it: make local-psql ARGS='-c \"select * from fipe.vehicle_price limit 10\"'"
        )
    run = outcome.started.run_id
    if outcome.state == LoadState.CANCELLED:
        return _(
            "Cancelled: what came stays. To load the rest: make local-up, then make resume-dev FOLLOW=1"
            " RUN={run}",
            run=run,
        )
    lacks = _("messages failed") if outcome.seen.complete else outcome.seen.lacks
    return _(
        "Incomplete: {lacks}. To ask again: make local-up, then make resume-dev FOLLOW=1 RUN={run}",
        lacks=lacks,
        run=run,
    )
