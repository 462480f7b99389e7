"""Loads the real month with a fault in one call of twenty, and results of an earlier load that arrive
late: it must be complete and equal; prints how much longer it took."""

import time
from collections.abc import Iterator

import pytest

from fipe_simulator import Fault, Faults, read_catalogue
from tests.real_month import REAL_MONTH, needs_real_month
from tests.reliability.pipeline import Pipeline, earlier_state, running_pipeline

SPOILT = 0.05
SECONDS = 1200


@pytest.fixture
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline whose source has the real month."""
    with running_pipeline(tmp_path_factory.mktemp("month"), read_catalogue(REAL_MONTH)) as running:
        yield running


@pytest.mark.faults
@needs_real_month
def test_the_real_month_among_all_faults_is_complete_and_equal(
    month: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    older_results = month.results_of(earlier_state(month.simulator.catalogue), SECONDS)
    month.clear()
    quiet = load(month)
    month.clear()
    late = older_results[::3]
    month.deliver([message for message in older_results if message not in set(late)])
    month.until_idle(SECONDS)
    month.simulator.faults = Faults.of(rate=SPOILT / len(Fault), seed=8, hold_seconds=3)
    spoilt = load(month)
    month.deliver(late)
    month.until_idle(SECONDS)
    month.assert_prices_equal_to_the_source()
    with capsys.disabled():
        print(
            f"\nwithout faults {quiet:.0f} s, with {SPOILT:.0%} of the calls spoilt {spoilt:.0f} s:"
            f" {spoilt / quiet:.2f} times; {month.simulator.statistics()}"
        )


def load(month: Pipeline) -> float:
    """Runs a load, which must end equal to the source without a redrive; returns how many seconds it took."""
    start = time.monotonic()
    run_id = month.start()
    month.until_idle(SECONDS)
    took = time.monotonic() - start
    month.assert_equal_to_the_source(run_id)
    return took
