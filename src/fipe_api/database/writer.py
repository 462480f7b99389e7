"""Writes prices to PostgreSQL with set-based SQL, in one transaction per call.

Rows are copied into temporary tables and merged from there. Each statement changes only rows that are new or
different, so writing the same again changes nothing. Writers take turns: they cannot deadlock, each sees
what the others wrote before it, and exactly one of them finds a load complete.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from psycopg2.extras import execute_values

from fipe_api.database.ledger import LedgerNews, write_ledger
from fipe_api.database.staging import copy_rows
from fipe_api.messages import PricedVehicle, PriceMessage, PriceQueueMessage, RejectedAnswerMessage, Source

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor


class PriceRow(NamedTuple):
    """One price with all that names it, as fipe.vehicle_price shows it (zero_km follows from model_year).

    `source` is who gave the price; None when that is not known.
    """

    reference_month: date
    reference_code: int
    vehicle_type: int
    brand_code: int
    brand: str
    model_code: int
    model: str
    model_year: int
    fuel_code: int
    fuel: str
    fipe_code: str
    price_brl: Decimal
    source: Source | None = None


class Written(NamedTuple):
    """How many prices a call was given, how many of them were new or changed, and the news of its loads."""

    given: int
    changed: int
    news: LedgerNews = LedgerNews()


class PublishedModel(NamedTuple):
    """A model as one reference month names it."""

    reference_month: date
    vehicle_type: int
    brand_code: int
    brand: str
    model_code: int
    model: str

    def key(self) -> "ModelKey":
        """What identifies a model of a month."""
        return (self.reference_month, self.vehicle_type, self.brand_code, self.model_code)


ModelKey = tuple[date, int, int, int]

VEHICLE_COLUMNS = ("model_year", "fuel_code", "fuel", "fipe_code", "price_brl", "source")
"""A price and who gave it: fields of PricedVehicle and of PriceRow, and columns of staged_price."""

ModelPrices = tuple[PublishedModel, Mapping[tuple[int, int], PricedVehicle | PriceRow]]
"""A model with its prices, by model year and fuel code."""

_vehicle = attrgetter(*VEHICLE_COLUMNS)
_published_model = attrgetter(*PublishedModel._fields)


# The staged rows exist too briefly to have statistics. Without them the planner reads and hashes whole tables
# instead of looking up the few keys in indexes, which doubles the time of small batches.
BEGIN_WRITING = """
select pg_advisory_xact_lock(x'46495045'::integer); -- writers take turns; the number is "FIPE" in ASCII
set local enable_hashjoin = off;
set local enable_mergejoin = off;
create temporary table if not exists staged_model (
    position integer, reference_month date, vehicle_type smallint, brand_code integer,
    brand text, model_code integer, model text
) on commit delete rows;
create temporary table if not exists staged_price (
    reference_month date, model_id integer, model_year smallint, fuel_code smallint,
    fuel text, fipe_code text, price_brl numeric(12,2), source text
) on commit delete rows
"""

INSERT_REFERENCE_MONTHS = """
insert into fipe.reference_month (code, month) values %s on conflict do nothing
"""

SELECT_REFERENCE_MONTHS = "select code, month from fipe.reference_month where code = any(%s)"

MERGE_MANUFACTURERS = """
merge into fipe.manufacturer as kept
using (
    select distinct on (vehicle_type, brand_code) vehicle_type, brand_code, brand, reference_month
    from staged_model
    order by vehicle_type, brand_code, reference_month desc
) as staged
on (kept.vehicle_type, kept.code) = (staged.vehicle_type, staged.brand_code)
when matched and staged.reference_month >= kept.named_in
             and (kept.named_in, kept.name) <> (staged.reference_month, staged.brand) then
    update set name = staged.brand, named_in = staged.reference_month
when not matched then
    insert (vehicle_type, code, name, named_in)
    values (staged.vehicle_type, staged.brand_code, staged.brand, staged.reference_month)
"""

# A statement of its own for models that keep their name, which all but some hundred of a month's 11,238 do:
# an update that leaves the name alone touches no index and does not compute the words again.
RENEW_MODELS = """
update fipe.model as kept set named_in = staged.reference_month
from (
    select vehicle_type, brand_code, model_code, model, max(reference_month) as reference_month
    from staged_model
    group by vehicle_type, brand_code, model_code, model
) as staged
where (kept.vehicle_type, kept.brand_code, kept.code, kept.name)
    = (staged.vehicle_type, staged.brand_code, staged.model_code, staged.model)
  and kept.named_in < staged.reference_month
"""

MERGE_MODELS = """
merge into fipe.model as kept
using (
    select distinct on (vehicle_type, brand_code, model_code)
           vehicle_type, brand_code, model_code, model, reference_month
    from staged_model
    order by vehicle_type, brand_code, model_code, reference_month desc
) as staged
on (kept.vehicle_type, kept.brand_code, kept.code)
 = (staged.vehicle_type, staged.brand_code, staged.model_code)
when matched and staged.reference_month >= kept.named_in and kept.name <> staged.model then
    update set name = staged.model, named_in = staged.reference_month
when not matched then
    insert (vehicle_type, brand_code, code, name, named_in)
    values (staged.vehicle_type, staged.brand_code, staged.model_code, staged.model, staged.reference_month)
"""

SELECT_MODEL_IDS = """
select model.id
from staged_model as staged
join fipe.model on (model.vehicle_type, model.brand_code, model.code)
                 = (staged.vehicle_type, staged.brand_code, staged.model_code)
order by staged.position
"""

# A vehicle that a newer month describes alike keeps its row as it is: raising named_in, as for brands and
# models, would rewrite 50,000 rows per month. A description that differs counts only when no newer month has
# a price of the vehicle.
MERGE_MODEL_YEARS = """
merge into fipe.model_year as kept
using (
    select distinct on (model_id, model_year, fuel_code)
           model_id, model_year, fuel_code, fuel, fipe_code, reference_month
    from staged_price
    order by model_id, model_year, fuel_code, reference_month desc
) as staged
on (kept.model_id, kept.model_year, kept.fuel_code) = (staged.model_id, staged.model_year, staged.fuel_code)
when matched and (kept.fuel, kept.fipe_code) <> (staged.fuel, staged.fipe_code)
             and staged.reference_month >= kept.named_in
             and not exists (
                 select from fipe.price as newer
                 where newer.model_year_id = kept.id and newer.reference_month > staged.reference_month
             ) then
    update set fuel = staged.fuel, fipe_code = staged.fipe_code, named_in = staged.reference_month
when not matched then
    insert (model_id, model_year, fuel_code, fuel, fipe_code, named_in)
    values (staged.model_id, staged.model_year, staged.fuel_code, staged.fuel, staged.fipe_code,
            staged.reference_month)
"""

# A price from a mirror becomes the official API's as soon as that gives the same price.
MERGE_PRICES = """
with merged as (
    merge into fipe.price as kept
    using (
        select vehicle.id, staged.reference_month, staged.price_brl, staged.source,
               nullif(staged.source, 'fipe') as mirror
        from staged_price as staged
        join fipe.model_year as vehicle on (vehicle.model_id, vehicle.model_year, vehicle.fuel_code)
                                         = (staged.model_id, staged.model_year, staged.fuel_code)
        order by vehicle.id, staged.reference_month
    ) as staged
    on (kept.model_year_id, kept.reference_month) = (staged.id, staged.reference_month)
    when matched and (kept.price_brl <> staged.price_brl
                      or kept.mirror is not null and staged.source = 'fipe') then
        update set price_brl = staged.price_brl, mirror = staged.mirror
    when not matched then
        insert (model_year_id, reference_month, price_brl, mirror)
        values (staged.id, staged.reference_month, staged.price_brl, staged.mirror)
    returning kept.reference_month
)
select reference.code, counted.prices
from (select reference_month, count(*)::integer as prices from merged group by reference_month) as counted
join fipe.reference_month as reference on reference.month = counted.reference_month
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


class ReferenceMismatchError(ValueError):
    """The database knows this reference code for another month, or this month under another code."""


def write_messages(connection: "connection", messages: Sequence[PriceQueueMessage]) -> Written:
    """Writes the prices of messages, and what they say about their loads, in one transaction.

    Of two messages about one model and month, the later one in the sequence counts.

    Args:
        connection: in no transaction.
        messages: at least one.

    Raises:
        ReferenceMismatchError: nothing was written.
        psycopg2.Error: nothing was written.
    """
    told = [message for message in messages if not isinstance(message, RejectedAnswerMessage)]
    priced = [_model_prices(message) for message in told if isinstance(message, PriceMessage)]
    models = {model.key(): (model, vehicles) for model, vehicles in priced if vehicles}
    with connection, connection.cursor() as cursor:
        cursor.execute(BEGIN_WRITING)
        _write_reference_months(cursor, {message.reference.code: message.reference.month for message in told})
        changed = _write_models(cursor, list(models.values()))
        _write_rejected_answers(
            cursor, [each for each in messages if isinstance(each, RejectedAnswerMessage)]
        )
        news = write_ledger(cursor, told, changed) if told else LedgerNews()
    return Written(_count(models.values()), sum(changed.values()), news)


def write_rows(connection: "connection", rows: Sequence[PriceRow]) -> Written:
    """Writes prices that belong to no load, in one transaction; of two for one vehicle, the later counts.

    Raises:
        ReferenceMismatchError: nothing was written.
        psycopg2.Error: nothing was written.
    """
    models: dict[ModelKey, tuple[PublishedModel, dict[tuple[int, int], PriceRow]]] = {}
    for row in rows:
        model = PublishedModel._make(_published_model(row))
        _, vehicles = models.setdefault(model.key(), (model, {}))
        vehicles[row.model_year, row.fuel_code] = row
    with connection, connection.cursor() as cursor:
        cursor.execute(BEGIN_WRITING)
        _write_reference_months(cursor, {row.reference_code: row.reference_month for row in rows})
        changed = _write_models(cursor, list(models.values()))
    return Written(_count(models.values()), sum(changed.values()))


def _count(models: Iterable[ModelPrices]) -> int:
    return sum(len(vehicles) for _, vehicles in models)


def _model_prices(message: PriceMessage) -> ModelPrices:
    model = PublishedModel(
        reference_month=message.reference.month,
        vehicle_type=message.vehicle_type,
        brand_code=message.brand.code,
        brand=message.brand.name,
        model_code=message.model.code,
        model=message.model.name,
    )
    return model, {(price.model_year, price.fuel_code): price for price in message.prices}


def _write_reference_months(cursor: "cursor", months: dict[int, date]) -> None:
    if not months:
        return
    execute_values(cursor, INSERT_REFERENCE_MONTHS, sorted(months.items()))
    cursor.execute(SELECT_REFERENCE_MONTHS, (list(months),))
    known = dict(cursor.fetchall())
    for code, month in months.items():
        if known.get(code) != month:
            raise ReferenceMismatchError(
                f"reference code {code} for {month:%Y-%m} contradicts fipe.reference_month: correct one"
            )


def _write_models(cursor: "cursor", models: Sequence[ModelPrices]) -> dict[int, int]:
    """Returns how many prices were new or changed, by reference code."""
    published = ((position, *model) for position, (model, _) in enumerate(models))
    copy_rows(cursor, "staged_model", ("position", *PublishedModel._fields), published)
    cursor.execute(MERGE_MANUFACTURERS)
    cursor.execute(RENEW_MODELS)
    cursor.execute(MERGE_MODELS)
    cursor.execute(SELECT_MODEL_IDS)
    prices = (
        (model.reference_month, model_id, *_vehicle(price))
        for (model, vehicles), (model_id,) in zip(models, cursor.fetchall(), strict=True)
        for price in vehicles.values()
    )
    copy_rows(cursor, "staged_price", ("reference_month", "model_id", *VEHICLE_COLUMNS), prices)
    cursor.execute(MERGE_MODEL_YEARS)
    cursor.execute(MERGE_PRICES)
    return dict(cursor.fetchall())


def _write_rejected_answers(cursor: "cursor", messages: Sequence[RejectedAnswerMessage]) -> None:
    """Keeps each rejected answer once, with how often it was seen."""
    rows = [_rejected_row(message) for message in messages]
    if rows:
        execute_values(cursor, MERGE_REJECTED_ANSWERS, rows, REJECTED_ANSWER_TEMPLATE)


def _rejected_row(message: RejectedAnswerMessage) -> tuple[object, ...]:
    what = (
        str(message.run_id),
        message.reference.code if message.reference else None,
        message.source,
        message.call,
        json.dumps(message.parameters, sort_keys=True),
        message.answer,
        message.reason,
    )
    fingerprint = hashlib.md5(repr(what).encode(), usedforsecurity=False).hexdigest()
    return (fingerprint, *what, message.seen_at)
