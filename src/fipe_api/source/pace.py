"""One pace for all: how often a source may be called, shared by every function that works on a load."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, convert
from msgspec.structs import asdict, fields
from typing_extensions import override

from fipe_api.source import rate_control
from fipe_api.source.rate_control import Grant, RateState, Stop

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_dynamodb import DynamoDBClient

SOURCE = "fipe"
FRESH_MS = 2_000
"""While nothing limits the calls, the shared state is read so often."""


class Pace(Protocol):
    """Gives out the moments at which calls may be made, and learns from how they ended."""

    @property
    def stopped(self) -> Stop:
        """Why nobody is served, as far as this function knows; then a call is a probe."""

    def reserve(self, patience: float) -> float:
        """Reserves the next call if it may be made within `patience` seconds.

        Returns:
            Seconds until the call may be made; when that is more than `patience`, nothing was reserved.
        """

    def succeeded(self) -> None:
        """The reserved call was served."""

    def refused(self, retry_after: float | None) -> float:
        """The reserved call was one too many (429); the source may have named a time in seconds.

        Returns:
            Seconds until it makes sense to go on.
        """

    def pause(self, reason: Stop, first: float, longest: float) -> float:
        """The source serves nobody: nobody calls for `first` seconds, doubled each time up to `longest`.

        Then one call at a time tries whether that is over.

        Returns:
            Seconds until it makes sense to go on.
        """


class Unpaced(Pace):
    """No rate of its own; only a pause that the source asked for is kept, by this execution environment."""

    stopped: Stop = ""

    def __init__(self) -> None:
        self._resume_at = 0.0

    @override
    def reserve(self, patience: float) -> float:
        return max(0.0, self._resume_at - time.monotonic())

    @override
    def succeeded(self) -> None:
        self.stopped = ""

    @override
    def refused(self, retry_after: float | None) -> float:
        return self._rest(retry_after or rate_control.USUAL_REST_SECONDS)

    @override
    def pause(self, reason: Stop, first: float, longest: float) -> float:
        self.stopped = reason
        return self._rest(first)

    def _rest(self, seconds: float) -> float:
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)
        return seconds


class SharedPace(Pace):
    """An adaptive rate for all concurrent functions together, kept in one DynamoDB item.

    A call costs one UpdateItem, which takes its turn atomically; none while nothing limits the calls.

    Args:
        client: a DynamoDB client.
        table: the table's name; its partition key is the string `source`.
        calls_per_minute: the budget of the whole load; None for none but the source's own limit.
        source: the key of the item.
        clock: milliseconds since 1970.
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
    def stopped(self) -> Stop:
        return self._state.stopped

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
        if self._state.stopped:
            self._change(lambda state, now: rate_control.after_resumption(state, now))

    @override
    def refused(self, retry_after: float | None) -> float:
        return self._change(
            lambda state, now: rate_control.after_refusal(state, self._grant, now, self._cap, retry_after)
        )

    @override
    def pause(self, reason: Stop, first: float, longest: float) -> float:
        return self._change(lambda state, now: rate_control.after_stop(state, reason, now, first, longest))

    def _is_free(self) -> bool:
        return rate_control.is_free(self._state, self._cap)

    def _granted(self) -> Grant:
        return Grant(self._state.epoch, self._state.cycle.served, self._state.cycle.calls)

    def _take(self, now: int, latest: int) -> int | None:
        """The moment of the call that was taken.

        None when none was taken: another function was faster, or the next call is later than `latest`.
        The state is known anew then.
        """
        is_late = self._state.next_call < now
        moment = self._take_now(now) if is_late else self._take_next(now, latest)
        if moment is not None:
            self._grant = self._granted()
        return moment

    def _take_now(self, now: int) -> int | None:
        """Takes a call at once, when the moment for it has passed. Moments that passed are not saved up."""
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
        """Takes the next call if its moment is not later than `latest`, whoever has taken those before it."""
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
        """Updates the item if the condition holds; either way its state is known then."""
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
        """Changes the shared state, unless another function has done so since this one's call was granted.

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
                    # With next_call: a call that was granted meanwhile is known to the change, too.
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
    """What a refused write found in place of what it expected."""
    item: Mapping[str, Any] = refused.response.get("Item", {})  # type: ignore[assignment]
    return item


def _attributes(state: RateState) -> dict[str, Any]:
    """The state as attributes of an item; those of a group have its name in front, like cycle_served.

    They are not nested, because an update of a nested attribute fails where the item does not exist yet.
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
    """The state that an item holds; a new one where the item is empty."""
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
