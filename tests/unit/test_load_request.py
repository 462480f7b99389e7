"""What may start a load, and what is refused with which words."""

from datetime import date
from typing import Any

import pytest

from fipe_api.load.request import (
    LoadRequest,
    LoadRequestError,
    brands_named,
    choose_references,
    parse_request,
)
from fipe_api.messages import Named, Reference

# Newest month first; neither the code nor its order follows the month, as in FIPE's own list.
PUBLISHED = [
    Reference(code=8, month=date(2006, 1, 1)),
    Reference(code=111, month=date(2005, 12, 1)),
    Reference(code=112, month=date(2005, 11, 1)),
    Reference(code=1, month=date(2005, 9, 1)),
]


def chosen(reference: Any) -> list[str]:
    request = parse_request({"reference": reference})
    return [f"{reference.month:%Y-%m}" for reference in choose_references(request, PUBLISHED)]


@pytest.mark.parametrize("payload", [{}, None])
def test_asks_for_everything_of_the_newest_month_by_default(payload: Any) -> None:
    assert parse_request(payload) == LoadRequest(
        reference="latest", vehicle_types={1, 2, 3}, brands=None, models=None
    )


def test_takes_vehicle_types_by_name_and_by_code_once_each() -> None:
    assert parse_request({"vehicle_types": ["car", 2, "Motorcycle", "truck"]}).vehicle_types == {1, 2, 3}


@pytest.mark.parametrize(
    ("reference", "months"),
    [
        ("latest", ["2006-01"]),
        ("2005-12", ["2005-12"]),
        ("2005-11..2006-01", ["2005-11", "2005-12", "2006-01"]),
        ("2005-12..2005-12", ["2005-12"]),
        (111, ["2005-12"]),
        ("111", ["2005-12"]),
    ],
)
def test_chooses_references_by_month_whatever_their_codes(reference: Any, months: list[str]) -> None:
    assert chosen(reference) == months


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("2006-02", "2006-02 is not published: use months from 2005-09 to 2006-01"),
        ("2005-12..2006-02", "is not published: use months from"),
        ("1999-01", "is not published: use months from"),
        ("2005-10", "2005-10 is not published"),
        (999, "no reference month has the code 999: use a month"),
    ],
)
def test_refuses_a_reference_that_is_not_published(reference: Any, words: str) -> None:
    with pytest.raises(LoadRequestError, match=words):
        chosen(reference)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"reference": "last"}, "invalid reference 'last': use \"latest\", a month like 2026-06, or a range"),
        ({"reference": "2026-13"}, "invalid reference '2026-13': use"),
        ({"reference": "2024-12..2024-01"}, "invalid reference"),
        ({"reference": -1}, "invalid reference -1: use"),
        ({"vehicle_types": ["boat"]}, "invalid vehicle_types .*: use a list of"),
        ({"vehicle_types": []}, "invalid vehicle_types .*: use"),
        ({"brands": []}, "invalid brands .*: use a list of names or codes"),
        ({"brands": "Fiat"}, "invalid brands 'Fiat': use"),
        ({"brands": [""]}, "invalid brands "),
        ({"models": []}, "invalid models "),
        ({"models": [2**31]}, "invalid models .*: use"),
        ({"models": ["Gol\x00"]}, "invalid models .*: use"),
        ({"models": ["G" * 251]}, "invalid models .*: use"),
        ({"models": [" "]}, "invalid models .*: use"),
        ({"brands": [0]}, "invalid brands .*: use"),
        ({"brnads": ["Fiat"]}, "unknown key 'brnads': use reference, vehicle_types, brands, models"),
        ("latest", "the payload is not a JSON object"),
        ([], "the payload is not a JSON object"),
        (0, "the payload is not a JSON object"),
        ([1], "the payload is not a JSON object"),
    ],
)
def test_refuses_an_invalid_payload_in_one_line(payload: Any, words: str) -> None:
    with pytest.raises(LoadRequestError, match=words) as refused:
        parse_request(payload)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("want", "codes"),
    [
        ("scania", [1]), ("Saab Scania", [2]), ("saab", [2]), ("VolksWagen", [3]), ("vw volkswagen", [3]),
        ("gm", [4]), ("CITROEN", [6]), ("citro", []), ("-", []), (5, [5]), (7, []),
    ],
)  # fmt: skip
def test_a_brand_is_named_by_its_whole_name_or_else_by_words_of_it(want: int | str, codes: list[int]) -> None:
    names = ("SCANIA", "SAAB-SCANIA", "VW - VolksWagen", "GM - Chevrolet", "GMC", "Citroën")
    brands = [Named(code=code, name=name) for code, name in enumerate(names, 1)]
    assert [brand.code for brand in brands_named(brands, want)] == codes


def test_knows_a_wanted_name_in_any_case_and_with_outer_spaces() -> None:
    named = Named(code=21, name="Citroën ")
    assert named.is_among(["CITROËN"])
    assert named.is_among([" citroen "])
    assert named.is_among([7, 21])
    assert not named.is_among(["Citro", "21"])
