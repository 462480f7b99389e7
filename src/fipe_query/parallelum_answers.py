"""What Parallelum v2 answers, field by field in its order, and how it writes prices and months."""

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, Field

MONTH_NAMES = (
    "janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto", "setembro", "outubro",
    "novembro", "dezembro",
)  # fmt: skip
FUEL_ACRONYMS = {1: "G", 2: "Á", 3: "D", 4: "E", 5: "F", 6: "H"}
_BRAZILIAN_SIGNS = str.maketrans(",.", ".,")
_MOTORCYCLE, _PETROL = 2, 1


class Reference(BaseModel):
    """A reference month."""

    code: str = Field(examples=["334"])
    month: str = Field(examples=["junho de 2026"])


class Item(BaseModel):
    """A brand or a model."""

    code: str = Field(examples=["59"])
    name: str = Field(examples=["VW - VolksWagen"])


class Year(BaseModel):
    """A model year with its fuel; model year 32000 means zero km."""

    code: str = Field(examples=["2014-3"])
    name: str = Field(examples=["2014 Diesel"])


class VehicleDetail(BaseModel):
    """A vehicle and its price."""

    vehicleType: int = Field(examples=[1])  # noqa: N815  Parallelum's names
    price: str = Field(examples=["R$ 125.318,00"])
    brand: str = Field(examples=["VW - VolksWagen"])
    model: str = Field(examples=["AMAROK High.CD 2.0 16V TDI 4x4 Dies. Aut"])
    modelYear: int = Field(examples=[2014])  # noqa: N815
    fuel: str = Field(examples=["Diesel"])
    codeFipe: str = Field(examples=["005340-6"])  # noqa: N815
    referenceMonth: str = Field(examples=["junho de 2026"])  # noqa: N815
    fuelAcronym: str = Field(examples=["D"])  # noqa: N815


class PriceOfMonth(BaseModel):
    """What a vehicle cost in a month."""

    month: str = Field(examples=["junho de 2026"])
    price: str = Field(examples=["R$ 125.318,00"])
    reference: str = Field(examples=["334"])


class VehicleHistory(VehicleDetail):
    """A vehicle and its prices, the newest first."""

    priceHistory: list[PriceOfMonth]  # noqa: N815


class NotLocated(BaseModel):
    """There is no such thing."""

    error: str = Field(examples=["failed to locate brand"])


def brazilian(reais: Decimal) -> str:
    """`R$ 125.318,00`."""
    return f"R$ {reais:,.2f}".translate(_BRAZILIAN_SIGNS)


def month_in_words(month: date) -> str:
    """`abril de 2024`."""
    return f"{MONTH_NAMES[month.month - 1]} de {month.year}"


def reference_code(month: date, code: int | None) -> str:
    """FIPE's code of a month. One that only imports know has its own: 202404 is April 2024."""
    return str(code if code is not None else month.year * 100 + month.month)


def fuel_acronym(fuel_code: int, fuel: str) -> str:
    """The letter of a fuel: FIPE's, or the first one of its name."""
    return FUEL_ACRONYMS.get(fuel_code, fuel[:1].upper())


def year_label(vehicle_type: int, model_year: int, fuel_code: int, fuel: str) -> str:
    """`1992 Gasolina`; only the year for a motorcycle on petrol."""
    if vehicle_type == _MOTORCYCLE and fuel_code == _PETROL:
        return str(model_year)
    return f"{model_year} {fuel}"
