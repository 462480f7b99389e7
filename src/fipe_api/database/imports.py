"""Imported prices give way to loads: what a load says of a month stands as if there had been no import.

Of a reference month, an imported price stands for as long as no load
- has priced the same vehicle (FIPE code, model year, fuel), whatever its names and codes, and though a later
  load withdrew that price,
- has answered about its model,
- was complete for its brand, or for the whole month.

A price that took the place of a load's, as `fipe import --over-official` asks, stands until a load asks about
its model again.

`fipe import` adds nothing else that these rules exclude, so import and load may come in any order.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from fipe_api.database.staging import copy_rows

if TYPE_CHECKING:
    from psycopg2.extensions import cursor


class CodedModel(NamedTuple):
    """A model as a load names it: with its codes, its names, and one of its FIPE codes."""

    vehicle_type: int
    brand_code: int
    brand: str
    model_code: int
    model: str
    fipe_code: str


CREATE_STAGING = """
create temporary table if not exists staged_code (
    vehicle_type smallint, brand_code integer, brand text, model_code integer, model text, fipe_code text
) on commit delete rows;
create temporary table if not exists staged_own_model (
    id integer, is_other boolean, own_code integer,
    vehicle_type smallint, brand_code integer, model_code integer
) on commit delete rows
"""

NAME_BRANDS = """
update fipe.model as own
set brand_code = named.brand_code
from (select distinct on (vehicle_type, brand) * from staged_code order by vehicle_type, brand) as named
where own.brand_code < 0 and (own.vehicle_type, own.brand) = (named.vehicle_type, named.brand)
  and not exists (
      select from fipe.model as other
      where (other.vehicle_type, other.brand_code, other.model_code, other.brand, other.model)
          = (own.vehicle_type, named.brand_code, own.model_code, own.brand, own.model)
  )
returning own.id
"""

# Models that imports brought under these FIPE codes, those of the same names first. Of models that bore one
# FIPE code at once, only those get codes that the load calls by the same names: place 0 may be either.
STAGE_OWN_MODELS = """
insert into staged_own_model
select distinct on (own.id) own.id, is_other, own.model_code, own.vehicle_type, staged.brand_code,
       staged.model_code
from staged_code as staged
join fipe.model as own on own.vehicle_type = staged.vehicle_type and own.model_code < 0
    and own.model_code
        between fipe.own_model_code(staged.fipe_code, 9) and fipe.own_model_code(staged.fipe_code)
cross join lateral (
    select (own.brand, own.model) <> (staged.brand, staged.model) as is_other
) as compared
where not is_other or own.model_code = fipe.own_model_code(staged.fipe_code)
order by own.id, is_other, own.brand <> staged.brand, staged.model_code
"""

# Most of them: codes that are new here, for one imported model, whatever its names.
TAKE_OVER_NEW_CODES = """
update fipe.model as own
set brand_code = chosen.brand_code, model_code = chosen.model_code
from staged_own_model as chosen
where own.id = chosen.id
  and not exists (
      select from staged_own_model as another
      where (another.vehicle_type, another.brand_code, another.model_code)
          = (chosen.vehicle_type, chosen.brand_code, chosen.model_code)
        and another.own_code <> chosen.own_code
  )
  and not exists (
      select from fipe.model as other
      where (other.vehicle_type, other.brand_code, other.model_code)
          = (chosen.vehicle_type, chosen.brand_code, chosen.model_code)
  )
returning own.id
"""

SELECT_OTHER_OWN_MODELS = """
select chosen.id, chosen.brand_code, chosen.model_code
from staged_own_model as chosen
join fipe.model as own on own.id = chosen.id and own.model_code < 0
order by chosen.is_other, chosen.id
"""

# Not if it then had two prices in a month: it is another model that bore the same FIPE code.
TAKE_OVER_CODES = """
with taken as (
    select own.id, own.brand, own.model, own.vehicle_type
    from fipe.model as own
    where own.id = %(model)s and own.model_code < 0
      and not exists (
          select from fipe.vehicle as mine
          join fipe.model as their_model
              on (their_model.vehicle_type, their_model.brand_code, their_model.model_code)
               = (own.vehicle_type, %(brand_code)s, %(model_code)s)
          join fipe.vehicle as theirs on theirs.model_id = their_model.id
              and (theirs.model_year, theirs.fuel_code) = (mine.model_year, mine.fuel_code)
              and theirs.first_month <= mine.last_month and mine.first_month <= theirs.last_month
          join fipe.price as my_price on my_price.vehicle_id = mine.id
          join fipe.price as their_price
              on (their_price.vehicle_id, their_price.reference_month) = (theirs.id, my_price.reference_month)
          where mine.model_id = own.id
      )
),
known as (
    select taken.id, model.id as as_id
    from taken
    join fipe.model using (vehicle_type, brand, model)
    where (model.brand_code, model.model_code) = (%(brand_code)s, %(model_code)s)
),
renamed as (
    update fipe.model as own
    set brand_code = %(brand_code)s, model_code = %(model_code)s
    from taken
    where own.id = taken.id and not exists (select from known)
    returning own.id
),
moved as (
    update fipe.vehicle as mine
    set model_id = known.as_id
    from known
    where mine.model_id = known.id and not exists (
        select from fipe.vehicle as other
        where (other.model_id, other.model_year, other.fuel_code, other.fuel, other.fipe_code)
            = (known.as_id, mine.model_year, mine.fuel_code, mine.fuel, mine.fipe_code)
    )
    returning mine.id
)
select id from renamed union all select as_id from known
"""

# Only vehicles that others could be the same as have a series to renew.
SELECT_VEHICLES = """
select vehicle.id
from fipe.model
join fipe.vehicle on vehicle.model_id = model.id
where model.id = any(%s)
  and (exists (
      select from fipe.vehicle as mate
      where (mate.fipe_code, mate.model_year) = (vehicle.fipe_code, vehicle.model_year)
        and mate.id <> vehicle.id
  ) or exists (
      select from fipe.model as mate_model
      join fipe.vehicle as mate on mate.model_id = mate_model.id
      where (mate_model.vehicle_type, mate_model.brand_code, mate_model.model_code)
          = (model.vehicle_type, model.brand_code, model.model_code)
        and mate.model_year = vehicle.model_year and mate.id <> vehicle.id
  ))
"""

# The subjects are models of months that loads, or write_rows, have just written.
GIVE_WAY_TO_ANSWERS = """
with answered (vehicle_id, reference_month) as (
    select vehicle.id, subject.reference_month
    from staged_subject as subject
    join fipe.model using (vehicle_type, brand_code, model_code)
    join fipe.vehicle on vehicle.model_id = model.id
    where exists (
        select from fipe.reference_month as reference
        join fipe.load_run as run on run.reference_code = reference.code
        join fipe.load_model as answer on answer.load_run_id = run.id
        where reference.month = subject.reference_month and answer.gaps is null
          and (answer.vehicle_type, answer.brand_code, answer.model_code)
            = (subject.vehicle_type, subject.brand_code, subject.model_code)
    )
    union
    select same.id, subject.reference_month
    from staged_subject as subject
    join fipe.model using (vehicle_type, brand_code, model_code)
    join fipe.vehicle on vehicle.model_id = model.id
    join fipe.price on (price.reference_month, price.vehicle_id) = (subject.reference_month, vehicle.id)
        and not fipe.is_imported(price.source)
    join fipe.vehicle as same
        on (same.fipe_code, same.model_year, same.fuel_code)
         = (vehicle.fipe_code, vehicle.model_year, vehicle.fuel_code)
    join fipe.model as same_model on same_model.id = same.model_id
        and same_model.vehicle_type = model.vehicle_type
    union
    select same.id, subject.reference_month
    from staged_subject as subject
    join fipe.model using (vehicle_type, brand_code, model_code)
    join fipe.vehicle on vehicle.model_id = model.id
    join fipe.price_revision as revision
        on (revision.reference_month, revision.vehicle_id) = (subject.reference_month, vehicle.id)
    join fipe.vehicle as same
        on (same.fipe_code, same.model_year, same.fuel_code)
         = (vehicle.fipe_code, vehicle.model_year, vehicle.fuel_code)
    join fipe.model as same_model on same_model.id = same.model_id
        and same_model.vehicle_type = model.vehicle_type
),
gone as (
    delete from fipe.price using answered
    where (price.reference_month, price.vehicle_id) = (answered.reference_month, answered.vehicle_id)
      and fipe.is_imported(price.source)
      and not exists (
          select from fipe.import_replaced as replaced
          where (replaced.reference_month, replaced.vehicle_id) = (price.reference_month, price.vehicle_id)
      )
    returning price.vehicle_id
)
insert into staged_span
select distinct vehicle.id, vehicle.first_month, vehicle.last_month, null::date, null::date, true
from gone
join fipe.vehicle on vehicle.id = gone.vehicle_id
on conflict (vehicle_id) do update set lost = true
"""

# A brand that a mirror answered in part says nothing about what it lacks.
GIVE_WAY_TO_COMPLETE = """
with complete as (
    select reference.month, brand.vehicle_type, brand.brand_code, brand.brand,
           run.whole_month and run.completed_at is not null and not exists (
               select from fipe.load_model as answer where answer.load_run_id = run.id and answer.mirrored > 0
           ) as is_month
    from fipe.load_run as run
    join fipe.reference_month as reference on reference.code = run.reference_code
    join fipe.load_brand as brand on brand.load_run_id = run.id
    where run.id = any(%s) and run.whole_month is not null and run.wanted_models = '[]'
      and brand.completed_at is not null
      and exists (select from fipe.import_month where import_month.reference_month = reference.month)
      and not exists (
          select from fipe.load_model as answer
          where (answer.load_run_id, answer.vehicle_type, answer.brand_code)
              = (run.id, brand.vehicle_type, brand.brand_code)
            and answer.mirrored > 0
      )
),
complete_month as (
    select month from complete group by month having bool_or(is_month)
),
gone as (
    delete from fipe.price using fipe.vehicle, fipe.model
    where price.reference_month in (select month from complete) and fipe.is_imported(price.source)
      and vehicle.id = price.vehicle_id and model.id = vehicle.model_id
      and not exists (
          select from fipe.import_replaced as replaced
          where (replaced.reference_month, replaced.vehicle_id) = (price.reference_month, price.vehicle_id)
      )
      and (
          price.reference_month in (select month from complete_month)
          or exists (
              select from complete
              where (complete.month, complete.vehicle_type) = (price.reference_month, model.vehicle_type)
                and (complete.brand_code = model.brand_code
                     or model.brand_code < 0 and complete.brand = model.brand)
          )
      )
    returning price.vehicle_id
),
no_longer as (
    delete from fipe.import_month using complete_month
    where import_month.reference_month = complete_month.month
)
insert into staged_span
select distinct vehicle.id, vehicle.first_month, vehicle.last_month, null::date, null::date, true
from gone
join fipe.vehicle on vehicle.id = gone.vehicle_id
on conflict (vehicle_id) do update set lost = true
"""


def take_over_codes(cursor: "cursor", models: Iterable[CodedModel]) -> set[int]:
    """Gives imported brands and models the codes that a load knows them by.

    Args:
        cursor: of the transaction that writes the load's prices next.
        models: as the load names them.

    Returns:
        The vehicles whose series may be others now.
    """
    cursor.execute(CREATE_STAGING)
    copy_rows(cursor, "staged_code", CodedModel._fields, set(models))
    touched: set[int] = set()
    cursor.execute(NAME_BRANDS)
    touched |= _ids(cursor)
    cursor.execute(STAGE_OWN_MODELS)
    cursor.execute(TAKE_OVER_NEW_CODES)
    touched |= _ids(cursor)
    cursor.execute(SELECT_OTHER_OWN_MODELS)
    for model, brand_code, model_code in cursor.fetchall():
        codes = {"model": model, "brand_code": brand_code, "model_code": model_code}
        cursor.execute(TAKE_OVER_CODES, codes)
        touched |= _ids(cursor)
    if not touched:
        return set()
    cursor.execute(SELECT_VEHICLES, (sorted(touched),))
    return _ids(cursor)


def _ids(cursor: "cursor") -> set[int]:
    return {key for (key,) in cursor.fetchall()}


def give_way(cursor: "cursor", complete: Iterable[int]) -> None:
    """Removes imported prices that the loads of this transaction exclude; stages the spans of their vehicles.

    Args:
        cursor: of the transaction that has written the load's prices and its ledger, and has staged its
            subjects.
        complete: loads of which brands may have become complete.
    """
    cursor.execute(GIVE_WAY_TO_ANSWERS)
    cursor.execute(GIVE_WAY_TO_COMPLETE, (list(complete),))
