"""Valid values for tests that care for other things; a test names what it cares for."""

import itertools
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from fipe_api.database.writer import PriceRow
from fipe_api.messages import (
    BrandMessage,
    BrandPlanMessage,
    EmptyBrandMessage,
    ModelMessage,
    ModelYearFuel,
    Named,
    PlannedModel,
    PricedVehicle,
    PriceMessage,
    Reference,
    RejectedAnswerMessage,
    RunPlanMessage,
)

ROOT_SQL = Path(__file__).resolve().parent.parent / "create_fipe_db.sql"
RUN = UUID("11111111-2222-3333-4444-555555555555")
JUNE_2026 = Reference(code=334, month=date(2026, 6, 1))
MAY_2026 = Reference(code=333, month=date(2026, 5, 1))
SEARCHED_AT = datetime(2026, 6, 2, 3, 4, 5, tzinfo=UTC)

_counter = itertools.count(1)


def any_code() -> int:
    return 1000 + next(_counter)


def any_moment() -> datetime:
    """Later than the one before."""
    return datetime(2026, 6, 2, 3, 4, 5, 678000, UTC) + timedelta(seconds=next(_counter))


def any_named(**given: Any) -> Named:
    code = any_code()
    return Named(**{"code": code, "name": f"Name {code}", **given})


def any_fipe_code() -> str:
    """Another one each time, with its check digit."""
    digits = f"{next(_counter):06d}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, range(7, 1, -1), strict=True))
    return f"{digits}-{(11 - total % 11) % 11 % 10}"


def any_price(**given: Any) -> PricedVehicle:
    defaults = {
        "model_year": 2014,
        "fuel_code": 3,
        "fuel": "Diesel",
        "fipe_code": "005340-6",
        "price_brl": Decimal("125318.00"),
    }
    return PricedVehicle(**{**defaults, **given})


def any_brand_message(**given: Any) -> BrandMessage:
    return BrandMessage(**{**_common(), **given})


def any_model_message(**given: Any) -> ModelMessage:
    defaults = {
        "models_in_brand": 1,
        "searched_at": SEARCHED_AT,
        "model": any_named(),
        "years_to_ask": (ModelYearFuel(model_year=2014, fuel_code=3),),
    }
    return ModelMessage(**{**_common(), **defaults, **given})


def any_price_message(**given: Any) -> PriceMessage:
    defaults = {
        "models_in_brand": 1,
        "searched_at": SEARCHED_AT,
        "model": any_named(),
        "asked_at": any_moment(),
        "prices": (any_price(),),
    }
    return PriceMessage(**{**_common(), **defaults, **given})


def any_empty_brand_message(**given: Any) -> EmptyBrandMessage:
    return EmptyBrandMessage(**{**_common(), "searched_at": SEARCHED_AT, **given})


def any_rejected_answer_message(**given: Any) -> RejectedAnswerMessage:
    defaults = {
        "run_id": RUN,
        "reference": JUNE_2026,
        "seen_at": datetime(2026, 6, 2, 3, 4, 5, 678000, UTC),
        "source": "fipe",
        "call": "ConsultarMarcas",
        "parameters": {"codigoTipoVeiculo": "1"},
        "answer": '[{"Label":"Acu',
        "reason": "cut",
    }
    return RejectedAnswerMessage(**{**defaults, **given})


def any_run_plan(**given: Any) -> RunPlanMessage:
    defaults = {
        "run_id": RUN,
        "reference": JUNE_2026,
        "brands_in_run": 1,
        "listed_at": SEARCHED_AT,
        "brands": (),
        "whole_month": True,
    }
    return RunPlanMessage(**{**defaults, **given})


def any_brand_plan(models: Iterable[tuple[int, int]] = (), **given: Any) -> BrandPlanMessage:
    planned = tuple(PlannedModel(*model) for model in models or [(any_code(), 1)])
    defaults = {"models_in_brand": 1, "searched_at": SEARCHED_AT, "part": 0, "models": planned}
    return BrandPlanMessage(**{**_common(), **defaults, **given})


def sqs_event(*bodies: str, receives: int = 1) -> dict[str, Any]:
    """An event of an SQS event source, as Lambda sends it."""
    return {
        "Records": [
            {
                "messageId": str(uuid4()),
                "receiptHandle": f"receipt-{position}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": str(receives)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:any-queue",
                "awsRegion": "us-east-1",
            }
            for position, body in enumerate(bodies)
        ]
    }


def _common() -> dict[str, Any]:
    return {
        "run_id": RUN,
        "reference": JUNE_2026,
        "vehicle_type": 1,
        "brand": Named(code=59, name="VW - VolksWagen"),
        "brands_in_run": 1,
    }


class AnyContext:
    """The context that Lambda passes to a handler with the event."""

    function_name = "any-function"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:any-function"

    def __init__(self, seconds_left: float = 300) -> None:
        self.aws_request_id = str(uuid4())
        self._seconds_left = seconds_left

    def get_remaining_time_in_millis(self) -> int:
        return round(self._seconds_left * 1000)


def any_price_row(month: date, code: int, price: int, **given: Any) -> PriceRow:
    """A row of a month; `fuel` is a pair of the fuel's code and name, petrol by default."""
    fuel_code, fuel = given.pop("fuel", (1, "Gasolina"))
    defaults = {
        "reference_month": month, "reference_code": code, "vehicle_type": 1, "brand_code": 59,
        "brand": "VW - VolksWagen", "model_code": 7, "model": "Gol 1.0", "model_year": 2020,
        "fuel_code": fuel_code, "fuel": fuel, "fipe_code": "005340-6", "price_brl": Decimal(price),
    }  # fmt: skip
    return PriceRow(**{**defaults, **given})
