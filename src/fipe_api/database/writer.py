"""Writes prices to PostgreSQL with set-based SQL, in one transaction per call.

Rows are copied into temporary tables and written from there. Each statement changes only rows that are new or
different, so writing the same again changes nothing. Writers take turns: they cannot deadlock, each sees
what the others wrote before it, and exactly one of them finds a load complete.

Most messages are the first about their model and month, or say what is known already: SQL alone decides that.
All others are decided by all answers about the model and month together (fipe_api.database.answers), so that
order, repetition and age of messages do not matter.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg2.extras import execute_values

from fipe_api.database import ledger
from fipe_api.database.announcements import announce, announce_cancelled, loads_over
from fipe_api.database.answers import Answer, Key, Published, Tally, follow
from fipe_api.database.imports import CodedModel, give_way, take_over_codes
from fipe_api.database.ledger import (
    LedgerNews,
    Run,
    count_changes,
    end_runs,
    write_arrivals,
    write_cancellations,
    write_confirmations,
    write_runs,
)
from fipe_api.database.staging import copy_rows
from fipe_api.database.statements import (
    ANSWER_TEMPLATE,
    BEGIN_WRITING,
    CREATE_RARE_STAGING,
    CREATE_STAGING,
    DELETE_ABSENCES,
    DELETE_ALL_STAGED,
    DELETE_ANSWERED_ROWS,
    DELETE_KNOWN_ROWS,
    DELETE_OTHER_NAMES,
    DELETE_PRICES,
    DELETE_REVISIONS,
    DELETE_STAGED,
    INSERT_ANSWERS,
    INSERT_MODELS,
    INSERT_REFERENCE_MONTHS,
    INSERT_REVISIONS,
    INSERT_VEHICLES,
    MERGE_PRICES,
    MERGE_REJECTED_ANSWERS,
    PREPARED,
    RECORD_ANSWERS,
    REJECTED_ANSWER_TEMPLATE,
    SELECT_ABSENCES,
    SELECT_ANSWERS,
    SELECT_EMPTY_MONTHS,
    SELECT_REFERENCE_MONTHS,
    SELECT_VEHICLES_TO_RENEW,
    SELECT_VEHICLES_WITH_GAPS,
    STAGE_ABSENT_MODELS,
    STAGE_ROWS,
    STAGE_SPANS,
    TALLY_TEMPLATE,
    UPDATE_SPANS,
    UPDATE_TALLIES,
    WRITE_NEW_PRICES,
)
from fipe_api.messages import (
    CancellationMessage,
    ConfirmationMessage,
    PriceMessage,
    PriceQueueMessage,
    RejectedAnswerMessage,
    RunPlanMessage,
    Source,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor


class PriceRow(NamedTuple):
    """One price with all that names it, as fipe.vehicle_price shows it (zero_km follows from model_year).

    `source` is who gave the price; None when that is not known.
    """

    reference_month: date
    reference_code: int
    vehicle_type: int
    brand_code: int
    brand: str
    model_code: int
    model: str
    model_year: int
    fuel_code: int
    fuel: str
    fipe_code: str
    price_brl: Decimal
    source: Source | None = None


class Written(NamedTuple):
    """How many prices a call was given, how many of them were new or changed, and the news of its loads."""

    given: int
    changed: int
    news: LedgerNews = LedgerNews()


class Subject(NamedTuple):
    """A model in a month, by FIPE's codes."""

    reference_month: date
    vehicle_type: int
    brand_code: int
    model_code: int


MIRRORS: Mapping[str, int] = {"parallelum": 1}
"""The numbers of the mirrors in fipe.price_source."""

Tallies = dict[int, Tally]
"""What each load changed, by the id of its row in fipe.load_run."""

MODEL_COLUMNS = (
    "position", "reference_month", "vehicle_type", "brand_code", "brand", "model_code", "model",
    "load_run_id", "run_id", "asked_at", "plain",
)  # fmt: skip
PRICE_COLUMNS = ("position", "model_year", "fuel_code", "fuel", "fipe_code", "price_brl", "source")
REVISION_COLUMNS = (*PRICE_COLUMNS, "load_run_id", "asked_from", "asked_until", "ended_by", "reason")


class ReferenceMismatchError(ValueError):
    """The database knows this reference code for another month, or this month under another code."""


def write_messages(connection: "connection", messages: Sequence[PriceQueueMessage]) -> Written:
    """Writes the prices of messages, and what they say about their loads, in one transaction.

    Of two messages about one model and month, the one that was asked later counts.

    Args:
        connection: in no transaction.
        messages: at least one.

    Raises:
        ReferenceMismatchError: nothing was written.
        psycopg2.Error: nothing was written.
    """
    told = [
        message
        for message in messages
        if not isinstance(message, CancellationMessage | ConfirmationMessage | RejectedAnswerMessage)
    ]
    priced = [message for message in told if isinstance(message, PriceMessage)]
    changed, news = 0, LedgerNews()
    with connection, connection.cursor() as cursor:
        there_are_imports = _begin(cursor)
        _write_reference_months(
            cursor, {(message.reference.code, message.reference.month) for message in told}
        )
        _write_rejected_answers(
            cursor, [each for each in messages if isinstance(each, RejectedAnswerMessage)]
        )
        cancellations = [each for each in messages if isinstance(each, CancellationMessage)]
        write_cancellations(cursor, cancellations)
        write_confirmations(cursor, [each for each in messages if isinstance(each, ConfirmationMessage)])
        if told:
            runs = write_runs(cursor, told)
            touched = take_over_codes(cursor, _coded_models(priced)) if there_are_imports else set()
            changed, tallies = _write_answers(cursor, priced, runs)
            arrivals = write_arrivals(cursor, told, runs)
            planned = [
                runs[each.run_id, each.reference.code] for each in told if isinstance(each, RunPlanMessage)
            ]
            withdrawn = _withdraw(cursor, planned) if planned or arrivals.may_withdraw else {}
            changed += _changed(withdrawn)
            tallies = _sum([tallies, withdrawn])
            count_changes(cursor, tallies)
            over = loads_over(cursor, tallies)
            ended = runs if planned or arrivals.end_a_brand else {}
            news = end_runs(cursor, ended)
            announce(cursor, news.ended, over, tallies)
            if there_are_imports:
                of_load = {message.reference.month for message in told}
                _replace_imports(cursor, of_load, map(_subject, priced), ended.values(), touched)
        announce_cancelled(cursor, [each.run_id for each in cancellations if each.cancelled])
    return Written(sum(len(message.prices) for message in priced), changed, news)


def write_rows(connection: "connection", rows: Sequence[PriceRow]) -> Written:
    """Writes prices that belong to no load, in one transaction; of two for one vehicle, the later counts.

    Models that a load has answered in the same month are left as they are.

    Raises:
        ReferenceMismatchError: nothing was written.
        psycopg2.Error: nothing was written.
    """
    newest = {(*_subject_of_row(row), row.model_year, row.fuel_code): row for row in rows}
    staged = {
        (_subject_of_row(row), (row.model_year, row.fuel_code)): _published_row(row)
        for row in newest.values()
    }
    with connection, connection.cursor() as cursor:
        there_are_imports = _begin(cursor)
        _write_reference_months(cursor, {(row.reference_code, row.reference_month) for row in rows})
        touched = take_over_codes(cursor, map(_coded_row, rows)) if there_are_imports else set()
        _stage(cursor, [(*where, published, ()) for where, published in staged.items()])
        cursor.execute(DELETE_ANSWERED_ROWS)
        cursor.execute(CREATE_RARE_STAGING)
        months = {row.reference_month for row in rows}
        empty = _empty_months(cursor, months)
        for statement in (
            INSERT_MODELS, INSERT_VEHICLES, STAGE_ROWS, STAGE_SPANS, DELETE_OTHER_NAMES, DELETE_KNOWN_ROWS
        ):  # fmt: skip
            cursor.execute(statement)
        changed = _count(cursor, MERGE_PRICES)
        cursor.execute(UPDATE_SPANS)
        cursor.execute(SELECT_VEHICLES_TO_RENEW)
        _renew_series(cursor, _ids(cursor), empty - _empty_months(cursor, empty))
        if there_are_imports:
            _replace_imports(cursor, months, map(_subject_of_row, rows), (), touched)
    return Written(len(newest), changed)


def _begin(cursor: "cursor") -> bool:
    """Takes this writer's turn; returns whether the database has imported prices."""
    cursor.execute(BEGIN_WRITING)
    ((is_first_of_connection, there_are_imports),) = cursor.fetchall()
    if is_first_of_connection:
        prepare = (
            f"prepare {name} as {statement}" for name, statement in (PREPARED | ledger.PREPARED).items()
        )
        # A transaction that failed takes its tables with it, and leaves what it prepared.
        cursor.execute("; ".join((CREATE_STAGING, "deallocate all", *prepare)))
    return bool(there_are_imports)


def _replace_imports(
    cursor: "cursor",
    months: Iterable[date],
    subjects: Iterable[Subject],
    ended: Iterable[int],
    touched: set[int],
) -> None:
    """Removes imported prices in whose place those of a load stand.

    Args:
        cursor: of the transaction that has written the load.
        months: of the load.
        subjects: what the load has answered about.
        ended: loads of which a brand may have become complete.
        touched: vehicles that have got their codes from the load.
    """
    cursor.execute(CREATE_RARE_STAGING)
    cursor.execute("delete from staged_span")
    _stage_subjects(cursor, set(subjects))
    with_prices = set(months) - _empty_months(cursor, set(months))
    give_way(cursor, ended)
    cursor.execute(UPDATE_SPANS)
    cursor.execute(SELECT_VEHICLES_TO_RENEW)
    _renew_series(cursor, _ids(cursor) | touched, _empty_months(cursor, with_prices))


def _write_answers(
    cursor: "cursor", messages: Sequence[PriceMessage], runs: Mapping[Run, int]
) -> tuple[int, Tallies]:
    """Returns how many prices were new or changed, and what each load changed."""
    if not messages:
        return 0, {}
    by_subject: dict[Subject, list[PriceMessage]] = {}
    for message in dict.fromkeys(messages):
        by_subject.setdefault(_subject(message), []).append(message)
    alone = [same[0] for same in by_subject.values() if len(same) == 1]
    verdicts = _judge(cursor, alone, runs)
    new = [message for message, verdict in zip(alone, verdicts, strict=True) if verdict in ("new", "first")]
    differing = [message for same in by_subject.values() if len(same) > 1 for message in same]
    differing += [message for message, verdict in zip(alone, verdicts, strict=True) if verdict == "differs"]
    unstaged = [position for position, verdict in enumerate(verdicts) if verdict not in ("new", "first")]
    if unstaged:
        cursor.execute(DELETE_STAGED, {"positions": unstaged})
    tallies = _sum({_load(message, runs): Tally(len(message.prices))} for message in new)
    if new:
        empty = {
            message.reference.month
            for message, verdict in zip(alone, verdicts, strict=True)
            if verdict == "first"
        }
        _write_new_prices(cursor, {message.reference.month for message in new}, empty)
    if differing and _record(cursor, differing, runs):
        tallies = _sum([tallies, _write_histories(cursor)])
    return _changed(tallies), tallies


def _judge(cursor: "cursor", messages: Sequence[PriceMessage], runs: Mapping[Run, int]) -> list[str]:
    """Stages the messages, each at its position; returns the verdict of judge_models on each."""
    models = (
        (
            position,
            message.reference.month,
            message.vehicle_type,
            message.brand.code,
            message.brand.name,
            message.model.code,
            message.model.name,
            _load(message, runs),
            message.run_id,
            message.asked_at,
            not (message.unpriced or message.rejected),
        )
        for position, message in enumerate(messages)
    )
    copy_rows(cursor, "staged_model", MODEL_COLUMNS, models)
    prices = (
        (
            position,
            price.model_year,
            price.fuel_code,
            price.fuel,
            price.fipe_code,
            price.price_brl,
            _mirror(price.source),
        )
        for position, message in enumerate(messages)
        for price in {(each.model_year, each.fuel_code): each for each in message.prices}.values()
    )
    copy_rows(cursor, "staged_price", PRICE_COLUMNS, prices)
    cursor.execute("execute judge_models")
    verdicts = dict(cursor.fetchall())
    return [verdicts[position] for position in range(len(messages))]


def _record(cursor: "cursor", messages: Sequence[PriceMessage], runs: Mapping[Run, int]) -> bool:
    """Adds the messages to the recorded answers; stages the models about which they say something new."""
    _stage_subjects(cursor, {_subject(message) for message in messages})
    cursor.execute(RECORD_ANSWERS)
    rows = [
        (*_subject(message), _load(message, runs), message.asked_at, _answer(message)) for message in messages
    ]
    told = _insert_answers(cursor, rows)
    _stage_subjects(cursor, told)
    return bool(told)


def _insert_answers(cursor: "cursor", rows: Iterable[tuple[object, ...]]) -> set[Subject]:
    """Returns the models about which they say something new."""
    told: set[Subject] = set()
    left = list(dict.fromkeys(rows))
    while left:
        # A statement may meet a key once only: answers of one load, asked at the same time, take turns.
        turn = {row[:-1]: row for row in left}
        told.update(
            Subject._make(row)
            for row in execute_values(
                cursor, INSERT_ANSWERS, list(turn.values()), ANSWER_TEMPLATE, fetch=True
            )
        )
        left = [row for row in left if turn[row[:-1]] is not row]
    return told


def _withdraw(cursor: "cursor", planned: Sequence[int]) -> Tallies:
    """Withdraws what complete loads of brands no longer list.

    Args:
        cursor: of the transaction that has written the ledger.
        planned: loads whose plans have just come.
    """
    cursor.execute("delete from staged_subject")
    cursor.execute(STAGE_ABSENT_MODELS, {"planned": list(planned)})
    if not cursor.rowcount:
        return {}
    cursor.execute(RECORD_ANSWERS)
    return _write_histories(cursor)


class _Recorded(NamedTuple):
    """A row of fipe.model_answer."""

    subject: Subject
    answer: Answer
    is_absence: bool
    tally: Tally


def _write_histories(cursor: "cursor") -> Tallies:
    """Writes what follows from all answers about the staged subjects; returns what that changes."""
    cursor.execute(CREATE_RARE_STAGING)
    cursor.execute(DELETE_ALL_STAGED)
    tallies = _stage_histories(cursor)
    cursor.execute("select distinct reference_month from staged_subject")
    months = {month for (month,) in cursor.fetchall()}
    empty = _empty_months(cursor, months)
    for statement in (
        INSERT_MODELS, INSERT_VEHICLES, STAGE_ROWS, STAGE_SPANS, DELETE_PRICES, MERGE_PRICES,
        DELETE_REVISIONS, INSERT_REVISIONS, UPDATE_SPANS, SELECT_VEHICLES_TO_RENEW,
    ):  # fmt: skip
        cursor.execute(statement)
    _renew_series(cursor, _ids(cursor), empty ^ _empty_months(cursor, months))
    return tallies


def _stage_histories(cursor: "cursor") -> Tallies:
    """Stages what follows from all answers about the staged subjects; returns what that changes."""
    recorded = _select_answers(cursor)
    before = _sum({each.answer.load_run_id or 0: each.tally} for each in recorded)
    if _renew_absences(cursor, recorded):
        recorded = _select_answers(cursor)
    by_subject: dict[Subject, list[_Recorded]] = {}
    for each in recorded:
        by_subject.setdefault(each.subject, []).append(each)
    rows: list[_StagedPrice] = []
    tallies: list[tuple[_Recorded, Tally]] = []
    for subject, answers in by_subject.items():
        history = follow([each.answer for each in answers])
        tallies += zip(answers, history.tallies, strict=True)
        rows += [(subject, key, published, ()) for key, published in history.prices.items()]
        rows += [(subject, each.key, each.published, each[2:]) for each in history.revisions]
    _stage(cursor, rows)
    _update_tallies(cursor, [(each, tally) for each, tally in tallies if each.tally != tally])
    after = _sum({each.answer.load_run_id or 0: tally} for each, tally in tallies)
    return {
        load: after.get(load, Tally()).minus(before.get(load, Tally())) for load in {*before, *after} if load
    }


def _select_answers(cursor: "cursor") -> list[_Recorded]:
    cursor.execute(SELECT_ANSWERS)
    return [
        _Recorded(Subject._make(row[:4]), _parse_answer(*row[4:8]), row[7] is None, Tally._make(row[8:]))
        for row in cursor.fetchall()
    ]


def _renew_absences(cursor: "cursor", recorded: Sequence[_Recorded]) -> bool:
    """Brings the recorded absences up to date with the ledger; returns whether any changed."""
    known = {
        (each.subject, each.answer.load_run_id, each.answer.asked_at) for each in recorded if each.is_absence
    }
    cursor.execute(SELECT_ABSENCES)
    wanted = {(Subject._make(row[:4]), row[4], row[5]) for row in cursor.fetchall()}
    if known - wanted:
        gone = [(*subject, load) for subject, load, _ in known - wanted]
        execute_values(cursor, DELETE_ABSENCES, gone, "(%s::date, %s, %s, %s, %s)")
    _insert_answers(cursor, [(*subject, load, asked_at, None) for subject, load, asked_at in wanted - known])
    return known != wanted


def _update_tallies(cursor: "cursor", tallies: Sequence[tuple[_Recorded, Tally]]) -> None:
    rows = [(*each.subject, each.answer.load_run_id, each.answer.asked_at, *tally) for each, tally in tallies]
    if rows:
        execute_values(cursor, UPDATE_TALLIES, rows, TALLY_TEMPLATE)


_StagedPrice = tuple[Subject, Key, Published, tuple[object, ...]]
"""A price of a vehicle, or with how it ended, a revision."""


def _stage(cursor: "cursor", rows: Iterable[_StagedPrice]) -> None:
    models: dict[tuple[object, ...], int] = {}
    prices = []
    for subject, key, published, ended in rows:
        model = (*subject, published.brand, published.model)
        position = models.setdefault(model, len(models))
        prices.append((position, *key, *published[2:], *(ended or (None,) * 5)))
    columns = ("reference_month", "vehicle_type", "brand_code", "model_code", "brand", "model", "position")
    copy_rows(cursor, "staged_model", columns, ((*model, position) for model, position in models.items()))
    copy_rows(cursor, "staged_price", REVISION_COLUMNS, prices)


def _stage_subjects(cursor: "cursor", subjects: Collection[Subject]) -> None:
    cursor.execute("delete from staged_subject")
    copy_rows(cursor, "staged_subject", Subject._fields, subjects)


def _write_new_prices(cursor: "cursor", months: Collection[date], empty: Collection[date]) -> None:
    """Writes the staged prices of models that have none in these months, of which some have none at all."""
    for month in sorted(months):
        cursor.execute(WRITE_NEW_PRICES, {"month": month})
        _renew_series(cursor, _ids(cursor), {month}.intersection(empty))


def _empty_months(cursor: "cursor", months: Collection[date]) -> set[date]:
    """Those without a price."""
    if not months:
        return set()
    cursor.execute(SELECT_EMPTY_MONTHS, (list(months),))
    return {month for (month,) in cursor.fetchall()}


def _renew_series(cursor: "cursor", vehicles: set[int], months: Collection[date]) -> None:
    """Renews the series of these vehicles, and those that the first or last price of a month changes."""
    if months:
        cursor.execute(SELECT_VEHICLES_WITH_GAPS, (list(months),))
        vehicles = vehicles | _ids(cursor)
    if vehicles:
        cursor.execute("select fipe.renew_series(%s)", (sorted(vehicles),))


def _ids(cursor: "cursor") -> set[int]:
    return {key for (key,) in cursor.fetchall()}


def _count(cursor: "cursor", statement: str) -> int:
    cursor.execute(statement)
    ((counted,),) = cursor.fetchall()
    return int(counted)


def _sum(tallies: Iterable[Tallies]) -> Tallies:
    total: Tallies = {}
    for each in tallies:
        for load, tally in each.items():
            total[load] = total.get(load, Tally()).plus(tally)
    return total


def _changed(tallies: Tallies) -> int:
    return sum(tally.changed for tally in tallies.values())


def _subject(message: PriceMessage) -> Subject:
    return Subject(message.reference.month, message.vehicle_type, message.brand.code, message.model.code)


def _subject_of_row(row: PriceRow) -> Subject:
    return Subject(row.reference_month, row.vehicle_type, row.brand_code, row.model_code)


def _published_row(row: PriceRow) -> Published:
    return Published(row.brand, row.model, row.fuel, row.fipe_code, row.price_brl, _mirror(row.source))


def _coded_models(messages: Iterable[PriceMessage]) -> Iterable[CodedModel]:
    for message in messages:
        brand, model = message.brand, message.model
        for price in message.prices:
            yield CodedModel(
                message.vehicle_type, brand.code, brand.name, model.code, model.name, price.fipe_code
            )


def _coded_row(row: PriceRow) -> CodedModel:
    return CodedModel(row.vehicle_type, row.brand_code, row.brand, row.model_code, row.model, row.fipe_code)


def _load(message: PriceMessage, runs: Mapping[Run, int]) -> int:
    return runs[message.run_id, message.reference.code]


def _mirror(source: Source | None) -> int | None:
    return MIRRORS.get(source or "fipe")


def _answer(message: PriceMessage) -> str:
    """The answer as fipe.model_answer keeps it."""
    prices = sorted(
        (
            price.model_year,
            price.fuel_code,
            message.brand.name,
            message.model.name,
            price.fuel,
            price.fipe_code,
            f"{price.price_brl:.2f}",
            _mirror(price.source),
        )
        for price in {(each.model_year, each.fuel_code): each for each in message.prices}.values()
    )
    listed = sorted((each.model_year, each.fuel_code) for each in (*message.unpriced, *message.rejected))
    return json.dumps({"prices": prices, "listed": listed})


def _parse_answer(
    load_run_id: int | None,
    run_id: str | None,
    asked_at: datetime | None,
    answer: dict[str, list[list[Any]]] | None,
) -> Answer:
    said = answer or {"prices": [], "listed": []}
    prices = {
        (int(year), int(fuel_code)): Published(brand, model, fuel, fipe_code, Decimal(price), mirror)
        for year, fuel_code, brand, model, fuel, fipe_code, price, mirror in said["prices"]
    }
    listed = frozenset((int(year), int(fuel_code)) for year, fuel_code in said["listed"])
    return Answer(load_run_id, run_id or "", asked_at, prices, listed)


def _write_reference_months(cursor: "cursor", months: set[tuple[int, date]]) -> None:
    if not months:
        return
    known = _select_reference_months(cursor, months)
    if not known.keys() >= {code for code, _ in months}:
        execute_values(cursor, INSERT_REFERENCE_MONTHS, sorted(months), "(%s::integer, %s::date)")
        known = _select_reference_months(cursor, months)
    for code, month in months:
        if known.get(code) != month:
            raise ReferenceMismatchError(
                f"reference code {code} for {month:%Y-%m} contradicts fipe.reference_month: correct one"
            )


def _select_reference_months(cursor: "cursor", months: set[tuple[int, date]]) -> dict[int, date]:
    cursor.execute(SELECT_REFERENCE_MONTHS, ([code for code, _ in months],))
    return dict(cursor.fetchall())


def _write_rejected_answers(cursor: "cursor", messages: Sequence[RejectedAnswerMessage]) -> None:
    """Keeps each rejected answer once, with how often it was seen."""
    rows = [_rejected_row(message) for message in messages]
    if rows:
        execute_values(cursor, MERGE_REJECTED_ANSWERS, rows, REJECTED_ANSWER_TEMPLATE)


def _rejected_row(message: RejectedAnswerMessage) -> tuple[object, ...]:
    what = (
        str(message.run_id),
        message.reference.code if message.reference else None,
        message.source,
        message.call,
        json.dumps(message.parameters, sort_keys=True),
        message.answer,
        message.reason,
    )
    fingerprint = hashlib.md5(repr(what).encode(), usedforsecurity=False).hexdigest()
    return (fingerprint, *what, message.seen_at)
