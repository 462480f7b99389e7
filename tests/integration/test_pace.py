"""The shared pace on the DynamoDB API."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fipe_api.source import rate_control, tolerant_pace
from fipe_api.source.pace import SharedPace, Unpaced, state_of
from fipe_api.source.tolerant_pace import PaceTableError, TolerantPace
from tests.aws import client, make_pace_table

START_MS = 1_800_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def pass_seconds(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def function(endpoint: str, clock: Clock) -> Callable[..., SharedPace]:
    """One more function that shares the pace, of 40 calls a minute (one each 1.5 s) unless said otherwise."""
    table = f"pace-{uuid.uuid4().hex}"
    dynamodb = client("dynamodb", endpoint)
    make_pace_table(dynamodb, table)

    def one_more(calls_per_minute: float | None = 40, requests: list[str] | None = None) -> SharedPace:
        dynamodb = client("dynamodb", endpoint)
        if requests is not None:
            dynamodb.meta.events.register(
                "before-call.dynamodb", lambda model, **_: requests.append(model.name)
            )
        return SharedPace(dynamodb, table, calls_per_minute, clock=clock)

    return one_more


def test_spaces_the_calls_of_all_functions_by_one_budget(function: Callable[..., SharedPace]) -> None:
    one, other = function(), function()
    assert [one.reserve(60), other.reserve(60), one.reserve(60), other.reserve(60)] == [0, 1.5, 3, 4.5]


def test_reserves_nothing_beyond_the_callers_patience(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    pace = function()
    assert [pace.reserve(2) for _ in range(5)] == [0, 1.5, 3, 3, 3]
    clock.pass_seconds(3)
    assert pace.reserve(2) == 0


def test_saves_up_no_calls_while_no_function_asks(function: Callable[..., SharedPace], clock: Clock) -> None:
    pace = function()
    pace.reserve(2)
    clock.pass_seconds(3600)
    assert [pace.reserve(2), pace.reserve(2)] == [0, 1.5]


def test_a_call_costs_one_request_when_functions_take_turns(function: Callable[..., SharedPace]) -> None:
    requests: list[str] = []
    one, other = function(requests=requests), function(requests=requests)
    for _ in range(10):
        one.reserve(600)
        other.reserve(600)
    # Each function reads the item once; the second one's first turn is another one than it had read.
    assert len([name for name in requests if name == "UpdateItem"]) <= 21
    assert requests.count("GetItem") == 2


def test_gives_no_moment_twice_to_functions_that_ask_at_once(function: Callable[..., SharedPace]) -> None:
    with ThreadPoolExecutor(4) as functions:
        waits = list(functions.map(lambda pace: pace.reserve(1000), [function() for _ in range(20)]))
    assert sorted(waits) == [1.5 * position for position in range(20)]


# Refusals ---------------------------------------------------------------------------------------------------


def test_a_refusal_makes_everybody_rest_for_as_long_as_the_source_says(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    one, other = function(), function()
    one.reserve(2)
    assert one.throttled(retry_after=17) == 17
    assert other.reserve(10) == 17
    clock.pass_seconds(17)
    assert other.reserve(10) == 0


def test_a_rest_that_the_source_does_not_name_doubles_until_it_is_long_enough(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    pace = function(None)
    rests = []
    for _ in range(8):
        clock.pass_seconds(pace.reserve(2000) + 0.001)
        rests.append(pace.throttled(None))
    # The 60 s of the real source are not overshot by much, but other sources may need longer.
    assert [round(sum(rests[: count + 1])) for count in range(8)] == [1, 2, 4, 8, 16, 32, 61, 122]


def test_calls_that_were_granted_before_a_refusal_teach_nothing(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    paces = [function() for _ in range(5)]
    for pace in paces:
        pace.reserve(60)
    clock.pass_seconds(6)
    assert [round(pace.throttled(10)) for pace in paces] == [10] * 5
    assert paces[0].reserve(0) == 10


def test_a_rest_begins_behind_the_calls_that_others_were_granted(
    function: Callable[..., SharedPace],
) -> None:
    one, *others = (function() for _ in range(4))
    one.reserve(60)
    assert [other.reserve(60) for other in others] == [1.5, 3, 4.5]
    assert one.throttled(10) == 14.5


def test_is_slower_after_a_refusal(function: Callable[..., SharedPace], clock: Clock) -> None:
    pace = function(calls_per_minute=60)
    clock.pass_seconds(pace.reserve(60))
    clock.pass_seconds(pace.throttled(5))
    assert pace.reserve(60) == 0
    assert pace.reserve(60) == pytest.approx(2.08, abs=0.01)


def test_without_a_cap_nothing_is_asked_of_dynamodb_until_the_source_refuses(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    requests: list[str] = []
    one, other = function(None, requests), function(None, requests)
    assert [pace.reserve(0) for pace in (one, other) for _ in range(100)] == [0] * 200
    assert requests == ["GetItem"] * 2
    assert one.throttled(None) == 1
    assert other.reserve(0) == 0, "another function hears of it within two seconds, or by its own refusal"
    assert other.throttled(None) == 1
    clock.pass_seconds(1)
    assert [one.reserve(60), other.reserve(60)] == [0, pytest.approx(0.02, abs=0.002)]


# Blocks and outages -----------------------------------------------------------------------------------------


def test_an_outage_holds_for_every_function_and_one_call_probes_whether_it_is_over(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    one, other = function(), function()
    one.reserve(2)
    assert one.unavailable("blocked", 120, 1800) == 120
    assert (other.reserve(10), other.outage) == (120, "blocked")
    clock.pass_seconds(120)
    assert one.reserve(10) == 0
    assert other.reserve(10) == 25, "the probing call gets the time it may take"
    one.succeeded()
    assert [one.outage, other.reserve(10), other.outage] == ["", 0, ""]


def test_the_wait_doubles_with_each_failed_probe_and_starts_anew_after_one_that_succeeds(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    pace = function(None)
    waits = []
    for _ in range(7):
        clock.pass_seconds(pace.reserve(2000))
        waits.append(pace.unavailable("blocked", 120, 1800))
    assert waits == [120, 240, 480, 960, 1800, 1800, 1800]
    clock.pass_seconds(pace.reserve(2000))
    pace.succeeded()
    pace.reserve(0)
    assert pace.unavailable("down", 5, 600) == 5


def test_the_rate_that_was_found_outlives_an_outage(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    pace = function(None)
    for _ in range(2):
        clock.pass_seconds(pace.reserve(2000))
        pace.throttled(1)
    ceiling = pace._state.ceiling
    clock.pass_seconds(pace.reserve(2000))
    pace.unavailable("down", 5, 600)
    clock.pass_seconds(pace.reserve(2000))
    pace.succeeded()
    assert pace._state.ceiling == ceiling


def test_others_can_read_from_the_item_why_and_how_long_calls_are_stopped(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    pace = function(None)
    for _ in range(2):
        clock.pass_seconds(pace.reserve(2000))
        pace.throttled(None)
    clock.pass_seconds(pace.reserve(2000))
    pace.unavailable("blocked", 120, 1800)
    item = pace._client.get_item(**pace._item)["Item"]
    state = state_of(item)
    assert (state.outage.kind, state.next_call) == ("blocked", START_MS + 122_000)
    assert state == pace._state, "each number is read as it was written"
    assert state_of({}).next_call == 0


def test_two_functions_that_notice_one_outage_count_it_once(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    one, other = function(), function()
    one.reserve(10)
    clock.pass_seconds(other.reserve(10))
    assert [one.unavailable("down", 5, 600), other.unavailable("down", 5, 600)] == [5, 5]


# A table that fails -----------------------------------------------------------------------------------------


class Outages:
    """Makes requests to DynamoDB fail, as if it throttled them."""

    def __init__(self, pace: SharedPace) -> None:
        self.are_on = False
        dynamodb: Any = pace._client
        dynamodb.meta.events.register("before-call.dynamodb", self._throttle)

    def _throttle(self, **_: Any) -> tuple[Any, dict[str, Any]] | None:
        error = {"Code": "ThrottlingException", "Message": "any"}
        answer = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}
        return (Throttled(), answer) if self.are_on else None


class Throttled:
    status_code = 400


@pytest.mark.parametrize(
    ("note", "wait"),
    [
        (lambda pace: pace.throttled(17), 17),
        (lambda pace: pace.throttled(None), rate_control.USUAL_REST_SECONDS),
        (lambda pace: pace.unavailable("blocked", 120, 1800), 120),
    ],
)
def test_a_refusal_that_the_table_does_not_take_makes_this_function_wait(
    function: Callable[..., SharedPace], note: Callable[[TolerantPace], float], wait: float
) -> None:
    shared = function()
    outages, pace = Outages(shared), TolerantPace(shared)
    pace.reserve(2)
    outages.are_on = True
    assert note(pace) == wait
    outages.are_on = False
    with pytest.raises(PaceTableError, match=f"try again in {wait:.0f} s"):
        pace.reserve(15)


def test_an_answer_is_kept_when_the_table_does_not_take_that_an_outage_is_over(
    function: Callable[..., SharedPace], clock: Clock
) -> None:
    shared = function()
    outages, pace = Outages(shared), TolerantPace(shared)
    clock.pass_seconds(pace.reserve(2))
    clock.pass_seconds(pace.unavailable("down", 5, 600))
    assert pace.reserve(2) == 0
    outages.are_on = True
    pace.succeeded()
    outages.are_on = False
    assert pace.outage == "down"
    clock.pass_seconds(pace.reserve(30))
    pace.succeeded()
    assert (pace.outage, pace.reserve(2)) == ("", 0)


def test_a_table_that_fails_is_left_alone_for_a_while(
    function: Callable[..., SharedPace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tolerant_pace, "REST_SECONDS", 1)
    requests: list[str] = []
    shared = function(requests=requests)
    outages, pace = Outages(shared), TolerantPace(shared)
    outages.are_on = True
    for _ in range(3):
        with pytest.raises(PaceTableError, match="the pace table does not answer; try again in 1 s"):
            pace.reserve(0.5)
    assert requests == ["GetItem"]
    outages.are_on = False
    assert 0 < pace.reserve(15) <= 1, "a short rest is waited for"


# Without a table --------------------------------------------------------------------------------------------


def test_without_a_table_only_refusals_and_outages_make_calls_wait() -> None:
    pace: Any = Unpaced()
    assert [pace.reserve(0) for _ in range(3)] == [0, 0, 0]
    assert pace.unavailable("blocked", 60, 1800) == 60
    assert pace.outage == "blocked"
    assert 59 < pace.reserve(1) <= 60
