"""What the run's ledger, the queues and the pace say of a load: one snapshot at a time."""

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from botocore.exceptions import ClientError
from psycopg2.extras import RealDictCursor
from pydantic import AwareDatetime, BaseModel, ConfigDict

from fipe_api.http_source import LONGEST_WAIT_SECONDS as LONGEST_USUAL_WAIT_SECONDS
from fipe_api.pace import SOURCE as PACE_KEY
from fipe_cli.cloud import Cloud
from fipe_cli.database import open_database
from fipe_cli.loads import STARTER, calls_per_minute
from fipe_cli.progress import Snapshot

if TYPE_CHECKING:
    from psycopg2.extensions import connection


class Load(BaseModel):
    """A run's reference month, as FipeLoadStatus tells it."""

    model_config = ConfigDict(extra="ignore")

    run_id: UUID
    reference_code: int
    reference_month: date
    brands_expected: int
    brands_complete: int
    models_expected: int
    models_received: int
    prices: int
    unpriced: int
    complete: bool
    started_at: AwareDatetime
    last_write_at: AwareDatetime
    missing: list[str] = []


def read_loads(cloud: Cloud, run_id: UUID | None = None) -> list[Load]:
    """The reference months of a run, the oldest first; of the newest run when none is named.

    Empty when the ledger knows no such run: none was started, or its first result is still on its way.
    """
    with open_database(cloud) as database, database.session() as session:
        return loads_in(session, run_id)


def loads_in(session: "connection", run_id: UUID | None) -> list[Load]:
    """See read_loads."""
    with session.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "select * from fipe.load_status"
            " where run_id ="
            " coalesce(%s, (select run_id from fipe.load_run order by started_at desc limit 1))"
            " order by reference_month",
            (str(run_id) if run_id else None,),
        )
        return [Load.model_validate(dict(row)) for row in cursor.fetchall()]


def look(cloud: Cloud, run_id: UUID | None = None, brands: int = 0) -> tuple[list[Load], Snapshot]:
    """The loads of a run, and how far they have come together; `brands` as in snapshot."""
    loads = read_loads(cloud, run_id)
    depths = cloud.queue_depths()
    limit = calls_per_minute(cloud.environment_of(STARTER))
    return loads, snapshot(
        loads,
        waiting={kind: depth.messages for kind, depth in depths.items()},
        dead={kind: depth.dead for kind, depth in depths.items()},
        calls_per_minute=limit,
        rest_seconds=_rest_seconds(cloud),
        brands=brands,
    )


def snapshot(
    loads: Sequence[Load],
    *,
    waiting: dict[str, int],
    dead: dict[str, int],
    calls_per_minute: float | None,
    rest_seconds: float = 0.0,
    brands: int = 0,
    busy: bool = False,
) -> Snapshot:
    """The loads as one, with the messages that wait by kind of queue.

    Args:
        loads: of one run.
        waiting: messages of all states by kind of queue.
        dead: messages in dead letter queues by kind of queue.
        calls_per_minute: the limit that the loaders work with.
        rest_seconds: how long the source wants to be left alone.
        brands: how many the run is known to have; the ledger may have heard of fewer.
        busy: whether functions are at work.
    """
    counted = sum(load.brands_expected for load in loads)
    return Snapshot(
        at=datetime.now(UTC),
        months=[f"{load.reference_month:%Y-%m}" for load in loads],
        started_at=min((load.started_at for load in loads), default=None),
        brands=max(brands, counted, waiting["manufacturer"]),
        brands_complete=sum(load.brands_complete for load in loads),
        brands_waiting=waiting["manufacturer"],
        models_received=sum(load.models_received for load in loads),
        models_waiting=waiting["model"],
        models_to_write=waiting["price"],
        prices=sum(load.prices for load in loads),
        unpriced=sum(load.unpriced for load in loads),
        dead=dead,
        complete=bool(loads) and counted >= brands and all(load.complete for load in loads),
        missing=[what for load in loads for what in load.missing],
        calls_per_minute=calls_per_minute,
        rest_seconds=rest_seconds,
        busy=busy,
    )


def _rest_seconds(cloud: Cloud) -> float:
    """How long the source asked to be left alone, from the loaders' shared pace."""
    key = {"source": {"S": PACE_KEY}}
    try:
        item = (
            cloud.client("dynamodb").get_item(TableName=f"fipe-pace-{cloud.stage}", Key=key).get("Item", {})
        )
    except ClientError as error:
        raise cloud.explained(error, f"table fipe-pace-{cloud.stage}") from error
    moment = int(item["next_call"]["N"]) / 1000 if "next_call" in item else 0.0
    ahead = moment - time.time()
    return ahead if ahead > LONGEST_USUAL_WAIT_SECONDS else 0.0
