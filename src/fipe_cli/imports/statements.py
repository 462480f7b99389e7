"""The SQL of an import: from names without codes to vehicles, and which prices are new."""

TAKE_TURN = "lock table fipe.writers_turn in exclusive mode"

# Once per connection. `place` is where the name or vehicle stands in the batch.
CREATE_STAGING = """
create temporary table if not exists import_name (
    place integer primary key, vehicle_type smallint, fipe_code text, brand text, model text,
    brand_code integer, model_code integer, model_id integer
) on commit delete rows;
create temporary table if not exists import_vehicle (
    place integer, name integer, model_year smallint, fuel_code smallint, fuel text
) on commit delete rows;
create temporary table if not exists import_price (
    line bigint, vehicle_id integer, reference_month date, price_brl numeric(12,2)
) on commit delete rows;
create temporary table if not exists import_span (
    vehicle_id integer, first_month date, last_month date
) on commit delete rows;
create temporary table if not exists import_left (
    line bigint, vehicle_id integer, reference_month date, price_brl numeric(12,2),
    there numeric(12,2), there_source smallint, there_vehicle integer, is_answered boolean
) on commit delete rows
"""

FIND_SOURCE = """
with made as (
    insert into fipe.price_source (name, kind)
    select %(name)s, 'import'
    where not exists (select from fipe.price_source where name = %(name)s)
    returning id
)
select id from made union all select id from fipe.price_source where name = %(name)s and kind = 'import'
"""

# A file that was read to its end is read from its beginning again: prices may have gone since.
BEGIN_FILE = """
insert into fipe.import_file as kept (source, file, fingerprint)
values (%(source)s, %(file)s, %(fingerprint)s)
on conflict (source, fingerprint) do update
set file = excluded.file, last_write_at = excluded.last_write_at, ended_at = null,
    position = case when kept.ended_at is null then kept.position else 0 end,
    known = case when kept.ended_at is null then kept.known else 0 end,
    copies = case when kept.ended_at is null then kept.copies else 0 end,
    kept_apart = case when kept.ended_at is null then kept.kept_apart else 0 end,
    replaced = case when kept.ended_at is null then kept.replaced else 0 end
returning id, position
"""

ADVANCE_FILE = """
update fipe.import_file
set position = %(position)s, added = added + %(added)s, known = known + %(known)s,
    copies = copies + %(copies)s, kept_apart = kept_apart + %(apart)s, replaced = replaced + %(replaced)s,
    last_write_at = clock_timestamp()
where id = %(file)s
"""

END_FILE = "update fipe.import_file set ended_at = now(), last_write_at = now() where id = %s"

INSERT_MONTHS = """
insert into fipe.reference_month (month, code)
select month, case when not exists (select from fipe.reference_month as other where other.code = given.code)
                   then code
              end
from (values %s) as given (month, code)
where not exists (select from fipe.reference_month as kept where kept.month = given.month)
"""

# Months without prices, whether a load has written to them, and whether a later month has prices.
SELECT_EMPTY_MONTHS = """
select reference.month,
       exists (select from fipe.load_run as run where run.reference_code = reference.code),
       reference.month < (select fipe.newest_month()) is true
from fipe.reference_month as reference
where reference.month = any(%s)
  and not exists (select from fipe.price where price.reference_month = reference.month)
"""

# A name that stood under this FIPE code before keeps its codes, FIPE's own ones before others.
FIND_MODELS = """
update import_name as name
set model_id = known.id, brand_code = known.brand_code, model_code = known.model_code
from (
    select distinct on (name.place) name.place, model.id, model.brand_code, model.model_code
    from import_name as name
    join fipe.model
        on (model.vehicle_type, model.brand, model.model) = (name.vehicle_type, name.brand, name.model)
    where (name.brand_code is null
           or (name.brand_code, name.model_code) = (model.brand_code, model.model_code))
      and exists (
          select from fipe.vehicle
          where (vehicle.model_id, vehicle.fipe_code) = (model.id, name.fipe_code)
      )
    order by name.place, model.model_code < 0, model.id desc
) as known
where name.place = known.place
"""

# Another name of a FIPE code has the codes that this one has.
FIND_CODES = """
update import_name as name
set brand_code = known.brand_code, model_code = known.model_code
from (
    select distinct on (name.place) name.place, model.brand_code, model.model_code
    from import_name as name
    join fipe.vehicle on vehicle.fipe_code = name.fipe_code
    join fipe.model on model.id = vehicle.model_id and model.vehicle_type = name.vehicle_type
    where name.brand_code is null
    order by name.place, model.model_code < 0, model.brand <> name.brand,
             vehicle.last_month desc nulls last, model.id desc
) as known
where name.place = known.place
"""

MAKE_CODES = """
with lacking as (
    select distinct vehicle_type, brand from import_name where brand_code is null
),
known as (
    select lacking.*, (
        select model.brand_code from fipe.model
        where (model.vehicle_type, model.brand) = (lacking.vehicle_type, lacking.brand)
        order by model.brand_code < 0, model.id desc
        limit 1
    ) as brand_code
    from lacking
),
numbered as (
    select vehicle_type, brand,
           coalesce(brand_code, least(0, (select min(brand_code) from fipe.model)) - number) as brand_code
    from (
        select known.*, (
            count(*) filter (where brand_code is null) over (order by vehicle_type, brand)
        )::integer as number
        from known
    ) as counted
)
update import_name as name
set brand_code = numbered.brand_code, model_code = fipe.own_model_code(name.fipe_code)
from numbered
where name.brand_code is null and (numbered.vehicle_type, numbered.brand) = (name.vehicle_type, name.brand)
"""

# Names that bear one FIPE code in a month, known ones first, with codes for those that need another: the ones
# that they had before, then the others that are made of the FIPE code.
SELECT_NAMES_BESIDE = """
select place, model_code,
       array(
           select model.model_code from fipe.model
           where model.vehicle_type = name.vehicle_type
             and model.model_code between fipe.own_model_code(name.fipe_code, 9)
                                      and fipe.own_model_code(name.fipe_code)
             and (model.brand, model.model) = (name.brand, name.model)
       ) || array(
           select fipe.own_model_code(name.fipe_code, number) from generate_series(1, 9) as number
       ) as own_codes
from import_name as name
where place = any(%s)
order by model_id is null, brand, model
"""

GIVE_OWN_CODE = "update import_name set model_code = %s, model_id = null where place = %s"

INSERT_MODELS = """
insert into fipe.model (vehicle_type, brand_code, brand, model_code, model)
select distinct vehicle_type, brand_code, brand, model_code, model
from import_name as name
where model_id is null and not exists (
    select from fipe.model
    where (model.vehicle_type, model.brand_code, model.model_code, model.brand, model.model)
        = (name.vehicle_type, name.brand_code, name.model_code, name.brand, name.model)
)
order by vehicle_type, brand_code, model_code, brand, model;
update import_name as name
set model_id = model.id
from fipe.model
where name.model_id is null
  and (model.vehicle_type, model.brand_code, model.model_code, model.brand, model.model)
    = (name.vehicle_type, name.brand_code, name.model_code, name.brand, name.model)
"""

INSERT_VEHICLES = """
insert into fipe.vehicle (id, series_id, model_id, model_year, fuel_code, fuel, fipe_code)
select id, id, model_id, model_year, fuel_code, fuel, fipe_code
from (
    select nextval('fipe.vehicle_id_seq') as id, *
    from (
        select distinct name.model_id, staged.model_year, staged.fuel_code, staged.fuel, name.fipe_code
        from import_vehicle as staged
        join import_name as name on name.place = staged.name
        where not exists (
            select from fipe.vehicle
            where (vehicle.model_id, vehicle.model_year, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code)
                = (name.model_id, staged.model_year, staged.fuel_code, staged.fuel, name.fipe_code)
        )
        order by 1, 2, 3, 4, 5
    ) as published
) as numbered
"""

SELECT_VEHICLES = """
select staged.place, vehicle.id
from import_vehicle as staged
join import_name as name on name.place = staged.name
join fipe.vehicle
    on (vehicle.model_id, vehicle.model_year, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code)
     = (name.model_id, staged.model_year, staged.fuel_code, staged.fuel, name.fipe_code)
"""

STAGE_LEFT = """
insert into import_left
select staged.*, price.price_brl, price.source, price.vehicle_id
from import_price as staged
left join fipe.price
    on (price.reference_month, price.vehicle_id) = (staged.reference_month, staged.vehicle_id)
where price.price_brl is distinct from staged.price_brl
"""

# The month has the vehicle already, under other names.
FIND_OTHER_NAMES = """
update import_left as staged
set there = found.price_brl, there_source = found.source, there_vehicle = found.vehicle_id
from (
    select distinct on (staged.line) staged.line, price.price_brl, price.source, price.vehicle_id
    from import_left as staged
    join fipe.vehicle on vehicle.id = staged.vehicle_id
    join fipe.model on model.id = vehicle.model_id
    join fipe.vehicle as same
        on (same.fipe_code, same.model_year, same.fuel_code)
         = (vehicle.fipe_code, vehicle.model_year, vehicle.fuel_code)
    join fipe.model as same_model on same_model.id = same.model_id
        and same_model.vehicle_type = model.vehicle_type
    join fipe.price
        on (price.reference_month, price.vehicle_id) = (staged.reference_month, same.id)
    where staged.there is null
    order by staged.line, fipe.is_imported(price.source), price.price_brl <> staged.price_brl
) as found
where staged.line = found.line
"""

# The rules of fipe_api.database.imports.
FIND_ANSWERED = """
update import_left as staged
set is_answered = true
from fipe.vehicle
join fipe.model on model.id = vehicle.model_id, fipe.reference_month as reference
where staged.there is null and vehicle.id = staged.vehicle_id and reference.month = staged.reference_month
  and (exists (
      select from fipe.load_run as run
      join fipe.load_model as answer on answer.load_run_id = run.id
      where run.reference_code = reference.code and answer.gaps is null
        and (answer.vehicle_type, answer.brand_code, answer.model_code)
          = (model.vehicle_type, model.brand_code, model.model_code)
  ) or exists (
      select from fipe.load_run as run
      join fipe.load_brand as brand on brand.load_run_id = run.id
      where run.reference_code = reference.code and run.whole_month is not null and run.wanted_models = '[]'
        and brand.completed_at is not null and brand.vehicle_type = model.vehicle_type
        and (brand.brand_code = model.brand_code or model.brand_code < 0 and brand.brand = model.brand)
        and not exists (
            select from fipe.load_model as answer
            where (answer.load_run_id, answer.vehicle_type, answer.brand_code)
                = (run.id, brand.vehicle_type, brand.brand_code)
              and answer.mirrored > 0
        )
  ) or exists (
      select from fipe.load_run as run
      where run.reference_code = reference.code and run.whole_month and run.completed_at is not null
        and not exists (
            select from fipe.load_model as answer
            where answer.load_run_id = run.id and answer.mirrored > 0
        )
  ))
"""

FIND_WITHDRAWN = """
update import_left as staged
set is_answered = true
from fipe.price_revision as revision
join fipe.vehicle as withdrawn on withdrawn.id = revision.vehicle_id
join fipe.model as withdrawn_model on withdrawn_model.id = withdrawn.model_id
join fipe.vehicle
    on (vehicle.fipe_code, vehicle.model_year, vehicle.fuel_code)
     = (withdrawn.fipe_code, withdrawn.model_year, withdrawn.fuel_code)
join fipe.model on model.id = vehicle.model_id and model.vehicle_type = withdrawn_model.vehicle_type
where staged.there is null and vehicle.id = staged.vehicle_id
  and revision.reference_month = staged.reference_month
"""

INSERT_PRICES = """
with added as (
    insert into fipe.price (vehicle_id, reference_month, price_brl, source)
    select vehicle_id, reference_month, price_brl, %s
    from import_left
    where there is null and is_answered is null
    order by reference_month, vehicle_id
    returning vehicle_id, reference_month
),
spans as (
    insert into import_span
    select vehicle_id, min(reference_month), max(reference_month) from added group by vehicle_id
)
select reference_month, count(*) from added group by reference_month
"""

# A vehicle under two names stands in two rows, with one price.
REPLACE_PRICES = """
with asked as (
    select distinct on (reference_month, there_vehicle) reference_month, there_vehicle, price_brl
    from import_left
    where there <> price_brl and not fipe.is_imported(there_source)
    order by reference_month, there_vehicle, line
)
select fipe.replace_prices(
    %(file)s, array_agg(reference_month), array_agg(there_vehicle), array_agg(price_brl)
)
from asked
"""

DELETE_REPLACED = """
delete from import_left where there <> price_brl and not fipe.is_imported(there_source)
"""

SELECT_APART = """
select staged.line, staged.price_brl, staged.there, coalesce(source.name, 'fipe'), staged.is_answered
from import_left as staged
left join fipe.price_source as source on source.id = staged.there_source
where staged.there <> staged.price_brl or staged.is_answered
"""

STAGE_SPANS = """
insert into staged_span
select vehicle.id, vehicle.first_month, vehicle.last_month, span.first_month, span.last_month, false
from (
    select vehicle_id, min(first_month) as first_month, max(last_month) as last_month
    from import_span
    group by vehicle_id
) as span
join fipe.vehicle on vehicle.id = span.vehicle_id
"""

ADD_TO_MONTHS = """
insert into fipe.import_month as kept (reference_month, source, added)
values %s
on conflict (reference_month, source) do update set added = kept.added + excluded.added
"""

KEEP_APART = """
insert into fipe.import_kept_apart as kept (import_file_id, line, reason, content)
values %s
on conflict (import_file_id, line) do update set reason = excluded.reason, content = excluded.content
where (kept.reason, kept.content) is distinct from (excluded.reason, excluded.content)
"""
