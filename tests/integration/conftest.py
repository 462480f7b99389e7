"""What the tests of functions share: AWS's APIs and a source."""

from collections.abc import Iterator

import pytest

from fipe_simulator import SAMPLE_CATALOGUE, FipeSimulator, read_catalogue
from tests.aws import aws_apis


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Where AWS's APIs answer."""
    with aws_apis() as url:
        yield url


@pytest.fixture
def simulator() -> Iterator[FipeSimulator]:
    """A source with the sample."""
    with FipeSimulator(read_catalogue(SAMPLE_CATALOGUE)) as simulator:
        yield simulator
