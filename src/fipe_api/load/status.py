"""FipeLoadStatus: tells what the ledger knows about loads, also to those who cannot reach the database."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta, Struct, convert, to_builtins
from psycopg2.extras import RealDictCursor

from fipe_api.aws.observability import logger
from fipe_api.database.connection import connect

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LOADS_SHOWN = 20
MISSING_SHOWN = 50
MODELS_NAMED = 5

# A lateral join, one load at a time: with a plain join, PostgreSQL counts the whole ledger to show one load.
SELECT_LOADS = """
select load.*
from (
    select run_id, reference_code
    from fipe.load_run
    where (%(run_id)s is null or run_id = %(run_id)s::uuid)
      and (%(reference_code)s is null or reference_code = %(reference_code)s)
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
select run_id, reference_code, vehicle_type, coalesce(brand, brand_code::text) as brand, reason,
       count(model_code)::integer as models,
       (array_agg(coalesce(model, model_code::text) order by model_code)
           filter (where model_code is not null))[1:%(named)s] as named
from fipe.load_missing
where run_id = %(run_id)s::uuid and reference_code = %(reference_code)s
group by run_id, reference_code, vehicle_type, brand_code, brand, reason
order by vehicle_type nulls first, brand
limit %(limit)s + 1
"""

SELECT_RESUME = "select fipe.resume_payloads(%s::uuid)"

VEHICLE_TYPES = {1: "cars", 2: "motorcycles", 3: "trucks"}


class StatusRequest(Struct, forbid_unknown_fields=True):
    """The payload: which loads (of a run, of a reference code, or the newest), and whether with `resume`."""

    run_id: UUID | None = None
    reference_code: Annotated[int, Meta(ge=1)] | None = None
    resume: bool = False


@logger.inject_lambda_context
def handler(event: dict[str, Any] | None, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Returns rows of fipe.load_status, the newest first: all of a run, otherwise at most 20.

    Returns:
        `loads`, each with `missing`: one line per incomplete brand, at most 50, then a line that says how
        to see the others. With a run and `resume`, also `resume`: payloads for
        FipeManufacturerLoader that load what is missing.

    Raises:
        msgspec.ValidationError: the payload is invalid.
        psycopg2.Error: the database cannot be reached, or refuses.
    """
    request = convert(event or {}, StatusRequest)
    with closing(connect("FipeLoadStatus")) as connection:
        connection.set_session(readonly=True)
        answer: dict[str, Any] = {"loads": _loads(connection, request)}
        if request.resume and request.run_id is not None:
            answer["resume"] = _resume_payloads(connection, request.run_id)
    document: dict[str, Any] = to_builtins(answer)
    return document


def _loads(connection: "connection", request: StatusRequest) -> list[dict[str, Any]]:
    run_id = str(request.run_id) if request.run_id else None
    # A run is shown with all its months, which may be hundreds.
    limit = None if run_id else LOADS_SHOWN
    asked = {"run_id": run_id, "reference_code": request.reference_code, "limit": limit}
    with connection.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(SELECT_LOADS, asked)
        loads = [dict(row) for row in cursor.fetchall()]
        for load in loads:
            load["missing"] = [] if load["complete"] and not load["rejected"] else _missing(cursor, load)
    return loads


def _missing(cursor: RealDictCursor, load: dict[str, Any]) -> list[str]:
    bounds = {"limit": MISSING_SHOWN, "named": MODELS_NAMED}
    cursor.execute(SELECT_MISSING, {**load, **bounds})
    lines = [_line(dict(row)) for row in cursor.fetchall()]
    if len(lines) > MISSING_SHOWN:
        lines[MISSING_SHOWN:] = ["and others: `fipe query 'select * from fipe.load_missing'` shows all"]
    return lines


def _line(row: dict[str, Any]) -> str:
    if row["vehicle_type"] is None:
        return str(row["reason"])
    where = f"{VEHICLE_TYPES[row['vehicle_type']]}, {row['brand']}"
    if not row["models"]:
        return f"{where}: {row['reason']}"
    more = ", ..." if row["models"] > len(row["named"]) else ""
    return f"{where}: {row['models']} models ({', '.join(row['named'])}{more}): {row['reason']}"


def _resume_payloads(connection: "connection", run_id: UUID) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT_RESUME, (str(run_id),))
        return [payload for (payload,) in cursor.fetchall()]
