"""A source that does what people report of FIPE's, one brand per quirk: what the load ends with, and a
resume."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fipe_simulator import BrandQuirk, BrandQuirks, Catalogue, CatalogueRow, Quirks
from fipe_simulator.brand_quirks import UNUSABLE, BrandKey
from tests.quirks import BRANDS, MODELS, YEARS, quirk_catalogue
from tests.reliability.pipeline import Pipeline, running_pipeline

PRICES = len(BRANDS) * MODELS * len(YEARS)
UNANSWERED = len(UNUSABLE) * len(YEARS)


class AskedPrices(BrandQuirks):
    """Quirks that count how often each price is asked for. On a slow machine a call may come twice."""

    def __init__(self, catalogue: Catalogue, quirks: Mapping[BrandKey, BrandQuirk]) -> None:
        super().__init__(catalogue, quirks)
        self.times: Counter[tuple[int, int, int]] = Counter()
        """By brand code, model code and model year."""

    def apply_to(self, parameters: Mapping[str, Any]) -> bool:
        if "anoModelo" in parameters and "codigoModelo" in parameters:
            names = "codigoMarca", "codigoModelo", "anoModelo"
            self.times[tuple(int(parameters[name]) for name in names)] += 1
        return super().apply_to(parameters)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("quirks")
    with running_pipeline(
        folder, quirk_catalogue(), brand_quirks=BRANDS, quirks=Quirks(throttled_start=True)
    ) as one:
        yield one


@pytest.fixture(scope="module")
def run_id(pipeline: Pipeline) -> str:
    """A load that has ended, though its first three calls were answered 429."""
    answer = pipeline.ask_to_start()
    assert (answer["brands_sent"], "waiting" in answer) == (len(BRANDS), False)
    assert pipeline.simulator.statistics().statuses[429] == 3
    pipeline.until_idle(180)
    return str(answer["run_id"])


def prices(pipeline: Pipeline) -> set[tuple[object, ...]]:
    return set(pipeline.query(f"select {', '.join(CatalogueRow._fields)} from fipe.vehicle_price"))


def test_the_database_has_every_price_that_can_be_had(pipeline: Pipeline, run_id: str) -> None:
    simulator = pipeline.simulator
    obtainable = simulator.brand_quirks.obtainable(simulator.catalogue)
    assert len(obtainable) == PRICES - UNANSWERED - 1 - len(YEARS)
    assert prices(pipeline) == {tuple(row) for row in obtainable}
    assert pipeline.dead_messages() == 0
    (stored,) = pipeline.query("select count(*) from fipe.load_model join fipe.load_run on id = load_run_id"
                               " where run_id = %s", run_id)  # fmt: skip
    assert stored == (len(BRANDS) * MODELS,)


def test_the_ledger_names_what_had_no_usable_answer_and_what_was_denied(
    pipeline: Pipeline, run_id: str
) -> None:
    assert pipeline.query(
        "select state, complete, stable, prices, rejected, unpriced from fipe.load_status where run_id = %s",
        run_id,
    ) == [("incomplete", False, False, PRICES - UNANSWERED - 1 - len(YEARS), UNANSWERED, 1)]
    missing = pipeline.query(
        "select brand, model, model_year, fuel from fipe.load_missing where run_id = %s", run_id
    )
    assert Counter(brand for brand, *_ in missing) == dict.fromkeys(UNUSABLE, len(YEARS))
    assert {tuple(vehicle) for _, *vehicle in missing} == {("Modèle 0 Flex", year, "Flex") for year in YEARS}
    denied = pipeline.query(
        "select brand, model, model_year from fipe.load_unpriced where run_id = %s", run_id
    )
    assert set(denied) == {
        (BrandQuirk.NEVER_PRICED, "Modèle 0 Flex", YEARS[0]),
        (BrandQuirk.MODEL_WITHOUT_YEARS, "Modèle 0 Flex", None),
    }
    reasons = pipeline.query("select distinct call from fipe.rejected_answer")
    assert reasons == [("ConsultarValorComTodosParametros",)]


def test_a_resume_asks_for_these_prices_alone_and_completes_the_run(pipeline: Pipeline, run_id: str) -> None:
    simulator = pipeline.simulator
    quirks = {key: quirk for key, quirk in BRANDS.items() if quirk not in UNUSABLE}
    simulator.brand_quirks = asked = AskedPrices(simulator.catalogue, quirks)
    payloads = [payload for (payload,) in pipeline.query("select fipe.resume_payloads(%s)", run_id)]
    assert len(payloads) == len(UNUSABLE)
    for payload in payloads:
        assert pipeline.start(**payload) == run_id
    pipeline.until_idle(90)
    unusable = [brand for (_, brand), quirk in BRANDS.items() if quirk in UNUSABLE]
    assert set(asked.times) == {(brand, 10 * brand, year) for brand in unusable for year in YEARS}
    assert pipeline.query("select state, rejected from fipe.load_status where run_id = %s", run_id) == [
        ("complete", 0)
    ]
    assert prices(pipeline) == {tuple(row) for row in simulator.brand_quirks.obtainable(simulator.catalogue)}
    assert pipeline.query("select * from fipe.load_missing") == []


def test_the_next_load_is_denied_three_times_and_not_nine(pipeline: Pipeline, run_id: str) -> None:
    # Runs after the resume: no brand but these has a quirk that a second load meets.
    simulator = pipeline.simulator
    ((vehicle_type, brand),) = (key for key, quirk in BRANDS.items() if quirk == BrandQuirk.NEVER_PRICED)
    quirks = {(vehicle_type, brand): BrandQuirk.NEVER_PRICED}
    simulator.brand_quirks = asked = AskedPrices(simulator.catalogue, quirks)
    again = pipeline.start(brands=[BrandQuirk.NEVER_PRICED])
    assert again != run_id
    pipeline.until_idle(90)
    assert len(asked.times) == MODELS * len(YEARS)
    assert 3 <= asked.times[brand, 10 * brand, YEARS[0]] < 9
    assert pipeline.query("select state, unpriced from fipe.load_status where run_id = %s", again) == [
        ("complete", 1)
    ]
