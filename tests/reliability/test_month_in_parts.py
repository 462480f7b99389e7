"""A month that fills up over its first days, and the payload of the daily schedule."""

from tests.reliability.pipeline import Pipeline

DAILY = {"reference": "latest", "until_stable": True}


def test_the_daily_payload_loads_a_month_again_until_nothing_new_appears(pipeline: Pipeline) -> None:
    found = []
    for share in (0.4, 0.8, 1, 1):
        pipeline.simulator.published = share
        run_id = pipeline.start(**DAILY)
        pipeline.until_idle()
        found += pipeline.query(
            "select complete, changed, stable from fipe.load_status where run_id = %s", run_id
        )
    assert [complete for complete, _, _ in found] == [True] * 4
    assert [stable for _, _, stable in found] == [False, False, False, True]
    new = [changed for _, changed, _ in found]
    assert min(new[:3]) > 0
    assert new[3] == 0
    assert sum(new) == len(pipeline.simulator.catalogue.rows)
    pipeline.assert_equal_to_the_source(run_id)
    calls = pipeline.simulator.statistics().total
    answer = pipeline.ask_to_start(**DAILY)
    assert (answer["run_id"], answer["nothing_to_load"]) == (None, "2026-06 is stable: nothing to load")
    # The only call asks for the reference months, to find the newest.
    assert pipeline.simulator.statistics().total == calls + 1


def test_a_load_that_lost_messages_is_resumed_and_completes_as_the_same_run(pipeline: Pipeline) -> None:
    with pipeline.paused("model"):
        run_id = pipeline.start()
        pipeline.until_only_waiting_in("model")
        client = pipeline.cloud.client("sqs")
        lost = client.receive_message(QueueUrl=pipeline.queues["model"], MaxNumberOfMessages=5)["Messages"]
        for message in lost:
            client.delete_message(QueueUrl=pipeline.queues["model"], ReceiptHandle=message["ReceiptHandle"])
    pipeline.until_idle()
    missing = pipeline.query("select model_code from fipe.load_missing where run_id = %s", run_id)
    assert len(missing) == len(lost) > 0
    for (payload,) in pipeline.query("select fipe.resume_payloads(%s)", run_id):
        assert pipeline.start(**payload) == run_id
    pipeline.until_idle()
    pipeline.assert_equal_to_the_source(run_id)
