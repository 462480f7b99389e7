"""The rows of a history become one vehicle each, with its names and its prices."""

from datetime import date
from types import SimpleNamespace
from typing import Any

from fipe_query.v1_history import histories


def row(month: int, price: float, **given: Any) -> SimpleNamespace:
    usual = {
        "vehicle_type": 1, "brand": "VW", "model": "Gol", "model_year": 2014, "zero_km": False,
        "fuel": "Flex", "published_fuel": "Flex",
    }  # fmt: skip
    return SimpleNamespace(**usual | {"reference_month": date(2026, month, 1), "price_brl": price} | given)


def test_vehicles_are_told_apart() -> None:
    rows = [
        row(4, 1), row(5, 2),
        row(4, 3, model="Gol 1.6"),  # side by side with the first
        row(6, 4, model_year=32000, zero_km=True), row(7, 5, model_year=32000, zero_km=True, fuel="Álcool"),
    ]  # fmt: skip
    found = histories(rows)
    assert [(each.model, each.fuel, list(each.prices.values())) for each in found] == [
        ("Gol", "Flex", [1, 2]), ("Gol 1.6", "Flex", [3]), ("Gol", "Flex", [4]), ("Gol", "Álcool", [5]),
    ]  # fmt: skip


def test_a_vehicle_has_its_names_from_when_to_when() -> None:
    (found,) = histories(
        [row(1, 1, published_fuel="Gasolina"), row(2, 1), row(4, 1), row(5, 1, brand="Volkswagen")]
    )
    assert (found.brand, found.fuel) == ("Volkswagen", "Flex")
    assert [
        (each.brand, each.fuel, each.first_month.month, each.last_month.month) for each in found.published
    ] == [("VW", "Gasolina", 1, 1), ("VW", "Flex", 2, 4), ("Volkswagen", "Flex", 5, 5)]
    assert [month.month for month in found.prices] == [1, 2, 4, 5]
