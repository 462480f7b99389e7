"""What is told about a load: a document for programs, with a text for people.

In English, whoever reads it: a stage has no language, and the figures are the same in all of them.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from fipe_api.load.state import LoadState

Kind = Literal["load_complete", "load_incomplete", "load_stalled", "month_changed", "backfill_ended"]

LINES_SHOWN = 20
"""Of each list in the text; the document has all."""


class Months(Struct, frozen=True, kw_only=True):
    """The months of a list that has ended; those that are not complete with the reason."""

    complete: int
    confirmed: int
    incomplete: list[str]
    left_out: list[str]


class Document(Struct, frozen=True, kw_only=True):
    """An announcement. All kinds have the same keys, with null for what they do not tell.

    Attributes:
        id: the same each time it is told.
        kind: what has happened.
        stage: where.
        run_id: the run of the load.
        reference_month: its month, YYYY-MM.
        reference_code: FIPE's code of that month.
        whole_month: whether the load is of everything that FIPE published for the month.
        state: the state of the load.
        prices: how many prices the load has got.
        compared_with: the earlier month, YYYY-MM, that the next three compare the month with.
        new: vehicles that no month had until now.
        gone: vehicles that only the earlier month has.
        changed: vehicles whose price is another one.
        corrections: prices that the load found otherwise than an earlier load of the month, or not at all.
        changed_since: of a month that changed, how many prices are new, another, or gone since it was
            complete; `corrections` are those of them that are another or gone.
        unpriced: prices that FIPE lists and denied.
        duration_seconds: from the load's start to its last result.
        missing: what it lacks, in lines for people.
        watch: what people watch for, and what holds now.
        months: of a list of months, how each ended.
        text: all of it in words.
    """

    version: Literal[1] = 1
    id: UUID
    kind: Kind
    stage: str
    run_id: UUID
    reference_month: str | None = None
    reference_code: int | None = None
    whole_month: bool | None = None
    state: LoadState
    prices: int = 0
    compared_with: str | None = None
    new: int | None = None
    gone: int | None = None
    changed: int | None = None
    corrections: int = 0
    changed_since: int | None = None
    unpriced: int = 0
    duration_seconds: int | None = None
    missing: list[str] = field(default_factory=list)
    watch: list[dict[str, Any]] = field(default_factory=list)
    months: Months | None = None
    text: str = ""

    def with_text(self) -> "Document":
        """The same with its text."""
        return replace(self, text="\n".join(_lines(self)))

    @property
    def subject(self) -> str:
        """The subject of a mail: ASCII, below 100 characters."""
        return f"FIPE {self.stage}: {_headline(self)}"


def _headline(told: Document) -> str:
    month, prices = told.reference_month, _counted(told.prices, "price")
    what = month if told.whole_month else f"a part of {month}"
    match told.kind:
        case "load_complete":
            return f"{what} is complete, {prices}"
        case "load_incomplete":
            return f"{what} ended incomplete, {prices}"
        case "load_stalled":
            return f"the load of {month} has stalled, {prices} so far"
        case "month_changed":
            return f"{month} has changed, {_counted(told.changed_since or 0, 'price')}"
        case "backfill_ended":
            assert told.months is not None
            return f"the list of months has ended, {told.months.complete:,} complete"


def _lines(told: Document) -> Iterator[str]:
    headline = _headline(told)
    took = "" if told.duration_seconds is None else f", {_duration(told.duration_seconds)}"
    yield f"FIPE {told.stage}: {headline}{took}."
    if told.compared_with:
        yield (
            f"Compared with {told.compared_with}: {told.new:,} new, {told.gone:,} gone,"
            f" {told.changed:,} with another price."
        )
    if told.corrections:
        yield f"Corrected or withdrawn within the month: {_counted(told.corrections, 'price')}."
    if told.unpriced:
        yield f"Listed by FIPE without a price: {told.unpriced:,}."
    if told.missing:
        yield "Missing:"
        yield from _listed(told.missing)
    if told.months:
        yield f"Prices: {told.prices:,}."
        if told.months.confirmed:
            yield f"Imported months that a sample has confirmed: {told.months.confirmed:,}."
        for title, lines in (("Incomplete:", told.months.incomplete), ("Left out:", told.months.left_out)):
            if lines:
                yield title
                yield from _listed(lines)
    if told.watch:
        yield "Watched:"
        yield from (f"- {hit['text']}" for hit in told.watch)
    if told.kind == "load_stalled":
        yield (
            f"`fipe --stage {told.stage} status` says whether the source is out, and"
            f" `fipe --stage {told.stage} logs --level WARNING --since 1d` more."
        )
    if told.kind in ("load_incomplete", "load_stalled"):
        yield f"`fipe --stage {told.stage} resume {told.run_id}` asks for what is missing again."
    yield f"Run {told.run_id}."


def _listed(lines: list[str]) -> Iterator[str]:
    yield from (f"- {line}" for line in lines[:LINES_SHOWN])
    if len(lines) > LINES_SHOWN:
        yield f"- and {len(lines) - LINES_SHOWN} more"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(seconds: int) -> str:
    if seconds < 60:
        return f"in {seconds} s"
    hours, minutes = divmod(timedelta(seconds=seconds) // timedelta(minutes=1), 60)
    return f"in {hours} h {minutes} min" if hours else f"in {minutes} min"
