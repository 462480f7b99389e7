"""What `make local` accepts: checked before anything is started, wrong things named in one line."""

import re

import pytest

from fipe_cli.load_options import LoadOptions, read_options
from local_cloud.lifecycle import LocalCloudError


def options(**given: str) -> LoadOptions:
    blank = dict.fromkeys(("catalogue", "reference", "types", "brands", "rate"), "")
    return read_options(**{"source": "simulator", **blank, **given})


def test_loads_everything_of_the_newest_month_by_default() -> None:
    assert options().payload == {}


def test_turns_lists_and_codes_into_the_payload() -> None:
    payload = options(reference="336", types="car,2", brands="Acura, 21").payload
    assert payload == {"reference": 336, "vehicle_types": ["car", 2], "brands": ["Acura", 21]}


@pytest.mark.parametrize(("source", "rate"), [("simulator", "max"), ("fipe", "40")])
def test_is_polite_to_the_real_source_only(source: str, rate: str) -> None:
    assert options(source=source).calls_per_minute == rate


def test_points_the_functions_to_the_simulator() -> None:
    context = options().context("http://localhost:1/api/veiculos")
    assert context == {"calls_per_minute": "max", "fipe_api_url": "http://localhost:1/api/veiculos"}


def test_points_the_functions_to_another_server_when_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIPE_API_URL", "http://other/")
    assert options(source="fipe").context(None)["fipe_api_url"] == "http://other/"
    monkeypatch.delenv("FIPE_API_URL")
    assert "fipe_api_url" not in options(source="fipe").context(None)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"source": "web"}, "SOURCE=web"),
        ({"catalogue": "/nowhere.tsv"}, "CATALOGUE=/nowhere.tsv"),
        ({"source": "fipe", "catalogue": "x"}, "CATALOGUE is what the simulator serves"),
        ({"reference": "2026-13"}, "invalid reference '2026-13': use"),
        ({"reference": "2024-12..2024-01"}, "invalid reference '2024-12..2024-01': use"),
        ({"types": "boat"}, "invalid vehicle_types .'boat'"),
        ({"brands": ","}, "invalid brands "),
        ({"rate": "fast"}, "RATE=fast"),
        ({"rate": "0"}, "RATE=0"),
        ({"rate": "nan"}, "RATE=nan"),
    ],
)
def test_says_in_one_line_what_makes_no_sense(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(LocalCloudError) as error:
        options(**given)
    assert re.search(complaint, str(error.value))
    assert "\n" not in str(error.value)
