"""The messages of the three queues: JSON, versioned, each complete enough to be worked on alone.

Every message names its run and its reference, so that a later stage never asks for "the latest" again, and
carries the number of its siblings, so that the database can tell when a run is complete. The order of
messages and their repetition mean nothing.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from msgspec import Meta, Struct, field
from msgspec.json import Decoder, Encoder

STORABLE = r"\A[^\x00]*\Z"
"""Text that PostgreSQL can store."""

Text = Annotated[str, Meta(min_length=1, max_length=250, pattern=STORABLE)]
"""A name as published. FIPE cuts its names at 40 characters."""

BoundedText = Annotated[str, Meta(max_length=4_000, pattern=STORABLE)]

PositiveInt = Annotated[int, Meta(ge=1)]
Code = Annotated[int, Meta(ge=0, le=2_147_483_647)]
SmallCode = Annotated[int, Meta(ge=0, le=32_767)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
ModelYear = Annotated[int, Meta(ge=1, le=32_767)]
"""The year of a model; 32000 is FIPE's own for zero km."""

Source = Literal["fipe", "parallelum"]
"""Who answered: the official API, or the mirror Parallelum v2."""

VehicleType = Literal[1, 2, 3]
"""FIPE's own codes: 1 car, 2 motorcycle, 3 truck."""


ZERO, TEN_BILLION, CENT = Decimal(0), Decimal(10**10), Decimal("0.01")


def check_month(month: date) -> None:
    """A reference month stands as its first day.

    Raises:
        ValueError: another day.
    """
    if month.day != 1:
        raise ValueError("a reference month is given as the first of the month")


def check_price(price: Decimal) -> None:
    """A price is in reais and fits numeric(12,2). JSON has it as a string: money is never a float.

    Raises:
        ValueError: negative, too large, or with more than two decimals.
    """
    if not (price.is_finite() and ZERO <= price < TEN_BILLION and not price % CENT):
        raise ValueError(f"not a price in reais: {price}")


@lru_cache(maxsize=16_384)  # all of a month; a vehicle's model years share its code
def check_fipe_code(code: str) -> None:
    """A FIPE code is like 005340-6: weights 7 to 2, then (11 - sum mod 11) mod 11, where 10 counts as 0.

    Raises:
        ValueError: another form, or a wrong check digit.
    """
    if not re.fullmatch("[0-9]{6}-[0-9]", code):
        raise ValueError(f"not a FIPE code: {code!r}")
    total = sum(int(digit) * weight for digit, weight in zip(code[:6], range(7, 1, -1), strict=True))
    if int(code[7]) != (11 - total % 11) % 11 % 10:
        raise ValueError(f"a FIPE code with a wrong check digit: {code}")


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Checked when it is read from JSON, not when it is made from values that were checked before."""


class Reference(_Strict, frozen=True, kw_only=True):
    """A published table: FIPE's code (neither a function of the month nor in its order) and its month."""

    code: Code
    month: date

    def __post_init__(self) -> None:
        check_month(self.month)


class Named(_Strict, frozen=True, kw_only=True):
    """A brand or a model: FIPE's code and the name it is published under."""

    code: Code
    name: Text

    def is_among(self, wanted: Iterable[int | str]) -> bool:
        """Whether it is among names (in any case, outer spaces aside) or codes."""
        name = folded(self.name)
        return any(self.code == want if isinstance(want, int) else name == folded(want) for want in wanted)


def folded(name: str) -> str:
    """A name as names are compared: without outer spaces, in no case."""
    return name.strip().casefold()


class YearFuel(_Strict, frozen=True, kw_only=True):
    """A model year (32000 means zero km) with the code of its fuel."""

    model_year: ModelYear
    fuel_code: SmallCode


class PricedVehicle(YearFuel, frozen=True, kw_only=True):
    """One published price, in reais, of one model year and fuel."""

    fuel: Text
    fipe_code: str
    price_brl: Decimal
    source: Source = "fipe"

    def __post_init__(self) -> None:
        check_fipe_code(self.fipe_code)
        check_price(self.price_brl)


# The ledger counts a model's prices in a smallint.
Years = Annotated[tuple[YearFuel, ...], Meta(max_length=32_767)]
Prices = Annotated[tuple[PricedVehicle, ...], Meta(max_length=32_767)]


class _Message(_Strict, frozen=True, kw_only=True):
    """What all messages of a load's work begin with; brands_in_run counts those of all vehicle types."""

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    vehicle_type: VehicleType
    brand: Named
    brands_in_run: Annotated[int, Meta(ge=1, le=1_000_000)]


class Discovery(_Strict, frozen=True, kw_only=True):
    """How far the search for a brand's model years has come, carried by a brand that was handed back.

    Attributes:
        models: all models of the brand that are wanted.
        years_to_ask: pairs whose models are to be asked.
        models_to_ask: codes of models whose pairs are to be asked.
        found: pairs by the code of the model.
    """

    models: tuple[Named, ...]
    years_to_ask: tuple[YearFuel, ...] = ()
    models_to_ask: tuple[Code, ...] = ()
    found: dict[Code, tuple[YearFuel, ...]] = field(default_factory=dict)


class BrandMessage(_Message, frozen=True, kw_only=True):
    """Manufacturer queue: one brand whose models and model years are to be found.

    Attributes:
        wanted_models: codes or names; empty means all.
        rounds: in a row, in which none of what is left had a usable answer.
    """

    wanted_models: tuple[Code | Text, ...] = ()
    discovery: Discovery | None = None
    rounds: Count = 0


class _BrandPart(_Message, frozen=True, kw_only=True, tag_field="kind"):
    """What all messages begin with that are a part of a brand: how many of its models the run will report."""

    models_in_brand: Count


class ModelMessage(_BrandPart, frozen=True, kw_only=True, tag="model"):
    """Model queue: one model whose prices are to be asked; those known ride along when handed back.

    Attributes:
        rounds: in a row, in which none of what is left had a usable answer.
    """

    model: Named
    years_to_ask: Years
    prices: Prices = ()
    rounds: Count = 0


class PriceMessage(_BrandPart, frozen=True, kw_only=True, tag="prices"):
    """Price queue: one model with all the prices that the source published for it in the reference month.

    Attributes:
        unpriced: listed by the source, but without a price.
        rejected: listed by the source, whose answers were never what was asked.
    """

    model: Named
    prices: Prices
    unpriced: Years = ()
    rejected: Years = ()


class PlannedBrand(_Strict, frozen=True, kw_only=True):
    """A brand that a run is going to load."""

    vehicle_type: VehicleType
    brand: Named


class RunPlanMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="run_plan"):
    """Price queue: the brands that a run is going to load of one reference, for the ledger.

    Attributes:
        brands_in_run: brands of this run and reference, those of all its plans.
        wanted_models: codes or names; empty means all.
        whole_table: whether the run loads everything that the reference has.
    """

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    brands_in_run: PositiveInt
    brands: tuple[PlannedBrand, ...]
    wanted_models: tuple[int | str, ...] = ()
    whole_table: bool


class PlannedModel(NamedTuple):
    """A model that a run is going to load, with the number of its year-fuel pairs."""

    code: int
    year_fuels: int


class BrandPlanMessage(_BrandPart, frozen=True, kw_only=True, tag="brand_plan"):
    """Price queue: the models that a run is going to load of one brand, for the ledger; in parts."""

    part: Annotated[int, Meta(ge=0)]
    models: tuple[PlannedModel, ...]


class EmptyBrandMessage(_BrandPart, frozen=True, kw_only=True, tag="empty_brand"):
    """Model and price queue: a brand with nothing to load, so that the ledger can close it."""

    models_in_brand: Literal[0] = 0


class RejectedAnswerMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="rejected_answer"):
    """Price queue: an answer that was not what was asked, to be kept apart; it is part of no ledger."""

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference | None
    seen_at: Annotated[datetime, Meta(tz=True)]
    source: Source
    call: Annotated[str, Meta(max_length=100, pattern=STORABLE)]
    parameters: dict[BoundedText, BoundedText]
    answer: BoundedText
    reason: BoundedText


ModelQueueMessage = ModelMessage | EmptyBrandMessage
PlanMessage = RunPlanMessage | BrandPlanMessage
ResultMessage = PriceMessage | EmptyBrandMessage
LedgerMessage = ResultMessage | PlanMessage
PriceQueueMessage = LedgerMessage | RejectedAnswerMessage
Message = BrandMessage | ModelQueueMessage | PriceQueueMessage

MANUFACTURER_QUEUE = Decoder(BrandMessage)
MODEL_QUEUE: Decoder[ModelQueueMessage] = Decoder(ModelQueueMessage)
PRICE_QUEUE: Decoder[PriceQueueMessage] = Decoder(PriceQueueMessage)
_ENCODER = Encoder()


def to_json(message: Message) -> str:
    """A message as the body that a queue carries; its queue's decoder reads it again."""
    return _ENCODER.encode(message).decode()


class Unfinished(NamedTuple):
    """What is left of a message's work, to be sent to the queue it came from.

    Attributes:
        message: the same message with the progress inside.
        retry_in: seconds until it makes sense to go on.
    """

    message: BrandMessage | ModelMessage
    retry_in: float
