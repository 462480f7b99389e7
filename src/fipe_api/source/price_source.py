"""The calls that a load makes to a source of prices, whichever source it is."""

from typing import NamedTuple, Protocol

from fipe_api.messages import ModelYearFuel, Named, PricedVehicle, Reference, VehicleType
from fipe_api.source.answers import AskedCode, NamedPrice


class BrandModels(NamedTuple):
    """A brand's models, and all their model years and fuels; None if the source does not list these."""

    models: tuple[Named, ...]
    years: tuple[ModelYearFuel, ...] | None


class PriceSource(Protocol):
    """The calls that a load needs.

    Each raises NotNowError if the source throttles, blocks or is down, the pace table does not answer, or the
    invocation has no time left; NoDataError if the source has nothing; UnusableAnswerError if its answers
    stay unusable.
    """

    def references(self) -> list[Reference]:
        """All published reference months, the newest first; their codes are in another order."""

    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        """The brands of one vehicle type in the reference month."""

    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        """The models of a brand, and every model year and fuel that at least one of them has."""

    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[ModelYearFuel, ...]:
        """The model years and fuels of one model."""

    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: ModelYearFuel
    ) -> frozenset[int]:
        """The codes of the brand's models that have this model year and fuel."""

    def price(
        self, reference: Reference, vehicle_type: VehicleType, brand: Named, model: Named, year: ModelYearFuel
    ) -> PricedVehicle:
        """The price of one vehicle, checked to be of that month, brand, model, model year and fuel."""


class CodeSource(PriceSource, Protocol):
    """A source that can be asked by FIPE code, too: the official API."""

    def years_of_code(
        self, reference: Reference, vehicle_type: VehicleType, fipe_code: str
    ) -> tuple[ModelYearFuel, ...]:
        """The model years and fuels of a FIPE code."""

    def price_of_code(self, asked: AskedCode) -> NamedPrice:
        """The price of one vehicle by its FIPE code, with the names of its brand and model."""
