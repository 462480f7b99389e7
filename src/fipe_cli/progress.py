"""The progress of a load: the counts, what follows from them, and how they are shown."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fipe_api.load.outlook import Arrivals
from fipe_api.load.state import LoadState
from fipe_cli import forecast
from fipe_cli.forecast import NO_LIMIT, Limit
from fipe_cli.function_words import understood
from fipe_cli.month_list import ListProgress
from fipe_words import _, counted, in_english, marked, plural

_NARROW = 60
"""In a terminal with fewer columns there is no room for bars next to the words."""
_MANY_RESULTS = 50
"""More results than this wait for the database only when it does not take them."""


@dataclass(frozen=True)
class Refusal:
    """The source refuses calls, so nothing calls it for a while.

    Attributes:
        reason: throttled, blocked or down.
        seconds: until the next call.
    """

    reason: str
    seconds: float


_REFUSED = {
    "throttled": marked("throttled: no call for {duration}"),
    "blocked": marked("blocked: no call for {duration}"),
    "down": marked("down: no call for {duration}"),
}


def refused(refusal: Refusal) -> str:
    """How the source refuses calls, and for how long nothing calls it, in words."""
    return _(_REFUSED[refusal.reason], duration=duration(refusal.seconds))


@dataclass(frozen=True)
class Waits:
    """What the loaders wait for.

    Attributes:
        refusal: why and for how long the source is not called, or None while it is.
        denied_until: until when, at the latest, answers are asked for again that the source denied; in the
            past, or None, if none are.
        limit: the limit that the loaders keep to.
        throttled_to: calls per minute that the source seems to allow, if it has refused more; otherwise None.
        cancelled: whether the run is cancelled; None if it never was.
    """

    refusal: Refusal | None = None
    denied_until: datetime | None = None
    limit: Limit = NO_LIMIT
    throttled_to: float | None = None
    cancelled: bool | None = None


NO_WAITS = Waits()


@dataclass(frozen=True)
class Snapshot:
    """What was counted at one moment, for all reference months of a run together.

    Attributes:
        at: the moment.
        months: reference months that the ledger knows, YYYY-MM.
        brands: brands of the run, as far as known.
        brands_searched: those whose models are known.
        brands_complete: those with every model in the database.
        models: models in the database.
        models_expected: models of the whole run; an estimate until all brands are searched.
        prices: prices in the database.
        prices_expected: prices of the whole run, estimated in the same way.
        unpriced: prices that FIPE lists and denied nine times.
        rejected: prices that had no usable answer.
        waiting: messages in all queues, without the dead letter queues.
        results_waiting: those of them that wait to be written.
        delayed: those of them that wait for their time.
        dead: dead letters, per queue.
        state_in_ledger: the ledger's word.
        missing: what is still missing, in words.
        unpriced_prices: what FIPE lists and denied, in words.
        calls_left: calls to the source that are left, about; None if nothing is known of the run.
        arrivals: the results so far, the newest first.
        waits: what the loaders wait for.
        of_list: how far the list of months is; None if the run has none. Until its end, all else is of
            the month at work, and only calls_left has the months to come, too.
        busy: whether functions are known to be running; then empty queues do not mean that the load has
            ended.
        said_left: the time left as it was said before, when what follows from the counts is about the same.
        why_longer: why the time left is longer than was said before.
    """

    at: datetime
    months: Sequence[str] = ()
    brands: int = 0
    brands_searched: int = 0
    brands_complete: int = 0
    models: int = 0
    models_expected: float = 0
    prices: int = 0
    prices_expected: float = 0
    unpriced: int = 0
    rejected: int = 0
    waiting: int = 0
    results_waiting: int = 0
    delayed: int = 0
    dead: dict[str, int] = field(default_factory=dict)
    state_in_ledger: LoadState = LoadState.LOADING
    missing: Sequence[str] = ()
    unpriced_prices: Sequence[str] = ()
    calls_left: float | None = None
    arrivals: Sequence[Arrivals] = ()
    waits: Waits = NO_WAITS
    of_list: ListProgress | None = None
    busy: bool = False
    said_left: timedelta | None = None
    why_longer: str = ""

    @property
    def complete(self) -> bool:
        """Whether the ledger says that the load is complete, and no month is to come."""
        return self.state_in_ledger == LoadState.COMPLETE and not self.has_months_ahead

    @property
    def has_months_ahead(self) -> bool:
        """Whether the load goes on by itself with other months."""
        return self.of_list is not None and not self.of_list.is_over

    @property
    def cancelled(self) -> bool:
        """Whether the run is cancelled. The ledger learns of it, and of a resume, a little later."""
        if self.complete:
            return False
        if self.waits.cancelled is not None:
            return self.waits.cancelled
        return self.state_in_ledger == LoadState.CANCELLED

    @property
    def state(self) -> LoadState:
        """The ledger's word. What it takes for loading is incomplete when nothing is left to do."""
        if self.complete:
            return LoadState.COMPLETE
        if self.cancelled:
            return LoadState.CANCELLED
        return LoadState.INCOMPLETE if self.has_ended else LoadState.LOADING

    @property
    def lacks(self) -> str:
        """What keeps a load that has ended from being complete, in a few words."""
        models = max(0, round(self.models_expected) - self.models) if self.is_searched else 0
        brands = max(0, self.brands - self.brands_complete)
        if self.rejected and not models:
            return _no_answer(self.rejected)
        parts = (
            [plural("{number:,} model did not arrive", "{number:,} models did not arrive", models)]
            if models
            else []
        )
        parts += [_no_answer(self.rejected)] if self.rejected else []
        return ", ".join(parts) or plural(
            "{number:,} brand did not arrive", "{number:,} brands did not arrive", brands
        )

    @property
    def is_searched(self) -> bool:
        """Whether the models of all brands are known. Until then, what is expected is an estimate."""
        return 0 < self.brands <= self.brands_searched

    @property
    def denied_for(self) -> timedelta | None:
        """How long messages wait, at the latest, for answers that the source denied; None if none do."""
        until = self.waits.denied_until
        return until - self.at if until and self.delayed and until > self.at else None

    @property
    def rate(self) -> float | None:
        """Calls per minute lately, or None when unknown."""
        return forecast.rate(self.arrivals, self.waits.limit)

    @property
    def silence(self) -> timedelta | None:
        """For how long no result has come, if nothing explains it."""
        waits_for_load = self.of_list is not None and (self.of_list.waits_for or not self.of_list.at_work)
        if self.is_over or self.waits.refusal or self.denied_for or waits_for_load:
            return None
        seconds = forecast.silence(self.arrivals)
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def time_left(self) -> timedelta | None:
        """How long it will take, about; None when unknown."""
        return self.time_left_by_calls if self.said_left is None else self.said_left

    @property
    def time_left_by_calls(self) -> timedelta | None:
        """The time left that follows from the counts."""
        if self.is_over:
            return timedelta(0)
        if self.denied_for and self.delayed == self.waiting:
            return self.denied_for
        if self.calls_left is None or not self.rate or self.silence:
            return self.denied_for
        refused = self.waits.refusal.seconds if self.waits.refusal else 0
        left = max(0.0, self.calls_left - self._calls_ahead)
        by_calls = timedelta(minutes=left / self.rate, seconds=refused)
        return max(by_calls, self.denied_for or by_calls)

    @property
    def _calls_ahead(self) -> float:
        """Calls that are made, and whose results wait to be written: no time is left for them at a limit."""
        limit = self.waits.limit
        if not (limit.is_reached or limit.rest_seconds) or not self.models_expected:
            return 0.0
        return self.results_waiting * self.prices_expected / self.models_expected

    @property
    def is_over(self) -> bool:
        """Whether there is a word for how it ended; messages of another run may still wait."""
        return self.state != LoadState.LOADING

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do, even if the load is not complete."""
        if self.cancelled:
            return True
        return not (self.busy or self.has_months_ahead) and (self.complete or self.waiting == 0)

    @property
    def dead_messages(self) -> int:
        """Dead letters in all queues."""
        return sum(self.dead.values())

    def document(self) -> dict[str, Any]:
        """For scripts."""
        left = self.time_left
        with in_english():
            named = stages(self)
        return {
            "months": list(self.months),
            "stages": [
                {
                    "name": stage.name,
                    "done": stage.done,
                    "expected": stage.total,
                    "is_estimate": stage.is_estimate,
                }
                for stage in named
            ],
            "calls_per_minute": None if self.rate is None else round(self.rate, 1),
            "calls_left": None if self.calls_left is None else round(self.calls_left),
            "seconds_left": None if left is None else round(left.total_seconds()),
            "seconds_silent": None if self.silence is None else round(self.silence.total_seconds()),
            "refusal": self.waits.refusal and asdict(self.waits.refusal),
            "denied": self.denied_for
            and {"messages": self.delayed, "seconds": round(self.denied_for.total_seconds())},
            "dead": self.dead,
            "state": self.state,
            "complete": self.complete,
            "prices": self.prices,
            "unpriced": self.unpriced,
            "rejected": self.rejected,
            "missing": list(self.missing),
            "unpriced_prices": list(self.unpriced_prices),
        }


@dataclass(frozen=True)
class Stage:
    """Something that a load does one by one: how many it has done, and how many there are."""

    name: str
    done: int
    total: int
    is_estimate: bool = False

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def words(self) -> str:
        """`140 of 236`, or `1,000 of about 11,238`; only `0` while no total is known."""
        if not self.total:
            return "0"
        if self.is_estimate:
            return _("{done:,} of about {total:,}", done=self.done, total=self.total)
        return _("{done:,} of {total:,}", done=self.done, total=self.total)


def stages(seen: Snapshot) -> list[Stage]:
    """Brands, models and prices, from what the ledger has: these numbers never go back."""
    guessed = not seen.is_searched
    return [
        Stage(_("brands searched"), seen.brands_searched, seen.brands),
        Stage(_("models loaded"), seen.models, max(seen.models, round(seen.models_expected)), guessed),
        Stage(_("prices loaded"), seen.prices, max(seen.prices, round(seen.prices_expected)), guessed),
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
        bar = ProgressBar(total=max(1, stage.total), completed=stage.done)
        table.add_row(stage.name, bar, stage.words())
    return table


def lines(seen: Snapshot) -> Iterator[Text]:
    """What the bars do not show."""
    if not seen.is_over:
        yield Text(", ".join(_speed(seen)) or _("no result yet"))
    for why in _waits(seen):
        yield Text(why, style="yellow")
    for kind, count in seen.dead.items():
        if count:
            yield Text(
                _("{count:,} failed in the {kind} DLQ: run `fipe redrive {kind}`", count=count, kind=kind),
                style="red",
            )
    for what in seen.unpriced_prices if seen.is_over else ():
        yield Text(_("without a price: {what}", what=understood(what)))
    for what in seen.missing if seen.is_over else ():
        yield Text(_("missing: {what}", what=understood(what)), style="red")
    if seen.is_over:
        yield Text(_end(seen), style="green" if seen.complete else "red")


def line(seen: Snapshot) -> str:
    """A snapshot in one line, for a pipe or a log."""
    parts = [f"{stage.name} {stage.words()}" for stage in stages(seen)]
    parts += _speed(seen)
    parts += [
        _("{count:,} in the {kind} DLQ", count=count, kind=kind) for kind, count in seen.dead.items() if count
    ]
    parts += _waits(seen)
    if seen.is_over:
        parts.append(_end(seen))
    return f"{seen.at:%H:%M:%S} " + ", ".join(parts)


def _end(seen: Snapshot) -> str:
    if seen.state == LoadState.COMPLETE:
        return _("complete")
    if seen.state == LoadState.CANCELLED:
        return _("cancelled: what came stays; run `fipe resume` to load the rest")
    return _("incomplete: {lacks}; run `fipe resume` to ask again", lacks=seen.lacks)


def _waits(seen: Snapshot) -> Iterator[str]:
    if seen.is_over:
        return
    if seen.of_list:
        yield from list_words(seen.of_list)
    refusal, denied_for = seen.waits.refusal, seen.denied_for
    if (refusal or denied_for) and seen.waiting and not seen.months:
        yield _("waits to start")
    if refusal:
        yield refused(refusal)
    elif seen.waits.throttled_to:
        yield _(
            "throttled: the source allows about {throttled_to:,.0f} calls per minute",
            throttled_to=seen.waits.throttled_to,
        )
    if denied_for:
        yield plural(
            "{number:,} message waiting for denied answers: asked again until {until:%H:%M:%S} at the latest,"
            " in {duration}",
            "{number:,} messages waiting for denied answers: asked again until {until:%H:%M:%S} at the"
            " latest, in {duration}",
            seen.delayed,
            until=seen.at + denied_for,
            duration=duration(denied_for.total_seconds()),
        )
    if seen.silence:
        yield _(
            "nothing has come for {duration}: {what_waits}",
            duration=duration(seen.silence.total_seconds()),
            what_waits=_where_it_waits(seen),
        )
    if seen.why_longer:
        yield seen.why_longer


def list_words(of_list: ListProgress) -> Iterator[str]:
    """How far a list of months is."""
    yield _(
        "{done} of {months} complete, {to_come} to come",
        done=of_list.done,
        months=counted(of_list.months, "month"),
        to_come=of_list.to_come,
    )
    if of_list.confirmed:
        yield plural(
            "{number:,} month confirmed by its sample",
            "{number:,} months confirmed by their samples",
            of_list.confirmed,
        )
    if of_list.at_work:
        yield _("at work: {month}", month=of_list.at_work)
    if of_list.waits_for:
        yield _("waits for the load of {months}", months=of_list.waits_for)
    if of_list.is_stuck:
        yield _("nothing moves it on: run `fipe backfill --resume`")


def _where_it_waits(seen: Snapshot) -> str:
    if seen.results_waiting > _MANY_RESULTS:
        return plural(
            "{number:,} result waiting for the database",
            "{number:,} results waiting for the database",
            seen.results_waiting,
        )
    return plural(
        "{number:,} message waiting; `fipe logs` may say why",
        "{number:,} messages waiting; `fipe logs` may say why",
        seen.waiting,
    )


def _no_answer(prices: int) -> str:
    return plural("{number:,} price had no usable answer", "{number:,} prices had no usable answer", prices)


def _speed(seen: Snapshot) -> list[str]:
    if seen.is_over or seen.silence or not seen.rate:
        return []
    left = seen.time_left
    speed = _("{rate:,.0f} calls per minute", rate=seen.rate)
    return (
        [speed]
        if left is None
        else [speed, _("about {duration} left", duration=duration(left.total_seconds()))]
    )


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `22 h 48 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
