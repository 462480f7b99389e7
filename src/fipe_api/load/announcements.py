"""What FipeLoadStatus does for FipeAnnouncer, which cannot reach the database: finds what is to be told.

An announcement is claimed for a while, told, and then marked as told. Whoever claims it later, because it was
not marked, gets the same document with the same id: so who is told twice can tell.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from uuid import UUID, uuid4

from msgspec import Struct, to_builtins
from msgspec.structs import replace
from psycopg2.extras import RealDictCursor

from fipe_api.load.announcement import Document, Months
from fipe_api.load.state import LoadState
from fipe_api.messages import ListEndedMessage, Moment, Reference

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LEASE_SECONDS = 120.0
"""Who claims an announcement has this time to tell it, before another one may. SNS answers within a minute,
or botocore gives up."""

MOST_HITS = 25
"""SNS takes 256 KB, in which the document stands four times. Source: SNS API Reference, Publish."""

# One load, or all that are not over. Nothing else may wake up for the others: the ledger knows no end of a
# load that has lost messages.
SELECT_LOADS = """
select run.run_id, run.reference_code, reference.month as reference_month,
       fipe.load_state(run.ended_at, run.completed_at, fipe.is_cancelled(run.run_id)) as state,
       fipe.waits_for(run.run_id) is not null as waits,
       greatest(run.started_at, run.ended_at, (
           select max(received_at) from fipe.load_model as model where model.load_run_id = run.id
       )) as last_write_at
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
where %(run_id)s is null and run.ended_at is null
   or run.run_id = %(run_id)s::uuid and run.reference_code = %(reference_code)s
"""

# A load whose plan has not arrived.
SELECT_UNKNOWN = """
select case when fipe.is_cancelled(%(run_id)s::uuid) then 'cancelled' else 'loading' end as state,
       false as waits, null::timestamptz as last_write_at
"""

INSERT_STALLED = """
insert into fipe.announcement (kind, run_id, reference_code, reference_month)
values ('load_stalled', %(run_id)s::uuid, %(reference_code)s, %(reference_month)s)
on conflict (kind, run_id, reference_code) where kind <> 'month_changed' do nothing
"""

INSERT_ENDED_LIST = """
insert into fipe.announcement (id, kind, run_id, document)
values (%(id)s::uuid, 'backfill_ended', %(run_id)s::uuid, %(document)s::jsonb)
on conflict (kind, run_id, reference_code) where kind <> 'month_changed' do nothing
"""

MARK_TOLD = """
update fipe.announcement set told_at = clock_timestamp() where id = any(%s::uuid[]) and told_at is null
"""

# One at a time: two who claim at once get different ones.
CLAIM = """
update fipe.announcement as announced
set claimed_at = clock_timestamp()
where announced.id = (
    select id from fipe.announcement
    where told_at is null
      and (claimed_at is null or claimed_at < clock_timestamp() - %s * interval '1 second')
    order by created_at, id
    limit 1
    for update skip locked
)
returning id::text, kind, run_id::text, reference_code, reference_month, changed, corrected, withdrawn,
          document
"""

KEEP_DOCUMENT = "update fipe.announcement set document = %s where id = %s::uuid"

COUNT_UNTOLD = "select count(*)::integer as untold from fipe.announcement where told_at is null"

SELECT_LOAD = """
select run_id::text, reference_code, complete, state, prices, unpriced, corrected, withdrawn, started_at,
       whole_month, coalesce(completed_at, last_write_at) as until
from fipe.load_status
where run_id = %(run_id)s::uuid and reference_code = %(reference_code)s
"""

SELECT_FIGURES = "select month_before, new, gone, changed from fipe.month_figures(%s)"

SELECT_LATE = """
select kind, to_char(reference_month, 'YYYY-MM') as reference_month
from fipe.announcement
where told_at is null and created_at < clock_timestamp() - %s * interval '1 second'
order by created_at, id
limit 20
"""

SELECT_WATCHED = "select hit from fipe.watch_hits(%s) as hit"

Gaps = Callable[["connection", Mapping[str, Any]], dict[str, list[str]]]
"""Names what a load lacks."""


class AnnounceRequest(Struct, forbid_unknown_fields=True):
    """What FipeAnnouncer asks.

    Attributes:
        stage: for the document.
        run_id: the load to look at; None for all that are not over.
        reference: its month.
        began_at: when it, or its resumption, began.
        stalled_after: a load that got nothing for so many seconds has stalled.
        ended_list: a list of months that has ended, to be told.
        told: the ids of announcements that were told.
    """

    stage: str
    run_id: UUID | None = None
    reference: Reference | None = None
    began_at: Moment | None = None
    stalled_after: float = 3 * 3600.0
    ended_list: ListEndedMessage | None = None
    told: list[UUID] = []


class Announced(Struct):
    """The answer.

    Attributes:
        claimed: the document to tell now; None when there is nothing, or others have claimed it.
        untold: how many announcements are not told, claimed or not.
        is_open: whether a load that was looked at still waits for results.
        quiet: for how many seconds none of them has got anything.
    """

    claimed: dict[str, Any] | None
    untold: int
    is_open: bool
    quiet: float


class _Seen(NamedTuple):
    is_open: bool
    quiet: float


def announce(connection: "connection", request: AnnounceRequest, gaps: Gaps) -> dict[str, Any]:
    """Notes what was told, looks at the loads, and claims the next announcement; all in one transaction.

    Returns:
        Announced, as JSON has it.

    Raises:
        psycopg2.Error: the database refuses. Nothing is claimed.
    """
    with connection, connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if request.told:
            cursor.execute(MARK_TOLD, ([str(each) for each in request.told],))
        if request.ended_list:
            _note_ended_list(cursor, request.ended_list, request.stage)
        seen = _look(cursor, request)
        claimed = _claim(cursor, connection, request.stage, gaps)
        cursor.execute(COUNT_UNTOLD)
        (counted,) = cursor.fetchall()
    answer: dict[str, Any] = to_builtins(Announced(claimed, counted["untold"], *seen))
    return answer


def late_announcements(connection: "connection", seconds: float) -> list[dict[str, Any]]:
    """The kind and the month of announcements that were not told for so long; at most 20."""
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(SELECT_LATE, (seconds,))
        return [dict(row) for row in cursor.fetchall()]


def _look(cursor: RealDictCursor, request: AnnounceRequest) -> _Seen:
    """Whether the loads are open; notes those that have stalled."""
    asked = {
        "run_id": str(request.run_id) if request.run_id else None,
        "reference_code": request.reference.code if request.reference else None,
        "reference_month": request.reference.month if request.reference else None,
    }
    cursor.execute(SELECT_LOADS, asked)
    loads: list[dict[str, Any]] = [dict(row) for row in cursor.fetchall()]
    if not loads and request.reference:
        cursor.execute(SELECT_UNKNOWN, asked)
        loads = [asked | dict(row) for row in cursor.fetchall()]
    now = datetime.now(UTC)
    began_at = request.began_at or now
    quiet = [(now - max(began_at, load["last_write_at"] or began_at)).total_seconds() for load in loads]
    for load, seconds in zip(loads, quiet, strict=True):
        is_at_work = load["state"] == LoadState.LOADING and not load["waits"]
        if is_at_work and seconds >= request.stalled_after:
            cursor.execute(INSERT_STALLED, load)
    return _Seen(
        is_open=any(load["state"] == LoadState.LOADING for load in loads),
        quiet=max(0.0, min(quiet, default=(now - began_at).total_seconds())),
    )


def _note_ended_list(cursor: RealDictCursor, ended: ListEndedMessage, stage: str) -> None:
    document = Document(
        id=uuid4(),
        kind="backfill_ended",
        stage=stage,
        run_id=ended.run_id,
        state=LoadState.INCOMPLETE if ended.incomplete else LoadState.COMPLETE,
        prices=ended.prices,
        duration_seconds=round((ended.ended_at - ended.began_at).total_seconds()),
        months=Months(
            complete=ended.complete,
            confirmed=ended.confirmed,
            incomplete=[f"{month}: {why}" for month, why in ended.incomplete],
            left_out=[f"{month}: {why}" for month, why in ended.left_out],
        ),
    )
    row = {"id": str(document.id), "run_id": str(document.run_id), "document": _json(document.with_text())}
    cursor.execute(INSERT_ENDED_LIST, row)


def _claim(cursor: RealDictCursor, connection: "connection", stage: str, gaps: Gaps) -> dict[str, Any] | None:
    cursor.execute(CLAIM, (LEASE_SECONDS,))
    row = cursor.fetchone()
    if row is None:
        return None
    if row["document"] is None:
        document = _describe(cursor, connection, row, stage, gaps).with_text()
        cursor.execute(KEEP_DOCUMENT, (_json(document), row["id"]))
        return cast("dict[str, Any]", to_builtins(document))
    return cast("dict[str, Any]", row["document"])


def _describe(
    cursor: RealDictCursor, connection: "connection", row: Mapping[str, Any], stage: str, gaps: Gaps
) -> Document:
    """An announcement about a month, with its figures as they are now."""
    told = Document(
        id=UUID(row["id"]),
        kind=row["kind"],
        stage=stage,
        run_id=UUID(row["run_id"]),
        reference_month=f"{row['reference_month']:%Y-%m}",
        reference_code=row["reference_code"],
        state=LoadState.LOADING,
        watch=_watch_hits(cursor, row),
    )
    cursor.execute(SELECT_LOAD, row)
    load = cursor.fetchone()
    if load is None:  # its plan has not arrived
        return told
    cursor.execute(SELECT_FIGURES, (row["reference_month"],))
    figures = cursor.fetchone()
    if figures:
        told = replace(
            told,
            compared_with=f"{figures['month_before']:%Y-%m}",
            new=figures["new"],
            gone=figures["gone"],
            changed=figures["changed"],
        )
    has_changed = told.kind == "month_changed"
    counted = row if has_changed else load
    return replace(
        told,
        whole_month=load["whole_month"],
        state=LoadState(load["state"]),
        prices=load["prices"],
        corrections=counted["corrected"] + counted["withdrawn"],
        changed_since=row["changed"] if has_changed else None,
        unpriced=load["unpriced"],
        duration_seconds=round((load["until"] - load["started_at"]).total_seconds()),
        missing=gaps(connection, load)["missing"],
    )


def _watch_hits(cursor: RealDictCursor, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The watch rules that hold in the month, once it is complete, and that nobody was told of yet."""
    if row["kind"] not in ("load_complete", "month_changed"):
        return []
    cursor.execute(SELECT_WATCHED, (row["reference_month"],))
    hits = [each["hit"] for each in cursor.fetchall()]
    if len(hits) > MOST_HITS:
        month, more = f"{row['reference_month']:%Y-%m}", len(hits) - MOST_HITS
        hits[MOST_HITS:] = [{"text": f"{more:,} more: `fipe watch check --month {month}` shows all"}]
    return hits


def _json(document: Document) -> str:
    return json.dumps(to_builtins(document))
