"""One pipeline for the tests of a process; one that fails takes none of the others along."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from tests.reliability.pipeline import (
    Pipeline,
    SharedPipeline,
    earlier_state,
    running_pipeline,
    small_catalogue,
)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedPipeline]:
    """The pipeline of this process, in a local cloud. A new one after each test that fails."""
    with closing(
        SharedPipeline(lambda: running_pipeline(tmp_path_factory.mktemp("pipeline"), small_catalogue()))
    ) as shared:
        yield shared


@pytest.fixture
def pipeline(shared: SharedPipeline, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """The pipeline, empty and without faults. A test that leaves something changed in it fails."""
    failures = request.session.testsfailed
    pipeline = shared.get(failures)
    pipeline.clear()
    settings = pipeline.settings()
    yield pipeline
    if request.session.testsfailed == failures:
        assert pipeline.settings() == settings, "the test left this changed"


@pytest.fixture(scope="session")
def known_results() -> dict[str, list[str]]:
    """Keeps `older_results`; a fixture would keep a failure, too."""
    return {}


@pytest.fixture
def older_results(pipeline: Pipeline, known_results: dict[str, list[str]]) -> list[str]:
    """What a load of the day before sent to the ingestor, before FIPE corrected the month."""
    if "older" not in known_results:
        results = pipeline.results_of(earlier_state(pipeline.simulator.catalogue))
        known_results["older"] = [_a_day_earlier(message) for message in results]
    return known_results["older"]


def _a_day_earlier(message: str) -> str:
    sent = json.loads(message)
    if "asked_at" in sent:
        asked_at = datetime.fromisoformat(sent["asked_at"]) - timedelta(days=1)
        sent["asked_at"] = asked_at.isoformat()
    return json.dumps(sent)
