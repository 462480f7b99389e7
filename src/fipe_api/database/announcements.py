"""The news of loads for fipe.announcement, written in the transaction that they come from.

So what is told has happened, and what has happened is told, whatever fails. The ingestor reaches no AWS API:
FipeAnnouncer tells it afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg2.extras import execute_values

from fipe_api.database.answers import Tally
from fipe_api.database.ledger import EndedLoad

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

# Asked before the ledger ends loads, so that it tells of what was over before this transaction.
SELECT_OVER = """
select run.id, run.run_id::text, run.reference_code
from fipe.load_run as run
where run.id = any(%s)
  and (
      fipe.load_state(run.ended_at, run.completed_at, fipe.is_cancelled(run.run_id)) <> 'loading'
      -- A newer list of its brands can make a complete load wait for more.
      or exists (
          select from fipe.announcement as told
          where told.kind = 'load_complete'
            and (told.run_id, told.reference_code) = (run.run_id, run.reference_code)
      )
  )
  and exists (
      select from fipe.load_run as complete
      where complete.reference_code = run.reference_code and complete.completed_at is not null
  )
"""

INSERT_ENDED = """
insert into fipe.announcement (kind, run_id, reference_code, reference_month)
values %s
on conflict (kind, run_id, reference_code) where kind <> 'month_changed' do nothing
returning run_id::text, reference_code
"""

INSERT_CHANGES = """
insert into fipe.announcement as kept
    (kind, run_id, reference_code, reference_month, changed, corrected, withdrawn)
select 'month_changed', run.run_id, run.reference_code, reference.month,
       counted.changed, counted.corrected, counted.withdrawn
from (values %s) as counted (id, changed, corrected, withdrawn)
join fipe.load_run as run on run.id = counted.id
join fipe.reference_month as reference on reference.code = run.reference_code
on conflict (run_id, reference_code) where kind = 'month_changed' and claimed_at is null do update
    set changed = kept.changed + excluded.changed, corrected = kept.corrected + excluded.corrected,
        withdrawn = kept.withdrawn + excluded.withdrawn
"""

# What a cancelled load had changed in a month that was complete. It will not be complete itself, and tell.
INSERT_CHANGES_OF_CANCELLED = """
insert into fipe.announcement
    (kind, run_id, reference_code, reference_month, changed, corrected, withdrawn)
select 'month_changed', run.run_id, run.reference_code, reference.month,
       run.changed, run.corrected, run.withdrawn
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
where run.run_id = any(%s::uuid[]) and run.changed > 0 and run.completed_at is null
  and fipe.is_cancelled(run.run_id)
  and exists (
      select from fipe.load_run as complete
      where complete.reference_code = run.reference_code and complete.completed_at < run.started_at
  )
  and not exists (
      select from fipe.announcement as known
      where known.kind = 'month_changed'
        and (known.run_id, known.reference_code) = (run.run_id, run.reference_code)
  )
on conflict do nothing
"""


def loads_over(cursor: "cursor", tallies: Mapping[int, Tally]) -> dict[int, tuple[str, int]]:
    """The loads that were over, of those that have just changed a month that was complete.

    Args:
        cursor: of the transaction that has changed it, and has not ended loads yet.
        tallies: what loads have changed, by the ids of their rows.

    Returns:
        Run id and reference code, by the ids of their rows.
    """
    changing = [load for load, tally in tallies.items() if tally.changed > 0]
    if not changing:
        return {}
    cursor.execute(SELECT_OVER, (changing,))
    return {key: (run_id, code) for key, run_id, code in cursor.fetchall()}


def announce(
    cursor: "cursor",
    ended: Sequence[EndedLoad],
    over: Mapping[int, tuple[str, int]],
    tallies: Mapping[int, Tally],
) -> None:
    """Writes what is to be told: loads that have ended, each once, and months that changed afterwards.

    Args:
        cursor: of the transaction that has ended the loads.
        ended: the loads that it has ended.
        over: what `loads_over` answered.
        tallies: what loads have changed, by the ids of their rows.
    """
    rows = [(f"load_{load.state}", load.run_id, load.reference_code, load.reference_month) for load in ended]
    template = "(%s, %s::uuid, %s, %s::date)"
    new = set(execute_values(cursor, INSERT_ENDED, rows, template, fetch=True)) if rows else set()
    changed = [(key, *tallies[key]) for key, load in over.items() if load not in new]
    if changed:
        execute_values(cursor, INSERT_CHANGES, changed)


def announce_cancelled(cursor: "cursor", runs: Sequence[UUID]) -> None:
    """Writes the changes of loads that were cancelled, in months that were complete."""
    if runs:
        cursor.execute(INSERT_CHANGES_OF_CANCELLED, ([str(run) for run in runs],))
