"""Goodput under an unknown limit: the share of the limit that is used, and the share of the calls that are
refused.

The source is the simulator's token bucket. Time is simulated, because a limit of 50 calls per minute with a
block of 60 s takes hours to reach a steady state. The calls are paced by the functions' own SharedPace on
moto's DynamoDB, without a cap (`RATE=max`). The first two thirds of each run are for finding the limit (and
the new limit, where it halves midway); only the last third counts. goodput_over_http measures the same client
in real time.

Two simple clients are measured for comparison. One sleeps for 1 s after each call, and for 5 s after a
refusal, doubled with each further refusal. The other is AIMD in one thread: 800 ms between calls, doubled
after a refusal, a quarter faster after 10 successes.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import boto3
from moto import mock_aws

from benchmarks.rows import Row, at_least, at_most
from fipe_api.source.http_source import LONGEST_WAIT_SECONDS
from fipe_api.source.pace import SharedPace
from fipe_simulator import Ceiling
from fipe_simulator.faults import Gate

LATENCY_SECONDS = 0.01
TABLE = "pace"


class Limit(NamedTuple):
    name: str
    ceiling: Ceiling
    seconds: float
    afterwards: Ceiling | None = None


def per_minute(calls: float, *, retry_after: bool = True) -> Ceiling:
    return Ceiling(calls=calls, per_seconds=60, block_seconds=60, retry_after=retry_after)


def per_second(calls: float, *, retry_after: bool = True) -> Ceiling:
    return Ceiling(calls=calls, per_seconds=1, block_seconds=0, retry_after=retry_after)


LIMITS = (
    Limit("50 per minute, block of 60 s", per_minute(50), 2 * 3600),
    Limit("50 per minute, block of 60 s, no Retry-After", per_minute(50, retry_after=False), 2 * 3600),
    Limit("5 per second", per_second(5), 1200),
    Limit("5 per second, no Retry-After", per_second(5, retry_after=False), 1200),
    Limit("50 per second", per_second(50), 120),
    Limit("50 per second, no Retry-After", per_second(50, retry_after=False), 120),
    Limit("50 per minute that become 25 midway", per_minute(50), 3 * 3600, per_minute(25)),
)


class Client(Protocol):
    """One function: when it may call next, whether it waits until then, and how its call ended."""

    def next_call(self, now: float) -> float: ...

    def may_call(self, now: float, moment: float) -> bool: ...

    def ended(self, now: float, refused_for: float | None, *, is_refused: bool) -> None: ...


class Paced:
    """Does what a loader does: waits some seconds for its turn, or sends its message back and tries later."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._pace = SharedPace(dynamodb_client(), TABLE, None, clock=clock)

    def next_call(self, now: float) -> float:
        return now + self._pace.reserve(LONGEST_WAIT_SECONDS)

    def may_call(self, now: float, moment: float) -> bool:
        return moment - now <= LONGEST_WAIT_SECONDS

    def ended(self, now: float, refused_for: float | None, *, is_refused: bool) -> None:  # noqa: ARG002
        if is_refused:
            self._pace.throttled(refused_for)
        else:
            self._pace.succeeded()


class FixedSleep:
    def __init__(self) -> None:
        self._wait, self._backoff = 0.0, 5.0

    def next_call(self, now: float) -> float:
        return now + self._wait

    def may_call(self, now: float, moment: float) -> bool:  # noqa: ARG002
        return True

    def ended(self, now: float, refused_for: float | None, *, is_refused: bool) -> None:  # noqa: ARG002
        self._wait, self._backoff = (self._backoff, 2 * self._backoff) if is_refused else (1.0, 5.0)


class Aimd:
    def __init__(self) -> None:
        self._interval, self._successes = 0.8, 0

    def next_call(self, now: float) -> float:
        return now + self._interval

    def may_call(self, now: float, moment: float) -> bool:  # noqa: ARG002
        return True

    def ended(self, now: float, refused_for: float | None, *, is_refused: bool) -> None:  # noqa: ARG002
        if is_refused:
            self._interval, self._successes = 2 * self._interval, 0
            return
        self._successes += 1
        if self._successes == 10:
            self._interval, self._successes = self._interval / 1.25, 0


class Outcome(NamedTuple):
    """The share of the limit that was used and the share of refused calls, in the last third of a run."""

    used: float
    refused: float


def run() -> Sequence[Row]:
    rows: list[Row] = []
    for limit in LIMITS:
        for functions in (1, 2, 10):
            rows += outcome_rows(f"{limit.name}; {functions} at once", _paced(limit, functions))
        for name, client in (("fixed 1 s, backoff 5 s", FixedSleep), ("AIMD from 800 ms", Aimd)):
            outcome = _simulate(limit, [client()], [0.0])
            rows.append(Row(f"{limit.name}; {name}", outcome.used, "of the limit"))
            rows.append(Row(f"{limit.name}; {name}", outcome.refused, "of the calls refused"))
    return rows


def outcome_rows(what: str, outcome: Outcome) -> list[Row]:
    return [
        Row(what, outcome.used, "of the limit", target=at_least(0.95)),
        Row(what, outcome.refused, "of the calls refused", target=at_most(0.02)),
    ]


def _paced(limit: Limit, functions: int) -> Outcome:
    clock = [0.0]
    with mock_aws():
        create_table(dynamodb_client())
        # Not 0, which the pace would take for "not known".
        paces = [Paced(lambda: 1_000_000 + round(1000 * clock[0])) for _ in range(functions)]
        return _simulate(limit, paces, clock)


def _simulate(limit: Limit, clients: Sequence[Client], clock: list[float]) -> Outcome:
    gate = Gate(limit.ceiling, lambda: clock[0])
    served = refused = 0
    counted_from = 2 / 3 * limit.seconds
    events: list[tuple[float, int, bool]] = [(0.0, each, False) for each in range(len(clients))]
    is_changed = False
    while events[0][0] < limit.seconds:
        clock[0], each, is_call = heapq.heappop(events)
        now, client = clock[0], clients[each]
        if limit.afterwards and now >= limit.seconds / 2 and not is_changed:
            gate.set(limit.afterwards)
            is_changed = True
        if not is_call:
            moment = client.next_call(now)
            heapq.heappush(events, (moment, each, client.may_call(now, moment)))
            continue
        refusal = gate.refuse()
        if now >= counted_from:
            refused += refusal is not None
            served += refusal is None
        clock[0] = now + LATENCY_SECONDS
        named = dict(refusal.headers).get("Retry-After") if refusal else None
        client.ended(clock[0], float(named) if named else None, is_refused=refusal is not None)
        heapq.heappush(events, (clock[0], each, False))
    ceiling = limit.afterwards or limit.ceiling
    return Outcome(
        served / ((limit.seconds - counted_from) * ceiling.calls / ceiling.per_seconds),
        refused / max(1, served + refused),
    )


def dynamodb_client(endpoint: str | None = None) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


def create_table(client: Any) -> None:
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "source", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "source", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
