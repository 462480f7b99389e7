"""Loads that are cancelled, at any moment, and resumed."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.local_cloud_support import eventually
from tests.reliability.pipeline import Pipeline

LOADERS = ("FipeManufacturerLoader", "FipeModelLoader", "FipePriceLoader")
STATE = "select state, prices from fipe.load_status where run_id = %s"


@pytest.fixture
def pipeline(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline whose loaders share a table, where they see what is cancelled."""
    with ExitStack() as changed:
        table = changed.enter_context(pipeline.pace_table())
        for loader in LOADERS:
            changed.enter_context(pipeline.variables(loader, PACE_TABLE=table))
        yield pipeline


def cancel(pipeline: Pipeline, run_id: str) -> None:
    assert pipeline.ask_to_start(run_id=run_id, cancel=True) == {"run_id": run_id, "cancelled": True}


def resume(pipeline: Pipeline, run_id: str) -> None:
    for (payload,) in pipeline.query("select fipe.resume_payloads(%s)", run_id):
        assert pipeline.start(**payload) == run_id


def price_calls(pipeline: Pipeline) -> int:
    return pipeline.simulator.statistics().calls.get("ConsultarValorComTodosParametros", 0)


def test_what_waits_of_a_cancelled_load_is_dropped_and_a_resume_loads_it(pipeline: Pipeline) -> None:
    before = price_calls(pipeline)
    with pipeline.paused("model"):
        run_id = pipeline.start()
        pipeline.until_only_waiting_in("model")
        cancel(pipeline, run_id)
    pipeline.until_idle()
    assert price_calls(pipeline) == before
    assert pipeline.query(STATE, run_id) == [("cancelled", 0)]
    reasons = pipeline.query("select distinct reason from fipe.load_missing where run_id = %s", run_id)
    assert reasons == [("the load was cancelled before its prices came",)]
    resume(pipeline, run_id)
    pipeline.until_idle()
    pipeline.assert_equal_to_the_source(run_id)


def test_what_came_of_a_cancelled_load_stays_and_late_results_are_kept(pipeline: Pipeline) -> None:
    with pipeline.paused("price"):
        run_id = pipeline.start(brands=[brand_of(pipeline)])
        pipeline.until_only_waiting_in("price")
        cancel(pipeline, run_id)
    # Its results were paid for with calls: they are written, and complete the load.
    pipeline.until_idle()
    ((state, prices),) = pipeline.query(STATE, run_id)
    assert (state, prices > 0) == ("complete", True)


def test_another_load_goes_on(pipeline: Pipeline) -> None:
    with pipeline.paused("model"):
        cancelled, other = pipeline.start(), pipeline.start()
        pipeline.until_only_waiting_in("model")
        cancel(pipeline, cancelled)
    pipeline.until_idle()
    assert pipeline.query(STATE, cancelled) == [("cancelled", 0)]
    pipeline.assert_equal_to_the_source(other)


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_and_resumed_at_any_moment_it_ends_complete(pipeline: Pipeline, seed: int) -> None:
    chance = random.Random(seed)
    run_id = pipeline.start()
    for _ in range(3):
        time.sleep(chance.uniform(0, 1.5))
        cancel(pipeline, run_id)
        time.sleep(chance.choice((0, chance.uniform(0, 1.5))))
        if chance.random() < 0.5:
            cancel(pipeline, run_id)
        # Nothing can be resumed before the ledger knows the run.
        eventually(lambda: pipeline.query(STATE, run_id))
        resume(pipeline, run_id)
    pipeline.until_idle()
    resume(pipeline, run_id)
    pipeline.until_idle()
    pipeline.assert_equal_to_the_source(run_id)


def brand_of(pipeline: Pipeline) -> int:
    return pipeline.simulator.catalogue.rows[0].brand_code
