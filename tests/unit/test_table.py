"""Tables on a terminal: what is done so that they fit."""

import io
from datetime import date
from typing import Any

import pytest
from rich.console import Console

from fipe_cli.table import print_table


def shown(columns: dict[str, list[Any]], width: int, *, wide: bool = False) -> list[str]:
    """The lines of the table."""
    text = io.StringIO()
    terminal = Console(width=width, file=text, force_terminal=True, color_system=None, highlight=False)
    print_table(terminal, list(columns), list(zip(*columns.values(), strict=True)), wide=wide)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_months_booleans_and_zero_km_are_spelled_for_people() -> None:
    columns = {
        "last_month": [date(2026, 6, 1), None], "day": [date(2026, 6, 1)] * 2, "is_new": [True, False],
        "model_year": [32000, 2020],
    }  # fmt: skip
    assert shown(columns, 80) == [
        "",
        "  last_month   day          is_new   model_year",
        " ───────────────────────────────────────────────",
        "  2026-06      2026-06-01   true        zero km",
        "               2026-06-01   false          2020",
        "",
    ]


def test_what_all_rows_say_is_said_once_and_text_is_folded() -> None:
    columns = {
        "month_before": [date(2026, 5, 1)] * 2, "brand": ["Fiat"] * 2,
        "model": ["Uno Mille Way Economy 1.0", "Uno Mille Way Economy 1.4"], "price_brl": [1, 2],
    }  # fmt: skip
    assert shown(columns, 36) == [
        "month_before 2026-05, brand Fiat",
        "",
        "                            price_",
        "  model                        brl",
        " ──────────────────────────────────",
        "  Uno Mille Way Economy          1",
        "  1.0",
        "  Uno Mille Way Economy          2",
        "  1.4",
        "",
    ]


def test_codes_are_left_out_before_anything_else_and_this_is_said() -> None:
    columns = {
        "brand_code": [1, 2], "model_code": [3, 4], "model": ["Uno", "Palio"], "price_brl": [5, 6],
        "zero_km": [True, False],
    }  # fmt: skip
    lines = shown(columns, 36)
    assert " ".join(lines).endswith("left out: brand_code; --wide shows all columns")
    assert not any("brand" in line for line in lines[:6])


def test_one_row_that_is_too_wide_has_a_line_for_each_field() -> None:
    assert shown({"brand": ["Fiat"], "model": ["Uno Mille"], "zero_km": [None]}, 24) == [
        "brand    Fiat",
        "model    Uno Mille",
        "zero_km",
    ]


def test_rows_that_all_say_the_same_are_shown() -> None:
    columns = {"brand": ["Fiat"] * 2, "model": ["Uno Mille"] * 2, "price_brl": [1, 1]}
    assert shown(columns, 20)[:3] == ["brand      Fiat", "model      Uno Mille", "price_brl  1"]


def test_an_answer_without_rows_says_so_and_names_its_columns() -> None:
    assert shown({"brand": [], "price_brl": []}, 80) == ["no rows (columns: brand, price_brl)"]


def test_a_wide_table_has_all_columns_side_by_side() -> None:
    columns = {f"brand_code_{number}": [number] for number in range(9)}
    (heading,) = (line for line in shown(columns, 40, wide=True) if "code" in line)
    assert heading.split() == list(columns)


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80])
def test_no_table_is_wider_than_the_terminal(width: int) -> None:
    columns = {
        "brand": ["GM - Chevrolet", "Fiat"], "model": ["x" * 40, "y" * 12], "model_year": [1990, 32000],
        "fuel": ["Gasolina", "Flex"], "fipe_code": ["001001-0"] * 2, "price_before": [1_000_000.55, 1],
        "price_brl": [2, 3_000_000.55],
    }  # fmt: skip
    assert max(map(len, shown(columns, width))) <= max(width, len("model         ") + 40)
