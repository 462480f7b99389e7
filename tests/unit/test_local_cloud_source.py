"""Which source `make local` and `make local-up` use: checked before anything is started, in one line."""

import re

import pytest

from local_cloud import source as source_module
from local_cloud.source import SourceError, read_source
from local_cloud.state import Endpoint

ENDPOINT = Endpoint(pid=1, port=1)


@pytest.mark.parametrize(("source", "rate"), [("simulator", "max"), ("fipe", "40")])
def test_is_polite_to_the_real_source_only(source: str, rate: str) -> None:
    assert read_source(source).calls_per_minute == rate


def test_points_the_functions_to_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://localhost:1/api/veiculos"
    monkeypatch.setattr(source_module, "start_simulator", lambda *_: url)
    assert read_source().context(ENDPOINT) == {"calls_per_minute": "max", "fipe_api_url": url}


def test_points_the_functions_to_another_server_when_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIPE_API_URL", "http://other/")
    assert read_source("fipe").context(ENDPOINT)["fipe_api_url"] == "http://other/"
    monkeypatch.delenv("FIPE_API_URL")
    assert "fipe_api_url" not in read_source("fipe").context(ENDPOINT)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"source": "web"}, "invalid SOURCE=web: use simulator or fipe"),
        ({"catalogue": "/nowhere.tsv"}, "invalid CATALOGUE=/nowhere.tsv: cannot be read: No such file"),
        ({"source": "fipe", "catalogue": "x"}, "CATALOGUE is what the simulator serves"),
        ({"rate": "fast"}, "invalid RATE=fast: use a number of calls per minute"),
        ({"rate": "0"}, "RATE=0"),
        ({"rate": "nan"}, "RATE=nan"),
    ],
)
def test_says_in_one_line_what_is_wrong(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(SourceError) as error:
        read_source(**given)
    assert re.search(complaint, str(error.value))
    assert "\n" not in str(error.value)
