"""Loads among faults: each ends equal to the source. FIPE_SOAK_SEEDS ("7", "0..199") says which."""

import os

import pytest

from tests.reliability.pipeline import Pipeline
from tests.reliability.schedules import run_schedule


def seeds() -> range:
    """The seeds that the environment asks for, a few by default."""
    first, _, last = os.environ.get("FIPE_SOAK_SEEDS", "0..1").partition("..")
    return range(int(first), int(last or first) + 1)


@pytest.mark.parametrize("seed", seeds())
def test_a_load_among_faults_ends_equal_to_the_source(
    pipeline: Pipeline, older_results: list[str], seed: int
) -> None:
    print(*run_schedule(pipeline, older_results, seed), sep="\n")
