"""The mirror: the same rows, asked only while FIPE blocks, within its limit of calls per day."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import ModelYearFuel, Named
from fipe_api.source import http_source
from fipe_api.source.fallback import DAY_MS, DailyPace, WithFallback
from fipe_api.source.http_source import (
    BlockedError,
    HttpSource,
    MalformedAnswerError,
    NoDataError,
    NotOfferedError,
    ThrottledError,
)
from fipe_api.source.pace import Unpaced
from fipe_api.source.parallelum import ParallelumApi
from fipe_simulator import Fault, Faults, FipeSimulator
from fipe_simulator.parallelum import DailyLimit
from tests.aws import client, make_pace_table
from tests.builders import JUNE_2026
from tests.scripted_source import Answer, scripted_source

pytestmark = pytest.mark.usefixtures("short_backoff")


def mirror(session: requests.Session, url: str, token: str = "") -> ParallelumApi:
    return ParallelumApi(HttpSource("parallelum", session, Unpaced(), lambda: 300.0), url, lambda: token)


def official(session: requests.Session, url: str) -> FipeApi:
    return FipeApi(HttpSource("fipe", session, Unpaced(), lambda: 300.0), url)


def test_gives_the_same_codes_and_rows_as_the_official_api(
    simulator: FipeSimulator, session: requests.Session
) -> None:
    one, other = official(session, simulator.url), mirror(session, simulator.mirror_url)
    assert one.references() == other.references()
    for kind in (1, 2, 3):
        brands = one.brands(JUNE_2026, kind)
        assert brands == other.brands(JUNE_2026, kind)
        brand = brands[0]
        models = one.models(JUNE_2026, kind, brand.code).models
        assert models == other.models(JUNE_2026, kind, brand.code).models
        for model in models[:3]:
            years = one.years_of_model(JUNE_2026, kind, brand.code, model.code)
            assert years == other.years_of_model(JUNE_2026, kind, brand.code, model.code)
            for year in years:
                price = one.price(JUNE_2026, kind, brand, model, year)
                mirrored = other.price(JUNE_2026, kind, brand, model, year)
                assert (price.source, mirrored.source) == ("fipe", "parallelum")
                assert mirrored == replace(price, source="parallelum")


PRICE = b"""{"vehicleType":1,"price":"R$ 125.318,00","brand":"VW - VolksWagen","model":"AMAROK",
 "modelYear":2014,"fuel":"Diesel","codeFipe":"005340-6","referenceMonth":"junho de 2026","fuelAcronym":"D"}"""
QUESTION: Any = (
    JUNE_2026, 1, Named(code=59, name="VW - VolksWagen"), Named(code=5586, name="AMAROK"),
    ModelYearFuel(model_year=2014, fuel_code=3),
)  # fmt: skip


def test_asks_with_the_token_and_the_reference(session: requests.Session) -> None:
    with scripted_source(PRICE) as source:
        mirror(session, source.url, "secret-token").price(*QUESTION)
    (asked,) = source.asked
    assert asked.path == "/api/veiculos/cars/brands/59/models/5586/years/2014-3?reference=334"
    assert asked.headers["X-Subscription-Token"] == "secret-token"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(b'{"error":"failed to locate year"}', 404), NoDataError),
        (Answer(b'{"error":"upgrade your plan"}', 402), NotOfferedError),
        (Answer(b'{"error":"rate limit exceeded, ..."}', 429), ThrottledError),
        (PRICE.replace(b"junho", b"maio"), MalformedAnswerError),
        (PRICE.replace(b"005340-6", b"005340-5"), MalformedAnswerError),
        (PRICE.replace(b"AMAROK", b"GOL"), MalformedAnswerError),
        (PRICE[:80], MalformedAnswerError),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_says_what_kind_of_failure_an_answer_is(session: requests.Session, answer: Any, error: Any) -> None:
    with scripted_source(answer) as source, pytest.raises(error):
        mirror(session, source.url).price(*QUESTION)


# While FIPE blocks ------------------------------------------------------------------------------------------


@pytest.fixture
def both(simulator: FipeSimulator, session: requests.Session) -> WithFallback:
    return WithFallback(official(session, simulator.url), mirror(session, simulator.mirror_url))


ACURA = Named(code=1, name="Acura")


@pytest.mark.parametrize("block", [Fault.FORBIDDEN, Fault.CLOUDFLARE_PAGE])
def test_asks_the_second_source_only_while_the_first_blocks(
    simulator: FipeSimulator, both: WithFallback, block: Fault
) -> None:
    model, *_ = both.models(JUNE_2026, 1, ACURA.code).models
    year, *_ = both.years_of_model(JUNE_2026, 1, ACURA.code, model.code)
    assert both.price(JUNE_2026, 1, ACURA, model, year).source == "fipe"
    assert "Parallelum" not in simulator.statistics().calls
    simulator.faults = Faults.of(block, rate=1)
    before = simulator.statistics().calls["ConsultarValorComTodosParametros"]
    for _ in range(3):
        assert both.price(JUNE_2026, 1, ACURA, model, year).source == "parallelum"
    # The block is known from the first call on: no other one knocks before it is over.
    assert simulator.statistics().calls["ConsultarValorComTodosParametros"] == before + 1


@pytest.mark.parametrize("fault", [Fault.TOO_MANY_REQUESTS, Fault.STATUS_503, Fault.TRUNCATED_JSON])
def test_asks_no_second_source_for_anything_but_a_block(
    simulator: FipeSimulator, both: WithFallback, fault: Fault
) -> None:
    simulator.faults = Faults.of(fault, rate=1)
    with pytest.raises(http_source.FipeError):
        both.brands(JUNE_2026, 1)
    assert "Parallelum" not in simulator.statistics().calls


def test_waits_for_the_first_source_when_the_second_one_cannot_help(
    simulator: FipeSimulator, both: WithFallback
) -> None:
    simulator.faults = Faults.of(Fault.FORBIDDEN, rate=1)
    with pytest.raises(BlockedError) as blocked:
        both.models_of_year(JUNE_2026, 1, ACURA.code, ModelYearFuel(model_year=1992, fuel_code=1))
    assert blocked.value.retry_in == 120
    simulator.mirror_limit = DailyLimit(0)
    with pytest.raises(BlockedError):
        both.brands(JUNE_2026, 1)


# The daily limit --------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now_ms = 20_000 * DAY_MS + 1000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def function(endpoint: str, clock: Clock) -> Callable[..., DailyPace]:
    table = f"pace-{uuid.uuid4().hex}"
    make_pace_table(client("dynamodb", endpoint), table)
    return lambda limit: DailyPace(
        Unpaced(), client("dynamodb", endpoint), table, "mirror-day", limit, clock=clock
    )


def test_all_functions_together_keep_within_the_calls_of_a_day(
    function: Callable[..., DailyPace], clock: Clock
) -> None:
    one, other = function(3), function(3)
    assert [one.reserve(15), other.reserve(15), one.reserve(15)] == [0, 0, 0]
    assert one.reserve(15) == other.reserve(15) == 86_399
    clock.now_ms += DAY_MS
    assert [other.reserve(15), one.reserve(15), one.reserve(15), other.reserve(15)] == [0, 0, 0, 86_399]
