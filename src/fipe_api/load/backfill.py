"""Loads a list of months one at a time, so that nothing waits in a queue for longer than its retention.

A message in the manufacturer queue moves the list on: it looks at the list and at the ledger, begins the next
month when the one at work has ended, and sends the next such message with a delay. Without a list there is no
such message, so nothing costs anything and nothing wakes the database.

While another load is at work, the month at work gives way: its messages are dropped, as those of a cancelled
run are. Afterwards, what it lacks is loaded.

A month that an import holds can be confirmed instead: the message asks for a sample of its prices, some at a
time, and sends itself on with what is left. The month is loaded if a price differs.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeGuard
from uuid import UUID, uuid4

from botocore.exceptions import BotoCoreError, ClientError
from msgspec.structs import replace

from fipe_api.aws.clients import client
from fipe_api.aws.observability import logger
from fipe_api.environment import LoaderEnvironment
from fipe_api.load import cancellation, ledger_questions
from fipe_api.load.backfill_list import (
    TRIES,
    AskedSample,
    ConfirmedMonth,
    DifferingMonth,
    DoneMonth,
    IncompleteMonth,
    LeftOutMonth,
    Lists,
    MonthAtWork,
    MonthList,
)
from fipe_api.load.ledger_questions import LoadStatusError, Progress
from fipe_api.load.request import (
    LoadRequest,
    LoadRequestError,
    NothingListedError,
    brands_named,
    choose_references,
    list_brands,
    parse_request,
    refuse_unknown_brands,
    wanted_brands,
)
from fipe_api.load.sample import ask_part, seed_of
from fipe_api.load.size import month_size, refuse_what_expires, size_of
from fipe_api.load.stability import STALLED_AFTER, reason_to_wait
from fipe_api.load.start import (
    Started,
    StartedMessage,
    ask_patiently,
    month_in_answer,
    nothing_to_load,
    start_load,
)
from fipe_api.load.state import LoadState
from fipe_api.messages import (
    BackfillMessage,
    BrandMessage,
    ConfirmationMessage,
    ListedBrands,
    ListEndedMessage,
    Named,
    Reference,
    Sample,
    StartMessage,
    Unfinished,
)
from fipe_api.source.http_source import FipeError, NotNowError
from fipe_api.source.pace import SOURCE as PACE_KEY
from fipe_api.source.pace import state_of
from fipe_api.source.price_source import CodeSource, PriceSource
from fipe_api.source.rate_control import RateState

FIRST_PAUSE_SECONDS, PAUSE_FACTOR, LONGEST_PAUSE_SECONDS = 1.0, 1.5, 900.0
"""Between two looks. SQS delays a message by 15 minutes at most."""
LOOKS_PER_MONTH = 4
"""A month is looked at for the first time after this part of the time that its calls take."""
REST_SECONDS = 60.0
"""How long a table or a FipeLoadStatus that fails is left alone."""
SECONDS_NEEDED = 30.0
"""An invocation that has less time left passes the work on: FipeLoadStatus may have to wake the database."""
STALLED_SECONDS = STALLED_AFTER.total_seconds()
"""A month that got nothing for so long has lost messages: it ends incomplete."""
QUIET_SECONDS = 1800.0
"""The same of a month that was begun again, once all its results have come: some may be unusable as before.
The rounds of such a question take 13 minutes."""
OUTAGE_SECONDS = 3600.0
"""An outage is over, as far as anybody knows, when no call was tried for so long."""
SETTLED_AFTER = timedelta(days=4)
"""A month fills up during its first days. A load that began later than this found all of it."""

_NOT_STARTED: dict[str, Any] = {"references": [], "brands_sent": 0}


def begin(message: StartMessage, source: PriceSource, environment: LoaderEnvironment) -> Started:
    """Starts what is asked for: one month, or a list of months.

    Returns:
        As start_load. Of a list, `references` are all its months, each with the number of brands that were
        sent so far; `to_come` is how many of them wait for their turn, and `skipped` names those that are
        complete already.

    Raises:
        LoadRequestError: the source does not have what was asked for, a month would take longer than the
            queues keep a message, or another list is at work. Nothing was started.
    """
    request = parse_request(message.request)
    if not request.is_list:
        return start_load(message, source, environment)
    try:
        return _begin_list(message, request, source, environment)
    except NotNowError as refused:
        answer = {"run_id": str(message.run_id), **_NOT_STARTED, "waiting": str(refused)}
        return Started([], answer, Unfinished(message, refused.retry_in))
    except FipeError as error:
        raise LoadRequestError("nothing was started: {error}", error=error) from error


def go_on(run_id: UUID, source: PriceSource, environment: LoaderEnvironment) -> Started:
    """Goes on with a list that was stopped, or that nothing moves on. What moves it on meanwhile is dropped.

    Raises:
        LoadRequestError: this run is not that of the stage's list, or the list has ended.
    """
    lists = _lists(environment)
    if lists.found is None or lists.found.run_id != run_id:
        raise LoadRequestError(
            "run {run} is not that of the list of months, which `fipe backfill` shows", run=run_id
        )
    if lists.found.ended_at is not None:
        raise LoadRequestError("the list of months has ended: start another one")
    return _taken_over(lists, source, environment)


def stop(run_id: UUID, environment: LoaderEnvironment) -> None:
    """Stops the list of months if this is its run. The month at work stays the one to go on with."""
    if not environment.pace_table:
        return

    def stopped(found: MonthList | None) -> MonthList | None:
        is_at_work = found is not None and found.run_id == run_id and not found.is_over
        return replace(found, stopped=True, waits_for="") if found and is_at_work else None

    Lists(client("dynamodb"), environment.pace_table).change(stopped)


def move(
    message: BackfillMessage,
    source: PriceSource,
    environment: LoaderEnvironment,
    seconds_left: float = SECONDS_NEEDED,
    official: CodeSource | None = None,
) -> Started:
    """Looks at the list, and moves it on. A message whose turn is over is dropped.

    Args:
        message: whose turn it may be.
        source: what a load asks.
        environment: the configuration.
        seconds_left: how much time this invocation has.
        official: what a sample asks; needed for a message that has one.

    Returns:
        What to send, and what was started.
    """
    nothing = {"run_id": str(message.run_id), **_NOT_STARTED}
    if seconds_left < SECONDS_NEEDED:
        return Started([], nothing, Unfinished(message, 0))
    try:
        lists = _lists(environment)
        if not _claimed(lists, message):
            if _has_ended(lists.found, message):
                # Delivered again: that it has ended may not have been told. It is announced once.
                return Started([news_of_end(lists.found)], nothing)
            logger.info("dropped: nothing to move on, or another message does", run_id=str(message.run_id))
            return Started([], nothing)
        return _Mover(lists, message, source, environment, official).move()
    except (BotoCoreError, ClientError, LoadStatusError) as error:
        # What it asks may fail for hours; the list goes on afterwards.
        logger.warning("cannot look at the months", run_id=str(message.run_id), error=str(error))
        return Started([], nothing, Unfinished(message, REST_SECONDS))


def _lists(environment: LoaderEnvironment) -> Lists:
    if not environment.pace_table or not environment.load_status_function:
        raise LoadRequestError(
            "this stage cannot load several months: its loaders have no PACE_TABLE or LOAD_STATUS_FUNCTION"
        )
    return Lists(client("dynamodb"), environment.pace_table)


def _begin_list(
    message: StartMessage, request: LoadRequest, source: PriceSource, environment: LoaderEnvironment
) -> Started:
    lists = _lists(environment)
    chosen = choose_references(request, ask_patiently(source.references))
    skipped = _complete_months(request, chosen, environment)
    wanted = [reference for reference in chosen if reference not in skipped]
    if not wanted:
        return Started([], nothing_to_load("; ".join(skipped.values())))
    _refuse_other_list(lists.found, request)
    if request.brands is not None:
        _refuse_brands_of_no_month(request, wanted, source)
    elif request.models is None and request.only is None:
        size = month_size(wanted[-1].month, request.vehicle_types)
        refuse_what_expires(size, environment.calls_per_minute, environment.retention_days)
    now = datetime.now(UTC)

    def with_months(found: MonthList | None) -> MonthList:
        _refuse_other_list(found, request)
        is_replaced = (
            found is not None
            and found.run_id != message.run_id
            and (found.ended_at is not None or found.request != request.of_each_month)
        )
        if found is None or is_replaced:
            found = MonthList(
                run_id=message.run_id,
                request=request.of_each_month,
                oldest_first=request.oldest_first,
                began_at=now,
            )
        known = set(found.references())
        more = tuple(reference for reference in wanted if reference not in known)
        sample = found.verify_sample if request.verify_sample is None else request.verify_sample
        return replace(found, verify_sample=sample, to_come=found.ordered((*found.to_come, *more)))

    changed = lists.change(with_months)
    assert changed is not None
    started = _taken_over(lists, source, environment)
    return started._replace(answer=_answer(lists.read() or changed, wanted, started.answer, skipped))


def _taken_over(lists: Lists, source: PriceSource, environment: LoaderEnvironment) -> Started:
    """Moves the list on by a new message, which takes the turn of the one that did, if there is one."""
    assert lists.found is not None
    token, told = uuid4(), cancellation.lift(lists.found.run_id) if lists.found.stopped else None

    def gone_on(found: MonthList | None) -> MonthList:
        assert found is not None
        work = found.at_work
        if found.stopped and work:
            work = replace(work, since=datetime.now(UTC), begun_by=token, again=True)
        return replace(
            found,
            at_work=work,
            stopped=False,
            turn=found.turn + 1,
            token=token,
            looked_at=datetime.now(UTC),
        )

    found = lists.change(gone_on)
    assert found is not None
    moved = move(BackfillMessage(run_id=found.run_id, turn=found.turn, token=token), source, environment)
    return moved._replace(messages=[*([told] if told else []), *moved.messages])


def _answer(
    found: MonthList, wanted: Sequence[Reference], started: dict[str, Any], skipped: dict[Reference, str]
) -> dict[str, Any]:
    brands = {month["code"]: month["brands"] for month in started["references"]}
    to_come = set(found.to_come)
    answer = {
        **started,
        "run_id": str(found.run_id),
        "references": [month_in_answer(each, brands.get(each.code, 0)) for each in wanted],
        "to_come": sum(each in to_come for each in wanted),
        "skipped": [f"{each.month:%Y-%m}" for each in skipped],
    }
    if found.at_work and found.at_work.sample:
        answer["sample_of"] = f"{found.at_work.reference.month:%Y-%m}"
    return answer | ({"waiting": f"the load of {found.waits_for} goes first"} if found.waits_for else {})


def _complete_months(
    request: LoadRequest, chosen: Sequence[Reference], environment: LoaderEnvironment
) -> dict[Reference, str]:
    """The months that need no load, and why."""
    function = environment.load_status_function
    skipped: dict[Reference, str] = {}
    if request.until_stable:
        for reference in chosen:
            reason = reason_to_wait(client("lambda"), function, reference)
            if reason:
                skipped[reference] = reason
    if request.skip_complete:
        wanted = {
            "vehicle_types": sorted(request.vehicle_types),
            "brands": list(request.wanted_brands),
            "models": list(request.wanted_models),
        }
        begun = ledger_questions.complete_loads(function, wanted)
        for reference in chosen:
            began_at = begun.get(reference.code)
            settled = datetime.combine(reference.month, datetime.min.time(), UTC) + SETTLED_AFTER
            if began_at and began_at >= settled:
                skipped[reference] = f"{reference.month:%Y-%m} is complete"
    if request.skip_complete and request.verify_sample:
        confirmed = ledger_questions.confirmed_months(function, sorted(request.vehicle_types))
        for reference in chosen:
            if confirmed.get(reference.month, 0) >= request.verify_sample:
                skipped.setdefault(reference, f"{reference.month:%Y-%m} is confirmed")
    return skipped


def _refuse_other_list(found: MonthList | None, request: LoadRequest) -> None:
    """Refuses months of another kind than those of a list that is not over."""
    if found is None or found.is_over or found.request == request.of_each_month:
        return
    raise LoadRequestError(
        "run {run} is loading a list of months with other vehicle types, brands or models: wait until it"
        " ends, or stop it with `fipe backfill --stop`",
        run=found.run_id,
    )


def _refuse_brands_of_no_month(
    request: LoadRequest, wanted: Sequence[Reference], source: PriceSource
) -> None:
    """Refuses a brand that neither the newest, nor the oldest, nor the month in the middle has: a mistake.

    Raises:
        LoadRequestError: names the brand.
    """
    looked_at = dict.fromkeys((wanted[-1], wanted[0], wanted[len(wanted) // 2]))
    seen: list[Named] = []
    listed: list[ListedBrands] = []
    for reference in looked_at:
        for vehicle_type in sorted(request.vehicle_types):
            found = ask_patiently(partial(list_brands, reference, vehicle_type, source))
            seen += found
            listed.append(wanted_brands(request, reference, vehicle_type, found))
        known = [brand for each in listed for brand in each.brands]
        if all(brands_named(known, want) for want in request.brands or ()):
            return
    refuse_unknown_brands(request.brands or (), listed, seen)


def _claimed(lists: Lists, message: BackfillMessage) -> bool:
    """Whether it is the message's turn; from now on it is nobody else's."""
    found = lists.found
    if found is None or found.run_id != message.run_id or found.is_over:
        return False
    if found.turn == message.turn and found.token == message.token:
        return True  # delivered again
    if found.turn >= message.turn:
        return False
    lists.write(replace(found, turn=message.turn, token=message.token, looked_at=datetime.now(UTC)))
    return True


def _has_ended(found: MonthList | None, message: BackfillMessage) -> TypeGuard[MonthList]:
    """Whether the message has found the end of the list."""
    return found is not None and found.ended_at is not None and found.token == message.token


class _Mover:
    """One look at the list, by the message whose turn it is."""

    def __init__(
        self,
        lists: Lists,
        message: BackfillMessage,
        source: PriceSource,
        environment: LoaderEnvironment,
        official: CodeSource | None,
    ) -> None:
        assert lists.found is not None
        self._lists = lists
        self._list = lists.found
        self._message = message
        self._source = source
        self._environment = environment
        self._official = official
        self._sample = message.sample
        self._messages: list[StartedMessage] = []
        self._answer: dict[str, Any] = {"run_id": str(message.run_id), **_NOT_STARTED}

    def move(self) -> Started:
        """Moves the list on as far as it goes now."""
        work, start = self._list.at_work, self._message.start
        if self._sample and not (work and work.sample and work.reference == self._sample.reference):
            # Delivered again, after its month was confirmed or differed.
            sample, self._sample = self._sample, None
            self._tell_ledger(sample)
        if work and work.begun_by == self._message.token:
            # Delivered again: what it began may not have been sent.
            return self._begin(work)
        if work and start is not None and start.reference == work.reference:
            return self._start(start)
        pace = self._read_pace()
        now = time.time()
        if work and not self._list.waits_for and self._rests(pace, now):
            # Nothing arrives meanwhile, and to ask the ledger could wake the database.
            return self._look_again(FIRST_PAUSE_SECONDS + pace.next_call / 1000 - now)
        seen = ledger_questions.progress(
            self._environment.load_status_function, self._list.run_id, work.reference.code if work else None
        )
        if seen.others:
            return self._give_way(seen)
        if self._list.waits_for:
            return self._end_waiting()
        if work and work.sample:
            return self._ask(work, self._sample) if self._sample else self._begin(work)
        if work:
            ended = self._ended(work, seen, pace)
            if ended is None:
                return self._look_again()
            self._list = self._lists.write(ended)
        return self._begin_next()

    def _begin_next(self) -> Started:
        """Begins the next month, or ends the list."""
        found = self._list.next_month()
        if found is None:
            self._list = self._lists.write(replace(self._list, ended_at=datetime.now(UTC)))
            logger.info("list of months ended", run_id=str(self._list.run_id))
            return Started([*self._messages, news_of_end(self._list)], self._answer)
        reference, tries = found
        work = MonthAtWork(
            reference=reference,
            since=datetime.now(UTC),
            begun_by=self._message.token,
            again=tries > 0,
            tries=tries,
            sample=AskedSample() if self._list.verify_sample and not tries else None,
        )
        self._list = self._lists.write(
            replace(
                self._list,
                at_work=work,
                to_come=tuple(each for each in self._list.to_come if each != reference),
                incomplete=tuple(each for each in self._list.incomplete if each.reference != reference),
            )
        )
        return self._begin(work)

    def _begin(self, work: MonthAtWork) -> Started:
        """Starts a month, or loads what it lacks if it was begun before. An imported one may be confirmed."""
        run_id, code = self._list.run_id, work.reference.code
        if work.again:
            told = cancellation.lift(run_id)
            self._messages += [told] if told else []
        if work.sample:
            chosen = (self._sample or self._choose(work)) if self._list.verify_sample else None
            if chosen:
                return self._go_on_with(chosen)
            work = replace(work, sample=None)
            self._list = self._lists.write(replace(self._list, at_work=work))
        if work.again:
            lacks = ledger_questions.resume(self._environment.load_status_function, run_id, code)
            if lacks is not None:
                self._messages += [StartMessage(run_id=run_id, request=payload) for payload in lacks]
                return self._look_again(FIRST_PAUSE_SECONDS)
        request = {**self._list.request, "reference": code}
        return self._start(
            StartMessage(run_id=run_id, request=request, reference=work.reference, among_others=True)
        )

    def _choose(self, work: MonthAtWork) -> Sample | None:
        """The sample of a month; None if no import holds it."""
        found = ledger_questions.imported_sample(
            self._environment.load_status_function,
            work.reference.month,
            self._list.verify_sample,
            seed_of(self._list.run_id, work.reference.month),
            self._list.request["vehicle_types"],
        )
        if found is None:
            return None
        self._count(work, chosen=len(found.vehicles), answered=0)
        return Sample(
            reference=work.reference, brands=found.brands, imported=found.imported, left=found.vehicles
        )

    def _ask(self, work: MonthAtWork, sample: Sample) -> Started:
        """Asks for a part of a sample."""
        assert self._official, "only the message of a sample asks for it"
        assert work.sample
        asked, chosen = ask_part(sample, self._official), work.sample.chosen
        month = f"{work.reference.month:%Y-%m}"
        if asked.difference:
            logger.warning("month differs from the import", month=month, reason=asked.difference)
            self._sample = None
            work = replace(work, since=datetime.now(UTC), begun_by=self._message.token, sample=None)
            differing = DifferingMonth(reference=work.reference, why=asked.difference)
            self._list = self._lists.write(
                replace(self._list, at_work=work, differing=(*self._list.differing, differing))
            )
            return self._begin(work)
        if asked.sample.is_over:
            logger.info("month confirmed", month=month, prices=chosen)
            confirmed = ConfirmedMonth(reference=work.reference, prices=chosen, ended_at=datetime.now(UTC))
            self._list = self._lists.write(
                replace(self._list, at_work=None, confirmed=(*self._list.confirmed, confirmed))
            )
            self._sample = None
            self._tell_ledger(sample)
            return self._look_again(0)
        self._count(work, chosen, chosen - len(asked.sample.left) - len(asked.sample.doubted))
        return self._go_on_with(asked.sample, asked.retry_in, asked.denied_until)

    def _tell_ledger(self, sample: Sample) -> None:
        """Tells the ledger of the sample's month, if it is confirmed."""
        self._messages += [
            ConfirmationMessage(
                run_id=self._list.run_id,
                reference=month.reference,
                vehicle_types=tuple(self._list.request["vehicle_types"]),
                prices_asked=month.prices,
                imported=sample.imported,
                confirmed_at=month.ended_at,
            )
            for month in self._list.confirmed
            if month.reference == sample.reference
        ]

    def _count(self, work: MonthAtWork, chosen: int, answered: int) -> None:
        work = replace(work, sample=AskedSample(chosen=chosen, answered=answered))
        self._list = self._lists.write(replace(self._list, at_work=work))

    def _go_on_with(
        self, sample: Sample, retry_in: float = 0.0, denied_until: float | None = None
    ) -> Started:
        self._sample = sample
        return Started(self._messages, self._answer, Unfinished(self._successor(), retry_in, denied_until))

    def _start(self, start: StartMessage) -> Started:
        """Starts a month. One that cannot be started does not keep the others waiting."""
        work = self._list.at_work
        assert work is not None, "a start belongs to the month at work"
        try:
            started = start_load(start, self._source, self._environment)
        except NothingListedError as error:
            is_final = error.__cause__ is None or work.tries + 1 >= TRIES
            self._list = self._lists.write(
                self._left_out(work, str(error)) if is_final else self._incomplete(work, str(error))
            )
            return self._begin_next()
        except LoadRequestError as error:
            self._list = self._lists.write(self._incomplete(work, str(error)))
            return self._begin_next()
        self._messages += started.messages
        self._answer = started.answer
        if started.unfinished:
            left = started.unfinished
            assert isinstance(left.message, StartMessage)
            return Started(
                self._messages,
                self._answer,
                Unfinished(self._successor(start=left.message), left.retry_in),
            )
        size = size_of(each for each in started.messages if isinstance(each, BrandMessage))
        minutes = size.minutes(self._environment.calls_per_minute) or 0
        return self._look_again(max(FIRST_PAUSE_SECONDS, 60 * minutes / LOOKS_PER_MONTH))

    def _give_way(self, seen: Progress) -> Started:
        """Lets another load go first."""
        months = ", ".join(seen.others)
        if self._list.at_work:
            told = cancellation.hold(self._list.run_id, months)
            self._messages += [told] if told else []
        if self._list.waits_for != months:
            self._list = self._lists.write(replace(self._list, waits_for=months))
            logger.info("gives way to another load", run_id=str(self._list.run_id), months=months)
            return self._look_again(FIRST_PAUSE_SECONDS)
        return self._look_again()

    def _end_waiting(self) -> Started:
        """Goes on after another load."""
        work = self._list.at_work
        if work is None:
            self._list = self._lists.write(replace(self._list, waits_for=""))
            return self._begin_next()
        work = replace(work, since=datetime.now(UTC), begun_by=self._message.token, again=True)
        self._list = self._lists.write(replace(self._list, waits_for="", at_work=work))
        logger.info("goes on after another load", run_id=str(self._list.run_id))
        return self._begin(work)

    def _ended(self, work: MonthAtWork, seen: Progress, pace: RateState) -> MonthList | None:
        """The list after the month at work has ended; None if it has not."""
        month = seen.month
        if month is not None and month.state == LoadState.COMPLETE:
            done = DoneMonth(reference=work.reference, prices=month.prices, ended_at=datetime.now(UTC))
            return replace(self._list, at_work=None, done=(*self._list.done, done))
        last = max(work.since, month.last_write_at) if month else work.since
        quiet = (datetime.now(UTC) - last).total_seconds()
        is_answered = month is not None and month.state == LoadState.INCOMPLETE
        if is_answered and (not work.again or quiet >= QUIET_SECONDS):
            return self._incomplete(work, "some prices had no usable answer")
        if quiet >= STALLED_SECONDS and not _is_out(pace, time.time()):
            return self._incomplete(work, "some results did not arrive")
        return None

    def _incomplete(self, work: MonthAtWork, why: str) -> MonthList:
        logger.warning("month ended incomplete", month=f"{work.reference.month:%Y-%m}", reason=why)
        month = IncompleteMonth(reference=work.reference, tries=work.tries + 1, why=why)
        return replace(self._list, at_work=None, incomplete=(*self._list.incomplete, month))

    def _left_out(self, work: MonthAtWork, why: str) -> MonthList:
        month = LeftOutMonth(reference=work.reference, why=why)
        return replace(self._list, at_work=None, left_out=(*self._list.left_out, month))

    def _look_again(self, pause: float | None = None) -> Started:
        """The next look, later than the one before if nothing else is said."""
        longer = max(FIRST_PAUSE_SECONDS, PAUSE_FACTOR * self._message.pause) if pause is None else pause
        pause = min(LONGEST_PAUSE_SECONDS, longer)
        return Started(self._messages, self._answer, Unfinished(self._successor(pause=pause), pause))

    def _successor(self, *, pause: float = 0.0, start: StartMessage | None = None) -> BackfillMessage:
        return BackfillMessage(
            run_id=self._list.run_id,
            turn=self._message.turn + 1,
            token=uuid4(),
            pause=pause,
            start=start,
            sample=self._sample,
        )

    def _read_pace(self) -> RateState:
        key: Any = {"source": {"S": PACE_KEY}}
        found = client("dynamodb").get_item(TableName=self._environment.pace_table, Key=key)
        return state_of(found.get("Item", {}))

    def _rests(self, pace: RateState, now: float) -> bool:
        """Whether no source is called for now."""
        has_mirror = self._environment.parallelum_calls_per_day > 0
        return bool(pace.outage.kind) and pace.next_call / 1000 > now and not has_mirror


def news_of_end(ended: MonthList) -> ListEndedMessage:
    """What is told of a list that has ended."""
    assert ended.ended_at is not None
    return ListEndedMessage(
        run_id=ended.run_id,
        began_at=ended.began_at,
        ended_at=ended.ended_at,
        complete=len(ended.done),
        prices=sum(month.prices for month in ended.done),
        confirmed=len(ended.confirmed),
        incomplete=tuple((f"{each.reference.month:%Y-%m}", each.why) for each in ended.incomplete),
        left_out=tuple((f"{each.reference.month:%Y-%m}", each.why) for each in ended.left_out),
    )


def _is_out(pace: RateState, now: float) -> bool:
    """Whether the source was blocked or down at the last call."""
    return bool(pace.outage.kind) and pace.next_call / 1000 > now - OUTAGE_SECONDS
