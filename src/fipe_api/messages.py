"""The messages of the queues: JSON with a version. Each holds all that is needed to work on it.

Every message names its run and its reference month, so that no later step asks for "the latest" again. Every
message says how many siblings it has, so that the database can tell when a run is complete. Messages may
arrive in any order and more than once.
"""

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple
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
"""FIPE's anoModelo; 32000 means zero km."""

Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its time zone."""

Source = Literal["fipe", "parallelum"]
"""Which source answered: the official API, or the mirror Parallelum v2."""

VehicleType = Literal[1, 2, 3]
"""FIPE's codes: 1 car, 2 motorcycle, 3 truck."""

ZERO, TEN_BILLION, CENT = Decimal(0), Decimal(10**10), Decimal("0.01")


def check_month(month: date) -> None:
    """Checks that a reference month is given as its first day.

    Raises:
        ValueError: it is another day.
    """
    if month.day != 1:
        raise ValueError(f"invalid reference month {month}: use the first day of the month")


def check_price(price: Decimal) -> None:
    """Checks that a price is in reais and fits numeric(12,2). JSON holds it as a string, never as a float.

    Raises:
        ValueError: it is negative, too large, or has more than two decimals.
    """
    if not (price.is_finite() and ZERO <= price < TEN_BILLION and not price % CENT):
        raise ValueError(f"not a price in reais: {price}")


@lru_cache(maxsize=16_384)  # holds the codes of a month, each of which comes with many model years
def check_fipe_code(code: str) -> None:
    """Checks a FIPE code like 005340-6.

    Its check digit is (11 - sum mod 11) mod 11, where 10 counts as 0. The sum is that of the six digits,
    multiplied by 7, 6, 5, 4, 3 and 2.

    Raises:
        ValueError: it has another form or a wrong check digit.
    """
    if not re.fullmatch("[0-9]{6}-[0-9]", code):
        raise ValueError(f"not a FIPE code: {code!r}")
    total = sum(int(digit) * weight for digit, weight in zip(code[:6], range(7, 1, -1), strict=True))
    if int(code[7]) != (11 - total % 11) % 11 % 10:
        raise ValueError(f"FIPE code with a wrong check digit: {code}")


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Checked when it is read from JSON. One made in Python is not checked: its values were before."""


class Reference(_Strict, frozen=True, kw_only=True):
    """A published reference month and its code. Codes do not follow the order of the months."""

    code: Code
    month: date

    def __post_init__(self) -> None:
        check_month(self.month)


class Named(_Strict, frozen=True, kw_only=True):
    """A brand or a model: FIPE's code, and the name as published."""

    code: Code
    name: Text

    def is_among(self, wanted: Iterable[int | str]) -> bool:
        """Whether `wanted` has its code, or its name as names are compared."""
        name = folded(self.name)
        return any(self.code == want if isinstance(want, int) else name == folded(want) for want in wanted)


def folded(name: str) -> str:
    """A name as names are compared: in small letters, without accents and spaces around it."""
    return without_accents(name).strip().casefold()


def words_of(name: str) -> list[str]:
    """The words of a name in their order, as the SQL function fipe.split finds them."""
    return re.findall(
        r"(?:[a-z0-9]|(?<=[0-9])\.(?=[0-9]))+", re.sub(r"(?<=[0-9]),(?=[0-9])", ".", folded(name))
    )


def without_accents(text: str) -> str:
    """The text with plain letters: Citroën becomes Citroen."""
    if text.isascii():
        return text
    marked = unicodedata.normalize("NFD", text)
    return "".join(character for character in marked if not unicodedata.combining(character))


class ModelYearFuel(_Strict, frozen=True, kw_only=True):
    """A model year and the code of its fuel."""

    model_year: ModelYear
    fuel_code: SmallCode


class PricedVehicle(ModelYearFuel, frozen=True, kw_only=True):
    """The published price of one vehicle, in reais."""

    fuel: Text
    fipe_code: str
    price_brl: Decimal
    source: Source = "fipe"

    def __post_init__(self) -> None:
        check_fipe_code(self.fipe_code)
        check_price(self.price_brl)


# The ledger counts a model's prices in a smallint.
Years = Annotated[tuple[ModelYearFuel, ...], Meta(max_length=32_767)]
Prices = Annotated[tuple[PricedVehicle, ...], Meta(max_length=32_767)]


class _Message(_Strict, frozen=True, kw_only=True):
    """What all messages about one brand begin with. brands_in_run counts the brands of all vehicle types."""

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    vehicle_type: VehicleType
    brand: Named
    brands_in_run: Annotated[int, Meta(ge=1, le=1_000_000)]


class Discovery(_Strict, frozen=True, kw_only=True):
    """How far the search for a brand's model years has come; part of a brand's message that was handed back.

    Attributes:
        searched_at: when the source was asked for the brand's models.
        models_in_brand: how many models of the brand are wanted.
        models: those whose model years are to be found: all, or only the missing ones.
        years_to_ask: model years and fuels; each call asks for the models of one.
        models_to_ask: codes of models; each call asks for the model years and fuels of one.
        found: model years and fuels by model code.
    """

    searched_at: Moment
    models_in_brand: Count
    models: tuple[Named, ...]
    years_to_ask: tuple[ModelYearFuel, ...] = ()
    models_to_ask: tuple[Code, ...] = ()
    found: dict[Code, tuple[ModelYearFuel, ...]] = field(default_factory=dict)


class BrandMessage(_Message, frozen=True, kw_only=True, tag_field="kind", tag="brand"):
    """Manufacturer queue: one brand whose models and model years are to be found.

    Attributes:
        wanted_models: codes or names; empty means all.
        missing_models: codes; a resumed load asks for these models of the wanted ones only. Empty means all.
        discovery: what was found before the message was handed back.
        rounds: rounds in a row without a usable answer to what is left.
    """

    wanted_models: tuple[Code | Text, ...] = ()
    missing_models: tuple[Code, ...] = ()
    discovery: Discovery | None = None
    rounds: Count = 0


class ListedBrands(_Strict, frozen=True, kw_only=True):
    """The wanted brands of one vehicle type in one reference month, as the source listed them."""

    reference: Reference
    vehicle_type: VehicleType
    brands: tuple[Named, ...]


class StartMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="start"):
    """Manufacturer queue: a load to be started, when the source did not answer in time.

    Attributes:
        request: the payload of FipeManufacturerLoader.
        reference: the reference month; None before it was chosen.
        listed: its brands that were found so far.
        rounds: rounds in a row without a usable answer.
        among_others: it starts one month of a list. That this month lacks a brand is no mistake.
    """

    version: Literal[1] = 1
    run_id: UUID
    request: dict[str, Any]
    reference: Reference | None = None
    listed: tuple[ListedBrands, ...] = ()
    rounds: Count = 0
    among_others: bool = False


MOST_SAMPLED = 1_000
"""With their names, they take some 150 KB of the 256 KB that SQS takes in one message."""


class SampledName(NamedTuple):
    """A fuel, brand and model under which a chosen vehicle stands in the month, and its price."""

    fuel: Text
    brand: Text
    model: Text
    price_brl: Decimal


class SampledVehicle(NamedTuple):
    """A vehicle whose price was chosen, with all the names that it stands under."""

    vehicle_type: VehicleType
    fipe_code: str
    model_year: ModelYear
    fuel_code: SmallCode
    stands_as: Annotated[tuple[SampledName, ...], Meta(min_length=1)]


class Sample(_Strict, frozen=True, kw_only=True):
    """What is left to ask of the sample of an imported month.

    Attributes:
        reference: the month.
        brands: the names that the month has, by the vehicle types whose brands are left to compare.
        imported: how many prices imports had added to the month, and replaced in it.
        left: what is left to ask in this round.
        doubted: what had no usable answer in this round.
        rounds: rounds that left such vehicles.
    """

    reference: Reference
    brands: dict[VehicleType, tuple[Text, ...]]
    imported: Count
    left: tuple[SampledVehicle, ...]
    doubted: tuple[SampledVehicle, ...] = ()
    rounds: Count = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to ask."""
        return not (self.brands or self.left or self.doubted)


class BackfillMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="backfill"):
    """Manufacturer queue: looks how far a list of months has come, and moves it on.

    Each sends the next one, with a delay, until the list has ended. The list notes whose turn it is, so that
    of two only one goes on.

    Attributes:
        turn: one more than that of the message before.
        token: tells apart two messages of the same turn. The same message may be delivered twice.
        pause: how many seconds it waited; the next one waits longer.
        start: the start of a month, if the source did not answer in time.
        sample: what is left to ask of the month at work, if an import holds it.
    """

    version: Literal[1] = 1
    run_id: UUID
    turn: PositiveInt
    token: UUID
    pause: Annotated[float, Meta(ge=0)] = 0.0
    start: StartMessage | None = None
    sample: Sample | None = None


class NamedCode(NamedTuple):
    """A FIPE code, with the names that the source gives it."""

    fipe_code: str
    vehicle_type: VehicleType
    brand: Text
    model: Text


class ModelsOfBrand(NamedTuple):
    """The only models to load of a brand."""

    vehicle_type: VehicleType
    brand_code: Code
    model_codes: tuple[Code, ...]


class CodesMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="codes"):
    """Manufacturer queue: a load of FIPE codes whose brands and models are to be found before it starts.

    Attributes:
        request: the payload of FipeManufacturerLoader.
        reference: the month to look in; None before it is chosen.
        left: codes that were not looked up so far.
        named: codes whose brand and model are known by name only.
        found: brands and models that are known.
        rounds: rounds in a row without a usable answer.
    """

    version: Literal[1] = 1
    run_id: UUID
    request: dict[str, Any]
    reference: Reference | None = None
    left: tuple[str, ...]
    named: tuple[NamedCode, ...] = ()
    found: tuple[ModelsOfBrand, ...] = ()
    rounds: Count = 0


class _BrandPart(_Message, frozen=True, kw_only=True, tag_field="kind"):
    """What all messages about a part of a brand begin with.

    Attributes:
        models_in_brand: how many models of the brand the run loads.
        searched_at: when the source was asked for them. Of two messages the newer list counts.
    """

    models_in_brand: Count
    searched_at: Moment


class ModelMessage(_BrandPart, frozen=True, kw_only=True, tag="model"):
    """Model queue: one model whose prices are to be asked.

    Attributes:
        years_to_ask: the model years and fuels without a price so far.
        prices: the prices that were found before the message was handed back.
        unpriced: the model years and fuels that were denied in this load as in one before.
        rounds: rounds in a row without a usable answer to what is left.
    """

    model: Named
    years_to_ask: Years
    prices: Prices = ()
    unpriced: Years = ()
    rounds: Count = 0


class PriceMessage(_BrandPart, frozen=True, kw_only=True, tag="prices"):
    """Price queue: one model with all the prices that the source published for it in the reference month.

    Attributes:
        asked_at: when the prices were asked. Of two messages on one model and month the newer counts.
        unpriced: model years and fuels that the source lists and denied a price for, in three rounds.
        rejected: model years and fuels that had no usable answer in three rounds.
    """

    model: Named
    asked_at: Moment
    prices: Prices
    unpriced: Years = ()
    rejected: Years = ()


class PlannedBrand(_Strict, frozen=True, kw_only=True):
    """A brand that a run will load."""

    vehicle_type: VehicleType
    brand: Named


class RunPlanMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="run_plan"):
    """Price queue: brands that a run will load of one reference month, for the ledger.

    Attributes:
        brands_in_run: how many brands the run loads of the month; its plans may come in parts.
        listed_at: when the source was asked for them. Of two plans the newer counts.
        vehicle_types: those that were asked for.
        wanted_brands: codes or names; empty means all.
        wanted_models: codes or names; empty means all.
        whole_month: whether the run loads all vehicles of the month.
    """

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    brands_in_run: Annotated[int, Meta(ge=1, le=1_000_000)]
    listed_at: Moment
    brands: tuple[PlannedBrand, ...]
    vehicle_types: tuple[VehicleType, ...] = (1, 2, 3)
    wanted_brands: tuple[Code | Text, ...] = ()
    wanted_models: tuple[Code | Text, ...] = ()
    whole_month: bool


class PlannedModel(NamedTuple):
    """A model that a run will load, with the number of its vehicles."""

    code: Code
    vehicles: SmallCode


class BrandPlanMessage(_BrandPart, frozen=True, kw_only=True, tag="brand_plan"):
    """Price queue: models that a run will load of one brand, for the ledger. A brand may come in parts."""

    part: SmallCode
    models: tuple[PlannedModel, ...]


class EmptyBrandMessage(_BrandPart, frozen=True, kw_only=True, tag="empty_brand"):
    """Model and price queue: a brand with nothing to load; it lets the ledger complete the brand."""

    models_in_brand: Literal[0] = 0


class RejectedAnswerMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="rejected_answer"):
    """Price queue: an answer that was not for what was asked, for the quarantine. No ledger counts it."""

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference | None
    seen_at: Moment
    source: Source
    call: Annotated[str, Meta(max_length=100, pattern=STORABLE)]
    parameters: dict[BoundedText, BoundedText]
    answer: BoundedText
    reason: BoundedText


class CancellationMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="cancellation"):
    """Price queue: a run was cancelled or, if `cancelled` is false, resumed.

    Attributes:
        changes: how often the run was cancelled or resumed so far. Of two messages the one with more counts.
        waits_for: the months of another load that the run gives way to; then it goes on by itself.
    """

    version: Literal[1] = 1
    run_id: UUID
    changes: PositiveInt
    cancelled: bool
    waits_for: BoundedText = ""


class ConfirmationMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="confirmation"):
    """Price queue: a sample has confirmed an imported month.

    Attributes:
        vehicle_types: those that count.
        prices_asked: how many prices the sample had; all were alike.
        imported: how many prices imports had added to the month, and replaced in it, when it was chosen.
        confirmed_at: when the last price was answered. Of two messages the newer counts.
    """

    version: Literal[1] = 1
    run_id: UUID
    reference: Reference
    vehicle_types: tuple[VehicleType, ...]
    prices_asked: PositiveInt
    imported: Count
    confirmed_at: Moment


class LookMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="look"):
    """Announcement queue: looks whether the ledger has something to tell of a load, and tells it.

    Each sends the next one, with a delay, until the load is over.

    Attributes:
        run_id: the load's run; None looks after all loads that are not over.
        reference: its month.
        began_at: when the load, or its resumption, began.
        not_before: when to look; None means at once. SQS delays a message by 15 minutes at most, so one that
            comes too early is sent again.
        failures: looks in a row that failed.
    """

    version: Literal[1] = 1
    run_id: UUID | None = None
    reference: Reference | None = None
    began_at: Moment
    not_before: Moment | None = None
    failures: Count = 0


class ListEndedMessage(_Strict, frozen=True, kw_only=True, tag_field="kind", tag="list_ended"):
    """Announcement queue: a list of months has ended.

    Attributes:
        began_at: when it was asked for.
        ended_at: when nothing was left to do.
        complete: how many of its months are complete.
        prices: how many prices these have.
        confirmed: how many others an import holds, and a sample has confirmed.
        incomplete: the months, YYYY-MM, that ended incomplete, each with the reason.
        left_out: the months with nothing to load, each with the reason.
    """

    version: Literal[1] = 1
    run_id: UUID
    began_at: Moment
    ended_at: Moment
    complete: Count
    prices: Annotated[int, Meta(ge=0)]
    confirmed: Count = 0
    incomplete: tuple[tuple[str, BoundedText], ...] = ()
    left_out: tuple[tuple[str, BoundedText], ...] = ()


AnnouncementQueueMessage = LookMessage | ListEndedMessage
ManufacturerQueueMessage = StartMessage | CodesMessage | BrandMessage | BackfillMessage
ModelQueueMessage = ModelMessage | EmptyBrandMessage
PlanMessage = RunPlanMessage | BrandPlanMessage
ResultMessage = PriceMessage | EmptyBrandMessage
LedgerMessage = ResultMessage | PlanMessage
PriceQueueMessage = LedgerMessage | CancellationMessage | ConfirmationMessage | RejectedAnswerMessage
Message = ManufacturerQueueMessage | ModelQueueMessage | PriceQueueMessage | AnnouncementQueueMessage

MANUFACTURER_QUEUE: Decoder[ManufacturerQueueMessage] = Decoder(ManufacturerQueueMessage)
MODEL_QUEUE: Decoder[ModelQueueMessage] = Decoder(ModelQueueMessage)
PRICE_QUEUE: Decoder[PriceQueueMessage] = Decoder(PriceQueueMessage)
ANNOUNCEMENT_QUEUE: Decoder[AnnouncementQueueMessage] = Decoder(AnnouncementQueueMessage)
_ENCODER = Encoder()


def to_json(message: Message) -> str:
    """The body of a message; its queue's decoder reads it."""
    return _ENCODER.encode(message).decode()


class Unfinished(NamedTuple):
    """Work on a message that could not be finished now, to be sent back to the queue it came from.

    Attributes:
        message: the message with its progress.
        retry_in: seconds to wait before going on.
        denied_until: how many seconds from now it is asked again at the latest, if the source answered and
            denied what is left; None if the source did not serve the calls.
    """

    message: StartMessage | CodesMessage | BrandMessage | ModelMessage | BackfillMessage
    retry_in: float
    denied_until: float | None = None
