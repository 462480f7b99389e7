"""A FIPE simulator: the official API over HTTP, from a catalogue file, with its quirks and faults."""

from fipe_simulator.answers import Quirks
from fipe_simulator.brand_quirks import BrandQuirk, BrandQuirks, quirks_of_brands
from fipe_simulator.catalogue import (
    SAMPLE_CATALOGUE,
    SAMPLE_MONTH,
    Catalogue,
    CatalogueError,
    CatalogueRow,
    read_catalogue,
    write_catalogue,
)
from fipe_simulator.earlier_months import catalogue_for_month
from fipe_simulator.faults import Ceiling, Fault, Faults
from fipe_simulator.months import Reference, published_references
from fipe_simulator.server import FipeSimulator, Statistics

__all__ = [
    "SAMPLE_CATALOGUE",
    "SAMPLE_MONTH",
    "BrandQuirk",
    "BrandQuirks",
    "Catalogue",
    "CatalogueError",
    "CatalogueRow",
    "Ceiling",
    "Fault",
    "Faults",
    "FipeSimulator",
    "Quirks",
    "Reference",
    "Statistics",
    "catalogue_for_month",
    "published_references",
    "quirks_of_brands",
    "read_catalogue",
    "write_catalogue",
]
