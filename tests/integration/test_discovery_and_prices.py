"""From a brand to its prices, against the simulator: every way gives what was published."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from fipe_api.fipe_api_service import FipeApi
from fipe_api.load.discovery import find_model_years
from fipe_api.load.prices import collect_prices
from fipe_api.load.request import LoadRequestError, brand_messages, parse_request
from fipe_api.messages import (
    MANUFACTURER_QUEUE,
    MODEL_QUEUE,
    BrandMessage,
    EmptyBrandMessage,
    ModelMessage,
    ModelYearFuel,
    Named,
    PriceMessage,
    Unfinished,
    to_json,
)
from fipe_api.source.http_source import HttpSource, InvalidParametersError, MalformedAnswerError
from fipe_api.source.pace import Unpaced
from fipe_simulator import SAMPLE_CATALOGUE, Fault, Faults, FipeSimulator, read_catalogue
from tests.builders import JUNE_2026, RUN, any_brand_message, any_empty_brand_message, any_model_message
from tests.scripted_source import scripted_source

pytestmark = pytest.mark.usefixtures("short_backoff")


@pytest.fixture(scope="module")
def simulator() -> Iterator[FipeSimulator]:
    with FipeSimulator(read_catalogue(SAMPLE_CATALOGUE)) as simulator:
        yield simulator


@pytest.fixture
def api() -> Iterator[Callable[..., FipeApi]]:
    with requests.Session() as session:
        session.trust_env = False
        yield lambda url, seconds_left=lambda: 300.0: FipeApi(
            HttpSource("fipe", session, Unpaced(), seconds_left), url
        )


def all_rounds(work: Callable[[Any, FipeApi], Any], message: Any, api: FipeApi) -> tuple[list[float], Any]:
    """Works on a message until it is done, however often it is handed back; the waits between."""
    waits: list[float] = []
    outcome = work(message, api)
    while isinstance(outcome, Unfinished):
        waits.append(outcome.retry_in)
        queue = MANUFACTURER_QUEUE if isinstance(outcome.message, BrandMessage) else MODEL_QUEUE
        outcome = work(queue.decode(to_json(outcome.message)), api)
    return waits, outcome


def only_for(calls: int) -> Callable[[], float]:
    """Time for so many calls, then none."""
    counter = count()
    return lambda: 300.0 if next(counter) < calls else 0.0


def brands(api: FipeApi, **payload: Any) -> list[BrandMessage]:
    return brand_messages(RUN, parse_request(payload), [JUNE_2026], api)


def published(simulator: FipeSimulator) -> set[tuple[Any, ...]]:
    catalogue = simulator.catalogue
    return {tuple(row) for rows in catalogue.by_model() for row in rows}


def rows_of(message: PriceMessage) -> set[tuple[Any, ...]]:
    return {
        (
            message.vehicle_type,
            message.brand.code, message.brand.name, message.model.code, message.model.name,
            vehicle.model_year, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code, vehicle.price_brl,
        )
        for vehicle in message.prices
    }  # fmt: skip


def test_ends_with_exactly_what_was_published(simulator: FipeSimulator, api: Callable[..., FipeApi]) -> None:
    source = api(simulator.url)
    rows: set[tuple[Any, ...]] = set()
    for brand in brands(source):
        models = find_model_years(brand, source)
        assert isinstance(models, list)
        for model in models:
            assert isinstance(model, ModelMessage)
            assert model.models_in_brand == len(models)
            (prices,) = collect_prices(model, source)
            assert isinstance(prices, PriceMessage)
            rows |= rows_of(prices)
    assert rows == published(simulator)


def test_asks_by_year_where_a_brand_has_fewer_years_than_models(
    simulator: FipeSimulator, api: Callable[..., FipeApi]
) -> None:
    source = api(simulator.url)
    catalogue = simulator.catalogue
    for brand in brands(source):
        before = simulator.statistics().total
        find_model_years(brand, source)
        models = catalogue.models(brand.vehicle_type, brand.brand.code)
        years = catalogue.model_years_of_brand(brand.vehicle_type, brand.brand.code)
        assert simulator.statistics().total - before == 1 + min(len(models), len(years))


@pytest.mark.parametrize("calls_at_a_time", [1, 2, 5])
def test_goes_on_where_it_stopped_when_time_runs_out(
    simulator: FipeSimulator, api: Callable[..., FipeApi], calls_at_a_time: int
) -> None:
    unhurried = api(simulator.url)
    for brand in brands(unhurried, brands=[329, 387]):
        expected = find_model_years(brand, unhurried)
        outcome = find_model_years(brand, api(simulator.url, only_for(calls_at_a_time)))
        stops = 0
        while isinstance(outcome, Unfinished):
            stops += 1
            handed_back = MANUFACTURER_QUEUE.decode(to_json(outcome.message))
            outcome = find_model_years(handed_back, api(simulator.url, only_for(calls_at_a_time)))
        assert stops > 0
        searched_at = outcome[0].searched_at
        assert outcome == [replace(each, searched_at=searched_at) for each in expected]
        model = outcome[0]
        (complete,) = collect_prices(model, unhurried)
        collected = collect_prices(model, api(simulator.url, only_for(calls_at_a_time)))
        while isinstance(collected, Unfinished):
            left = MODEL_QUEUE.decode(to_json(collected.message))
            collected = collect_prices(left, api(simulator.url, only_for(calls_at_a_time)))
        (message,) = collected
        assert isinstance(complete, PriceMessage)
        assert isinstance(message, PriceMessage)
        assert replace(message, asked_at=complete.asked_at) == complete
        assert complete.asked_at < message.asked_at <= datetime.now(UTC)


def test_sends_only_the_wanted_models_of_the_wanted_brands(
    simulator: FipeSimulator, api: Callable[..., FipeApi]
) -> None:
    source = api(simulator.url)
    first, second = simulator.catalogue.models(1, 329)[:2]
    (fiat,) = brands(source, brands=["fiat"], models=[first[0], second[1]])
    models = find_model_years(fiat, source)
    assert isinstance(models, list)
    assert [message.model.code for message in models if isinstance(message, ModelMessage)] == [
        first[0],
        second[0],
    ]
    assert {message.models_in_brand for message in models} == {2}


def test_closes_a_brand_that_has_none_of_the_wanted_models(
    simulator: FipeSimulator, api: Callable[..., FipeApi]
) -> None:
    source = api(simulator.url)
    (fiat,) = brands(source, brands=["fiat"], models=["no such model"])
    (closing,) = find_model_years(fiat, source)
    assert isinstance(closing, EmptyBrandMessage)


def test_a_resumed_load_asks_for_the_missing_models_and_for_all_if_one_is_gone(
    simulator: FipeSimulator, api: Callable[..., FipeApi]
) -> None:
    source = api(simulator.url)
    codes = [code for code, _ in simulator.catalogue.models(1, 329)]
    (fiat,) = brands(source, brands=["fiat"], missing_models=codes[:2])
    some = find_model_years(fiat, source)
    assert isinstance(some, list)
    assert [each.model.code for each in some if isinstance(each, ModelMessage)] == codes[:2]
    assert {each.models_in_brand for each in some} == {len(codes)}
    (fiat,) = brands(source, brands=["fiat"], missing_models=[codes[0], 999_999])
    whole = find_model_years(fiat, source)
    assert isinstance(whole, list)
    assert [each.model.code for each in whole if isinstance(each, ModelMessage)] == codes
    assert whole[0].searched_at > some[0].searched_at


def test_refuses_a_brand_that_the_source_does_not_have(
    simulator: FipeSimulator, api: Callable[..., FipeApi]
) -> None:
    with pytest.raises(LoadRequestError, match="no brand 'Fait': did you mean Fiat"):
        brands(api(simulator.url), brands=["Fiat", "Fait"])


NOTHING_FOUND = b'{"codigo":"0","erro":"nadaencontrado"}'
YEAR_2014 = ModelYearFuel(model_year=2014, fuel_code=3)
TWO_YEARS_THREE_MODELS = b"""{
    "Modelos":[{"Label":"A","Value":1},{"Label":"B","Value":2},{"Label":"C","Value":3}],
    "Anos":[{"Label":"2001 Gasolina","Value":"2001-1"},{"Label":"2000 Gasolina","Value":"2000-1"}]}"""


def years_by_model(messages: Any) -> dict[int, list[int]]:
    return {message.model.code: [year.model_year for year in message.years_to_ask] for message in messages}


def test_asks_a_model_by_itself_that_no_years_list_names(api: Callable[..., FipeApi]) -> None:
    year_2000 = b'[{"Label":"A","Value":"1"}]'
    year_2001 = b'[{"Label":"A","Value":"1"},{"Label":"B","Value":"2"}]'
    years_of_c = b'[{"Label":"1999 Gasolina","Value":"1999-1"}]'
    with scripted_source(TWO_YEARS_THREE_MODELS, year_2001, year_2000, years_of_c) as source:
        messages = find_model_years(any_brand_message(), api(source.url))
    assert years_by_model(messages) == {1: [2001, 2000], 2: [2001], 3: [1999]}


@pytest.mark.parametrize("denied", [b"[]", NOTHING_FOUND, b'[{"Label":'], ids=["empty", "nothing", "cut"])
def test_asks_every_model_when_a_year_of_the_brands_list_stays_without_models(
    api: Callable[..., FipeApi], denied: bytes
) -> None:
    year = b'[{"Label":"2000 Gasolina","Value":"2000-1"}]'
    year_2001 = b'[{"Label":"A","Value":"1"},{"Label":"B","Value":"2"}]'
    # 2000: three calls find nothing; 2001 is answered; then 2000: two more rounds of three calls find
    # nothing.
    answers = [TWO_YEARS_THREE_MODELS, year_2001, *[denied] * 9, year]
    with scripted_source(*answers) as source:
        waits, messages = all_rounds(find_model_years, any_brand_message(), api(source.url))
        assert [asked.path.rsplit("/", 1)[1] for asked in source.asked] == [
            "ConsultarModelos", *["ConsultarModelosAtravesDoAno"] * 10, *["ConsultarAnoModelo"] * 3,
        ]  # fmt: skip
    assert waits == [60, 180, 0]
    assert years_by_model(messages) == {1: [2000], 2: [2000], 3: [2000]}


def test_a_model_asked_by_itself_after_all_is_believed_no_sooner_than_another(
    api: Callable[..., FipeApi],
) -> None:
    year = b'[{"Label":"2000 Gasolina","Value":"2000-1"}]'
    year_2001 = b'[{"Label":"A","Value":"1"}]'
    # 2000 stays without models; then A and B are answered, and C is only in a round after its first.
    answers = [TWO_YEARS_THREE_MODELS, year_2001, *[b"[]"] * 9, year, year, *[NOTHING_FOUND] * 3, year]
    with scripted_source(*answers) as source:
        waits, messages = all_rounds(find_model_years, any_brand_message(), api(source.url))
    assert waits == [60, 180, 0, 60]
    assert years_by_model(messages) == {1: [2000], 2: [2000], 3: [2000]}


def test_asks_every_model_when_the_brands_list_has_models_and_no_years(api: Callable[..., FipeApi]) -> None:
    models = b'{"Modelos":[{"Label":"A","Value":1},{"Label":"B","Value":2}],"Anos":[]}'
    year = b'[{"Label":"2000 Gasolina","Value":"2000-1"}]'
    with scripted_source(models, year) as source:
        messages = find_model_years(any_brand_message(), api(source.url))
    assert years_by_model(messages) == {1: [2000], 2: [2000]}


def test_believes_that_a_brand_is_empty_after_three_rounds(api: Callable[..., FipeApi]) -> None:
    with scripted_source(NOTHING_FOUND) as source:
        waits, (closing,) = all_rounds(find_model_years, any_brand_message(), api(source.url))
    assert isinstance(closing, EmptyBrandMessage)
    assert (waits, len(source.asked)) == ([60, 180], 9)


def test_a_brand_whose_models_cannot_be_read_fails_itself(api: Callable[..., FipeApi]) -> None:
    with scripted_source(b'{"Modelos":') as source, pytest.raises(MalformedAnswerError):
        find_model_years(any_brand_message(), api(source.url))


@pytest.mark.parametrize(
    ("denied", "unpriced", "rejected"),
    [(NOTHING_FOUND, (YEAR_2014,), ()), (b"", (), (YEAR_2014,)), (b"{}", (), (YEAR_2014,))],
    ids=["nothing found", "empty body", "no price"],
)
def test_reports_a_listed_year_without_a_usable_price_after_three_rounds(
    api: Callable[..., FipeApi], denied: bytes, unpriced: Any, rejected: Any
) -> None:
    with scripted_source(denied) as source:
        waits, (message,) = all_rounds(collect_prices, any_model_message(), api(source.url))
    assert isinstance(message, PriceMessage)
    assert (message.prices, message.unpriced, message.rejected) == ((), unpriced, rejected)
    assert (waits, len(source.asked)) == ([60, 180], 9)


def test_what_an_earlier_load_was_denied_is_believed_after_one_round(api: Callable[..., FipeApi]) -> None:
    year_2015 = ModelYearFuel(model_year=2015, fuel_code=3)
    model = any_model_message(years_to_ask=(YEAR_2014, year_2015))
    with scripted_source(NOTHING_FOUND) as source:
        (message,) = collect_prices(model, api(source.url), lambda _: {YEAR_2014, year_2015})
        assert (message.unpriced, len(source.asked)) == ((YEAR_2014, year_2015), 6)
        waits, (message,) = all_rounds(
            lambda message, api: collect_prices(message, api, lambda _: {YEAR_2014}), model, api(source.url)
        )
    assert (waits, message.unpriced) == ([60, 180], (YEAR_2014, year_2015))
    assert len(source.asked) == 6 + 3 + 9


@pytest.mark.parametrize("fault", [Fault.NOTHING_FOUND, Fault.TRUNCATED_JSON, Fault.INVALID_PARAMETERS])
def test_ends_with_what_was_published_among_missing_and_damaged_answers(
    api: Callable[..., FipeApi], fault: Fault
) -> None:
    catalogue = read_catalogue(SAMPLE_CATALOGUE)
    with FipeSimulator(catalogue, faults=Faults.of(fault, rate=0.3, seed=5)) as spoilt:
        source = api(spoilt.url)
        rows: set[tuple[Any, ...]] = set()
        for brand in brands(source, brands=["Acura", "Fiat", "Suzuki"]):
            models = []
            while not models:
                with suppress(
                    MalformedAnswerError, InvalidParametersError
                ):  # it failed: SQS delivers it again
                    _, models = all_rounds(find_model_years, brand, source)
            for model in models:
                _, (prices,) = all_rounds(collect_prices, model, source)
                assert (prices.unpriced, prices.rejected) == ((), ())
                rows |= rows_of(prices)
    assert rows == {row for row in published(spoilt) if row[2].casefold() in ("acura", "fiat", "suzuki")}


def test_passes_an_empty_brand_on(api: Callable[..., FipeApi]) -> None:
    empty = any_empty_brand_message(brand=Named(code=7, name="None left"))
    with scripted_source(b"") as source:
        assert collect_prices(empty, api(source.url)) == [empty]
    assert source.asked == []
