"""The SQL of the writer: staging, the choice of what has to be decided, and the writing itself."""

# The staged rows exist too briefly to have statistics. Without them the planner reads and hashes whole tables
# instead of looking up the few keys in indexes, which doubles the time of small batches.
BEGIN_WRITING = """
lock table fipe.writers_turn in exclusive mode; -- writers take turns
set local enable_hashjoin = off;
set local enable_mergejoin = off;
select to_regclass('pg_temp.staged_load') is null, exists (select from fipe.import_month)
"""

# Once per connection. Each commit empties all temporary tables, used or not, so there are few.
CREATE_STAGING = """
create temporary table staged_model (
    position integer primary key, reference_month date, vehicle_type smallint, brand_code integer,
    brand text, model_code integer, model text,
    load_run_id integer, run_id uuid, asked_at timestamptz, plain boolean
) on commit delete rows;
create temporary table staged_price (
    position integer, model_year smallint, fuel_code smallint, fuel text, fipe_code text,
    price_brl numeric(12,2), source smallint,
    load_run_id integer, asked_from timestamptz, asked_until timestamptz, ended_by integer, reason text
) on commit delete rows;
create index on staged_price (position);
create temporary table staged_vehicle (
    vehicle_id integer, is_new boolean, old_first date, old_last date, reference_month date,
    vehicle_type smallint, brand_code integer, model_code integer, model_id integer,
    model_year smallint, fuel_code smallint, fuel text, fipe_code text,
    price_brl numeric(12,2), source smallint
) on commit delete rows;
create temporary table staged_subject (
    reference_month date, vehicle_type smallint, brand_code integer, model_code integer
) on commit delete rows;
create temporary table staged_load (
    load_run_id integer, vehicle_type smallint, brand_code integer, models_expected integer,
    searched_at timestamptz, model_code integer, prices smallint, unpriced smallint, rejected smallint,
    mirrored smallint, gaps jsonb, asked_at timestamptz
) on commit delete rows
"""

# For what few transactions write.
CREATE_RARE_STAGING = """
create temporary table if not exists staged_row (
    vehicle_id integer, reference_month date, price_brl numeric(12,2), source smallint,
    load_run_id integer, asked_from timestamptz, asked_until timestamptz, ended_by integer, reason text
) on commit delete rows;
create index if not exists staged_row_vehicle_id on staged_row (vehicle_id, reference_month);
create temporary table if not exists staged_span (
    vehicle_id integer primary key, old_first date, old_last date, new_first date, new_last date, lost boolean
) on commit delete rows
"""

# An import may have brought the month, without its code.
INSERT_REFERENCE_MONTHS = """
with given (code, month) as (values %s),
named as (
    update fipe.reference_month as kept
    set code = given.code
    from given
    where kept.month = given.month and kept.code is null
      and not exists (select from fipe.reference_month as other where other.code = given.code)
)
insert into fipe.reference_month (code, month)
select code, month from given
where not exists (select from fipe.reference_month as kept where kept.month = given.month)
on conflict do nothing
"""

SELECT_REFERENCE_MONTHS = "select code, month from fipe.reference_month where code = any(%s)"

# first: the month has no price yet. new: no load has said anything of the model in this month; imports do not
# count. known: every answer so far said the same, and this one is not the oldest. Otherwise all answers
# together decide.
JUDGE_MODELS = """
select staged.position,
       case
           when not staged.plain or recorded.so or missed.so then 'differs'
           when known.answers = 0 and current.prices = 0 then
               case when exists (select from fipe.price where price.reference_month = staged.reference_month)
                    then 'new'
                    else 'first'
               end
           when current.prices = given.prices and current.same = given.prices
                and (known.same or known.other_runs and known.older) then 'known'
           else 'differs'
       end
from staged_model as staged
join fipe.reference_month as reference on reference.month = staged.reference_month
cross join lateral (
    select exists (
        select from fipe.model_answer as answer
        where (answer.reference_month, answer.vehicle_type, answer.brand_code, answer.model_code)
            = (staged.reference_month, staged.vehicle_type, staged.brand_code, staged.model_code)
    ) as so
) as recorded
cross join lateral (
    select count(*) as answers,
           coalesce(bool_or((run.id, model.asked_at) = (staged.load_run_id, staged.asked_at)), false) as same,
           coalesce(bool_and(run.id <> staged.load_run_id), false) as other_runs,
           coalesce(bool_or((model.asked_at, run.run_id) < (staged.asked_at, staged.run_id)), false) as older
    from fipe.load_run as run
    join fipe.load_model as model on model.load_run_id = run.id
    where run.reference_code = reference.code
      and (model.vehicle_type, model.brand_code, model.model_code)
        = (staged.vehicle_type, staged.brand_code, staged.model_code)
) as known
cross join lateral (
    select exists (
        select from fipe.load_run as run
        join fipe.load_brand as brand on brand.load_run_id = run.id
        where run.reference_code = reference.code and run.id <> staged.load_run_id
          and (brand.vehicle_type, brand.brand_code) = (staged.vehicle_type, staged.brand_code)
          and brand.completed_at is not null and run.whole_month is not null and run.wanted_models = '[]'
          and not exists (
              select from fipe.load_model as model
              where (model.load_run_id, model.vehicle_type, model.brand_code, model.model_code)
                  = (run.id, staged.vehicle_type, staged.brand_code, staged.model_code)
          )
    ) as so
) as missed
cross join lateral (
    select count(*) as prices from staged_price where staged_price.position = staged.position
) as given
cross join lateral (
    select count(*) as prices, count(same.position) as same
    from fipe.model
    join fipe.vehicle on vehicle.model_id = model.id
    join fipe.price on (price.reference_month, price.vehicle_id) = (staged.reference_month, vehicle.id)
        and not fipe.is_imported(price.source)
    left join staged_price as same
        on (same.position, same.model_year, same.fuel_code, same.fuel, same.fipe_code, same.price_brl)
         = (staged.position, vehicle.model_year, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code,
            price.price_brl)
        and same.source is not distinct from price.source
        and (staged.brand, staged.model) = (model.brand, model.model)
    where (model.vehicle_type, model.brand_code, model.model_code)
        = (staged.vehicle_type, staged.brand_code, staged.model_code)
) as current
"""

DELETE_STAGED = """
delete from staged_price where position = any(%(positions)s);
delete from staged_model where position = any(%(positions)s)
"""

DELETE_ALL_STAGED = """
delete from staged_model; delete from staged_price; delete from staged_row; delete from staged_span
"""

# What loads have answered so far, of models that get their first rows here: all alike, as the prices are. The
# prices have the order of recorded messages: the text decides between two answers of the same time.
RECORD_ANSWERS = """
insert into fipe.model_answer
    (reference_month, vehicle_type, brand_code, model_code, load_run_id, asked_at, answer, changed)
select subject.*, known.load_run_id, known.asked_at,
       jsonb_build_object('prices', coalesce(current.prices, '[]'), 'listed', '[]'::jsonb),
       case when known.place = 1 then current.count else 0 end
from staged_subject as subject
join fipe.reference_month as reference on reference.month = subject.reference_month
cross join lateral (
    select count(*) as count,
           jsonb_agg(jsonb_build_array(
               vehicle.model_year, vehicle.fuel_code, model.brand, model.model, vehicle.fuel,
               vehicle.fipe_code, price.price_brl::text, price.source
           ) order by vehicle.model_year, vehicle.fuel_code) as prices
    from fipe.model
    join fipe.vehicle on vehicle.model_id = model.id
    join fipe.price on (price.reference_month, price.vehicle_id) = (subject.reference_month, vehicle.id)
        and not fipe.is_imported(price.source)
    where (model.vehicle_type, model.brand_code, model.model_code)
        = (subject.vehicle_type, subject.brand_code, subject.model_code)
) as current
cross join lateral (
    -- Prices that no load answered came by write_rows: a row without a load.
    select model.load_run_id, model.asked_at, row_number() over (order by model.asked_at, run.run_id) as place
    from (values (true)) as one (row)
    left join (
        fipe.load_run as run
        join fipe.load_model as model on model.load_run_id = run.id
    ) on run.reference_code = reference.code
        and (model.vehicle_type, model.brand_code, model.model_code)
          = (subject.vehicle_type, subject.brand_code, subject.model_code)
    where model.load_run_id is not null or current.count > 0
) as known
where not exists (
    select from fipe.model_answer as answer
    where (answer.reference_month, answer.vehicle_type, answer.brand_code, answer.model_code)
        = (subject.reference_month, subject.vehicle_type, subject.brand_code, subject.model_code)
)
"""

# Two answers of one load that were asked at the same time: the choice must not depend on their order.
INSERT_ANSWERS = """
insert into fipe.model_answer as kept
    (reference_month, vehicle_type, brand_code, model_code, load_run_id, asked_at, answer)
values %s
on conflict (reference_month, vehicle_type, brand_code, model_code, load_run_id, asked_at) do update
set answer = excluded.answer
where kept.answer is null or kept.answer::text < excluded.answer::text
returning reference_month, vehicle_type, brand_code, model_code
"""
ANSWER_TEMPLATE = "(%s, %s, %s, %s, %s, %s::timestamptz, %s::jsonb)"

# Complete loads of the brand that do not have the model: they asked for it when they asked for the brand's
# first model.
# One that a mirror answered in part says nothing about what it lacks.
SELECT_ABSENCES = """
select subject.*, run.id, min(of_brand.asked_at)
from staged_subject as subject
join fipe.reference_month as reference on reference.month = subject.reference_month
join fipe.load_run as run on run.reference_code = reference.code
join fipe.load_brand as brand on brand.load_run_id = run.id
    and (brand.vehicle_type, brand.brand_code) = (subject.vehicle_type, subject.brand_code)
join fipe.load_model as of_brand
    on (of_brand.load_run_id, of_brand.vehicle_type, of_brand.brand_code)
     = (run.id, subject.vehicle_type, subject.brand_code)
where brand.completed_at is not null and run.whole_month is not null and run.wanted_models = '[]'
  and not exists (
      select from fipe.model_answer as answer
      where (answer.reference_month, answer.vehicle_type, answer.brand_code, answer.model_code)
          = (subject.reference_month, subject.vehicle_type, subject.brand_code, subject.model_code)
        and answer.load_run_id = run.id and answer.answer is not null
  )
group by subject.reference_month, subject.vehicle_type, subject.brand_code, subject.model_code, run.id
having bool_and(of_brand.mirrored = 0) and bool_and(of_brand.model_code <> subject.model_code)
"""

SELECT_ANSWERS = """
select subject.*, answer.load_run_id, run.run_id::text, answer.asked_at, answer.answer, answer.changed,
       answer.corrected, answer.withdrawn
from staged_subject as subject
join fipe.model_answer as answer using (reference_month, vehicle_type, brand_code, model_code)
left join fipe.load_run as run on run.id = answer.load_run_id
"""

DELETE_ABSENCES = """
delete from fipe.model_answer as gone using (values %s) as given (month, type, brand, model, load_run_id)
where (gone.reference_month, gone.vehicle_type, gone.brand_code, gone.model_code, gone.load_run_id)
    = (given.month, given.type, given.brand, given.model, given.load_run_id)
  and gone.answer is null
"""

UPDATE_TALLIES = """
update fipe.model_answer as kept
set changed = given.changed, corrected = given.corrected, withdrawn = given.withdrawn
from (values %s) as given (month, type, brand, model, load_run_id, asked_at, changed, corrected, withdrawn)
where (kept.reference_month, kept.vehicle_type, kept.brand_code, kept.model_code)
    = (given.month, given.type, given.brand, given.model)
  and kept.load_run_id is not distinct from given.load_run_id
  and kept.asked_at is not distinct from given.asked_at
"""
TALLY_TEMPLATE = "(%s, %s, %s, %s, %s::integer, %s::timestamptz, %s, %s, %s)"

# Models of brands that a load has just completed, or more of whose results have just come: those that it
# lacks, with answers older than it, and those recorded as lacking.
STAGE_ABSENT_MODELS = """
with touched as (
    select run.id, run.run_id, reference.code, reference.month, brand.vehicle_type, brand.brand_code,
           brand.completed_at is not null and run.whole_month is not null
               and run.wanted_models = '[]' as is_whole,
           (
               select min(model.asked_at) from fipe.load_model as model
               where (model.load_run_id, model.vehicle_type, model.brand_code)
                   = (run.id, brand.vehicle_type, brand.brand_code)
           ) as asked_at
    from fipe.load_run as run
    join fipe.reference_month as reference on reference.code = run.reference_code
    join fipe.load_brand as brand on brand.load_run_id = run.id
    where run.id = any(%(planned)s) or (run.id, brand.vehicle_type, brand.brand_code) in (
        select load_run_id, vehicle_type, brand_code from staged_load
    )
)
insert into staged_subject
select distinct touched.month, touched.vehicle_type, touched.brand_code, answer.model_code
from touched
join fipe.model_answer as answer
    on (answer.reference_month, answer.vehicle_type, answer.brand_code)
     = (touched.month, touched.vehicle_type, touched.brand_code)
where touched.is_whole or answer.load_run_id = touched.id
union
select distinct touched.month, touched.vehicle_type, touched.brand_code, model.model_code
from touched
join fipe.model on (model.vehicle_type, model.brand_code) = (touched.vehicle_type, touched.brand_code)
join fipe.vehicle on vehicle.model_id = model.id
join fipe.price on (price.reference_month, price.vehicle_id) = (touched.month, vehicle.id)
    and not fipe.is_imported(price.source)
where touched.is_whole and touched.asked_at is not null
  and not exists (
      select from fipe.load_model as listed
      where (listed.load_run_id, listed.vehicle_type, listed.brand_code, listed.model_code)
          = (touched.id, model.vehicle_type, model.brand_code, model.model_code)
  )
  and not exists (
      select from fipe.load_run as run
      join fipe.load_model as newer on newer.load_run_id = run.id
      where run.reference_code = touched.code
        and (newer.vehicle_type, newer.brand_code, newer.model_code)
          = (model.vehicle_type, model.brand_code, model.model_code)
        and (newer.asked_at, run.run_id) > (touched.asked_at, touched.run_id)
  )
"""

INSERT_MODELS = """
insert into fipe.model (vehicle_type, brand_code, brand, model_code, model)
select distinct vehicle_type, brand_code, brand, model_code, model
from staged_model as staged
where not exists (
    select from fipe.model
    where (model.vehicle_type, model.brand_code, model.model_code, model.brand, model.model)
        = (staged.vehicle_type, staged.brand_code, staged.model_code, staged.brand, staged.model)
)
order by vehicle_type, brand_code, model_code, brand, model
"""

STAGE_VEHICLES = """
insert into staged_vehicle
select coalesce(vehicle.id, nextval('fipe.vehicle_id_seq')), vehicle.id is null,
       vehicle.first_month, vehicle.last_month, staged_model.reference_month,
       model.vehicle_type, model.brand_code, model.model_code, model.id,
       staged.model_year, staged.fuel_code, staged.fuel, staged.fipe_code, staged.price_brl, staged.source
from staged_model
join staged_price as staged using (position)
join fipe.model on (model.vehicle_type, model.brand_code, model.model_code, model.brand, model.model)
                 = (staged_model.vehicle_type, staged_model.brand_code, staged_model.model_code,
                    staged_model.brand, staged_model.model)
left join fipe.vehicle
    on (vehicle.model_id, vehicle.model_year, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code)
     = (model.id, staged.model_year, staged.fuel_code, staged.fuel, staged.fipe_code)
where staged_model.reference_month = $1
"""

INSERT_NEW_VEHICLES = """
insert into fipe.vehicle
    (id, series_id, model_id, model_year, fuel_code, fuel, fipe_code, first_month, last_month)
select vehicle_id, vehicle_id, model_id, model_year, fuel_code, fuel, fipe_code,
       reference_month, reference_month
from staged_vehicle
where is_new
"""

INSERT_NEW_PRICES = """
insert into fipe.price (vehicle_id, reference_month, price_brl, source)
select vehicle_id, reference_month, price_brl, source
from staged_vehicle
order by vehicle_id
on conflict (reference_month, vehicle_id) do update
set price_brl = excluded.price_brl, source = excluded.source
"""

UPDATE_MONTHS_OF_VEHICLES = """
update fipe.vehicle as kept
set first_month = least(kept.first_month, staged.reference_month),
    last_month = greatest(kept.last_month, staged.reference_month)
from staged_vehicle as staged
where kept.id = staged.vehicle_id and not staged.is_new
  and (staged.reference_month between staged.old_first and staged.old_last) is not true
"""

# As SELECT_VEHICLES_TO_RENEW, for vehicles that got this month.
SELECT_STAGED_VEHICLES_TO_RENEW = """
select staged.vehicle_id
from staged_vehicle as staged
where exists (
    select from fipe.vehicle as mate
    join fipe.model as mate_model on mate_model.id = mate.model_id
    where (mate.fipe_code, mate.model_year) = (staged.fipe_code, staged.model_year)
      and mate.id <> staged.vehicle_id
      and mate_model.vehicle_type = staged.vehicle_type
      and (staged.old_first is null
           or staged.reference_month > staged.old_last and mate.first_month > staged.old_last
           or staged.reference_month < staged.old_first and mate.last_month < staged.old_first
           or mate.fuel_code = staged.fuel_code
              and mate.first_month <= greatest(staged.old_last, staged.reference_month)
              and mate.last_month >= least(staged.old_first, staged.reference_month)
              and (mate_model.brand_code, mate_model.model_code) <> (staged.brand_code, staged.model_code))
) or exists (
    select from fipe.model as mate_model
    join fipe.vehicle as mate on mate.model_id = mate_model.id
    where (mate_model.vehicle_type, mate_model.brand_code, mate_model.model_code)
        = (staged.vehicle_type, staged.brand_code, staged.model_code)
      and mate.model_year = staged.model_year and mate.id <> staged.vehicle_id
      and (staged.old_first is null
           or staged.reference_month > staged.old_last and mate.first_month > staged.old_last
           or staged.reference_month < staged.old_first and mate.last_month < staged.old_first)
)
or exists (
    select from fipe.vehicle as own
    join fipe.vehicle as mate on mate.series_id = own.series_id
    where own.id = staged.vehicle_id and mate.id <> own.id
      and staged.reference_month between mate.first_month and mate.last_month
)
"""

# Most of what is written: prices of models that have none in the month so far. Nothing has to be compared or
# removed then, and one pass over the staged prices finds or numbers their vehicles.
WRITE_NEW_PRICES = """
execute insert_models;
delete from staged_vehicle;
execute stage_vehicles(%(month)s);
execute insert_new_vehicles;
execute insert_new_prices;
execute update_months_of_vehicles;
execute select_staged_vehicles_to_renew
"""

PREPARED = {
    "judge_models": JUDGE_MODELS,
    "insert_models": INSERT_MODELS,
    "stage_vehicles(date)": STAGE_VEHICLES,
    "insert_new_vehicles": INSERT_NEW_VEHICLES,
    "insert_new_prices": INSERT_NEW_PRICES,
    "update_months_of_vehicles": UPDATE_MONTHS_OF_VEHICLES,
    "select_staged_vehicles_to_renew": SELECT_STAGED_VEHICLES_TO_RENEW,
}
"""Statements that every batch needs. A connection plans them once: that can take longer than a batch."""

# New vehicles get their months here; without, each would be written twice.
INSERT_VEHICLES = """
with added as (
    insert into fipe.vehicle
        (id, series_id, model_id, model_year, fuel_code, fuel, fipe_code, first_month, last_month)
    select id, id, model_id, model_year, fuel_code, fuel, fipe_code, first_month, last_month
    from (
        select nextval('fipe.vehicle_id_seq') as id, *
        from (
            select model.id as model_id, staged.model_year, staged.fuel_code, staged.fuel, staged.fipe_code,
                   min(staged_model.reference_month) filter (where staged.reason is null) as first_month,
                   max(staged_model.reference_month) filter (where staged.reason is null) as last_month
            from staged_model
            join staged_price as staged using (position)
            join fipe.model
                on (model.vehicle_type, model.brand_code, model.model_code, model.brand, model.model)
                 = (staged_model.vehicle_type, staged_model.brand_code, staged_model.model_code,
                    staged_model.brand, staged_model.model)
            where not exists (
                select from fipe.vehicle
                where (vehicle.model_id, vehicle.model_year, vehicle.fuel_code, vehicle.fuel,
                       vehicle.fipe_code)
                    = (model.id, staged.model_year, staged.fuel_code, staged.fuel, staged.fipe_code)
            )
            group by 1, 2, 3, 4, 5
            order by 1, 2, 3, 4, 5
        ) as published
    ) as numbered
    returning id, first_month, last_month
)
insert into staged_span
select id, null, null, first_month, last_month, false from added where first_month is not null
"""

STAGE_ROWS = """
insert into staged_row
select vehicle.id, staged_model.reference_month, staged.price_brl, staged.source, staged.load_run_id,
       staged.asked_from, staged.asked_until, staged.ended_by, staged.reason
from staged_model
join staged_price as staged using (position)
join fipe.model on (model.vehicle_type, model.brand_code, model.model_code, model.brand, model.model)
                 = (staged_model.vehicle_type, staged_model.brand_code, staged_model.model_code,
                    staged_model.brand, staged_model.model)
join fipe.vehicle
    on (vehicle.model_id, vehicle.model_year, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code)
     = (model.id, staged.model_year, staged.fuel_code, staged.fuel, staged.fipe_code)
"""

STAGE_SPANS = """
insert into staged_span
select vehicle.id, vehicle.first_month, vehicle.last_month, written.first_month, written.last_month, false
from (
    select vehicle_id, min(reference_month) as first_month, max(reference_month) as last_month
    from staged_row
    where reason is null
    group by vehicle_id
) as written
join fipe.vehicle on vehicle.id = written.vehicle_id
on conflict do nothing
"""

# Imported prices give way by other rules: see fipe_api.database.imports.
DELETE_PRICES = """
with gone as (
    delete from fipe.price
    using staged_subject as subject, fipe.model, fipe.vehicle
    where (model.vehicle_type, model.brand_code, model.model_code)
        = (subject.vehicle_type, subject.brand_code, subject.model_code)
      and vehicle.model_id = model.id
      and (price.reference_month, price.vehicle_id) = (subject.reference_month, vehicle.id)
      and not fipe.is_imported(price.source)
      and not exists (
          select from staged_row as staged
          where (staged.vehicle_id, staged.reference_month) = (price.vehicle_id, price.reference_month)
            and staged.reason is null
      )
    returning price.vehicle_id
)
insert into staged_span
select distinct vehicle.id, vehicle.first_month, vehicle.last_month, null::date, null::date, true
from gone
join fipe.vehicle on vehicle.id = gone.vehicle_id
on conflict (vehicle_id) do update set lost = true
"""

# The same for write_rows, which says nothing about vehicles that it does not have: other names of what it
# has.
DELETE_OTHER_NAMES = """
with gone as (
    delete from fipe.price
    using staged_model, staged_price as staged, fipe.model, fipe.vehicle
    where staged.position = staged_model.position
      and (model.vehicle_type, model.brand_code, model.model_code)
        = (staged_model.vehicle_type, staged_model.brand_code, staged_model.model_code)
      and (vehicle.model_id, vehicle.model_year, vehicle.fuel_code)
        = (model.id, staged.model_year, staged.fuel_code)
      and (price.reference_month, price.vehicle_id) = (staged_model.reference_month, vehicle.id)
      and (model.brand, model.model, vehicle.fuel, vehicle.fipe_code)
       <> (staged_model.brand, staged_model.model, staged.fuel, staged.fipe_code)
    returning price.vehicle_id
)
insert into staged_span
select distinct vehicle.id, vehicle.first_month, vehicle.last_month, null::date, null::date, true
from gone
join fipe.vehicle on vehicle.id = gone.vehicle_id
on conflict (vehicle_id) do update set lost = true
"""

# write_rows mostly does not know who gave its prices.
DELETE_KNOWN_ROWS = """
delete from staged_row as staged
using fipe.price
where (price.reference_month, price.vehicle_id) = (staged.reference_month, staged.vehicle_id)
  and price.price_brl = staged.price_brl and not fipe.is_imported(price.source)
"""

DELETE_ANSWERED_ROWS = """
with answered as (
    select staged.position
    from staged_model as staged
    join fipe.reference_month as reference on reference.month = staged.reference_month
    where exists (
        select from fipe.load_run as run
        join fipe.load_model as model on model.load_run_id = run.id
        where run.reference_code = reference.code
          and (model.vehicle_type, model.brand_code, model.model_code)
            = (staged.vehicle_type, staged.brand_code, staged.model_code)
    ) or exists (
        select from fipe.model_answer as answer
        where (answer.reference_month, answer.vehicle_type, answer.brand_code, answer.model_code)
            = (staged.reference_month, staged.vehicle_type, staged.brand_code, staged.model_code)
    )
),
without_prices as (
    delete from staged_price using answered where staged_price.position = answered.position
)
delete from staged_model using answered where staged_model.position = answered.position
"""

MERGE_PRICES = """
with merged as (
    merge into fipe.price as kept
    using (
        select vehicle_id, reference_month, price_brl, source
        from staged_row
        where reason is null
        order by reference_month, vehicle_id
    ) as staged
    on (kept.reference_month, kept.vehicle_id) = (staged.reference_month, staged.vehicle_id)
    when matched and (kept.price_brl <> staged.price_brl or kept.source is distinct from staged.source) then
        update set price_brl = staged.price_brl, source = staged.source
    when not matched then
        insert (vehicle_id, reference_month, price_brl, source)
        values (staged.vehicle_id, staged.reference_month, staged.price_brl, staged.source)
    returning 1
)
select count(*) from merged
"""

DELETE_REVISIONS = """
delete from fipe.price_revision as gone
using staged_subject as subject, fipe.model, fipe.vehicle
where (model.vehicle_type, model.brand_code, model.model_code)
    = (subject.vehicle_type, subject.brand_code, subject.model_code)
  and vehicle.model_id = model.id
  and (gone.vehicle_id, gone.reference_month) = (vehicle.id, subject.reference_month)
  and not exists (
      select from staged_row as staged
      where (staged.vehicle_id, staged.reference_month, staged.price_brl, staged.ended_by, staged.asked_until,
             staged.reason)
          = (gone.vehicle_id, gone.reference_month, gone.price_brl, gone.ended_by, gone.asked_until,
             gone.reason)
        and (staged.source, staged.load_run_id, staged.asked_from)
            is not distinct from (gone.source, gone.load_run_id, gone.asked_from)
  )
"""

INSERT_REVISIONS = """
insert into fipe.price_revision
    (vehicle_id, reference_month, price_brl, source, load_run_id, asked_from, asked_until, ended_by, reason)
select *
from staged_row as staged
where reason is not null and not exists (
    select from fipe.price_revision as kept
    where (staged.vehicle_id, staged.reference_month, staged.price_brl, staged.ended_by, staged.asked_until,
           staged.reason)
        = (kept.vehicle_id, kept.reference_month, kept.price_brl, kept.ended_by, kept.asked_until,
           kept.reason)
      and (staged.source, staged.load_run_id, staged.asked_from)
          is not distinct from (kept.source, kept.load_run_id, kept.asked_from)
)
"""

UPDATE_SPANS = """
update fipe.vehicle as kept set first_month = span.first_month, last_month = span.last_month
from (
    select vehicle_id, least(old_first, new_first) as first_month, greatest(old_last, new_last) as last_month
    from staged_span
    where not lost
    union all
    select lost.vehicle_id, min(price.reference_month), max(price.reference_month)
    from staged_span as lost
    left join fipe.price on price.vehicle_id = lost.vehicle_id
    where lost.lost
    group by lost.vehicle_id
) as span
where kept.id = span.vehicle_id
  and (kept.first_month, kept.last_month) is distinct from (span.first_month, span.last_month)
"""

# Vehicles whose series may be others now: new ones, those that lost a month, those that grew past the
# beginning or end of a vehicle that they could be the same as, and those beside one under another name.
SELECT_VEHICLES_TO_RENEW = """
select staged.vehicle_id
from staged_span as staged
join fipe.vehicle on vehicle.id = staged.vehicle_id
join fipe.model on model.id = vehicle.model_id
join fipe.vehicle as mate on (mate.fipe_code, mate.model_year) = (vehicle.fipe_code, vehicle.model_year)
    and mate.id <> vehicle.id
join fipe.model as mate_model on mate_model.id = mate.model_id
    and mate_model.vehicle_type = model.vehicle_type
where staged.old_first is null or staged.lost
   or vehicle.last_month > staged.old_last and mate.first_month > staged.old_last
   or vehicle.first_month < staged.old_first and mate.last_month < staged.old_first
   or mate.fuel_code = vehicle.fuel_code and mate.first_month <= vehicle.last_month
      and vehicle.first_month <= mate.last_month
      and (mate_model.brand_code, mate_model.model_code) <> (model.brand_code, model.model_code)
union
select staged.vehicle_id
from staged_span as staged
join fipe.vehicle on vehicle.id = staged.vehicle_id
join fipe.model on model.id = vehicle.model_id
join fipe.model as mate_model on (mate_model.vehicle_type, mate_model.brand_code, mate_model.model_code)
                               = (model.vehicle_type, model.brand_code, model.model_code)
join fipe.vehicle as mate on (mate.model_id, mate.model_year) = (mate_model.id, vehicle.model_year)
    and mate.id <> vehicle.id
where staged.old_first is null or staged.lost
   or vehicle.last_month > staged.old_last and mate.first_month > staged.old_last
   or vehicle.first_month < staged.old_first and mate.last_month < staged.old_first
union
select staged.vehicle_id
from staged_span as staged
join fipe.vehicle on vehicle.id = staged.vehicle_id
join fipe.vehicle as mate on mate.series_id = vehicle.series_id and mate.id <> vehicle.id
where mate.first_month <= vehicle.last_month and vehicle.first_month <= mate.last_month
"""

SELECT_EMPTY_MONTHS = """
select month from unnest(%s::date[]) as month
where not exists (select from fipe.price where price.reference_month = month)
"""

# A month that comes between others, or goes from there, changes whether vehicles with a gap of more than a
# year over it are one.
SELECT_VEHICLES_WITH_GAPS = """
select distinct vehicle.id
from unnest(%s::date[]) as month
join fipe.vehicle on vehicle.last_month < month and month < (select fipe.newest_month())
join fipe.model on model.id = vehicle.model_id
where exists (
    select from fipe.vehicle as mate
    where (mate.fipe_code, mate.model_year) = (vehicle.fipe_code, vehicle.model_year)
      and mate.first_month > month
) or exists (
    select from fipe.model as mate_model
    join fipe.vehicle as mate on mate.model_id = mate_model.id
    where (mate_model.vehicle_type, mate_model.brand_code, mate_model.model_code)
        = (model.vehicle_type, model.brand_code, model.model_code)
      and mate.model_year = vehicle.model_year and mate.first_month > month
)
"""

# The key is a hash of what was asked and answered. A message that is delivered twice counts once: its seen_at
# is known already.
MERGE_REJECTED_ANSWERS = """
insert into fipe.rejected_answer as kept
    (fingerprint, run_id, reference_code, source, call, parameters, answer, reason,
     first_seen_at, last_seen_at, times_seen)
select given.fingerprint, given.run_id, given.reference_code, given.source, given.call, given.parameters,
       given.answer, given.reason, min(seen_at), max(seen_at), count(distinct seen_at)
from (values %s) as given
    (fingerprint, run_id, reference_code, source, call, parameters, answer, reason, seen_at)
left join fipe.rejected_answer as known using (fingerprint)
where known.last_seen_at is null or seen_at > known.last_seen_at
group by 1, 2, 3, 4, 5, 6, 7, 8
order by 1
on conflict (fingerprint) do update
set times_seen = kept.times_seen + excluded.times_seen, last_seen_at = excluded.last_seen_at
where kept.last_seen_at < excluded.last_seen_at
"""
REJECTED_ANSWER_TEMPLATE = "(%s::uuid, %s::uuid, %s::integer, %s, %s, %s::jsonb, %s, %s, %s::timestamptz)"
