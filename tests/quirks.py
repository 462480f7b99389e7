"""A catalogue with one brand for each quirk of the simulator, and what a load of it must end with."""

from decimal import Decimal

from fipe_simulator import SAMPLE_MONTH, BrandQuirk, Catalogue, CatalogueRow
from tests.builders import any_fipe_code

BRANDS = {(number % 3 + 1, 100 + number): quirk for number, quirk in enumerate(BrandQuirk)}
"""By vehicle type and brand code; the brand has the quirk's name."""

ACCENTED = "Citroën Álamo"
MODELS, YEARS = 3, (2014, 32_000)


def quirk_catalogue() -> Catalogue:
    """Brands with three models of two model years each; two prices of the first model are spoilt."""
    return Catalogue(
        SAMPLE_MONTH,
        [
            CatalogueRow(
                vehicle_type=vehicle_type,
                brand_code=brand_code,
                brand=ACCENTED if quirk == BrandQuirk.PLAIN_NAMES else quirk,
                model_code=10 * brand_code + number,
                model=f"Modèle {number} Flex",
                model_year=year,
                fuel_code=5,
                fuel="Flex",
                fipe_code=code,
                price_brl=Decimal(f"{100 * brand_code + number}.00"),
            )
            for (vehicle_type, brand_code), quirk in BRANDS.items()
            for number, code in enumerate(any_fipe_code() for _ in range(MODELS))
            for year in YEARS
        ],
    )
