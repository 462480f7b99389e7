"""What becomes of loads is told once each, whatever fails on the way."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.local_cloud_support import eventually
from tests.reliability.pipeline import Pipeline


def all_told(pipeline: Pipeline, count: int = 1) -> list[dict[str, Any]]:
    """What the topic was told, as soon as it is so many announcements and nothing is untold."""
    told: list[dict[str, Any]] = []

    def look() -> bool:
        told.extend(pipeline.told())
        ((untold,),) = pipeline.query("select count(*) from fipe.announcement where told_at is null")
        return len({each["id"] for each in told}) >= count and not untold

    eventually(look)
    time.sleep(0.3)
    return [*told, *pipeline.told()]


def _as_answer_of(run: str, message: str) -> str:
    """A result of another run as one of this run that comes late, and was asked last."""
    sent = json.loads(message) | {"run_id": run}
    return json.dumps(sent | ({"asked_at": f"{datetime.now(UTC)}"} if "asked_at" in sent else {}))


def test_a_load_is_told_within_seconds_with_its_figures(pipeline: Pipeline) -> None:
    run = pipeline.start()
    (told,) = all_told(pipeline)
    prices = len(pipeline.simulator.catalogue.rows)
    assert (told["kind"], told["stage"], told["run_id"]) == ("load_complete", "dev", run)
    assert (told["prices"], told["whole_month"]) == (prices, True)
    assert f"{prices:,} prices" in told["text"]
    waited = "select extract(epoch from told_at - created_at)::float from fipe.announcement"
    ((seconds,),) = pipeline.query(waited)
    assert seconds < 15


def test_a_month_that_changes_afterwards_is_told(pipeline: Pipeline, older_results: list[str]) -> None:
    run = pipeline.start()
    (complete,) = all_told(pipeline)
    pipeline.deliver([_as_answer_of(run, message) for message in older_results])
    pipeline.until_idle()
    changed = all_told(pipeline)
    assert {each["kind"] for each in changed} == {"month_changed"}
    assert {each["run_id"] for each in changed} == {run}
    ((corrections,),) = pipeline.query("select corrected + withdrawn from fipe.load_run")
    assert sum(each["corrections"] for each in changed) == corrections > 0
    assert complete["corrections"] == 0


@pytest.mark.parametrize(("point", "messages"), [("before_tell", 1), ("after_tell", 2)])
def test_an_announcer_that_dies_tells_it_again_with_the_same_id(
    pipeline: Pipeline, tmp_path: Path, point: str, messages: int
) -> None:
    with pipeline.killed_at("FipeAnnouncer", point, tmp_path / "killed", times=1):
        pipeline.start()
        told = all_told(pipeline)
    assert (tmp_path / "killed").read_text() == "killed\n"
    assert len(told) == messages
    assert all(each == told[0] for each in told)
    assert pipeline.dead_messages() == 0


def test_looks_that_arrive_twice_and_late_tell_it_once(pipeline: Pipeline) -> None:
    pipeline.queue_faults(duplicates=0.5, any_order=True, failed_sends=0.2, seed=1)
    pipeline.start()
    told = all_told(pipeline)
    pipeline.calm()
    assert len({each["id"] for each in told}) == 1
    # SNS's own delivery to the queue of the test is doubled, too.
    assert all(each == told[0] for each in told)


def test_a_database_that_is_down_for_a_while_delays_what_is_told(pipeline: Pipeline) -> None:
    with pipeline.paused("price"):
        pipeline.start()
        pipeline.until_only_waiting_in("price")
        with pipeline.stopped_database():
            time.sleep(3)
    (told,) = all_told(pipeline)
    assert told["kind"] == "load_complete"
    assert pipeline.dead_messages() == 0
