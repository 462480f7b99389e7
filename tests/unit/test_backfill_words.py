"""What `fipe backfill` says, and what it expects of months that nobody has loaded."""

import uuid
from datetime import UTC, date, datetime
from typing import Any

import pytest

from fipe_api.load.backfill_list import (
    AskedSample,
    ConfirmedMonth,
    DifferingMonth,
    DoneMonth,
    IncompleteMonth,
    LeftOutMonth,
    MonthAtWork,
    MonthList,
)
from fipe_api.load.request import LoadRequestError
from fipe_api.messages import Reference
from fipe_cli.backfill import Estimate, Overview, _months_in, payload_for
from fipe_cli.errors import CliError
from fipe_cli.loads import StartedLoad, StartedReference
from fipe_cli.month_list import calls_in, calls_to_come, progress_of, size_in
from fipe_cli.progress import Snapshot, line
from fipe_words import ENGLISH, PORTUGUESE, speak

RUN = uuid.UUID(int=7)
NOW = datetime(2026, 7, 2, 10, tzinfo=UTC)
ALL: dict[str, Any] = {"vehicle_types": [1, 2, 3]}


def reference(year: int, month: int) -> Reference:
    return Reference(code=year * 12 + month, month=date(year, month, 1))


def a_list(**given: Any) -> MonthList:
    return MonthList(**{"run_id": RUN, "request": ALL, "began_at": NOW, "looked_at": NOW} | given)


def done(year: int, month: int, prices: int) -> DoneMonth:
    return DoneMonth(reference=reference(year, month), prices=prices, ended_at=NOW)


def test_a_month_of_each_kind_is_named() -> None:
    found = a_list(
        to_come=(reference(2026, 3), reference(2026, 2)),
        at_work=MonthAtWork(reference=reference(2026, 4), since=NOW, begun_by=RUN),
        done=(done(2026, 6, 50_332),),
        incomplete=(
            IncompleteMonth(reference=reference(2026, 5), tries=1, why="some results did not arrive"),
            IncompleteMonth(reference=reference(2026, 1), tries=3, why="some prices had no usable answer"),
        ),
        left_out=(LeftOutMonth(reference=reference(2001, 1), why="the source lists no brands"),),
        waits_for="2026-07",
        looked_at=datetime.now(UTC),
    )
    words = list(Overview(found, None, {"2026-01": ["cars, Fiat: 1 price"]}, 40).words())
    calls = calls_to_come(found)
    assert words == [
        f"run {RUN}: at work; 6 months, the newest first",
        "vehicle types: 1, 2, 3",
        "done: 2026-06, 50,332 prices",
        "at work: 2026-04",
        "to come: 2026-03 to 2026-02 (2 months)",
        "incomplete: 2026-05, some results did not arrive; it is asked for again at the end of the list",
        "incomplete: 2026-01, some prices had no usable answer; it stays so",
        "missing: 2026-01, cars, Fiat: 1 price",
        "nothing to load: 2001-01, the source lists no brands",
        "waits for the load of 2026-07",
        f"left: about {calls:,.0f} calls, {calls / 40 // 60:.0f} h {calls / 40 % 60 // 1:.0f} min",
    ]


def test_a_list_that_is_stopped_or_stuck_says_what_goes_on_with_it() -> None:
    stopped = list(Overview(a_list(stopped=True), None, {}, 40).words())
    assert stopped[-1] == "to go on: fipe backfill --resume"
    assert "nothing moves it on since 2026-07-02 10:00 UTC: run `fipe backfill --resume`" in list(
        Overview(a_list(looked_at=NOW), None, {}, 40).words()
    )


def test_the_history_takes_most_of_a_year() -> None:
    months = _months_in("2001-01..2026-09")
    whole = Estimate(len(months), sum(size_in(month, ALL).calls for month in months), 40)
    prices = sum(size_in(month, ALL).prices for month in months)
    assert len(months) == 309
    assert prices == pytest.approx(9_528_944, rel=0.02)
    days = f"{whole.calls / 57_600:,.0f} days at 40 calls per minute"
    assert whole.words() == f"309 months, about {whole.calls:,.0f} calls, {days}"


def test_what_is_to_come_is_as_large_as_what_is_done() -> None:
    ahead = (reference(2026, 5),)
    half = a_list(to_come=ahead, done=(done(2026, 6, 25_166),))
    assert calls_to_come(half) == pytest.approx(calls_to_come(a_list(to_come=ahead)) / 2, rel=0.01)


def test_brands_count_with_their_own_size() -> None:
    fiat = size_in(date(2026, 6, 1), {"vehicle_types": [1], "brands": ["Fiat"]})
    assert 0 < fiat.calls < size_in(date(2026, 6, 1), {"vehicle_types": [1]}).calls / 10


def test_months_and_ranges_make_a_list() -> None:
    payload = payload_for(["2001-01..2001-03", "2026-06"], "car", "Fiat", oldest_first=True, again=False)
    assert payload == {
        "reference": "2001-01..2001-03,2026-06..2026-06", "vehicle_types": ["car"], "brands": ["Fiat"],
        "oldest_first": True, "skip_complete": True,
    }  # fmt: skip
    for wrong in ("June", "2026", "latest", "2026-06..latest"):
        with pytest.raises(LoadRequestError, match=f"invalid month '{wrong}': use a month like 2026-06"):
            payload_for([wrong], "", "", oldest_first=False, again=False)


def confirmed(year: int, month: int, prices: int = 200) -> ConfirmedMonth:
    return ConfirmedMonth(reference=reference(year, month), prices=prices, ended_at=NOW)


SAMPLED = a_list(
    verify_sample=200,
    to_come=(reference(2026, 2),),
    at_work=MonthAtWork(
        reference=reference(2026, 3), since=NOW, begun_by=RUN, sample=AskedSample(chosen=200, answered=80)
    ),
    done=(done(2026, 5, 50_332),),
    confirmed=(confirmed(2026, 6), confirmed(2026, 4)),
    differing=(
        DifferingMonth(
            reference=reference(2026, 5),
            why="005340-6 2015 Flex: R$ 12.345,00 in the import, R$ 12.350,00 in the official API",
        ),
    ),
    looked_at=datetime.now(UTC),
)


def test_samples_are_told_with_what_they_say_of_their_months() -> None:
    assert list(Overview(SAMPLED, None, {}, 40).words()) == [
        f"run {RUN}: at work; 5 months, the newest first",
        "vehicle types: 1, 2, 3",
        "months that an import holds are confirmed by 200 prices of each",
        "done: 2026-05, 50,332 prices",
        "confirmed: 2026-06, 2026-04; 200 of 200 prices alike in each, with 95% confidence at"
        " least 98.51% of the month is right",
        "not confirmed, and loaded: 2026-05, 005340-6 2015 Flex: R$ 12.345,00 in the import, R$ 12.350,00 in"
        " the official API",
        "at work: 2026-03, 80 of 200 prices of its sample are alike",
        "to come: 2026-02",
        "left: about 203 calls, 5 min 4 s, if samples confirm them all",
    ]
    document = Overview(SAMPLED, None, {}, 40).document()
    assert document["confirmed"][0] == {"month": "2026-06", "prices_asked": 200, "percent_right": 98.51}
    assert (document["verify_sample"], document["not_confirmed"][0]["month"]) == (200, "2026-05")
    assert "1 of 5 months complete, 1 to come, 2 months confirmed by their samples" in line(
        Snapshot(NOW, waiting=0, of_list=progress_of(SAMPLED, NOW))
    )


def test_samples_are_told_in_portuguese() -> None:
    speak(PORTUGUESE)
    try:
        words = list(Overview(SAMPLED, None, {}, 40).words())
    finally:
        speak(ENGLISH)
    assert words[4:7] == [
        "confirmados: 2026-06, 2026-04; 200 de 200 preços iguais em cada um, com 95% de confiança,"
        " pelo menos 98,51% do mês está certo",
        "não confirmado, e por isso carregado: 2026-05, 005340-6 2015 Flex: R$ 12.345,00 na importação,"
        " R$ 12.350,00 na API oficial",
        "em andamento: 2026-03, 80 de 200 preços da amostra são iguais",
    ]


def test_the_option_names_the_size_of_the_sample() -> None:
    payload = payload_for(["2026-06"], "", "", "sample=200", oldest_first=False, again=False)
    assert payload["verify_sample"] == 200
    for wrong in ("200", "sample=", "sample=many", "sample=-1"):
        with pytest.raises(CliError, match=f"invalid --verify '{wrong}': use sample=200"):
            payload_for(["2026-06"], "", "", wrong, oldest_first=False, again=False)
    for brands, sample in (("", "sample=1001"), ("Fiat", "sample=200")):
        with pytest.raises(LoadRequestError, match="invalid verify_sample"):
            payload_for(["2026-06"], "", brands, sample, oldest_first=False, again=False)


def test_a_start_that_asks_for_a_sample_first_says_so() -> None:
    month = StartedReference(code=334, month="2026-06", brands=0)
    started = StartedLoad(run_id=RUN, references=[month], brands_sent=0, sample_of="2026-06")
    assert started.words() == (
        f"run {RUN} started: 2026-06, one at a time; asks for a sample of 2026-06 first"
    )
    months = _months_in("2001-01..2026-09")
    history = Estimate(309, sum(calls_in(month, ALL, 200) for month in months), 40, has_sample=True)
    assert history.words() == (
        "309 months, about 62,727 calls, 26 h 8 min at 40 calls per minute, if samples confirm them all"
    )


def test_a_followed_list_goes_on_after_each_month() -> None:
    at_work = progress_of(a_list(to_come=(reference(2026, 3),), done=(done(2026, 6, 15),)), NOW)
    between = Snapshot(NOW, waiting=0, of_list=at_work)
    assert not between.has_ended
    assert "1 of 2 months complete, 1 to come" in line(between)
    over = progress_of(a_list(done=(done(2026, 6, 15),), ended_at=NOW), NOW)
    assert Snapshot(NOW, waiting=0, of_list=over).has_ended
