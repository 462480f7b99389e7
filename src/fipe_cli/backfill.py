"""`fipe backfill`: months of years, loaded one at a time for as long as it takes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from msgspec import to_builtins

from fipe_api.load.backfill_list import IncompleteMonth, MonthList
from fipe_api.load.request import LoadRequestError
from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError
from fipe_cli.ledger import look, read_run
from fipe_cli.loads import STARTER, StartedLoad, calls_per_minute, payload_of
from fipe_cli.month_list import is_final, progress_of, read_list, size_in
from fipe_cli.progress import Snapshot, counted, duration

_DAY_SECONDS = 24 * 3600
_LONG_SECONDS = 3 * _DAY_SECONDS


@dataclass(frozen=True)
class Estimate:
    """What a list of months takes, about.

    Attributes:
        months: how many.
        calls: calls to the source.
        calls_per_minute: the stage's limit, or None without one.
    """

    months: int
    calls: float
    calls_per_minute: float | None

    @property
    def seconds(self) -> float | None:
        """How long the calls take, or None without a limit."""
        return 60 * self.calls / self.calls_per_minute if self.calls_per_minute else None

    def words(self) -> str:
        """For people."""
        known = f"{counted(self.months, 'month')}, about {self.calls:,.0f} calls"
        if self.seconds is None:
            return f"{known}; no limit is set"
        return f"{known}, {long_duration(self.seconds)} at {self.calls_per_minute:g} calls per minute"


@dataclass(frozen=True)
class Overview:
    """A list of months, and the month at work.

    Attributes:
        found: the list.
        seen: the month at work, or the whole when the list is over; None if nothing is known of it.
        missing: what months lack that stay incomplete, by month.
        calls_per_minute: the stage's limit, or None without one.
    """

    found: MonthList
    seen: Snapshot | None
    missing: dict[str, list[str]]
    calls_per_minute: float | None

    @property
    def days_left(self) -> float | None:
        """Days until its end, about; None if unknown."""
        rate = self.calls_per_minute or (self.seen.rate if self.seen else None)
        calls = self.calls_left
        return calls / rate / (24 * 60) if rate else None

    @property
    def calls_left(self) -> float:
        """Calls to the source until its end, about."""
        ahead = progress_of(self.found).calls_to_come
        return max(ahead, (self.seen.calls_left or 0.0) if self.seen and self.found.at_work else 0.0)

    def document(self) -> dict[str, Any]:
        """For scripts."""
        found, progress = self.found, progress_of(self.found)
        listed: dict[str, Any] = to_builtins(found)
        return {
            "run_id": str(found.run_id),
            "state": _state(self.found),
            "of_each_month": found.request,
            "oldest_first": found.oldest_first,
            "began_at": listed["began_at"],
            "ended_at": listed["ended_at"],
            "months": progress.months,
            "done": [{"month": _month(each.reference.month), "prices": each.prices} for each in found.done],
            "at_work": progress.at_work or None,
            "to_come": [_month(each.month) for each in found.to_come],
            "incomplete": [_incomplete(each, self.missing) for each in found.incomplete],
            "nothing_to_load": [
                {"month": _month(each.reference.month), "why": each.why} for each in found.left_out
            ],
            "waits_for": found.waits_for or None,
            "stuck": progress.is_stuck,
            "calls_left": None if found.is_over else round(self.calls_left),
            "days_left": None if found.is_over or self.days_left is None else round(self.days_left, 2),
        }

    def words(self) -> Iterator[str]:
        """For people, a line each."""
        found, progress = self.found, progress_of(self.found)
        wanted = "; ".join(f"{name}: {_listed(value)}" for name, value in found.request.items())
        order = "oldest" if found.oldest_first else "newest"
        yield f"run {found.run_id}: {_state(found)}; {counted(progress.months, 'month')}, the {order} first"
        yield f"of each month: {wanted.replace('_', ' ')}"
        prices = sum(each.prices for each in found.done)
        yield f"done: {_months([each.reference.month for each in found.done])}, {prices:,} prices"
        if progress.at_work:
            yield f"at work: {progress.at_work}" + (f", {_work(self.seen)}" if self.seen else "")
        if found.to_come:
            yield f"to come: {_months([each.month for each in found.to_come])}"
        for each in found.incomplete:
            again = "stays so" if is_final(each.tries) else "is asked for again at the end of the list"
            yield f"incomplete: {_month(each.reference.month)}, {each.why}; {again}"
            for what in self.missing.get(_month(each.reference.month), ()):
                yield f"missing: {_month(each.reference.month)}, {what}"
        for out in found.left_out:
            yield f"nothing to load: {_month(out.reference.month)}, {out.why}"
        if found.waits_for:
            yield f"waits for the load of {found.waits_for}"
        if progress.is_stuck:
            since = found.looked_at or found.began_at
            yield f"nothing moves it on since {since:%Y-%m-%d %H:%M} UTC: run `fipe backfill --resume`"
        if found.stopped:
            yield "stopped: run `fipe backfill --resume` to go on"
        if not found.is_over:
            days = self.days_left
            left = f", {long_duration(days * _DAY_SECONDS)}" if days is not None else ""
            yield f"left: about {self.calls_left:,.0f} calls{left}"


def estimate(cloud: Cloud, payload: dict[str, Any]) -> Estimate:
    """What the months take, without asking the source.

    Raises:
        CliError: the stage is not deployed.
    """
    request = {name: value for name, value in payload.items() if name in ("vehicle_types", "brands")}
    months = _months_in(str(payload["reference"]))
    limit = calls_per_minute(cloud.environment_of(STARTER))
    return Estimate(len(months), sum(size_in(month, request).calls for month in months), limit)


def payload_for(
    months: Sequence[str], types: str, brands: str, *, oldest_first: bool, again: bool
) -> dict[str, Any]:
    """The payload that starts a list.

    Raises:
        LoadRequestError: a month, a range, a type or a brand is invalid.
    """
    parts = [part for text in months for part in text.split(",") if part]
    for part in parts:
        if not re.fullmatch(r"\d{4}-\d{2}(\.\.\d{4}-\d{2})?", part):
            raise LoadRequestError(f"invalid month {part!r}: use a month like 2026-06, or 2001-01..2026-06")
    # A single month is a range of one: that makes a list of it.
    listed = ",".join(part if ".." in part else f"{part}..{part}" for part in parts)
    payload = payload_of(listed, types, brands, "")
    return payload | {"oldest_first": oldest_first, "skip_complete": not again}


def start_list(cloud: Cloud, payload: dict[str, Any]) -> tuple[StartedLoad | None, str]:
    """Starts a list, or adds months to the one at work.

    Returns:
        What was started, or None if there is nothing to load; and what to say of it.

    Raises:
        CliError: it cannot be started; the text says why.
    """
    answer = cloud.invoke(STARTER, payload)
    if answer.get("nothing_to_load"):
        return None, f"nothing to load: {answer['nothing_to_load']}"
    started = StartedLoad.model_validate(answer)
    skipped = f"; {counted(len(started.skipped), 'month')} complete already" if started.skipped else ""
    return started, started.words() + skipped


def stop_list(cloud: Cloud) -> MonthList:
    """Stops the list. Raises CliError if there is none at work."""
    found = _at_work(cloud)
    cloud.invoke(STARTER, {"run_id": str(found.run_id), "cancel": True})
    return found


def go_on(cloud: Cloud) -> StartedLoad:
    """Goes on with the list. Raises CliError if there is none, or it has ended."""
    found = read_list(cloud)
    if found is None:
        raise _no_list()
    return StartedLoad.model_validate(cloud.invoke(STARTER, {"run_id": str(found.run_id), "go_on": True}))


def overview(cloud: Cloud) -> Overview:
    """The stage's list as it is now. Raises CliError if there is none."""
    found = read_list(cloud)
    if found is None:
        raise _no_list()
    seen = look(cloud, found.run_id)[1] if found.at_work and not found.is_over else None
    missing = {
        _month(each.reference.month): [
            what for load in read_run(cloud, found.run_id, each.reference.code).loads for what in load.missing
        ]
        for each in found.incomplete
        if is_final(each.tries)
    }
    return Overview(found, seen, missing, calls_per_minute(cloud.environment_of(STARTER)))


def long_duration(seconds: float) -> str:
    """A length of time; in days from three days on."""
    return duration(seconds) if seconds < _LONG_SECONDS else f"{seconds / _DAY_SECONDS:,.0f} days"


def _at_work(cloud: Cloud) -> MonthList:
    found = read_list(cloud)
    if found is None or found.is_over:
        raise CliError("no list of months is at work: there is nothing to stop", USAGE)
    return found


def _no_list() -> CliError:
    return CliError("no backfill yet: start one with `fipe backfill 2001-01..2026-06`", USAGE)


def _state(found: MonthList) -> str:
    if found.stopped:
        return "stopped"
    if found.ended_at is None:
        return "at work"
    return "ended, with incomplete months" if found.incomplete else "ended"


def _work(seen: Snapshot) -> str:
    share = seen.prices / seen.prices_expected if seen.prices_expected else 0.0
    rate = f", {seen.rate:,.0f} calls per minute" if seen.rate else ""
    return f"{seen.prices:,} of about {seen.prices_expected:,.0f} prices ({share:.0%}){rate}"


def _incomplete(month: IncompleteMonth, missing: dict[str, list[str]]) -> dict[str, Any]:
    name = _month(month.reference.month)
    return {"month": name, "tries": month.tries, "why": month.why, "missing": missing.get(name, [])}


def _listed(value: Any) -> str:
    return ", ".join(map(str, value))


def _months(months: Sequence[date]) -> str:
    if not months:
        return "no month"
    named = _month(months[0]) + (f" to {_month(months[-1])}" if len(months) > 1 else "")
    return f"{counted(len(months), 'month')}, {named}"


def _month(month: date) -> str:
    return f"{month:%Y-%m}"


def _months_in(reference: str) -> list[date]:
    """The months that a list names, each once."""
    months: set[date] = set()
    for part in reference.split(","):
        first, _, last = part.partition("..")
        begin, end = (_number(text) for text in (first, last or first))
        months |= {date(number // 12, number % 12 + 1, 1) for number in range(begin, end + 1)}
    return sorted(months)


def _number(month: str) -> int:
    year, _, number = month.partition("-")
    return int(year) * 12 + int(number) - 1
