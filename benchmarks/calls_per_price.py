"""Calls per price: how many calls a full month takes, counted by the simulator.

The loaders' own functions find all models, model years and fuels, and get every price. Two other ways are
counted for comparison. Both ask for the model years and fuels of each model; then one asks for exactly those
prices, the other for each model year with each fuel. The benchmark checks that all ways find the same
vehicles, and that the prices are the published ones.
"""

from collections.abc import Sequence
from uuid import UUID

import requests

from benchmarks.month import month
from benchmarks.rows import Row, at_most
from fipe_api.fipe_api_service import FipeApi
from fipe_api.load.discovery import find_model_years
from fipe_api.load.prices import collect_prices
from fipe_api.load.request import brand_messages, choose_references, parse_request
from fipe_api.messages import BrandMessage, ModelMessage, PriceMessage
from fipe_api.source.http_source import HttpSource
from fipe_api.source.pace import Unpaced
from fipe_simulator import FipeSimulator

Vehicles = set[tuple[int, ...]]
Rows = set[tuple[object, ...]]


def run() -> Sequence[Row]:
    catalogue = month()
    prices = len(catalogue.rows)
    with FipeSimulator(catalogue) as simulator, requests.Session() as session:
        session.trust_env = False
        api = FipeApi(HttpSource("fipe", session, Unpaced(), lambda: 300.0), simulator.url)
        request = parse_request({})
        references = choose_references(request, api.references())
        brands = brand_messages(UUID(int=0), request, references, api)
        start = simulator.statistics().total
        models = _models(brands, api)
        rows = _rows(models, api)
        calls = simulator.statistics().total
        slow_vehicles = _vehicles_by_model(brands, api)
        slow_calls = start + simulator.statistics().total - calls
    assert rows == {tuple(row) for row in catalogue.rows}
    assert _vehicles(models) == slow_vehicles
    return [
        Row("the cheaper way for each brand", calls / prices, "calls per price", target=at_most(1.09)),
        Row("all its calls", calls, "calls"),
        Row(
            "model years of each model, exact vehicles",
            (slow_calls + len(slow_vehicles)) / prices,
            "calls per price",
        ),
        Row(
            "model years of each model, each with each fuel",
            (slow_calls + _products(slow_vehicles)) / prices,
            "calls per price",
        ),
    ]


def _models(brands: Sequence[BrandMessage], api: FipeApi) -> list[ModelMessage]:
    found: list[ModelMessage] = []
    for brand in brands:
        outcome = find_model_years(brand, api)
        assert isinstance(outcome, list)
        found += [model for model in outcome if isinstance(model, ModelMessage)]
    return found


def _rows(models: Sequence[ModelMessage], api: FipeApi) -> Rows:
    """Every price as a row of a catalogue file."""
    rows: Rows = set()
    for model in models:
        outcome = collect_prices(model, api)
        assert isinstance(outcome, list)
        (message,) = outcome
        assert isinstance(message, PriceMessage)
        vehicle = (model.vehicle_type, model.brand.code, model.brand.name, model.model.code, model.model.name)
        rows |= {
            (*vehicle, price.model_year, price.fuel_code, price.fuel, price.fipe_code, price.price_brl)
            for price in message.prices
        }
    return rows


def _vehicles(models: Sequence[ModelMessage]) -> Vehicles:
    return {
        (model.vehicle_type, model.brand.code, model.model.code, year.model_year, year.fuel_code)
        for model in models
        for year in model.years_to_ask
    }


def _vehicles_by_model(brands: Sequence[BrandMessage], api: FipeApi) -> Vehicles:
    return {
        (brand.vehicle_type, brand.brand.code, model.code, year.model_year, year.fuel_code)
        for brand in brands
        for model in api.models(brand.reference, brand.vehicle_type, brand.brand.code).models
        for year in api.years_of_model(brand.reference, brand.vehicle_type, brand.brand.code, model.code)
    }


def _products(vehicles: Vehicles) -> int:
    """How many calls it takes to ask for each model year of a model with each of its fuels."""
    years: dict[tuple[int, ...], set[int]] = {}
    fuels: dict[tuple[int, ...], set[int]] = {}
    for *model, year, fuel in vehicles:
        years.setdefault(tuple(model), set()).add(year)
        fuels.setdefault(tuple(model), set()).add(fuel)
    return sum(len(years[model]) * len(fuels[model]) for model in years)
