"""FipeLoadStatus: tells what the ledger knows about loads, also to those who cannot reach the database."""

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta, Struct, convert, to_builtins
from psycopg2.extras import RealDictCursor

from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger
from fipe_api.aws.self_check import answers_checks
from fipe_api.database.connection import connect
from fipe_api.database.sample import choose
from fipe_api.database.self_check import look_at_database
from fipe_api.load.announcements import AnnounceRequest, announce, late_announcements
from fipe_api.load.outlook import read_outlook
from fipe_api.messages import MOST_SAMPLED

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LOADS_SHOWN = 20
LINES_SHOWN = 50
MODELS_NAMED = 5
UNPRICED_KNOWN = 20_000
"""About 500 KB; Lambda answers with 6 MB at most. FIPE lists some hundred vehicles without a price."""

# A lateral join, one load at a time: with a plain join, PostgreSQL counts the whole ledger to show one load.
SELECT_LOADS = """
select load.*
from (
    select run_id, reference_code
    from fipe.load_run
    where (%(run_id)s is null or run_id = %(run_id)s::uuid)
      and (%(reference_code)s is null or reference_code = %(reference_code)s)
      and (not %(whole_month)s or whole_month is not false)
    order by started_at desc, id desc
    limit %(limit)s
) as run
cross join lateral (
    select * from fipe.load_status as one
    where (one.run_id, one.reference_code) = (run.run_id, run.reference_code)
    offset 0
) as load
order by load.started_at desc, load.reference_month desc
"""

SELECT_MISSING = """
select vehicle_type, coalesce(brand, brand_code::text) as brand, model_year is not null as is_price, reason,
       count(model_code)::integer as models,
       (array_agg(concat_ws(' ', coalesce(model, model_code::text), year.named, fuel)
                  order by model_code, model_year, fuel_code)
           filter (where model_code is not null))[1:%(named)s] as named
from fipe.load_missing
cross join lateral (
    select case when model_year = 32000 then 'zero km' else model_year::text end as named
) as year
where run_id = %(run_id)s::uuid and reference_code = %(reference_code)s
group by vehicle_type, brand_code, brand, is_price, reason
order by vehicle_type nulls first, brand, is_price
limit %(limit)s + 1
"""

SELECT_UNPRICED = """
select vehicle_type, coalesce(brand, brand_code::text) as brand, model_year is not null as is_price,
       case when model_year is null then 'FIPE lists it without model years'
            else 'FIPE lists it, and denied it nine times'
       end as reason,
       count(*)::integer as models,
       (array_agg(concat_ws(' ', model, year.named, fuel)
                  order by model_code, model_year, fuel_code))[1:%(named)s] as named
from fipe.load_unpriced
cross join lateral (
    select case when model_year = 32000 then 'zero km' else model_year::text end as named
) as year
where run_id = %(run_id)s::uuid and reference_code = %(reference_code)s
group by vehicle_type, brand_code, brand, is_price, reason
order by vehicle_type, brand, is_price
limit %(limit)s + 1
"""

SELECT_UNPRICED_UP_TO = """
select distinct vehicle_type, brand_code, model_code, model_year, fuel_code
from fipe.load_unpriced
where model_year is not null and reference_month between %(month)s::date - interval '1 year' and %(month)s
limit %(limit)s
"""

SELECT_IMPORTS = "select * from fipe.import_status order by last_write_at desc nulls last, source"

SELECT_MODELS_OF = """
select fipe_code, vehicle_type, brand_code, model_code
from fipe.model_of_code
where fipe_code = any(%s)
order by 1, 2, 3, 4
"""

SELECT_RESUME = "select fipe.resume_payloads(%(run_id)s::uuid)"
SELECT_RESUME_OF_MONTH = "select fipe.resume_payloads_of_month(%(run_id)s::uuid, %(reference_code)s)"

SELECT_MONTH = """
select state, prices, last_write_at
from fipe.load_status
where run_id = %(run_id)s::uuid and reference_code = %(reference_code)s
"""

# Loads that other runs are at work on. One that has got nothing for long has lost messages.
SELECT_OTHERS = """
select distinct to_char(load.reference_month, 'YYYY-MM') as month
from (
    select run_id, reference_code
    from fipe.load_run
    where ended_at is null and run_id <> %(run_id)s::uuid and not fipe.is_cancelled(run_id)
    order by id desc
    limit %(limit)s
) as run
cross join lateral (
    select reference_month, last_write_at
    from fipe.load_status as one
    where (one.run_id, one.reference_code) = (run.run_id, run.reference_code)
    offset 0
) as load
where load.last_write_at > statement_timestamp() - %(stalled)s * interval '1 second'
order by month
"""

SELECT_COMPLETE = """
select reference_code, max(started_at)
from fipe.load_run
where completed_at is not null and wanted_types @> %(types)s::smallint[]
  and wanted_brands in ('[]', %(brands)s::jsonb) and wanted_models in ('[]', %(models)s::jsonb)
group by reference_code
"""

# An import counts as long as no load of the whole month is complete.
SELECT_BRANDS_OF_IMPORT = """
select vehicle_type, array_agg(distinct brand order by brand)
from fipe.vehicle_price
where reference_month = %(month)s and vehicle_type = any(%(types)s::smallint[])
  and fipe.loaded(%(month)s) = 'imported'
group by vehicle_type
"""

SELECT_IMPORTED = "select fipe.imported_prices(%s)"

SELECT_CONFIRMED = """
select to_char(reference_month, 'YYYY-MM-DD'), prices_asked
from fipe.confirmed_month
where vehicle_types @> %s::smallint[]
"""

VEHICLE_TYPES = {1: "cars", 2: "motorcycles", 3: "trucks"}


class WantedLoad(Struct, forbid_unknown_fields=True):
    """What a load has to be of, at least; no brands or models mean all."""

    vehicle_types: list[int]
    brands: list[int | str] = []
    models: list[int | str] = []


class WantedSample(Struct, forbid_unknown_fields=True):
    """So many prices of a month, chosen at random; the same seed chooses the same."""

    month: date
    size: Annotated[int, Meta(ge=1, le=MOST_SAMPLED)]
    seed: int
    vehicle_types: list[int]


class StatusRequest(Struct, forbid_unknown_fields=True):
    """The payload: which loads (of a run, of a reference code, or the newest), and whether with `resume`.

    With `whole_month` only loads of a whole month, and those whose plan has not arrived. With
    `unpriced_up_to`, a month, no loads but what FIPE denied. With `imports` no loads but imports. With
    `models_of`, FIPE codes, no loads but the models that have them. With `progress_after`, seconds, only how
    far a month of a run is, and which months other runs are loading that got something in the last so many
    seconds. With `complete`, only which months have a complete load of what is named there. With `confirmed`,
    only which imported months samples have confirmed. With `sample`, only prices of a month. With `announce`,
    no loads but what FipeAnnouncer asks for. With `untold_for`, seconds, only what was not told for so long.
    """

    run_id: UUID | None = None
    reference_code: Annotated[int, Meta(ge=1)] | None = None
    whole_month: bool = False
    resume: bool = False
    unpriced_up_to: date | None = None
    imports: bool = False
    models_of: list[str] | None = None
    progress_after: float | None = None
    complete: WantedLoad | None = None
    confirmed: WantedLoad | None = None
    sample: WantedSample | None = None
    announce: AnnounceRequest | None = None
    untold_for: float | None = None


@answers_checks(lambda _: {"database": look_at_database("FipeLoadStatus", _count_loads)})
@logger.inject_lambda_context
@connections_closed()
def handler(event: dict[str, Any] | None, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Returns rows of fipe.load_status, the newest first: all of a run, otherwise at most 20.

    Returns:
        `loads`, each with `missing` and `unpriced_prices`: what it lacks, and what FIPE lists and denied; one
        line per brand, at most 50, then a line that says how to see the others. With a run, also `outlook`:
        what it has left to do. With a run and `resume`, also `resume`: payloads for FipeManufacturerLoader
        that load what is missing. With `unpriced_up_to`, only `unpriced`: vehicle type, brand, model, model
        year and fuel (codes) of what FIPE lists and denied in the year up to that month. With `imports`, only
        `imports`: the rows of fipe.import_status. With `models_of`, only `models`: FIPE code, vehicle type,
        brand and model (codes) of those that have or had such a code. With `progress_after`, only `progress`:
        `month` (its state, prices and last write; null if it is not known) and `others`. With `complete`,
        only `complete`: reference codes, and when the newest such load began. With `confirmed`, only
        `confirmed`: months, and how many of their prices were asked for. With `sample`, only `sample`, as
        ledger_questions.ImportedSample has it; null if no import has the month.
        With `announce`, only `announce`: fipe_api.load.announcements.Announced. With
        `untold_for`, only `untold`: `kind` and `reference_month` of at most 20.

    Raises:
        msgspec.ValidationError: the payload is invalid.
        psycopg2.Error: the database cannot be reached, or refuses.
    """
    request = convert(event or {}, StatusRequest)
    with closing(connect("FipeLoadStatus")) as connection:
        if request.announce:
            return {"announce": announce(connection, request.announce, gaps)}
        connection.set_session(readonly=True)
        if request.unpriced_up_to:
            return {"unpriced": _unpriced(connection, request.unpriced_up_to)}
        if request.imports:
            return {"imports": to_builtins(_imports(connection))}
        if request.untold_for is not None:
            return {"untold": late_announcements(connection, request.untold_for)}
        if request.models_of is not None:
            return {"models": _models_of(connection, request.models_of)}
        if request.confirmed:
            return {"confirmed": _confirmed(connection, request.confirmed.vehicle_types)}
        if request.sample:
            return {"sample": to_builtins(_sample(connection, request.sample), str_keys=True)}
        if request.complete or request.progress_after is not None:
            return _of_a_list(connection, request)
        answer: dict[str, Any] = {"loads": _loads(connection, request)}
        if request.run_id is not None:
            answer["outlook"] = read_outlook(connection, request.run_id, request.reference_code)
            if request.resume:
                answer["resume"] = _resume_payloads(connection, request)
    document: dict[str, Any] = to_builtins(answer)
    return document


def _count_loads(connection: "connection") -> str:
    """Reads what it reads for `fipe status`, for a check."""
    loads = _loads(connection, StatusRequest())
    _unpriced(connection, datetime.now(UTC).date())
    return f"read {len(loads)} load{'' if len(loads) == 1 else 's'}"


def _loads(connection: "connection", request: StatusRequest) -> list[dict[str, Any]]:
    run_id = str(request.run_id) if request.run_id else None
    # A run is shown with all its months, which may be hundreds.
    limit = None if run_id else LOADS_SHOWN
    asked = {
        "run_id": run_id,
        "reference_code": request.reference_code,
        "whole_month": request.whole_month,
        "limit": limit,
    }
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(SELECT_LOADS, asked)
        loads = [dict(row) for row in cursor.fetchall()]
    return [load | gaps(connection, load) for load in loads]


def _imports(connection: "connection") -> list[dict[str, Any]]:
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(SELECT_IMPORTS)
        return [dict(row) for row in cursor.fetchall()]


def gaps(connection: "connection", load: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a load lacks, and what FIPE denied it, in lines for people.

    Args:
        connection: reads the ledger.
        load: run_id, reference_code and complete, as fipe.load_status has them.

    Returns:
        `missing` and `unpriced_prices`, as the handler describes them.
    """
    return {
        "missing": [] if load["complete"] else _lines(connection, SELECT_MISSING, "fipe.load_missing", load),
        "unpriced_prices": _lines(connection, SELECT_UNPRICED, "fipe.load_unpriced", load),
    }


def _lines(connection: "connection", query: str, view: str, load: Mapping[str, Any]) -> list[str]:
    asked = {
        "run_id": str(load["run_id"]),
        "reference_code": load["reference_code"],
        "limit": LINES_SHOWN,
        "named": MODELS_NAMED,
    }
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(query, asked)
        lines = [_line(dict(row)) for row in cursor.fetchall()]
    if len(lines) > LINES_SHOWN:
        lines[LINES_SHOWN:] = [f"and others: {view} has all"]
    return lines


def _line(row: dict[str, Any]) -> str:
    if row["vehicle_type"] is None:
        return str(row["reason"])
    where = f"{VEHICLE_TYPES[row['vehicle_type']]}, {row['brand']}"
    if not row["models"]:
        return f"{where}: {row['reason']}"
    what = f"{row['models']} {'price' if row['is_price'] else 'model'}{'' if row['models'] == 1 else 's'}"
    more = ", ..." if row["models"] > len(row["named"]) else ""
    return f"{where}: {what} ({', '.join(row['named'])}{more}): {row['reason']}"


def _unpriced(connection: "connection", month: date) -> list[tuple[int, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_UNPRICED_UP_TO, {"month": month, "limit": UNPRICED_KNOWN})
        return cursor.fetchall()


def _models_of(connection: "connection", codes: list[str]) -> list[tuple[str, int, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_MODELS_OF, (codes,))
        return cursor.fetchall()


def _sample(connection: "connection", wanted: WantedSample) -> dict[str, Any] | None:
    month, types = wanted.month, wanted.vehicle_types
    with connection.cursor() as cursor:
        cursor.execute(SELECT_BRANDS_OF_IMPORT, {"month": month, "types": types})
        brands = dict(cursor.fetchall())
        if not brands:
            return None
        cursor.execute(SELECT_IMPORTED, (month,))
        ((imported,),) = cursor.fetchall()
    chosen = choose(connection, month, wanted.size, wanted.seed, types)
    return {
        "imported": imported,
        "vehicles": [(*rows[0][:4], [row[4:] for row in rows]) for rows in chosen],
        # A type of which nothing was imported has no brands here; the source may have some.
        "brands": {kind: brands.get(kind, []) for kind in types},
    }


def _confirmed(connection: "connection", types: list[int]) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_CONFIRMED, (types,))
        return dict(cursor.fetchall())


def _resume_payloads(connection: "connection", request: StatusRequest) -> list[dict[str, Any]]:
    of_month = request.reference_code is not None
    with connection.cursor() as cursor:
        cursor.execute(
            SELECT_RESUME_OF_MONTH if of_month else SELECT_RESUME,
            {"run_id": str(request.run_id), "reference_code": request.reference_code},
        )
        return [payload for (payload,) in cursor.fetchall()]


def _of_a_list(connection: "connection", request: StatusRequest) -> dict[str, Any]:
    """What a list of months asks for."""
    wanted = request.complete
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        if wanted:
            cursor.execute(
                SELECT_COMPLETE,
                {
                    "types": wanted.vehicle_types,
                    "brands": json.dumps(wanted.brands),
                    "models": json.dumps(wanted.models),
                },
            )
            found: dict[str, Any] = {
                "complete": {row["reference_code"]: row["max"] for row in cursor.fetchall()}
            }
        else:
            asked = {
                "run_id": str(request.run_id),
                "reference_code": request.reference_code,
                "stalled": request.progress_after,
                "limit": LOADS_SHOWN,
            }
            cursor.execute(SELECT_MONTH, asked)
            month = cursor.fetchone()
            cursor.execute(SELECT_OTHERS, asked)
            others = [row["month"] for row in cursor.fetchall()]
            found = {"progress": {"month": month and dict(month), "others": others}}
    document: dict[str, Any] = to_builtins(found, str_keys=True)
    return document
