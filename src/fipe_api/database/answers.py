"""The answers that loads got about a model in one month, and what follows from them: prices and revisions.

The result depends on the answers alone, not on the order in which they arrived. Of two answers the one that
was asked later counts, as a whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

Key = tuple[int, int]
"""What identifies a vehicle within a model: model year and fuel code."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Published(NamedTuple):
    """A price with the names under which it was published.

    `mirror` is the mirror's number in fipe.price_source, or None if the official API gave the price.
    """

    brand: str
    model: str
    fuel: str
    fipe_code: str
    price_brl: Decimal
    mirror: int | None


class Answer(NamedTuple):
    """What one load answered about the model.

    Attributes:
        load_run_id: None for an import, which is older than every load.
        prices: empty, as `listed`, if a complete load of the brand did not have the model.
        listed: vehicles that the source lists, without a price or without a usable answer.
    """

    load_run_id: int | None
    run_id: str
    asked_at: datetime | None
    prices: Mapping[Key, Published]
    listed: frozenset[Key] = frozenset()

    @property
    def is_of_a_mirror(self) -> bool:
        """Whether a mirror gave any of it."""
        return any(published.mirror for published in self.prices.values())


class Revision(NamedTuple):
    """A price that no longer holds: which load brought it and which ended it, when they asked, and why."""

    key: Key
    published: Published
    load_run_id: int | None
    asked_from: datetime | None
    asked_until: datetime
    ended_by: int
    reason: str


class Tally(NamedTuple):
    """How many prices an answer found new, changed or withdrawn; how many of these corrected or withdrawn."""

    changed: int = 0
    corrected: int = 0
    withdrawn: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """The sums."""
        return Tally(*(one + another for one, another in zip(self, other, strict=True)))

    def minus(self, other: "Tally") -> "Tally":
        """The differences."""
        return Tally(*(one - another for one, another in zip(self, other, strict=True)))


class History(NamedTuple):
    """What follows from all answers; the tallies are in the order of the given answers."""

    prices: dict[Key, Published]
    revisions: list[Revision]
    tallies: list[Tally]


def follow(answers: Sequence[Answer]) -> History:
    """The prices that hold after all these answers, those that no longer do, and what each answer changed.

    A vehicle that an answer lists without a price keeps the one it has. What an answer does not list at all
    is withdrawn. A mirror neither replaces nor withdraws a price of the official API.
    """
    holding: dict[Key, tuple[Published, Answer]] = {}
    revisions: list[Revision] = []
    tallies = [Tally()] * len(answers)
    for position, answer in sorted(enumerate(answers), key=lambda each: _age(each[1])):
        ended = list(_ended(holding, answer))
        for revision in ended:
            del holding[revision.key]
        opened = {
            key: published
            for key, published in answer.prices.items()
            if key not in holding or (holding[key][0].mirror and not published.mirror)
        }
        holding |= {key: (published, answer) for key, published in opened.items()}
        withdrawn = sum(revision.reason == "withdrawn" for revision in ended)
        tallies[position] = Tally(len(opened) + withdrawn, len(ended) - withdrawn, withdrawn)
        revisions += ended
    return History({key: published for key, (published, _) in holding.items()}, revisions, tallies)


def _age(answer: Answer) -> tuple[datetime, str]:
    return (answer.asked_at or LONG_AGO, answer.run_id)


def _ended(holding: Mapping[Key, tuple[Published, Answer]], answer: Answer) -> Iterable[Revision]:
    if answer.asked_at is None or answer.load_run_id is None:
        return  # an import is the first of all answers, so nothing holds yet
    for key, (published, brought) in holding.items():
        reason = _reason(published, answer.prices.get(key), key, answer)
        if reason:
            yield Revision(
                key,
                published,
                brought.load_run_id,
                brought.asked_at,
                answer.asked_at,
                answer.load_run_id,
                reason,
            )


def _reason(published: Published, said: Published | None, key: Key, answer: Answer) -> str | None:
    """Why an answer ends a price; None if it does not."""
    if said is None:
        spared = key in answer.listed or (published.mirror is None and answer.is_of_a_mirror)
        return None if spared else "withdrawn"
    if said.mirror and not published.mirror:
        return None
    if published.mirror and not said.mirror:
        return "official"
    return "corrected" if said != published else None
