"""The progress of a load: the counts, what follows from them, and how they are shown."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fipe_api.load.size import typical_size
from fipe_api.load.state import LoadState

_NARROW = 60
"""In a terminal with fewer columns there is no room for bars next to the words."""


@dataclass(frozen=True)
class Refusal:
    """The source refuses calls, so nothing calls it for a while.

    Attributes:
        reason: throttled, blocked or down.
        seconds: until the next call.
    """

    reason: str
    seconds: float


@dataclass(frozen=True)
class Waits:
    """What the loaders wait for.

    Attributes:
        refusal: why and for how long the source is not called, or None while it is.
        denied_until: until when, at the latest, answers are asked for again that the source denied; in the
            past, or None, if none are.
    """

    refusal: Refusal | None = None
    denied_until: datetime | None = None


NO_WAITS = Waits()


@dataclass(frozen=True)
class Snapshot:
    """What was counted at one moment, for all reference months of a run together.

    Attributes:
        at: the moment.
        months: reference months that the ledger knows, YYYY-MM.
        started_at: when the plan or the first result was written; None before.
        last_write_at: when the last result was written; None before.
        brands: brands of the run, as far as known.
        brands_complete: those with every model in the database.
        brands_waiting: messages in the manufacturer queue, one per brand.
        models_found: models of the brands that were searched.
        models_received: models in the database.
        models_waiting: messages in the model queue: model years known, prices not.
        models_to_write: messages in the price queue.
        calls_found: model years and fuels of the models found; each takes one call for its price.
        calls_done: those with a result in the database.
        prices: prices in the database.
        unpriced: prices that FIPE lists and denied nine times.
        rejected: prices that had no usable answer.
        delayed: messages that wait for their time.
        dead: dead letters, per queue.
        complete: whether the ledger says that the load is complete.
        missing: what is still missing, in words.
        unpriced_prices: what FIPE lists and denied, in words.
        calls_per_minute: the limit that the loaders keep to, or None without one.
        waits: what the loaders wait for.
        busy: whether functions are known to be running; then empty queues do not mean that the load has
            ended.
    """

    at: datetime
    months: Sequence[str] = ()
    started_at: datetime | None = None
    last_write_at: datetime | None = None
    brands: int = 0
    brands_complete: int = 0
    brands_waiting: int = 0
    models_found: int = 0
    models_received: int = 0
    models_waiting: int = 0
    models_to_write: int = 0
    calls_found: int = 0
    calls_done: int = 0
    prices: int = 0
    unpriced: int = 0
    rejected: int = 0
    delayed: int = 0
    dead: dict[str, int] = field(default_factory=dict)
    complete: bool = False
    missing: Sequence[str] = ()
    unpriced_prices: Sequence[str] = ()
    calls_per_minute: float | None = None
    waits: Waits = NO_WAITS
    busy: bool = False

    @property
    def state(self) -> LoadState:
        """The ledger's word. What it takes for loading is incomplete when nothing is left to do."""
        if self.complete:
            return LoadState.COMPLETE
        return LoadState.INCOMPLETE if self.has_ended else LoadState.LOADING

    @property
    def lacks(self) -> str:
        """What keeps a load that has ended from being complete, in a few words."""
        models = max(0, self.models_found - self.models_received)
        brands = max(0, self.brands - self.brands_complete)
        if self.rejected and not models:
            return f"{counted(self.rejected, 'price')} had no usable answer"
        parts = [f"{counted(models, 'model')} did not arrive"] if models else []
        parts += [f"{counted(self.rejected, 'price')} had no usable answer"] if self.rejected else []
        return ", ".join(parts) or f"{counted(brands, 'brand')} did not arrive"

    @property
    def denied_for(self) -> timedelta | None:
        """How long messages wait, at the latest, for answers that the source denied; None if none do."""
        until = self.waits.denied_until
        return until - self.at if until and self.delayed and until > self.at else None

    @property
    def waiting(self) -> int:
        """Messages in all queues, without the dead letter queues."""
        return self.brands_waiting + self.models_waiting + self.models_to_write

    @property
    def models_expected(self) -> float:
        """Models of the whole run: those found, plus a typical number per brand that was not searched yet."""
        return self.models_found + self.brands_waiting * typical_size().models

    @property
    def prices_expected(self) -> float:
        """Prices of the whole run, estimated in the same way."""
        found = self.prices + max(0, self.calls_found - self.calls_done)
        return found + self.brands_waiting * typical_size().prices

    @property
    def calls_made(self) -> float:
        """Calls to the source so far. Those that find models are not counted, so they are estimated."""
        typical = typical_size()
        return self.calls_done + self.models_found * typical.discovery_calls / typical.models

    @property
    def calls_left(self) -> float:
        """Calls to the source that are left."""
        return max(0, self.calls_found - self.calls_done) + self.brands_waiting * typical_size().calls

    @property
    def rate(self) -> float | None:
        """Calls per minute since the first result, or None before it."""
        if self.started_at is None:
            return None
        # Until the last result: a load that only waits is not slow.
        minutes = ((self.last_write_at or self.at) - self.started_at).total_seconds() / 60
        measured = self.calls_made / minutes if minutes > 0 else None
        # calls_made includes calls before the first result, so without the limit the first figures are too
        # high.
        return min(filter(None, (measured, self.calls_per_minute)), default=None)

    @property
    def time_left(self) -> timedelta | None:
        """How long it will take, or None when unknown."""
        if self.complete:
            return timedelta(0)
        if self.denied_for and self.delayed == self.waiting:
            return self.denied_for
        by_calls = timedelta(minutes=self.calls_left / self.rate) if self.rate else None
        return max(filter(None, (by_calls, self.denied_for)), default=by_calls)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do, even if the load is not complete."""
        return not self.busy and (self.complete or self.waiting == 0)

    @property
    def dead_messages(self) -> int:
        """Dead letters in all queues."""
        return sum(self.dead.values())

    def document(self) -> dict[str, Any]:
        """For scripts."""
        left = self.time_left
        return {
            "months": list(self.months),
            "stages": [
                {
                    "name": stage.name,
                    "done": round(stage.done),
                    "expected": round(stage.total),
                    "unit": stage.unit,
                }
                for stage in stages(self)
            ],
            "prices": self.prices,
            "prices_expected": self.prices if self.complete else round(self.prices_expected),
            "calls_per_minute": None if self.rate is None else round(self.rate, 1),
            "seconds_left": None if left is None else round(left.total_seconds()),
            "refusal": self.waits.refusal and asdict(self.waits.refusal),
            "denied": self.denied_for
            and {"messages": self.delayed, "seconds": round(self.denied_for.total_seconds())},
            "dead": self.dead,
            "state": self.state,
            "complete": self.complete,
            "unpriced": self.unpriced,
            "rejected": self.rejected,
            "missing": list(self.missing),
            "unpriced_prices": list(self.unpriced_prices),
        }


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline: how many items it has done, and about how many there are."""

    name: str
    done: float
    total: float
    unit: str

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def stages(seen: Snapshot) -> list[Stage]:
    """The pipeline from left to right."""
    total = seen.models_received if seen.complete else seen.models_expected
    return [
        Stage("years found", seen.brands - min(seen.brands, seen.brands_waiting), seen.brands, "brands"),
        Stage(
            "prices asked",
            max(seen.models_received, seen.models_found - seen.models_waiting),
            total,
            "models",
        ),
        Stage("in the database", seen.models_received, total, "models"),
    ]


class View:
    """A snapshot on a terminal of any width: one bar per stage, and what else matters."""

    def __init__(self, title: str, seen: Snapshot) -> None:
        self._title = title
        self._seen = seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Bars where there is room for them, otherwise only words."""
        seen = self._seen
        yield Text(self._title, style="bold", overflow="fold")
        if options.max_width < _NARROW:
            for stage in stages(seen):
                yield Text(f"{stage.name} {stage.share:.0%}")
        else:
            yield _bars(stages(seen))
        yield from lines(seen)


def _bars(shown: Sequence[Stage]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(no_wrap=True, justify="right")
    table.expand = True
    for stage in shown:
        done, total = round(stage.done), round(stage.total)
        table.add_row(
            stage.name,
            ProgressBar(total=max(1, total), completed=done),
            f"{done:,} of {total:,} {stage.unit}",
        )
    return table


def lines(seen: Snapshot) -> Iterator[Text]:
    """What the bars do not show."""
    yield Text(f"{seen.prices:,} prices of about {round(seen.prices_expected):,}" + _speed(seen))
    for why in _waits(seen):
        yield Text(why, style="yellow")
    for kind, count in seen.dead.items():
        if count:
            yield Text(f"{count:,} failed in the {kind} DLQ: run `fipe redrive {kind}`", style="red")
    for what in seen.unpriced_prices if seen.has_ended else ():
        yield Text(f"without a price: {what}")
    for what in seen.missing if seen.has_ended else ():
        yield Text(f"missing: {what}", style="red")
    if seen.state == LoadState.COMPLETE:
        yield Text(LoadState.COMPLETE, style="green")
    elif seen.state == LoadState.INCOMPLETE:
        yield Text(f"{LoadState.INCOMPLETE}: {seen.lacks}; run `fipe resume` to ask again", style="red")


def line(seen: Snapshot) -> str:
    """A snapshot in one line, for a pipe or a log."""
    parts = [f"{stage.name} {round(stage.done):,}/{round(stage.total):,}" for stage in stages(seen)]
    parts.append(f"{seen.prices:,} prices{_speed(seen)}")
    parts += [f"{count:,} in the {kind} DLQ" for kind, count in seen.dead.items() if count]
    parts += _waits(seen)
    if seen.state == LoadState.COMPLETE:
        parts.append(LoadState.COMPLETE)
    elif seen.state == LoadState.INCOMPLETE:
        parts.append(f"{LoadState.INCOMPLETE}: {seen.lacks}")
    return f"{seen.at:%H:%M:%S} " + ", ".join(parts)


def _waits(seen: Snapshot) -> Iterator[str]:
    refusal, denied_for = seen.waits.refusal, seen.denied_for
    if (refusal or denied_for) and seen.brands_waiting and not seen.months:
        yield "waits to start"
    if refusal:
        yield f"{refusal.reason}: no call for {duration(refusal.seconds)}"
    if denied_for:
        until = seen.at + denied_for
        yield (
            f"{counted(seen.delayed, 'message')} waiting for denied answers: asked again until"
            f" {until:%H:%M:%S} at the latest, in {duration(denied_for.total_seconds())}"
        )


def _speed(seen: Snapshot) -> str:
    if seen.complete or not seen.rate or seen.time_left is None:
        return ""
    return f", {seen.rate:,.0f} calls per minute, {duration(seen.time_left.total_seconds())} left"


def counted(number: int, what: str) -> str:
    """`1 brand`, `2 brands`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `22 h 48 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
