"""What a load is asked to be, and what it would cost."""

from typing import Any

import pytest

from fipe_api.load.request import LoadRequestError
from fipe_api.load.size import brand_sizes, refuse_what_expires, size_of, typical_size
from fipe_api.messages import BrandMessage, Named
from fipe_cli.loads import payload_of
from tests.builders import any_brand_message


def message(vehicle_type: int, name: str, **given: Any) -> BrandMessage:
    return any_brand_message(vehicle_type=vehicle_type, brand=Named(code=1, name=name), **given)


def test_the_payload_holds_what_was_given_and_nothing_else() -> None:
    assert payload_of("", "", "", "") == {}
    assert payload_of("336", "car,2", "Fiat, 21", "Uno") == {
        "reference": 336, "vehicle_types": ["car", 2], "brands": ["Fiat", 21], "models": ["Uno"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("June", "", "", ""), "invalid reference 'June': use"),
        (("2026-13", "", "", ""), "invalid reference '2026-13': use"),
        (("2024-12..2024-01", "", "", ""), "invalid reference '2024-12..2024-01': use"),
        (("", "boat", "", ""), "unknown vehicle type 'boat': use car, motorcycle, truck"),
        (("", "car,4", "", ""), "unknown vehicle type 4: use car, motorcycle, truck"),
        (("", "", ",", ""), "invalid brands "),
    ],
)
def test_an_invalid_payload_is_refused_in_one_line(given: tuple[str, str, str, str], complaint: str) -> None:
    with pytest.raises(LoadRequestError, match=complaint) as error:
        payload_of(*given)
    assert "\n" not in str(error.value)


def test_a_whole_month_takes_the_calls_that_were_counted() -> None:
    """54,752 calls with one for the references and three for the brands; 50,332 of them for prices."""
    size = size_of([message(kind, name) for kind, name in brand_sizes()])
    assert (size.models, size.prices, size.calls) == (11_238, 50_332, 54_748)
    assert size.minutes(40) == 54_748 / 40
    assert size.minutes(None) is None


def test_a_brand_is_known_by_its_name_however_it_is_written() -> None:
    assert size_of([message(1, " FIAT ")]) == size_of([message(1, "Fiat")])
    assert size_of([message(1, "Fiat")]).prices > typical_size(1).prices


def test_an_unknown_brand_counts_as_a_typical_one_of_its_type() -> None:
    assert size_of([message(2, "Nova")]) == typical_size(2)


def test_some_models_count_as_their_part_of_the_brand() -> None:
    whole, part = size_of([message(1, "Fiat")]), size_of([message(1, "Fiat", wanted_models=("Uno", 7))])
    assert part.models == 2
    assert part.prices == pytest.approx(whole.prices / whole.models * 2)


def test_a_load_is_refused_that_takes_longer_than_the_queues_keep_its_messages() -> None:
    month = size_of([message(kind, name) for kind, name in brand_sizes()])
    refuse_what_expires(month.times(4), 40, 4)
    refuse_what_expires(month.times(12), 40, 14)
    refuse_what_expires(month.times(300), None, 1)
    with pytest.raises(
        LoadRequestError, match=r"656,976 calls take 11\.4 days at 40 .* fewer months at a time"
    ):
        refuse_what_expires(month.times(12), 40, 4)
