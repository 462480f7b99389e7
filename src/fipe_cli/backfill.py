"""`fipe backfill`: months of years, loaded one at a time for as long as it takes."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from msgspec import to_builtins

from fipe_api.load.backfill_list import ConfirmedMonth, IncompleteMonth, MonthList
from fipe_api.load.request import LoadRequestError, parse_request
from fipe_api.load.sample import right_share
from fipe_cli.cloud import Cloud
from fipe_cli.errors import USAGE, CliError
from fipe_cli.function_words import understood
from fipe_cli.ledger import look, read_run
from fipe_cli.loads import STARTER, StartedLoad, calls_per_minute, cancel, invoke_starter, payload_of, span
from fipe_cli.month import month_number, runs
from fipe_cli.month_list import calls_in, is_final, progress_of, read_list
from fipe_cli.progress import Snapshot, duration
from fipe_cli.words_of_samples import confidence, percent
from fipe_words import _, counted, marked

_OF_EACH = {
    "vehicle_types": marked("vehicle types: {wanted}"),
    "brands": marked("brands: {wanted}"),
    "models": marked("models: {wanted}"),
}
_DAY_SECONDS = 24 * 3600
_LONG_SECONDS = 3 * _DAY_SECONDS


@dataclass(frozen=True)
class Estimate:
    """What a list of months takes, about.

    Attributes:
        months: how many.
        calls: calls to the source.
        calls_per_minute: the stage's limit, or None without one.
        has_sample: whether months may be confirmed by samples. Then the calls are those if all are.
    """

    months: int
    calls: float
    calls_per_minute: float | None
    has_sample: bool = False

    @property
    def seconds(self) -> float | None:
        """How long the calls take, or None without a limit."""
        return 60 * self.calls / self.calls_per_minute if self.calls_per_minute else None

    def words(self) -> str:
        """For people."""
        months, calls = counted(self.months, "month"), counted(round(self.calls), "call")
        if self.seconds is None:
            words = _("{months}, about {calls}, no limit is set", months=months, calls=calls)
        else:
            words = _(
                "{months}, about {calls}, {duration} at {limit:g} calls per minute",
                months=months,
                calls=calls,
                duration=long_duration(self.seconds),
                limit=self.calls_per_minute,
            )
        return _("{words}, if samples confirm them all", words=words) if self.has_sample else words


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
            "verify_sample": found.verify_sample,
            "done": [{"month": _month(each.reference.month), "prices": each.prices} for each in found.done],
            "confirmed": [
                {
                    "month": _month(each.reference.month),
                    "prices_asked": each.prices,
                    "percent_right": percent(right_share(each.prices, 0)),
                }
                for each in found.confirmed
            ],
            "not_confirmed": [
                {"month": _month(each.reference.month), "why": each.why} for each in found.differing
            ],
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
        yield _(
            marked("run {run}: {state}; {months}, the oldest first")
            if found.oldest_first
            else marked("run {run}: {state}; {months}, the newest first"),
            run=found.run_id,
            state=_(_state(found)),
            months=counted(progress.months, "month"),
        )
        for name, template in _OF_EACH.items():
            if name in found.request:
                yield _(template, wanted=", ".join(map(str, found.request[name])))
        if found.verify_sample:
            yield _(
                "months that an import holds are confirmed by {prices} of each",
                prices=counted(found.verify_sample, "price"),
            )
        prices = counted(sum(each.prices for each in found.done), "price")
        done = _months([each.reference.month for each in found.done])
        yield _("done: {months}, {prices}", months=done, prices=prices) if done else _("done: no month yet")
        yield from _confirmed(found.confirmed)
        for other in found.differing:
            yield _(
                "not confirmed, and loaded: {month}, {why}",
                month=_month(other.reference.month),
                why=understood(other.why),
            )
        if found.at_work and found.at_work.sample:
            yield _(
                "at work: {month}, {answered:,} of {chosen:,} prices of its sample are alike",
                month=progress.at_work,
                answered=found.at_work.sample.answered,
                chosen=found.at_work.sample.chosen,
            )
        elif progress.at_work:
            yield _work(progress.at_work, self.seen)
        if found.to_come:
            yield _("to come: {months}", months=_months([each.month for each in found.to_come]))
        for each in found.incomplete:
            yield from self._incomplete(each)
        for out in found.left_out:
            yield _(
                "nothing to load: {month}, {why}",
                month=_month(out.reference.month),
                why=understood(out.why),
            )
        if found.waits_for:
            yield _("waits for the load of {months}", months=found.waits_for)
        if progress.is_stuck:
            since = found.looked_at or found.began_at
            yield _(
                "nothing moves it on since {since:%Y-%m-%d %H:%M} UTC: run `fipe backfill --resume`",
                since=since,
            )
        if found.stopped:
            yield _("to go on: fipe backfill --resume")
        if not found.is_over:
            calls, days = counted(round(self.calls_left), "call"), self.days_left
            words = (
                _("left: about {calls}", calls=calls)
                if days is None
                else _(
                    "left: about {calls}, {duration}",
                    calls=calls,
                    duration=long_duration(days * _DAY_SECONDS),
                )
            )
            has_samples = found.verify_sample and found.to_come
            yield _("{words}, if samples confirm them all", words=words) if has_samples else words

    def _incomplete(self, month: IncompleteMonth) -> Iterator[str]:
        name = _month(month.reference.month)
        yield _(
            marked("incomplete: {month}, {why}; it stays so")
            if is_final(month.tries)
            else marked("incomplete: {month}, {why}; it is asked for again at the end of the list"),
            month=name,
            why=understood(month.why),
        )
        for what in self.missing.get(name, ()):
            yield _("missing: {what}", what=f"{name}, {understood(what)}")


def estimate(cloud: Cloud, payload: dict[str, Any]) -> Estimate:
    """What the months take, without asking the source.

    Raises:
        CliError: the stage is not deployed.
    """
    request = {name: value for name, value in payload.items() if name in ("vehicle_types", "brands")}
    months = _months_in(str(payload["reference"]))
    limit = calls_per_minute(cloud.environment_of(STARTER))
    sample = payload.get("verify_sample", 0)
    calls = sum(calls_in(month, request, sample) for month in months)
    return Estimate(len(months), calls, limit, has_sample=sample > 0)


def payload_for(
    months: Sequence[str], types: str, brands: str, verify: str = "", *, oldest_first: bool, again: bool
) -> dict[str, Any]:
    """The payload that starts a list.

    Raises:
        CliError: `verify` is invalid.
        LoadRequestError: a month, a range, a type or a brand is invalid.
    """
    parts = [part for text in months for part in text.split(",") if part]
    for part in parts:
        if not re.fullmatch(r"\d{4}-\d{2}(\.\.\d{4}-\d{2})?", part):
            raise LoadRequestError(
                "invalid month {value!r}: use a month like 2026-06, or a range like 2001-01..2026-06",
                value=part,
            )
    # A single month is a range of one: that makes a list of it.
    listed = ",".join(part if ".." in part else f"{part}..{part}" for part in parts)
    payload = payload_of(listed, types, brands, "")
    payload |= {"oldest_first": oldest_first, "skip_complete": not again}
    if verify:
        payload["verify_sample"] = _sample_in(verify)
        parse_request(payload)
    return payload


def start_list(cloud: Cloud, payload: dict[str, Any]) -> tuple[StartedLoad | None, list[str]]:
    """Starts a list, or adds months to the one at work.

    Returns:
        What was started, or None if there is nothing to load; and what to say of it.

    Raises:
        CliError: it cannot be started; the text says why.
    """
    answer = invoke_starter(cloud, payload)
    if answer.get("nothing_to_load"):
        reasons = "; ".join(understood(why) for why in answer["nothing_to_load"].split("; "))
        return None, [_("nothing to load: {why}", why=reasons)]
    started = StartedLoad.model_validate(answer)
    skipped = counted(len(started.skipped), "month")
    already = [_("complete or confirmed already: {months}", months=skipped)] if started.skipped else []
    return started, [started.words(), *already]


def stop_list(cloud: Cloud) -> MonthList:
    """Stops the list. Raises CliError if there is none at work."""
    found = _at_work(cloud)
    cancel(cloud, found.run_id)
    return found


def go_on(cloud: Cloud) -> StartedLoad:
    """Goes on with the list. Raises CliError if there is none, or it has ended."""
    found = read_list(cloud)
    if found is None:
        raise _no_list()
    return StartedLoad.model_validate(invoke_starter(cloud, {"run_id": str(found.run_id), "go_on": True}))


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


def _sample_in(verify: str) -> int:
    found = re.fullmatch(r"sample=(\d{1,9})", verify)
    if not found:
        raise CliError(
            _(
                "invalid --verify {value!r}: use sample=200, to ask for 200 prices of each imported month",
                value=verify,
            ),
            USAGE,
        )
    return int(found[1])


def _confirmed(months: Sequence[ConfirmedMonth]) -> Iterator[str]:
    """A line for all months whose samples are of one size."""
    sizes: dict[int, list[date]] = {}
    for each in months:
        sizes.setdefault(each.prices, []).append(each.reference.month)
    for prices, same in sizes.items():
        yield _(
            "confirmed: {months}; {prices:,} of {prices:,} prices alike in each, {confidence}",
            months=_months(same),
            prices=prices,
            confidence=confidence(prices, 0),
        )


def long_duration(seconds: float) -> str:
    """A length of time; in days from three days on."""
    return duration(seconds) if seconds < _LONG_SECONDS else counted(round(seconds / _DAY_SECONDS), "day")


def _at_work(cloud: Cloud) -> MonthList:
    found = read_list(cloud)
    if found is None or found.is_over:
        raise CliError(_("no list of months is at work: there is nothing to stop"), USAGE)
    return found


def _no_list() -> CliError:
    return CliError(_("no backfill yet: start one with `fipe backfill 2001-01..2026-06`"), USAGE)


def _state(found: MonthList) -> str:
    if found.stopped:
        return marked("stopped")
    if found.ended_at is None:
        return marked("at work")
    return marked("ended, with incomplete months") if found.incomplete else marked("ended")


def _work(month: str, seen: Snapshot | None) -> str:
    if seen is None or not seen.prices_expected:
        return _("at work: {month}", month=month)
    return _(
        "at work: {month}, {prices:,} of about {expected:,.0f} prices",
        month=month,
        prices=seen.prices,
        expected=seen.prices_expected,
    )


def _incomplete(month: IncompleteMonth, missing: dict[str, list[str]]) -> dict[str, Any]:
    name = _month(month.reference.month)
    return {"month": name, "tries": month.tries, "why": month.why, "missing": missing.get(name, [])}


def _months(months: Sequence[date]) -> str:
    """Months in their order; those that follow each other as one range."""
    return ", ".join(map(span, runs([_month(month) for month in months])))


def _month(month: date) -> str:
    return f"{month:%Y-%m}"


def _months_in(reference: str) -> list[date]:
    """The months that a list names, each once."""
    months: set[date] = set()
    for part in reference.split(","):
        first, _, last = part.partition("..")
        begin, end = (month_number(text) for text in (first, last or first))
        months |= {date(number // 12, number % 12 + 1, 1) for number in range(begin, end + 1)}
    return sorted(months)
