"""The messages of the three queues: JSON, versioned, each complete enough to be worked on alone.

Every message names its run and its reference, so that a later stage never asks for "the latest" again, and
carries the number of its siblings, so that the database can tell when a run is complete. The order of
messages and their repetition mean nothing.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter


def _first_of_month(day: date) -> date:
    if day.day != 1:
        raise ValueError("a reference month is given as the first of the month")
    return day


Month = Annotated[date, AfterValidator(_first_of_month)]
"""A reference month, as the first day of it."""

Price = Annotated[
    Decimal,
    Field(ge=0, max_digits=12, decimal_places=2),
    PlainSerializer(lambda price: f"{price:.2f}", return_type=str, when_used="json"),
]
"""Brazilian reais, written as a string in JSON: money is never a float."""

Text = Annotated[str, Field(max_length=250, pattern=r"^[^\x00]*$")]
"""A name as published: any text that PostgreSQL can store. FIPE cuts its names at 40 characters."""

BoundedText = Annotated[str, Field(max_length=4_000, pattern=r"^[^\x00]*$")]

Code = Annotated[int, Field(ge=0, le=2_147_483_647)]
SmallCode = Annotated[int, Field(ge=0, le=32_767)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
ModelYear = Annotated[int, Field(ge=1, le=32_767)]
"""The year of a model; 32000 is FIPE's own for zero km."""


@lru_cache(maxsize=16_384)  # all of a month; a vehicle's model years share its code
def _check_digit_fits(code: str) -> str:
    """Weights 7 to 2 on the six digits, (11 - sum mod 11) mod 11, and 10 counts as 0."""
    total = sum(int(digit) * weight for digit, weight in zip(code[:6], range(7, 1, -1), strict=True))
    if int(code[7]) != (11 - total % 11) % 11 % 10:
        raise ValueError("a FIPE code with a wrong check digit")
    return code


FipeCode = Annotated[str, Field(pattern=r"^[0-9]{6}-[0-9]$"), AfterValidator(_check_digit_fits)]
"""FIPE's code of a vehicle, like 005340-6."""

Source = Literal["fipe", "parallelum"]
"""Who answered: the official API, or the mirror Parallelum v2."""

VehicleType = Literal[1, 2, 3]
"""FIPE's own codes: 1 car, 2 motorcycle, 3 truck."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(_Strict):
    """A published table: FIPE's code (neither a function of the month nor in its order) and its month."""

    code: Code
    month: Month


class Named(_Strict):
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


class YearFuel(_Strict):
    """A model year (32000 means zero km) with the code of its fuel."""

    model_year: ModelYear
    fuel_code: SmallCode


class PricedVehicle(YearFuel):
    """One published price, in reais, of one model year and fuel."""

    fuel: Text
    fipe_code: FipeCode
    price_brl: Price
    source: Source = "fipe"


# The ledger counts a model's prices in a smallint.
Years = Annotated[tuple[YearFuel, ...], Field(max_length=32_767)]
Prices = Annotated[tuple[PricedVehicle, ...], Field(max_length=32_767)]
ROUNDS = "rounds in a row in which none of what is left had a usable answer"


class _Message(_Strict):
    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    vehicle_type: VehicleType
    brand: Named
    brands_in_run: int = Field(
        ge=1, le=1_000_000, description="brands of this run and reference, all vehicle types together"
    )


class Discovery(_Strict):
    """How far the search for a brand's model years has come, carried by a brand that was handed back."""

    models: tuple[Named, ...]
    years_to_ask: tuple[YearFuel, ...] = ()
    models_to_ask: tuple[Code, ...] = ()
    found: dict[Code, tuple[YearFuel, ...]] = Field(
        default_factory=dict, description="year-fuels by model code"
    )


class BrandMessage(_Message):
    """Manufacturer queue: one brand whose models and model years are to be found."""

    wanted_models: tuple[Code | Text, ...] = Field(default=(), description="codes or names; empty means all")
    discovery: Discovery | None = None
    rounds: Count = Field(default=0, description=ROUNDS)


class _BrandPart(_Message):
    models_in_brand: Count = Field(description="models of this brand that the run will report")


class ModelMessage(_BrandPart):
    """Model queue: one model whose prices are to be asked; those known ride along when handed back."""

    kind: Literal["model"] = "model"
    model: Named
    years_to_ask: Years
    prices: Prices = ()
    rounds: Count = Field(default=0, description=ROUNDS)


class PriceMessage(_BrandPart):
    """Price queue: one model with all the prices that the source published for it in the reference month."""

    kind: Literal["prices"] = "prices"
    model: Named
    prices: Prices
    unpriced: Years = Field(default=(), description="listed by the source, but without a price")
    rejected: Years = Field(
        default=(), description="listed by the source, whose answers were never what was asked"
    )


class PlannedBrand(_Strict):
    """A brand that a run is going to load."""

    vehicle_type: VehicleType
    brand: Named


class RunPlanMessage(_Strict):
    """Price queue: the brands that a run is going to load of one reference, for the ledger."""

    version: Literal[1] = 1
    kind: Literal["run_plan"] = "run_plan"
    run_id: UUID
    reference: Reference
    brands_in_run: int = Field(ge=1, description="brands of this run and reference, those of all its plans")
    brands: tuple[PlannedBrand, ...]
    wanted_models: tuple[int | str, ...] = Field(default=(), description="codes or names; empty means all")
    whole_table: bool = Field(description="whether the run loads everything that the reference has")


class PlannedModel(NamedTuple):
    """A model that a run is going to load, with the number of its year-fuel pairs."""

    code: int
    year_fuels: int


class BrandPlanMessage(_BrandPart):
    """Price queue: the models that a run is going to load of one brand, for the ledger; in parts."""

    kind: Literal["brand_plan"] = "brand_plan"
    part: int = Field(ge=0)
    models: tuple[PlannedModel, ...]


class EmptyBrandMessage(_BrandPart):
    """Model and price queue: a brand with nothing to load, so that the ledger can close it."""

    kind: Literal["empty_brand"] = "empty_brand"
    models_in_brand: Literal[0] = 0


class RejectedAnswerMessage(_Strict):
    """Price queue: an answer that was not what was asked, to be kept apart; it is part of no ledger."""

    version: Literal[1] = 1
    kind: Literal["rejected_answer"] = "rejected_answer"
    run_id: UUID
    reference: Reference | None
    seen_at: AwareDatetime
    source: Source
    call: Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")]
    parameters: dict[BoundedText, BoundedText]
    answer: BoundedText
    reason: BoundedText


ModelQueueMessage = ModelMessage | EmptyBrandMessage
PlanMessage = RunPlanMessage | BrandPlanMessage
ResultMessage = PriceMessage | EmptyBrandMessage
LedgerMessage = ResultMessage | PlanMessage
PriceQueueMessage = LedgerMessage | RejectedAnswerMessage
MODEL_QUEUE: TypeAdapter[ModelQueueMessage] = TypeAdapter(
    Annotated[ModelQueueMessage, Field(discriminator="kind")]
)
PRICE_QUEUE: TypeAdapter[PriceQueueMessage] = TypeAdapter(
    Annotated[PriceQueueMessage, Field(discriminator="kind")]
)


class Unfinished(NamedTuple):
    """What is left of a message's work, to be sent to the queue it came from.

    Attributes:
        message: the same message with the progress inside.
        retry_in: seconds until it makes sense to go on.
    """

    message: BrandMessage | ModelMessage
    retry_in: float
