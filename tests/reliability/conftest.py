"""One pipeline for all tests of a worker process."""

from collections.abc import Iterator

import pytest

from tests.reliability.pipeline import Pipeline, earlier_state, running_pipeline, small_catalogue


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline in a local cloud."""
    with running_pipeline(tmp_path_factory.mktemp("pipeline"), small_catalogue()) as running:
        yield running


@pytest.fixture
def pipeline(running: Pipeline) -> Pipeline:
    """The pipeline, empty and without faults."""
    running.clear()
    return running


@pytest.fixture(scope="session")
def older_results(running: Pipeline) -> list[str]:
    """What an earlier load of the month sent to the ingestor, before FIPE corrected the month."""
    return running.results_of(earlier_state(running.simulator.catalogue))
