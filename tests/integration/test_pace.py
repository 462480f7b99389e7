"""The shared pace on the DynamoDB API."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fipe_api import pace as pace_module
from fipe_api.pace import SharedPace, Unpaced
from tests.aws import aws_apis, client

START_MS = 1_800_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def pass_seconds(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws_apis() as url:
        yield url


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module, "_now_ms", clock)
    return clock


@pytest.fixture
def function(endpoint: str) -> Callable[[], SharedPace]:
    """One more function that shares the pace of 40 calls a minute, one every 1.5 s."""
    table = f"pace-{uuid.uuid4().hex}"
    dynamodb = client("dynamodb", endpoint)
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "source", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "source", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return lambda: SharedPace(client("dynamodb", endpoint), table, calls_per_minute=40)


@pytest.mark.usefixtures("clock")
def test_spaces_the_calls_of_all_functions_by_one_budget(function: Callable[[], SharedPace]) -> None:
    one, other = function(), function()
    assert [one.reserve(60), other.reserve(60), one.reserve(60), other.reserve(60)] == [0, 1.5, 3, 4.5]


def test_reserves_nothing_beyond_the_callers_patience(
    function: Callable[[], SharedPace], clock: Clock
) -> None:
    pace = function()
    assert [pace.reserve(2) for _ in range(5)] == [0, 1.5, 3, 3, 3]
    clock.pass_seconds(3)
    assert pace.reserve(2) == 0


def test_saves_up_no_calls_while_nobody_asks(function: Callable[[], SharedPace], clock: Clock) -> None:
    pace = function()
    pace.reserve(2)
    clock.pass_seconds(3600)
    assert [pace.reserve(2), pace.reserve(2)] == [0, 1.5]


def test_a_pause_holds_for_every_function(function: Callable[[], SharedPace], clock: Clock) -> None:
    one, other = function(), function()
    one.reserve(2)
    one.pause(60)
    other.pause(20)
    assert other.reserve(10) == 60
    clock.pass_seconds(60)
    assert other.reserve(10) == 0


@pytest.mark.usefixtures("clock")
def test_gives_no_moment_twice_to_functions_that_ask_at_once(function: Callable[[], SharedPace]) -> None:
    with ThreadPoolExecutor(4) as functions:
        waits = list(functions.map(lambda pace: pace.reserve(1000), [function() for _ in range(20)]))
    assert sorted(waits) == [1.5 * position for position in range(20)]


def test_without_a_rate_only_a_pause_makes_calls_wait() -> None:
    pace = Unpaced()
    assert [pace.reserve(0) for _ in range(3)] == [0, 0, 0]
    pace.pause(60)
    assert 59 < pace.reserve(1) <= 60
