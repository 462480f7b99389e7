"""What the paths under /v1 answer: numbers are numbers, and a month is its first day."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, Field

Item = TypeVar("Item", bound=BaseModel)

NAMED_MONTH = r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$"
ASKED_MONTH = r"^(latest|(19|20)[0-9]{2}-(0[1-9]|1[0-2]))$"
WRITTEN_CODE = r"^[0-9]{6}-?[0-9]$"
NO_NUL = r"^[^\x00]*$"
"""The forms of what people and programs write: a month, a FIPE code, and any text that PostgreSQL takes."""
FORMS = {
    NAMED_MONTH: "a month like 2026-06",
    ASKED_MONTH: "a month like 2026-06, or latest",
    WRITTEN_CODE: "a FIPE code like 005340-6",
    NO_NUL: "text without the character NUL",
}
"""The same in words."""

LARGEST_PAGE = 1000
LARGEST_OFFSET = 1_000_000
LARGEST_BODY = 1024 * 1024


class VehicleType(StrEnum):
    """The vehicle types."""

    CAR = "car"
    MOTORCYCLE = "motorcycle"
    TRUCK = "truck"

    @property
    def number(self) -> int:
        """FIPE's number."""
        return list(VehicleType).index(self) + 1


def _type_named(number: Any) -> Any:
    return list(VehicleType)[number - 1] if isinstance(number, int) else number


Type = Annotated[VehicleType, BeforeValidator(_type_named), Field(examples=["car"])]
Month = Annotated[date, Field(description="The reference month, as its first day.", examples=["2026-06-01"])]
MonthBefore = Annotated[
    date, Field(description="The month that it is compared with.", examples=["2026-05-01"])
]
Reais = Annotated[float, Field(description="In reais.", examples=[125318.00])]
Percent = Annotated[float, Field(examples=[-1.25])]
Brand = Annotated[str, Field(examples=["VW - VolksWagen"])]
Model = Annotated[str, Field(examples=["AMAROK High.CD 2.0 16V TDI 4x4 Dies. Aut"])]
ModelYear = Annotated[int, Field(description="The model year; FIPE's 32000 means zero km.", examples=[2014])]
Fuel = Annotated[str, Field(examples=["Diesel"])]
FipeCode = Annotated[str, Field(examples=["005340-6"])]


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next: str | None = Field(
        description="The path of the next part; null in the last one.", examples=["/v1/months?offset=100"]
    )


class MonthState(BaseModel):
    """A reference month, and how far it is loaded."""

    month: Month
    reference_code: int | None = Field(
        description="FIPE's code of the month; null when only imports know it.", examples=[334]
    )
    loaded: str = Field(
        description="whole; imported (from files, and as whole as they are); part (only some brands, types or"
        " models were asked for); loading (something is missing).",
        examples=["whole"],
    )
    complete: bool = Field(description="Whether it is whole or imported: nothing of it is still to come.")


class Found(BaseModel):
    """A model that a search found, as in the last month that has it."""

    vehicle_type: Type
    brand: Brand
    model: Model
    brand_code: int = Field(examples=[59])
    model_code: int = Field(examples=[5940])
    fipe_codes: list[FipeCode]
    model_years: str = Field(description="Its model years, for people.", examples=["2011-2016, zero km"])
    price_brl: Reais = Field(description="The price of the newest model year, in reais.")
    last_month: Month


class Vehicle(BaseModel):
    """A vehicle with its price in a month."""

    reference_month: Month
    vehicle_type: Type
    brand: Brand
    model: Model
    model_year: ModelYear
    zero_km: bool
    fuel: Fuel
    fipe_code: FipeCode
    price_brl: Reais


class Aged(BaseModel):
    """What is left of the price of the newest model year."""

    brand: Brand
    model: Model
    model_year: ModelYear
    zero_km: bool
    age_years: int = Field(examples=[12])
    fuel: Fuel
    price_brl: Reais
    percent_of_newest: Percent | None = Field(
        description="In percent of the zero-km price, or else of the newest model year's.", examples=[54.1]
    )


class Depreciation(BaseModel):
    """The prices of a FIPE code by age in a month."""

    month: Month
    vehicles: list[Aged]


class Difference(StrEnum):
    """What became of a vehicle between two months."""

    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


class Change(BaseModel):
    """A vehicle in two months."""

    month_before: MonthBefore | None
    reference_month: Month
    difference: Difference
    vehicle_type: Type
    brand: Brand
    model: Model
    model_year: ModelYear
    zero_km: bool
    fuel: Fuel
    fipe_code: FipeCode
    price_before: Reais | None
    price_brl: Reais | None


class Mover(BaseModel):
    """A vehicle whose price rose or fell."""

    vehicle_type: Type
    brand: Brand
    model: Model
    model_year: ModelYear
    zero_km: bool
    fuel: Fuel
    fipe_code: FipeCode
    price_before: Reais
    price_brl: Reais
    change_brl: Reais
    change_percent: Percent


class Movers(BaseModel):
    """The vehicles whose prices rose most, and those whose prices fell most."""

    month: Month
    month_before: MonthBefore | None = Field(description="Null when there is no month to compare with.")
    rose: list[Mover]
    fell: list[Mover]


class Summary(BaseModel):
    """How many vehicles are new, gone and so on: in a month, of a vehicle type or of a brand."""

    month_before: MonthBefore
    reference_month: Month
    months_apart: int = Field(examples=[1])
    loaded: str = Field(examples=["whole"])
    vehicle_type: Type | None = Field(description="Null unless it is by type or brand.")
    brand_code: int | None = Field(description="Null unless it is by brand.", examples=[59])
    brand: Brand | None = Field(description="Null unless it is by brand.")
    vehicles_before: int
    vehicles: int
    new: int
    came_back: int
    gone: int
    renamed: int
    changed_fuel: int
    rose: int
    fell: int
    unchanged: int


def _as_text(written: Any) -> Any:
    """Spreadsheets take a FIPE code or a model year for a number."""
    is_number = isinstance(written, int | float) and not isinstance(written, bool)
    return f"{written:.15g}" if is_number else written


_Text = Annotated[str, Field(max_length=50, pattern=NO_NUL)]
Written = Annotated[_Text, BeforeValidator(_as_text, json_schema_input_type=_Text | float)]


class FleetVehicle(BaseModel, extra="forbid"):
    """A vehicle as people write it."""

    code: Written = Field(
        description="The FIPE code; 38003-2 and 380032 are 038003-2.", examples=["005340-6"]
    )
    year: Written = Field(description="The model year: 2014, 2013/2014, or 0km.", examples=["2014"])
    fuel: Written = Field(
        default="", description="The fuel, where the code has several.", examples=["Diesel"]
    )


LARGEST_FLEET = 1000


class Fleet(BaseModel, extra="forbid"):
    """A list of vehicles to value."""

    month: str = Field(
        default="latest",
        pattern=ASKED_MONTH,
        description="The month of the prices; latest is the newest complete one.",
        examples=["2026-06"],
    )
    since: str | None = Field(
        default=None,
        pattern=NAMED_MONTH,
        description="An earlier month to compare with.",
        examples=["2025-06"],
    )
    vehicles: list[FleetVehicle] = Field(min_length=1, max_length=LARGEST_FLEET)


class Valued(BaseModel):
    """What a vehicle of the list is worth, in the order of the list."""

    place: int = Field(description="Its place in the list, from 1.", examples=[1])
    note: str | None = Field(
        description="Why it has no price, or what FIPE names otherwise: a word for programs.",
        examples=["no_such_year"],
    )
    choices: str | None = Field(description="What there is instead.", examples=["2011, 2012"])
    last_month: Month | None = Field(description="When it was last seen, where it has no price.")
    vehicle_type: Type | None
    brand: Brand | None
    model: Model | None
    model_year: ModelYear | None
    zero_km: bool | None
    fuel: Fuel | None
    fipe_code: FipeCode | None
    price_before: Reais | None
    price_brl: Reais | None
    change_brl: Reais | None
    change_percent: Percent | None
    zero_km_brl: Reais | None
    percent_of_zero_km: Percent | None


class Valuation(BaseModel):
    """What a list of vehicles is worth."""

    month: Month
    month_before: MonthBefore | None
    value_brl: Reais = Field(description="All prices together, in reais.")
    without_price: int = Field(description="How many vehicles have no price.", examples=[0])
    vehicles: list[Valued]
