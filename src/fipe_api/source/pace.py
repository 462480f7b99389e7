"""How often a source may be called: one pace, shared by all functions."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, convert
from msgspec.structs import asdict, fields
from typing_extensions import override

from fipe_api.source import rate_control
from fipe_api.source.rate_control import Grant, Outage, RateState

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_dynamodb import DynamoDBClient

SOURCE = "fipe"
FRESH_MS = 2_000
"""While nothing limits the calls, the shared state is read this often."""


class Pace(Protocol):
    """Decides when each call may be made, and learns from how the calls end."""

    @property
    def outage(self) -> Outage:
        """Whether the source is blocked or down, as far as this function knows; empty while it serves."""

    def reserve(self, patience: float) -> float:
        """Reserves the next call if it may be made within `patience` seconds.

        Returns:
            Seconds until the call may be made. If that is more than `patience`, nothing was reserved.
        """

    def succeeded(self) -> None:
        """Notes that the reserved call was served."""

    def throttled(self, retry_after: float | None) -> float:
        """Notes that the reserved call was throttled (429).

        Args:
            retry_after: seconds from the Retry-After header; None without one.

        Returns:
            Seconds to wait before the next call.
        """

    def unavailable(self, outage: Outage, first: float, longest: float) -> float:
        """Notes that the source is blocked or down: all functions wait, then one call at a time probes it.

        Args:
            outage: "blocked" or "down".
            first: seconds of the first wait; each further wait is twice as long.
            longest: seconds of the longest wait.

        Returns:
            Seconds to wait before the next call.
        """


class PaceAround(Pace):
    """A pace around another one, which decides whatever a subclass does not."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    @property
    @override
    def outage(self) -> Outage:
        return self._pace.outage

    @override
    def reserve(self, patience: float) -> float:
        return self._pace.reserve(patience)

    @override
    def succeeded(self) -> None:
        self._pace.succeeded()

    @override
    def throttled(self, retry_after: float | None) -> float:
        return self._pace.throttled(retry_after)

    @override
    def unavailable(self, outage: Outage, first: float, longest: float) -> float:
        return self._pace.unavailable(outage, first, longest)


class Unpaced(Pace):
    """Without a rate: it waits only after a refusal, and only within this process."""

    outage: Outage = ""

    def __init__(self) -> None:
        self._resume_at = 0.0

    @override
    def reserve(self, patience: float) -> float:
        return max(0.0, self._resume_at - time.monotonic())

    @override
    def succeeded(self) -> None:
        self.outage = ""

    @override
    def throttled(self, retry_after: float | None) -> float:
        return self._wait(retry_after or rate_control.USUAL_REST_SECONDS)

    @override
    def unavailable(self, outage: Outage, first: float, longest: float) -> float:
        self.outage = outage
        return self._wait(first)

    def _wait(self, seconds: float) -> float:
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)
        return seconds


class SharedPace(Pace):
    """A rate for all functions together, kept in one DynamoDB item; it adapts to the source's limit.

    Each call takes its turn with one UpdateItem. While nothing limits the calls, nothing is updated.

    Args:
        client: a DynamoDB client.
        table: the table's name; its partition key is the string `source`.
        calls_per_minute: the limit for all functions together; None leaves only the source's own limit.
        source: the key of the item.
        clock: gives milliseconds since 1970.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        calls_per_minute: float | None,
        source: str = SOURCE,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._client = client
        self._item: Mapping[str, Any] = {"TableName": table, "Key": {"source": {"S": source}}}
        self._cap = calls_per_minute and calls_per_minute / 60
        self._clock = clock
        self._state = RateState()
        self._read_at: int | None = None
        self._grant = Grant(0, 0, 0)

    @property
    @override
    def outage(self) -> Outage:
        return self._state.outage.kind

    @override
    def reserve(self, patience: float) -> float:
        now = self._clock()
        latest = now + int(patience * 1000)
        if self._read_at is None or (self._is_free() and now - self._read_at >= FRESH_MS):
            self._read(now)
        while not self._is_free():
            moment = self._take(now, latest)
            if moment is not None:
                return (moment - now) / 1000
            if self._state.next_call > latest:
                return (self._state.next_call - now) / 1000
        self._grant = self._granted()
        return 0.0

    @override
    def succeeded(self) -> None:
        if self._state.outage.kind:
            self._change(lambda state, now: rate_control.after_outage(state, now))

    @override
    def throttled(self, retry_after: float | None) -> float:
        return self._change(
            lambda state, now: rate_control.after_throttling(state, self._grant, now, self._cap, retry_after)
        )

    @override
    def unavailable(self, outage: Outage, first: float, longest: float) -> float:
        return self._change(lambda state, now: rate_control.during_outage(state, outage, now, first, longest))

    def _is_free(self) -> bool:
        return rate_control.is_free(self._state, self._cap)

    def _granted(self) -> Grant:
        return Grant(self._state.epoch, self._state.cycle.served, self._state.cycle.calls)

    def _take(self, now: int, latest: int) -> int | None:
        """Takes the next call, and returns its moment.

        Returns None if it took no call: another function was faster, or the next call is later than `latest`.
        In that case it has read the newest state.
        """
        is_late = self._state.next_call < now
        moment = self._take_now(now) if is_late else self._take_next(now, latest)
        if moment is not None:
            self._grant = self._granted()
        return moment

    def _take_now(self, now: int) -> int | None:
        """Takes a call for right now, because its moment has passed. Unused moments are not saved up."""
        seen = self._state
        taken = self._update(
            "SET next_call = :next, cycle_idle = if_not_exists(cycle_idle, :zero) + :gap"
            " ADD cycle_served :one, epoch :zero",
            "(attribute_not_exists(epoch) OR epoch = :epoch)"
            " AND (attribute_not_exists(next_call) OR next_call = :seen)",
            {
                "next": now + rate_control.interval_ms(seen, self._cap),
                "gap": now - seen.next_call if seen.next_call else 0,
                "one": 1,
                "zero": 0,
                "epoch": seen.epoch,
                "seen": seen.next_call,
            },
        )
        return now if taken else None

    def _take_next(self, now: int, latest: int) -> int | None:
        """Takes the next call if it is not later than `latest`; others may have taken calls before it."""
        seen = self._state
        interval = rate_control.interval_ms(seen, self._cap)
        taken = self._update(
            "SET next_call = next_call + :interval ADD cycle_served :one, cycle_calls :grown",
            "epoch = :epoch AND next_call BETWEEN :earliest AND :latest",
            {
                "interval": interval,
                "one": 1,
                "grown": int(rate_control.grows(seen, self._cap)),
                "epoch": seen.epoch,
                "earliest": now,
                "latest": latest,
            },
        )
        return self._state.next_call - interval if taken else None

    def _update(self, expression: str, condition: str, values: Mapping[str, int]) -> bool:
        """Updates the item if the condition holds. Either way, it then knows the newest state."""
        try:
            answer = self._client.update_item(
                **self._item,
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues={f":{name}": {"N": str(value)} for name, value in values.items()},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            self._know(_item(refused))
            return False
        self._know(answer["Attributes"])
        return True

    def _change(self, change: Callable[[RateState, int], RateState]) -> float:
        """Changes the shared state, unless another function has changed it since this call was granted.

        Returns:
            Seconds until the next call may be made.
        """
        now = self._clock()
        while self._state.epoch == self._grant.epoch:
            changed = change(self._state, now)
            try:
                self._client.put_item(
                    TableName=self._item["TableName"],
                    Item={**self._item["Key"], **_attributes(changed)},
                    # next_call too: if another call was granted meanwhile, the change has to include it.
                    ConditionExpression="attribute_not_exists(epoch) OR epoch = :epoch AND next_call = :next",
                    ExpressionAttributeValues={
                        ":epoch": {"N": str(self._state.epoch)},
                        ":next": {"N": str(self._state.next_call)},
                    },
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
                self._state = changed
            except self._client.exceptions.ConditionalCheckFailedException as refused:
                self._know(_item(refused))
        return max(0, self._state.next_call - now) / 1000

    def _read(self, now: int) -> None:
        answer = self._client.get_item(**self._item, ConsistentRead=True)
        self._know(answer.get("Item", {}))
        self._read_at = now

    def _know(self, item: Mapping[str, Any]) -> None:
        self._state = state_of(item)


def _item(refused: "ClientError") -> Mapping[str, Any]:
    """The item that a failed conditional write found."""
    item: Mapping[str, Any] = refused.response.get("Item", {})  # type: ignore[assignment]
    return item


def _attributes(state: RateState) -> dict[str, Any]:
    """The state as attributes of an item, with groups written flat: cycle.served is cycle_served.

    They are flat because DynamoDB refuses to update a nested attribute of an item that does not exist yet.
    """
    flat: dict[str, Any] = {}
    for name, value in asdict(state).items():
        if isinstance(value, Struct):
            flat |= {f"{name}_{inner}": each for inner, each in asdict(value).items()}
        elif value is not None:
            flat[name] = value
    return {
        name: {"S": value} if isinstance(value, str) else {"N": repr(value)} for name, value in flat.items()
    }


def state_of(item: Mapping[str, Any]) -> RateState:
    """The state that an item holds; the initial state if the item is empty."""
    values: dict[str, Any] = {name: {} for name in _GROUPS}
    for name, attribute in item.items():
        (value,) = attribute.values()
        group, _, inner = name.partition("_")
        if group in _GROUPS:
            values[group][inner] = value
        else:
            values[name] = value
    # Not strict: DynamoDB gives numbers as text.
    return convert(values, RateState, strict=False)


_GROUPS = frozenset(field.name for field in fields(RateState) if isinstance(field.default, Struct))
