"""The ledger of loads in PostgreSQL: what a load expects, what has arrived, and when it is complete.

The ledger is written after the prices, in their transaction, by one writer at a time. So exactly one writer
marks a load complete. Plans, results and repetitions of them may arrive in any order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from psycopg2.extras import execute_values

from fipe_api.database.answers import Tally
from fipe_api.database.staging import copy_rows
from fipe_api.messages import BrandPlanMessage, LedgerMessage, PriceMessage, ResultMessage, RunPlanMessage

if TYPE_CHECKING:
    from psycopg2.extensions import cursor


Run = tuple[UUID, int]
"""A run's id with one of its reference codes: the ledger has a row for each."""


class LedgerEntry(NamedTuple):
    """What one message says about a brand of its load, and about a model if it names one."""

    load_run_id: int
    vehicle_type: int
    brand_code: int
    models_expected: int
    model_code: int | None = None
    prices: int = 0
    unpriced: int = 0
    rejected: int = 0
    mirrored: int = 0
    asked_at: datetime | None = None

    def age(self) -> tuple[object, ...]:
        """What decides which of two entries of a key counts: the newer one."""
        return (self.asked_at, self.prices, self.unpriced, self.rejected, self.mirrored)

    def key(self) -> tuple[int | None, ...]:
        """What identifies an entry: a batch has one of each."""
        return (self.load_run_id, self.vehicle_type, self.brand_code, self.model_code)


class CompletedLoad(NamedTuple):
    """A load that became complete; `changed` counts the prices it found new or changed."""

    run_id: str
    reference_code: int
    reference_month: date
    changed: int


class ShrunkMonth(NamedTuple):
    """A month that lost more than a finished month does: in how many brands, and prices before and now."""

    reference_code: int
    reference_month: date
    brands: int
    prices_before: int
    prices: int


class LedgerNews(NamedTuple):
    """What happened for the first time in a transaction: to be announced once that is committed."""

    completed: tuple[CompletedLoad, ...] = ()
    shrunk: tuple[ShrunkMonth, ...] = ()


# A repeated start may find more brands than the first one: the largest number counts.
MERGE_LOAD_RUNS = """
merge into fipe.load_run as kept
using (values %s) as given (run_id, reference_code, brands_expected)
on (kept.run_id, kept.reference_code) = (given.run_id, given.reference_code)
when matched and kept.brands_expected < given.brands_expected then
    update set brands_expected = given.brands_expected
when not matched then
    insert (run_id, reference_code, brands_expected)
    values (given.run_id, given.reference_code, given.brands_expected)
"""

SELECT_LOAD_RUNS = """
select id, run_id::text, reference_code, brands_expected
from fipe.load_run
where (run_id, reference_code) in %s
"""

UPDATE_RUN_PLANS = """
update fipe.load_run as run set whole_table = plan.whole_table, wanted_models = plan.wanted_models::jsonb
from (values %s) as plan (id, whole_table, wanted_models)
where run.id = plan.id and run.whole_table is null
"""

MERGE_PLANNED_BRANDS = """
merge into fipe.load_brand as kept
using (values %s) as planned (load_run_id, vehicle_type, brand_code, brand)
on (kept.load_run_id, kept.vehicle_type, kept.brand_code)
 = (planned.load_run_id, planned.vehicle_type, planned.brand_code)
when matched and kept.brand is null then
    update set brand = planned.brand
when not matched then
    insert (load_run_id, vehicle_type, brand_code, brand)
    values (planned.load_run_id, planned.vehicle_type, planned.brand_code, planned.brand)
"""

MERGE_LOAD_BRANDS = """
merge into fipe.load_brand as kept
using (
    select load_run_id, vehicle_type, brand_code, max(models_expected) as models_expected
    from staged_load
    group by load_run_id, vehicle_type, brand_code
) as staged
on (kept.load_run_id, kept.vehicle_type, kept.brand_code)
 = (staged.load_run_id, staged.vehicle_type, staged.brand_code)
when matched and (kept.models_expected is null or kept.models_expected < staged.models_expected) then
    update set models_expected = staged.models_expected
when not matched then
    insert (load_run_id, vehicle_type, brand_code, models_expected)
    values (staged.load_run_id, staged.vehicle_type, staged.brand_code, staged.models_expected)
"""

INSERT_BRAND_PLANS = """
insert into fipe.load_brand_plan (load_run_id, vehicle_type, brand_code, part, model_codes, year_fuels)
values %s
on conflict do nothing
"""

MERGE_LOAD_MODELS = """
merge into fipe.load_model as kept
using (select * from staged_load where model_code is not null) as staged
on (kept.load_run_id, kept.vehicle_type, kept.brand_code, kept.model_code)
 = (staged.load_run_id, staged.vehicle_type, staged.brand_code, staged.model_code)
when matched and (kept.asked_at, kept.prices, kept.unpriced, kept.rejected, kept.mirrored)
               < (staged.asked_at, staged.prices, staged.unpriced, staged.rejected, staged.mirrored) then
    update set prices = staged.prices, unpriced = staged.unpriced, rejected = staged.rejected,
               mirrored = staged.mirrored, asked_at = staged.asked_at, received_at = default
when not matched then
    insert (load_run_id, vehicle_type, brand_code, model_code, prices, unpriced, rejected, mirrored, asked_at)
    values (staged.load_run_id, staged.vehicle_type, staged.brand_code, staged.model_code, staged.prices,
            staged.unpriced, staged.rejected, staged.mirrored, staged.asked_at)
"""

COUNT_CHANGES = """
update fipe.load_run as run
set changed = run.changed + counted.changed, corrected = run.corrected + counted.corrected,
    withdrawn = run.withdrawn + counted.withdrawn
from (values %s) as counted (id, changed, corrected, withdrawn)
where run.id = counted.id
"""

# A brand is complete when as many models have arrived as any message expects, with all that its plan names.
# Returns how many became complete, and whether one of these brands was so before or has a model that was not
# answered alike.
COMPLETE_BRANDS = """
with touched as (
    select distinct load_run_id, vehicle_type, brand_code from staged_load
),
completed as (
    update fipe.load_brand as brand set completed_at = clock_timestamp()
    from touched
    where (brand.load_run_id, brand.vehicle_type, brand.brand_code)
        = (touched.load_run_id, touched.vehicle_type, touched.brand_code)
      and brand.completed_at is null
      and brand.models_expected <= (
          select count(*) from fipe.load_model as model
          where (model.load_run_id, model.vehicle_type, model.brand_code)
              = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
      )
      and not exists (
          select from fipe.load_missing_model as missing
          where (missing.load_run_id, missing.vehicle_type, missing.brand_code)
              = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
      )
    returning 1
)
select (select count(*) from completed),
       exists (
           select from touched
           join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
           where brand.completed_at is not null
       ) or exists (
           select from touched
           join fipe.load_run as run on run.id = touched.load_run_id
           join fipe.reference_month as reference on reference.code = run.reference_code
           join fipe.model_answer as answer
               on (answer.reference_month, answer.vehicle_type, answer.brand_code)
                = (reference.month, touched.vehicle_type, touched.brand_code)
       )
"""

COMPLETE_RUNS = """
update fipe.load_run as run set completed_at = clock_timestamp()
from fipe.reference_month as reference
where run.id = any(%s) and run.completed_at is null and reference.code = run.reference_code
  and run.brands_expected <= (
      select count(*) from fipe.load_brand as brand
      where brand.load_run_id = run.id and brand.completed_at is not null
  )
  and not exists (
      select from fipe.load_brand as brand where brand.load_run_id = run.id and brand.completed_at is null
  )
returning run.run_id::text, run.reference_code, reference.month, run.changed
"""

# Once per load, as soon as it is complete and known to be of the whole month.
COMPARE_MONTHS = """
update fipe.load_run as run set shrunk = exists (
    select from fipe.month_comparison as compared
    where compared.reference_code = run.reference_code and compared.shrunk
)
where run.id = any(%s) and run.completed_at is not null and run.whole_table and run.shrunk is null
returning run.reference_code, run.shrunk
"""

SELECT_SHRUNK_MONTHS = """
select reference_code, reference_month, count(*) filter (where shrunk and brand_code is not null)::integer,
       max(prices_before) filter (where brand_code is null),
       max(prices) filter (where brand_code is null)
from fipe.month_comparison
where reference_code = any(%s)
group by reference_code, reference_month
"""


class Arrivals(NamedTuple):
    """Whether messages completed a brand, and whether prices may have been withdrawn with them."""

    complete_a_brand: bool
    may_withdraw: bool


def write_arrivals(cursor: "cursor", messages: Sequence[LedgerMessage], runs: Mapping[Run, int]) -> Arrivals:
    """Writes what the messages say about the brands and models of their loads, and completes brands.

    Args:
        cursor: of the transaction that has written the prices of the messages.
        messages: at least one; repetitions change nothing.
        runs: what `write_runs` answered.
    """
    entries: dict[tuple[int | None, ...], LedgerEntry] = {}
    for message in messages:
        if isinstance(message, RunPlanMessage):
            continue
        entry = _entry(message, runs[message.run_id, message.reference.code])
        known = entries.setdefault(entry.key(), entry)
        if isinstance(message, PriceMessage) and known.age() < entry.age():
            entries[entry.key()] = entry
    copy_rows(cursor, "staged_load", LedgerEntry._fields, entries.values())
    _write_run_plans(cursor, [each for each in messages if isinstance(each, RunPlanMessage)], runs)
    cursor.execute(f"{MERGE_LOAD_BRANDS}; {MERGE_LOAD_MODELS}")
    _write_brand_plans(cursor, [each for each in messages if isinstance(each, BrandPlanMessage)], runs)
    cursor.execute(COMPLETE_BRANDS)
    ((completed, may_withdraw),) = cursor.fetchall()
    return Arrivals(completed > 0, completed > 0 or may_withdraw)


def count_changes(cursor: "cursor", tallies: Mapping[int, Tally]) -> None:
    """Adds to what loads have changed, by the ids of their rows."""
    rows = [(load, *tally) for load, tally in tallies.items() if any(tally)]
    if rows:
        execute_values(cursor, COUNT_CHANGES, rows)


def write_runs(cursor: "cursor", messages: Sequence[LedgerMessage]) -> dict[Run, int]:
    """Writes the loads that the messages belong to; returns the ids of their rows."""
    brands_expected: dict[Run, int] = {}
    for message in messages:
        run = message.run_id, message.reference.code
        brands_expected[run] = max(message.brands_in_run, brands_expected.get(run, 0))
    known = _select_runs(cursor, brands_expected)
    rows = [
        (str(run_id), code, brands)
        for (run_id, code), brands in brands_expected.items()
        if (run_id, code) not in known or known[run_id, code][1] < brands
    ]
    if rows:
        execute_values(cursor, MERGE_LOAD_RUNS, rows, template="(%s::uuid, %s, %s)")
        known = _select_runs(cursor, brands_expected)
    return {run: key for run, (key, _) in known.items()}


def _select_runs(cursor: "cursor", runs: Iterable[Run]) -> dict[Run, tuple[int, int]]:
    """The ids of the known ones' rows, and how many brands each expects."""
    cursor.execute(SELECT_LOAD_RUNS, (tuple((str(run_id), code) for run_id, code in runs),))
    return {(UUID(run_id), code): (key, brands) for key, run_id, code, brands in cursor.fetchall()}


def _entry(message: ResultMessage | BrandPlanMessage, load_run_id: int) -> LedgerEntry:
    brand = (load_run_id, message.vehicle_type, message.brand.code, message.models_in_brand)
    if not isinstance(message, PriceMessage):
        return LedgerEntry(*brand)
    counts = (len(message.prices), len(message.unpriced), len(message.rejected))
    mirrored = sum(price.source != "fipe" for price in message.prices)
    return LedgerEntry(*brand, message.model.code, *counts, mirrored, message.asked_at)


def _write_run_plans(cursor: "cursor", plans: Sequence[RunPlanMessage], runs: Mapping[Run, int]) -> None:
    if not plans:
        return
    said = {
        runs[plan.run_id, plan.reference.code]: (plan.whole_table, json.dumps(plan.wanted_models))
        for plan in plans
    }
    execute_values(cursor, UPDATE_RUN_PLANS, [(key, *plan) for key, plan in said.items()])
    brands = {
        (runs[plan.run_id, plan.reference.code], each.vehicle_type, each.brand.code): each.brand.name
        for plan in plans
        for each in plan.brands
    }
    if brands:
        execute_values(cursor, MERGE_PLANNED_BRANDS, sorted((*key, name) for key, name in brands.items()))


def _write_brand_plans(cursor: "cursor", plans: Sequence[BrandPlanMessage], runs: Mapping[Run, int]) -> None:
    rows = [
        (
            runs[plan.run_id, plan.reference.code],
            plan.vehicle_type,
            plan.brand.code,
            plan.part,
            [model.code for model in plan.models],
            [model.year_fuels for model in plan.models],
        )
        for plan in plans
    ]
    if rows:
        template = "(%s, %s, %s, %s, %s::integer[], %s::smallint[])"
        execute_values(cursor, INSERT_BRAND_PLANS, rows, template=template)


def complete_runs(cursor: "cursor", runs: Mapping[Run, int]) -> LedgerNews:
    """Completes the loads that lack nothing, and compares whole months; returns what is to be announced."""
    if not runs:
        return LedgerNews()
    run_keys = list(runs.values())
    cursor.execute(COMPLETE_RUNS, (run_keys,))
    completed = tuple(CompletedLoad(*row) for row in cursor.fetchall())
    cursor.execute(COMPARE_MONTHS, (run_keys,))
    shrunk_codes = [reference_code for reference_code, shrunk in cursor.fetchall() if shrunk]
    if not shrunk_codes:
        return LedgerNews(completed)
    cursor.execute(SELECT_SHRUNK_MONTHS, (shrunk_codes,))
    return LedgerNews(completed, tuple(ShrunkMonth(*row) for row in cursor.fetchall()))
