"""A month as the messages of the price queue, and as SQS hands them to the ingestor."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from benchmarks.history import REFERENCES, History
from fipe_api.messages import Named, PricedVehicle, PriceMessage, Reference
from fipe_simulator import Catalogue, CatalogueRow
from infrastructure.names import Function, Queue

STAGE = "dev"
JUNE_2026 = Reference(code=334, month=date(2026, 6, 1))
ASKED_AT = datetime(2026, 7, 2, tzinfo=UTC)
JULY_2026 = Reference(code=335, month=date(2026, 7, 1))


def price_messages(catalogue: Catalogue, reference: Reference, run_id: UUID) -> Iterator[PriceMessage]:
    """One message a model, as FipePriceLoader sends them."""
    models_of_brand = {
        (kind, code): len(catalogue.models(kind, code))
        for kind in (1, 2, 3)
        for code, _ in catalogue.brands(kind)
    }
    for rows in catalogue.by_model():
        first = rows[0]
        yield PriceMessage(
            run_id=run_id,
            reference=reference,
            vehicle_type=first.vehicle_type,  # type: ignore[arg-type]
            brand=Named(code=first.brand_code, name=first.brand),
            brands_in_run=len(models_of_brand),
            models_in_brand=models_of_brand[first.vehicle_type, first.brand_code],
            model=Named(code=first.model_code, name=first.model),
            searched_at=ASKED_AT,
            asked_at=ASKED_AT,
            prices=tuple(
                PricedVehicle(
                    model_year=row.model_year,
                    fuel_code=row.fuel_code,
                    fuel=row.fuel,
                    fipe_code=row.fipe_code,
                    price_brl=row.price_brl,
                )
                for row in rows
            ),
        )


def messages_of(history: History, number: int) -> Iterator[PriceMessage]:
    """A month of the history as messages of the price queue, one per model."""
    code, month = REFERENCES[number].code, REFERENCES[number].month
    rows = (CatalogueRow(*each.published, Decimal(price)) for each, price in history.month(number))
    return price_messages(Catalogue(month, rows), Reference(code=code, month=month), UUID(int=number + 1))


def sqs_events(bodies: Sequence[str], batch_size: int) -> Iterator[dict[str, Any]]:
    """Invocations of an SQS event source, with so many messages each."""
    numbers = count()
    for start in range(0, len(bodies), batch_size):
        yield {"Records": [_record(body, next(numbers)) for body in bodies[start : start + batch_size]]}


def _record(body: str, number: int) -> dict[str, Any]:
    return {
        "messageId": str(uuid.UUID(int=number)),
        "receiptHandle": "AQEB" + "x" * 360,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1782864000000",
            "SenderId": f"AROAEXAMPLE:{Function.PRICE_LOADER.of(STAGE)}",
            "ApproximateFirstReceiveTimestamp": "1782864000005",
        },
        "messageAttributes": {},
        "md5OfBody": "d41d8cd98f00b204e9800998ecf8427e",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{Queue.PRICE.of(STAGE)}",
        "awsRegion": "us-east-1",
    }
