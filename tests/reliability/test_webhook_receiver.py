"""Announcements at a receiver that fails, is slow, and gets posts again."""

import time

import pytest

from tests.local_cloud_support import eventually
from tests.reliability.pipeline import RECEIVES, WEBHOOK, Pipeline
from tests.reliability.webhook_receiver import breaks_off, fails, is_slow, takes


@pytest.fixture(autouse=True)
def _patient_queues(pipeline: Pipeline) -> None:
    """Nobody dies here, so no message must come back soon. On a busy machine work on it may take seconds."""
    pipeline.hold_messages(30)


def until_posted(pipeline: Pipeline, announcements: int) -> None:
    """Waits until the receiver has so many announcements, and nothing is left to post."""
    eventually(lambda: len(pipeline.receiver.accepted) == announcements)
    eventually(lambda: pipeline.cloud.is_empty(pipeline.queues[WEBHOOK]))


def test_a_receiver_that_fails_is_slow_and_gets_it_again_accepts_each_load_once(pipeline: Pipeline) -> None:
    answers = {1: fails, 2: is_slow, 3: breaks_off}
    pipeline.receiver.answers = lambda attempt: answers.get(attempt, takes)
    pipeline.queue_faults(duplicates=0.3, any_order=True, seed=7)
    runs = []
    for loads in (1, 2):
        runs.append(pipeline.start())
        pipeline.until_idle()
        pipeline.assert_prices_equal_to_the_source()
        until_posted(pipeline, loads)
    pipeline.calm()
    accepted = list(pipeline.receiver.accepted.values())
    assert [(each["kind"], each["run_id"]) for each in accepted] == [("load_complete", run) for run in runs]
    assert pipeline.receiver.refused == [], "every signature is valid"
    assert len(pipeline.receiver.posts) >= 8, "four posts each, at least"
    assert pipeline.dead_messages() == 0
    complete = "select bool_and(complete), count(*) from fipe.load_status"
    assert pipeline.query(complete) == [(True, 2)]


def test_a_receiver_that_is_out_keeps_no_load_waiting_and_gets_it_after_a_redrive(pipeline: Pipeline) -> None:
    pipeline.receiver.answers = lambda _: fails
    run = pipeline.start()
    pipeline.until_idle()
    eventually(lambda: pipeline.dead_messages() == 1)
    assert len(pipeline.receiver.posts) == RECEIVES
    pipeline.assert_prices_equal_to_the_source()
    ((told,),) = pipeline.query("select count(*) from fipe.announcement where told_at is not null")
    assert told == 1, "the topic has it, and so has whoever else listens"
    pipeline.receiver.answers = lambda _: takes
    assert pipeline.redrive() == 1
    until_posted(pipeline, 1)
    assert [each["run_id"] for each in pipeline.receiver.accepted.values()] == [run]


def test_alarms_of_the_same_topic_are_not_posted(pipeline: Pipeline) -> None:
    sns = pipeline.cloud.client("sns")
    (topic,) = sns.list_topics()["Topics"]
    sns.publish(TopicArn=topic["TopicArn"], Message="an alarm")
    time.sleep(0.3)
    assert pipeline.cloud.is_empty(pipeline.queues[WEBHOOK])
    assert pipeline.receiver.posts + pipeline.receiver.refused == []
