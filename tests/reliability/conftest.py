"""One pipeline for all tests of a worker process."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

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
    """What a load of the day before sent to the ingestor, before FIPE corrected the month."""
    results = running.results_of(earlier_state(running.simulator.catalogue))
    return [_a_day_earlier(message) for message in results]


def _a_day_earlier(message: str) -> str:
    sent = json.loads(message)
    if "asked_at" in sent:
        asked_at = datetime.fromisoformat(sent["asked_at"]) - timedelta(days=1)
        sent["asked_at"] = asked_at.isoformat()
    return json.dumps(sent)
