"""What the functions at the database find out for `fipe check`: a fresh sign-in, and their work, undone."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg2
from msgspec.structs import replace

from fipe_api.aws.self_check import DatabaseFacts, sslmode
from fipe_api.database.connection import connect
from fipe_api.database.writer import write_messages
from fipe_api.environment import DatabaseEnvironment, read_environment
from fipe_api.messages import (
    BrandPlanMessage,
    Named,
    PlannedBrand,
    PlannedModel,
    PricedVehicle,
    PriceMessage,
    PriceQueueMessage,
    Reference,
    RejectedAnswerMessage,
    RunPlanMessage,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

PATIENCE = "30s"
"""How long a statement may take. A batch that is written keeps others waiting for seconds."""
ANY_MONTH = date(2001, 1, 1)
"""FIPE's first month; a real one, as far as the database knows it."""
UNUSED_CODE = 2_000_000_000
ANY_FIPE_CODE = "000000-0"


def look_at_database(application_name: str, work: Callable[["connection"], str]) -> DatabaseFacts:
    """Signs in on a new connection, and works.

    Args:
        application_name: who connects.
        work: does something like the function's work and leaves nothing behind; says what it did.
    """
    facts = DatabaseFacts(read_environment(DatabaseEnvironment).rds_user, sslmode())
    try:
        with closing(connect(application_name)) as connection:
            if connection.info.ssl_in_use:
                facts.tls = str(connection.info.ssl_attribute("protocol"))
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("set statement_timeout = %s", (PATIENCE,))
            connection.autocommit = False
            facts.done = work(connection)
    except psycopg2.Error as error:
        facts.error = str(error).strip()
    return facts


def rehearse(connection: "connection") -> str:
    """Writes what the ingestor writes: a plan, prices, a correction, a rejected answer. Then undoes it."""
    with connection.cursor() as cursor:
        cursor.execute("select code from fipe.reference_month where month = %s", (ANY_MONTH,))
        known = cursor.fetchone()
    connection.rollback()
    reference = Reference(code=known[0] if known else UNUSED_CODE, month=ANY_MONTH)
    written = write_messages(_Undone(connection), _messages(reference))  # type: ignore[arg-type]
    return f"wrote {written.given} prices, and undid it"


class _Undone:
    """A connection as the writer uses it, whose transaction is rolled back where it would be committed."""

    def __init__(self, connection: "connection") -> None:
        self._connection = connection

    def __enter__(self) -> "_Undone":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()

    def cursor(self) -> "cursor":
        return self._connection.cursor()


def _messages(reference: Reference) -> list[PriceQueueMessage]:
    """A load of one model, whose price is another the second time."""
    now = datetime.now(UTC)
    named = Named(code=UNUSED_CODE, name="fipe check")
    plan = RunPlanMessage(
        run_id=uuid4(),
        reference=reference,
        brands_in_run=1,
        listed_at=now,
        brands=(PlannedBrand(vehicle_type=1, brand=named),),
        whole_month=False,
    )
    of_brand: dict[str, Any] = {
        "run_id": plan.run_id,
        "reference": reference,
        "vehicle_type": 1,
        "brand": named,
        "brands_in_run": 1,
        "models_in_brand": 1,
        "searched_at": now,
    }
    price = PricedVehicle(
        model_year=2001, fuel_code=1, fuel="Gasolina", fipe_code=ANY_FIPE_CODE, price_brl=Decimal(1)
    )
    return [
        plan,
        BrandPlanMessage(**of_brand, part=0, models=(PlannedModel(UNUSED_CODE, vehicles=1),)),
        PriceMessage(**of_brand, model=named, asked_at=now, prices=(price,)),
        PriceMessage(
            **of_brand,
            model=named,
            asked_at=now + timedelta(seconds=1),
            prices=(replace(price, price_brl=Decimal(2)),),
        ),
        RejectedAnswerMessage(
            run_id=plan.run_id,
            reference=reference,
            seen_at=now,
            source="fipe",
            call="fipe check",
            parameters={},
            answer="",
            reason="made by fipe check",
        ),
    ]
