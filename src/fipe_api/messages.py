"""The messages of the three queues: JSON, versioned, each complete enough to be worked on alone.

Every message names its run and its reference, so that a later stage never asks for "the latest" again, and
carries the number of its siblings, so that the database can tell when a run is complete. The order of
messages and their repetition mean nothing.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter


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

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Any text that PostgreSQL can store."""

VehicleType = Literal[1, 2, 3]
"""FIPE's own codes: 1 car, 2 motorcycle, 3 truck."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(_Strict):
    """A published table: FIPE's code (neither a function of the month nor in its order) and its month."""

    code: int
    month: Month


class Named(_Strict):
    """A brand or a model: FIPE's code and the name it is published under."""

    code: int
    name: Text


class YearFuel(_Strict):
    """A model year (32000 means zero km) with the code of its fuel."""

    model_year: int
    fuel_code: int


class PricedVehicle(YearFuel):
    """One published price, in reais, of one model year and fuel."""

    fuel: Text
    fipe_code: Text
    price_brl: Price


class _Message(_Strict):
    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    vehicle_type: VehicleType
    brand: Named
    brands_in_run: int = Field(
        ge=1, description="brands of this run and reference, all vehicle types together"
    )


class Discovery(_Strict):
    """How far the search for a brand's model years has come, carried by a brand that was handed back."""

    models: tuple[Named, ...]
    years_to_ask: tuple[YearFuel, ...] = ()
    models_to_ask: tuple[int, ...] = ()
    found: dict[int, tuple[YearFuel, ...]] = Field(
        default_factory=dict, description="year-fuels by model code"
    )


class BrandMessage(_Message):
    """Manufacturer queue: one brand whose models and model years are to be found."""

    wanted_models: tuple[int | str, ...] = Field(default=(), description="codes or names; empty means all")
    discovery: Discovery | None = None


class _BrandPart(_Message):
    models_in_brand: int = Field(ge=0, description="models of this brand that the run will report")


class ModelMessage(_BrandPart):
    """Model queue: one model whose prices are to be asked; those known ride along when handed back."""

    kind: Literal["model"] = "model"
    model: Named
    years_to_ask: tuple[YearFuel, ...]
    prices: tuple[PricedVehicle, ...] = ()
    unpriced: tuple[YearFuel, ...] = ()


class PriceMessage(_BrandPart):
    """Price queue: one model with all the prices that the source published for it in the reference month."""

    kind: Literal["prices"] = "prices"
    model: Named
    prices: tuple[PricedVehicle, ...]
    unpriced: tuple[YearFuel, ...] = Field(
        default=(), description="listed by the source, but without a price"
    )


class EmptyBrandMessage(_BrandPart):
    """Model and price queue: a brand with nothing to load, so that the ledger can close it."""

    kind: Literal["empty_brand"] = "empty_brand"
    models_in_brand: Literal[0] = 0


ModelQueueMessage = ModelMessage | EmptyBrandMessage
PriceQueueMessage = PriceMessage | EmptyBrandMessage
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
