"""The ledger of loads in PostgreSQL: what a load expects, what has arrived, and when it is complete.

The ledger is written after the prices, in their transaction, by one writer at a time. So exactly one writer
finds that a load has ended. Plans, results and repetitions of them may arrive in any order.

Of two lists of a brand's models the newer counts, and of two lists of a month's brands. Of two results of a
model in one load, the one with fewer prices without a usable answer counts, then the newer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from psycopg2.extras import execute_values

from fipe_api.database.answers import Tally
from fipe_api.database.staging import copy_rows
from fipe_api.load.state import LoadState
from fipe_api.messages import (
    BrandPlanMessage,
    CancellationMessage,
    ConfirmationMessage,
    EmptyBrandMessage,
    LedgerMessage,
    ModelYearFuel,
    PriceMessage,
    ResultMessage,
    RunPlanMessage,
)

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
    searched_at: datetime
    model_code: int | None = None
    prices: int = 0
    unpriced: int = 0
    rejected: int = 0
    mirrored: int = 0
    gaps: str | None = None
    asked_at: datetime | None = None


class EndedLoad(NamedTuple):
    """A load that became complete, or whose last results arrived and left it incomplete.

    Attributes:
        run_id: its run.
        reference_code: its month's code.
        reference_month: its month.
        state: complete or incomplete.
        changed: prices that it found new, changed or withdrawn.
        unpriced: prices that FIPE lists and denied.
        rejected: prices that had no usable answer.
    """

    run_id: str
    reference_code: int
    reference_month: date
    state: LoadState
    changed: int
    unpriced: int
    rejected: int


class ShrunkMonth(NamedTuple):
    """A month that lost more than a finished month does: in how many brands, and prices before and now."""

    reference_code: int
    reference_month: date
    brands: int
    prices_before: int
    prices: int


class LedgerNews(NamedTuple):
    """What happened for the first time in a transaction: to be announced once that is committed."""

    ended: tuple[EndedLoad, ...] = ()
    shrunk: tuple[ShrunkMonth, ...] = ()

    @property
    def completed(self) -> tuple[EndedLoad, ...]:
        """The loads that became complete."""
        return tuple(load for load in self.ended if load.state == LoadState.COMPLETE)


# Until a plan has arrived, the largest number counts: a resumed part of a load has fewer brands.
MERGE_LOAD_RUNS = """
merge into fipe.load_run as kept
using (values %s) as given (run_id, reference_code, brands_expected)
on (kept.run_id, kept.reference_code) = (given.run_id, given.reference_code)
when matched and kept.planned_at is null and kept.brands_expected < given.brands_expected then
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

# A repeated start may find other brands than the first one: the newer list counts.
UPDATE_RUN_PLANS = """
update fipe.load_run as run
set planned_at = plan.listed_at, brands_expected = plan.brands, whole_month = plan.whole_month,
    wanted_types = plan.types::smallint[], wanted_brands = plan.wanted_brands::jsonb,
    wanted_models = plan.wanted_models::jsonb
from (values %s) as plan (id, listed_at, brands, whole_month, types, wanted_brands, wanted_models)
where run.id = plan.id
  and (run.planned_at is null or (run.planned_at, run.brands_expected) < (plan.listed_at, plan.brands))
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
    select distinct on (load_run_id, vehicle_type, brand_code)
           load_run_id, vehicle_type, brand_code, searched_at, models_expected
    from staged_load
    order by load_run_id, vehicle_type, brand_code, searched_at desc, models_expected desc
) as staged
on (kept.load_run_id, kept.vehicle_type, kept.brand_code)
 = (staged.load_run_id, staged.vehicle_type, staged.brand_code)
when matched and (kept.searched_at is null or (kept.searched_at, kept.models_expected)
                                            < (staged.searched_at, staged.models_expected)) then
    update set searched_at = staged.searched_at, models_expected = staged.models_expected
when not matched then
    insert (load_run_id, vehicle_type, brand_code, searched_at, models_expected)
    values (staged.load_run_id, staged.vehicle_type, staged.brand_code, staged.searched_at,
            staged.models_expected)
"""

# A plan is of one list of the brand's models, in parts; a brand without models has a plan without parts.
REPLACE_OLDER_BRAND_PLANS = """
with replaced as (
    update fipe.load_brand as brand set planned_at = plan.searched_at
    from (
        select load_run_id, vehicle_type, brand_code, max(searched_at) as searched_at
        from (values %s) as given (load_run_id, vehicle_type, brand_code, searched_at)
        group by load_run_id, vehicle_type, brand_code
    ) as plan
    where (brand.load_run_id, brand.vehicle_type, brand.brand_code)
        = (plan.load_run_id, plan.vehicle_type, plan.brand_code)
      and (brand.planned_at is null or brand.planned_at < plan.searched_at)
    returning brand.load_run_id, brand.vehicle_type, brand.brand_code
)
delete from fipe.load_brand_plan as plan using replaced
where (plan.load_run_id, plan.vehicle_type, plan.brand_code)
    = (replaced.load_run_id, replaced.vehicle_type, replaced.brand_code)
"""

INSERT_BRAND_PLANS = """
insert into fipe.load_brand_plan (load_run_id, vehicle_type, brand_code, part, model_codes, vehicles)
select load_run_id, vehicle_type, brand_code, part, model_codes, vehicles
from (values %s) as given (load_run_id, vehicle_type, brand_code, searched_at, part, model_codes, vehicles)
join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
where brand.planned_at = given.searched_at
on conflict do nothing
"""

MERGE_LOAD_MODELS = """
merge into fipe.load_model as kept
using (
    select distinct on (load_run_id, vehicle_type, brand_code, model_code) *
    from staged_load
    where model_code is not null
    order by load_run_id, vehicle_type, brand_code, model_code, rejected, asked_at desc, prices desc,
             unpriced desc, mirrored desc, gaps::text desc
) as staged
on (kept.load_run_id, kept.vehicle_type, kept.brand_code, kept.model_code)
 = (staged.load_run_id, staged.vehicle_type, staged.brand_code, staged.model_code)
when matched and (staged.rejected, kept.asked_at, kept.prices, kept.unpriced, kept.mirrored, kept.gaps::text)
               < (kept.rejected, staged.asked_at, staged.prices, staged.unpriced, staged.mirrored,
                  staged.gaps::text) then
    update set prices = staged.prices, unpriced = staged.unpriced, rejected = staged.rejected,
               mirrored = staged.mirrored, gaps = staged.gaps, asked_at = staged.asked_at,
               received_at = default
when not matched then
    insert (load_run_id, vehicle_type, brand_code, model_code, prices, unpriced, rejected, mirrored, gaps,
            asked_at)
    values (staged.load_run_id, staged.vehicle_type, staged.brand_code, staged.model_code, staged.prices,
            staged.unpriced, staged.rejected, staged.mirrored, staged.gaps, staged.asked_at)
"""

MERGE_CANCELLATIONS = """
insert into fipe.load_cancellation as kept (run_id, changes, cancelled, waits_for)
values %s
on conflict (run_id) do update
    set changes = excluded.changes, cancelled = excluded.cancelled, waits_for = excluded.waits_for,
        changed_at = default
    where kept.changes < excluded.changes
"""

MERGE_CONFIRMATIONS = """
insert into fipe.import_confirmation as kept
       (reference_month, vehicle_types, prices_asked, imported, run_id, confirmed_at)
select told.*
from (values %s) as told (month, vehicle_types, prices_asked, imported, run_id, confirmed_at)
join fipe.reference_month as reference on reference.month = told.month
on conflict (reference_month) do update
    set vehicle_types = excluded.vehicle_types, prices_asked = excluded.prices_asked,
        imported = excluded.imported, run_id = excluded.run_id, confirmed_at = excluded.confirmed_at
    where kept.confirmed_at < excluded.confirmed_at
"""

COUNT_CHANGES = """
update fipe.load_run as run
set changed = run.changed + counted.changed, corrected = run.corrected + counted.corrected,
    withdrawn = run.withdrawn + counted.withdrawn
from (values %s) as counted (id, changed, corrected, withdrawn)
where run.id = counted.id
"""

# A brand has ended when as many models have arrived as the newest list has, with all that its plan names. It
# is complete when each of them had usable answers. Both follow from what has arrived, so both may end again:
# a newer list may have more models.
# Returns how many brands changed, and whether one of the brands is or was complete or has a model that was
# not answered alike.
END_BRANDS = """
with touched as (
    select brand.load_run_id, brand.vehicle_type, brand.brand_code, brand.models_expected,
           brand.completed_at is not null as was_complete,
           (
               select count(*) from fipe.load_model as model
               where (model.load_run_id, model.vehicle_type, model.brand_code)
                   = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
           ) as models_received
    from (select distinct load_run_id, vehicle_type, brand_code from staged_load) as staged
    join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
),
found as (
    select touched.*,
           case when models_expected <= models_received then not exists (
               select from fipe.load_missing_model as missing
               where (missing.load_run_id, missing.vehicle_type, missing.brand_code)
                   = (touched.load_run_id, touched.vehicle_type, touched.brand_code)
           ) else false end as has_ended
    from touched
),
judged as (
    select found.*,
           case when has_ended then not exists (
               select from fipe.load_model as model
               where (model.load_run_id, model.vehicle_type, model.brand_code)
                   = (found.load_run_id, found.vehicle_type, found.brand_code) and model.rejected > 0
           ) else false end as is_complete
    from found
),
changed as (
    update fipe.load_brand as brand
    set ended_at = case when has_ended then coalesce(brand.ended_at, clock_timestamp()) end,
        completed_at = case when is_complete then coalesce(brand.completed_at, clock_timestamp()) end
    from judged
    where (brand.load_run_id, brand.vehicle_type, brand.brand_code)
        = (judged.load_run_id, judged.vehicle_type, judged.brand_code)
      and (brand.ended_at is not null, brand.completed_at is not null) <> (has_ended, is_complete)
    returning 1
)
select (select count(*) from changed),
       exists (select from judged where was_complete or is_complete) or exists (
           select from touched
           join fipe.load_run as run on run.id = touched.load_run_id
           join fipe.reference_month as reference on reference.code = run.reference_code
           join fipe.model_answer as answer
               on (answer.reference_month, answer.vehicle_type, answer.brand_code)
                = (reference.month, touched.vehicle_type, touched.brand_code)
       )
"""

PREPARED = {
    "merge_load_brands": MERGE_LOAD_BRANDS,
    "merge_load_models": MERGE_LOAD_MODELS,
    "end_brands": END_BRANDS,
}
"""The statements here that every batch needs."""

# Returns the loads that have just become complete, or that have just ended otherwise and are not cancelled.
END_RUNS = """
with judged as (
    select run.id, run.ended_at is not null as had_ended, run.completed_at is not null as was_complete,
           run.brands_expected <= count(brand.ended_at) and bool_and(brand.ended_at is not null) as has_ended,
           run.brands_expected <= count(brand.completed_at)
               and bool_and(brand.completed_at is not null) as is_complete
    from fipe.load_run as run
    join fipe.load_brand as brand on brand.load_run_id = run.id
    where run.id = any(%s)
    group by run.id
),
changed as (
    update fipe.load_run as run
    set ended_at = case when has_ended then coalesce(run.ended_at, clock_timestamp()) end,
        completed_at = case when is_complete then coalesce(run.completed_at, clock_timestamp()) end
    from judged
    where run.id = judged.id and (had_ended, was_complete) <> (has_ended, is_complete)
    returning run.id, run.run_id, run.reference_code, run.changed, run.ended_at, run.completed_at,
              is_complete > was_complete or has_ended > had_ended as is_news
)
select changed.run_id::text, changed.reference_code, reference.month,
       fipe.load_state(changed.ended_at, changed.completed_at, false), changed.changed,
       (select coalesce(sum(unpriced), 0)::integer from fipe.load_model where load_run_id = changed.id),
       (select coalesce(sum(rejected), 0)::integer from fipe.load_model where load_run_id = changed.id)
from changed
join fipe.reference_month as reference on reference.code = changed.reference_code
where is_news and (changed.completed_at is not null or not fipe.is_cancelled(changed.run_id))
"""

# Once per load, as soon as it is complete and known to be of the whole month.
COMPARE_MONTHS = """
update fipe.load_run as run set shrunk = exists (
    select from fipe.month_comparison as compared
    where compared.reference_code = run.reference_code and compared.shrunk
)
where run.id = any(%s) and run.completed_at is not null and run.whole_month and run.shrunk is null
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
    """Whether messages ended or completed a brand, and whether prices may have been withdrawn with them."""

    end_a_brand: bool
    may_withdraw: bool


def write_arrivals(cursor: "cursor", messages: Sequence[LedgerMessage], runs: Mapping[Run, int]) -> Arrivals:
    """Writes what the messages say about the brands and models of their loads, and ends brands.

    Args:
        cursor: of the transaction that has written the prices of the messages.
        messages: at least one; repetitions change nothing.
        runs: what `write_runs` answered.
    """
    entries = {
        _entry(message, runs[message.run_id, message.reference.code])
        for message in messages
        if not isinstance(message, RunPlanMessage)
    }
    copy_rows(cursor, "staged_load", LedgerEntry._fields, entries)
    _write_run_plans(cursor, [each for each in messages if isinstance(each, RunPlanMessage)], runs)
    cursor.execute("execute merge_load_brands; execute merge_load_models")
    _write_brand_plans(
        cursor, [each for each in messages if isinstance(each, BrandPlanMessage | EmptyBrandMessage)], runs
    )
    cursor.execute("execute end_brands")
    ((changed, may_withdraw),) = cursor.fetchall()
    return Arrivals(changed > 0, changed > 0 or may_withdraw)


def write_cancellations(cursor: "cursor", messages: Sequence[CancellationMessage]) -> None:
    """Writes which runs are cancelled."""
    newest = {each.run_id: each for each in sorted(messages, key=lambda each: each.changes)}
    if newest:
        rows = [
            (str(run_id), each.changes, each.cancelled, each.waits_for) for run_id, each in newest.items()
        ]
        execute_values(cursor, MERGE_CANCELLATIONS, rows, template="(%s::uuid, %s, %s, %s)")


def write_confirmations(cursor: "cursor", messages: Sequence[ConfirmationMessage]) -> None:
    """Writes which imported months samples have confirmed."""
    newest = {each.reference.month: each for each in sorted(messages, key=lambda each: each.confirmed_at)}
    if newest:
        rows = [
            (
                month,
                list(each.vehicle_types),
                each.prices_asked,
                each.imported,
                str(each.run_id),
                each.confirmed_at,
            )
            for month, each in newest.items()
        ]
        template = "(%s::date, %s::smallint[], %s, %s, %s::uuid, %s)"
        execute_values(cursor, MERGE_CONFIRMATIONS, rows, template=template)


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
    brand = (
        load_run_id,
        message.vehicle_type,
        message.brand.code,
        message.models_in_brand,
        message.searched_at,
    )
    if not isinstance(message, PriceMessage):
        return LedgerEntry(*brand)
    counts = (len(message.prices), len(message.unpriced), len(message.rejected))
    mirrored = sum(price.source != "fipe" for price in message.prices)
    return LedgerEntry(*brand, message.model.code, *counts, mirrored, _gaps(message), message.asked_at)


def _gaps(message: PriceMessage) -> str | None:
    """The listed prices that did not come, as fipe.load_model keeps them; None if all came."""
    if message.prices and not (message.unpriced or message.rejected):
        return None
    gaps = {"unpriced": _listed(message.unpriced), "rejected": _listed(message.rejected)}
    return json.dumps({"model": message.model.name, **gaps})


def _listed(years: Iterable[ModelYearFuel]) -> list[tuple[int, int]]:
    return sorted((year.model_year, year.fuel_code) for year in years)


def _write_run_plans(cursor: "cursor", plans: Sequence[RunPlanMessage], runs: Mapping[Run, int]) -> None:
    if not plans:
        return
    newest: dict[int, RunPlanMessage] = {}
    for plan in plans:
        key = runs[plan.run_id, plan.reference.code]
        known = newest.setdefault(key, plan)
        if (known.listed_at, known.brands_in_run) < (plan.listed_at, plan.brands_in_run):
            newest[key] = plan
    rows = [
        (
            key,
            plan.listed_at,
            plan.brands_in_run,
            plan.whole_month,
            sorted(plan.vehicle_types),
            json.dumps(plan.wanted_brands),
            json.dumps(plan.wanted_models),
        )
        for key, plan in newest.items()
    ]
    execute_values(cursor, UPDATE_RUN_PLANS, rows)
    brands = {
        (runs[plan.run_id, plan.reference.code], each.vehicle_type, each.brand.code): each.brand.name
        for plan in plans
        for each in plan.brands
    }
    if brands:
        execute_values(cursor, MERGE_PLANNED_BRANDS, sorted((*key, name) for key, name in brands.items()))


def _write_brand_plans(
    cursor: "cursor", plans: Sequence[BrandPlanMessage | EmptyBrandMessage], runs: Mapping[Run, int]
) -> None:
    if not plans:
        return
    brands = [
        (
            runs[plan.run_id, plan.reference.code],
            plan.vehicle_type,
            plan.brand.code,
            plan.searched_at,
        )
        for plan in plans
    ]
    execute_values(cursor, REPLACE_OLDER_BRAND_PLANS, brands)
    rows = [
        (
            *brand,
            plan.part,
            [model.code for model in plan.models],
            [model.vehicles for model in plan.models],
        )
        for brand, plan in zip(brands, plans, strict=True)
        if isinstance(plan, BrandPlanMessage)
    ]
    if rows:
        template = "(%s, %s, %s, %s::timestamptz, %s, %s::integer[], %s::smallint[])"
        execute_values(cursor, INSERT_BRAND_PLANS, rows, template=template)


def end_runs(cursor: "cursor", runs: Mapping[Run, int]) -> LedgerNews:
    """Ends the loads whose last results have arrived, and compares whole months; returns the news."""
    if not runs:
        return LedgerNews()
    run_keys = list(runs.values())
    cursor.execute(END_RUNS, (run_keys,))
    ended = tuple(
        EndedLoad(run_id, code, month, LoadState(state), *counts)
        for run_id, code, month, state, *counts in cursor.fetchall()
    )
    cursor.execute(COMPARE_MONTHS, (run_keys,))
    shrunk_codes = [reference_code for reference_code, shrunk in cursor.fetchall() if shrunk]
    if not shrunk_codes:
        return LedgerNews(ended)
    cursor.execute(SELECT_SHRUNK_MONTHS, (shrunk_codes,))
    return LedgerNews(ended, tuple(ShrunkMonth(*row) for row in cursor.fetchall()))
