"""A list of months that are loaded one at a time, in one item of the table of the shared pace.

All its months are one run. A stage has one list: another one takes the place of a list that has ended.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from fipe_api.messages import Moment, Reference

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

BACKFILL_KEY = "backfill"
"""The item's key. Its attribute `list` holds the list as JSON; `changes` counts how often it was written."""
TRIES = 3
"""How often a month is loaded or resumed before it stays incomplete."""
CHANGE_ATTEMPTS = 10


class ListChangedError(RuntimeError):
    """Another function has changed the list meanwhile."""


class AskedSample(Struct, frozen=True, kw_only=True):
    """How many prices of a month were chosen, and how many of them are answered; 0 of 0 before that."""

    chosen: int = 0
    answered: int = 0


class MonthAtWork(Struct, frozen=True, kw_only=True):
    """The month that is being loaded, or confirmed by a sample.

    Attributes:
        reference: which one.
        since: when it was begun, or begun again.
        begun_by: the token of the message that began it.
        again: whether it was begun before: then the ledger says what it lacks.
        tries: how often it ended incomplete before.
        sample: how far its sample is; None if it is loaded.
    """

    reference: Reference
    since: Moment
    begun_by: UUID
    again: bool = False
    tries: int = 0
    sample: AskedSample | None = None


class DoneMonth(Struct, frozen=True, kw_only=True):
    """A month that is complete, with the number of its prices."""

    reference: Reference
    prices: int
    ended_at: Moment


class ConfirmedMonth(Struct, frozen=True, kw_only=True):
    """An imported month that is not loaded: so many of its prices were asked for, and all are alike."""

    reference: Reference
    prices: int
    ended_at: Moment


class DifferingMonth(Struct, frozen=True, kw_only=True):
    """An imported month that is loaded all the same, and what differs in it."""

    reference: Reference
    why: str


class IncompleteMonth(Struct, frozen=True, kw_only=True):
    """A month that ended incomplete, how often, and why in a few words."""

    reference: Reference
    tries: int
    why: str


class LeftOutMonth(Struct, frozen=True, kw_only=True):
    """A month that is not loaded, and why: the source has no brands of it, or none of the wanted ones."""

    reference: Reference
    why: str


class MonthList(Struct, frozen=True, kw_only=True):
    """The list.

    Attributes:
        run_id: the run of all its months.
        request: what is loaded of each month, as a payload of FipeManufacturerLoader.
        oldest_first: whether it begins with the oldest month.
        began_at: when it was asked for.
        to_come: the months that were not begun, in their order.
        at_work: the month that is being loaded.
        verify_sample: how many prices of an imported month confirm it; with 0 it is loaded.
        done: those that are complete, in the order in which they ended.
        confirmed: those that an import holds, and a sample has confirmed.
        differing: those of the others whose sample has not.
        incomplete: those that ended incomplete. After the months to come they are resumed.
        left_out: those with nothing to load.
        waits_for: the months of another load that goes first; empty if there is none.
        stopped: whether a person stopped it.
        ended_at: when nothing was left to do.
        turn: the turn of the message that moves it on.
        token: that message's token.
        looked_at: when that message came.
    """

    run_id: UUID
    request: dict[str, Any]
    oldest_first: bool = False
    began_at: Moment
    to_come: tuple[Reference, ...] = ()
    at_work: MonthAtWork | None = None
    verify_sample: int = 0
    done: tuple[DoneMonth, ...] = ()
    confirmed: tuple[ConfirmedMonth, ...] = ()
    differing: tuple[DifferingMonth, ...] = ()
    incomplete: tuple[IncompleteMonth, ...] = ()
    left_out: tuple[LeftOutMonth, ...] = ()
    waits_for: str = ""
    stopped: bool = False
    ended_at: Moment | None = None
    turn: int = 0
    token: UUID | None = None
    looked_at: Moment | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more by itself."""
        return self.stopped or self.ended_at is not None

    def references(self) -> Iterator[Reference]:
        """All its months."""
        yield from self.to_come
        yield from (each.reference for each in self.done)
        yield from (each.reference for each in self.confirmed)
        yield from (each.reference for each in self.incomplete)
        yield from (each.reference for each in self.left_out)
        if self.at_work:
            yield self.at_work.reference

    def next_month(self) -> tuple[Reference, int] | None:
        """The month to begin next, and how often it ended incomplete before; None at the end of the list."""
        if self.to_come:
            return self.to_come[0], 0
        left = [each for each in self.incomplete if each.tries < TRIES]
        if not left:
            return None
        first = min(left, key=lambda each: each.tries)
        return first.reference, first.tries

    def ordered(self, references: tuple[Reference, ...]) -> tuple[Reference, ...]:
        """Months in the order of this list."""
        return tuple(sorted(references, key=lambda each: each.month, reverse=not self.oldest_first))


_DECODER, _ENCODER = Decoder(MonthList), Encoder()


def list_of(item: dict[str, Any] | None) -> MonthList | None:
    """The list that an item of the table holds."""
    return _DECODER.decode(item["list"]["S"]) if item else None


class Lists:
    """Reads and writes the list of a stage.

    Attributes:
        found: the list as it was read or written last; None if there is none.
    """

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._changes = 0
        self.found: MonthList | None = None
        self.read()

    def read(self) -> MonthList | None:
        """Reads the list."""
        key: Any = {"source": {"S": BACKFILL_KEY}}
        item: Any = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        self._changes = int(item["changes"]["N"]) if item else 0
        self.found = list_of(item)
        return self.found

    def write(self, changed: MonthList) -> MonthList:
        """Writes the list, unless it has changed since it was read.

        Raises:
            ListChangedError: it has changed.
        """
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item={
                    "source": {"S": BACKFILL_KEY},
                    "changes": {"N": str(self._changes + 1)},
                    "list": {"S": _ENCODER.encode(changed).decode()},
                },
                ConditionExpression="attribute_not_exists(changes) OR changes = :changes",
                ExpressionAttributeValues={":changes": {"N": str(self._changes)}},
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            raise ListChangedError("another function has changed the list of months meanwhile") from error
        self._changes += 1
        self.found = changed
        return changed

    def change(self, change: Callable[[MonthList | None], MonthList | None]) -> MonthList | None:
        """Changes the list, again if another function has changed it meanwhile.

        Args:
            change: takes the list, and returns it as it shall be; None to leave it.

        Raises:
            ListChangedError: it has changed each time.
        """
        for attempt in range(CHANGE_ATTEMPTS):
            changed = change(self.found)
            if changed is None:
                return self.found
            try:
                return self.write(changed)
            except ListChangedError:
                if attempt == CHANGE_ATTEMPTS - 1:
                    raise
                self.read()
        return self.found
