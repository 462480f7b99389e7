"""The fault matrix: each fault on the real pipeline, and how the load ends, also when an older load's results
arrive after it.

Tests marked `faults` run only in `make test-faults`, the others also in `make test`. FIPE_FAULT_SECONDS says
how long a fault lasts (2 by default).
"""

import json
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fipe_simulator import Fault, Faults
from tests.local_cloud_support import eventually
from tests.reliability.api_faults import api_faults
from tests.reliability.pipeline import FUNCTIONS, RECEIVES, Pipeline

FAULT_SECONDS = float(os.environ.get("FIPE_FAULT_SECONDS", "2"))
FUNCTION_OF = {handler: name for name, handler in FUNCTIONS.values()}
LONGER_THAN_TIMEOUTS = 60
"""Seconds that a batch may take if calls get no answer and time out after 2 s."""
LONG = pytest.mark.faults
POINTS = [
    pytest.param("model_loader", "before_send", marks=LONG),
    pytest.param("model_loader", "after_send", marks=LONG),
    pytest.param("price_loader", "before_send", marks=LONG),
    pytest.param("price_loader", "after_send", marks=LONG),
    pytest.param("ingestor", "before_commit", marks=LONG),
    pytest.param("ingestor", "after_commit", marks=LONG),
]
SENDS = {"service": "sqs", "operation": "SendMessageBatch", "sequence": {"fail": 1, "pass": 2}}
API_FAULTS: dict[str, dict[str, Any]] = {
    "DynamoDB throttles": {
        "service": "dynamodb",
        "probability": 0.3,
        "error": {"code": "ProvisionedThroughputExceededException"},
    },
    "SQS fails": {**SENDS, "error": {"code": "InternalError", "status": 500}},
    "SQS throttles": {**SENDS, "error": {"code": "RequestThrottled", "status": 403}},
    "SQS takes messages and its answer is lost": {**SENDS, "response": {"abort_frac": 0.5}},
    "connections are reset": {"service": "*", "sequence": {"fail": 1, "pass": 9}, "reset": True},
    "answers are slow": {"service": "*", "latency": {"min": 50, "max": 300}},
    "an endpoint is dead for some calls": {
        "service": "*",
        "sequence": {"fail": 1, "pass": 19},
        "timeout_ms": 3000,
    },
}
"""Faults of AWS's APIs as microburst's rules."""


@pytest.fixture(autouse=True)
def _messages_late_by_one_load(pipeline: Pipeline, older_results: list[str]) -> Iterator[None]:
    """The month was loaded before its corrections; a third of those results arrive after the test's load."""
    pipeline.clear()
    late = older_results[::3]
    pipeline.deliver([message for message in older_results if message not in late])
    pipeline.until_idle()
    yield
    pipeline.calm()
    pipeline.deliver(late)
    pipeline.until_idle()
    pipeline.assert_prices_equal_to_the_source()
    assert pipeline.dead_messages() == 0


def load_and_end_equal(pipeline: Pipeline) -> None:
    run_id = pipeline.start()
    end_equal(pipeline, run_id)


def end_equal(pipeline: Pipeline, run_id: str) -> None:
    pipeline.until_idle()
    while pipeline.redrive():
        pipeline.until_idle()
    pipeline.assert_equal_to_the_source(run_id)


@pytest.mark.parametrize(("handler", "point"), POINTS)
def test_a_worker_killed_at_any_point_loses_and_doubles_nothing(
    pipeline: Pipeline, tmp_path: Path, handler: str, point: str
) -> None:
    with pipeline.killed_at(FUNCTION_OF[handler], point, tmp_path / "killed", times=2):
        run_id = pipeline.start()
        pipeline.until_idle()
    assert (tmp_path / "killed").read_text() == "killed\n" * 2
    # Two kills, and five receives are allowed: no dead letters.
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
@pytest.mark.parametrize("point", ["before_send", "after_send"])
def test_a_start_killed_at_any_point_continues_as_the_same_run_when_lambda_repeats_it(
    pipeline: Pipeline, tmp_path: Path, point: str
) -> None:
    started = pipeline.invocations("FipeManufacturerLoader")
    with pipeline.killed_at("FipeManufacturerLoader", point, tmp_path / "killed", times=1):
        # Asynchronously, as the schedule starts a load: Lambda repeats a failed invocation after a minute.
        pipeline.cloud.invoke("FipeManufacturerLoader", {}, InvocationType="Event")
        eventually(lambda: pipeline.invocations("FipeManufacturerLoader") == started + 2, 90)
        pipeline.until_idle()
    assert (tmp_path / "killed").read_text() == "killed\n"
    ((run_id,),) = pipeline.query("select run_id::text from fipe.load_run order by id desc limit 1")
    pipeline.assert_equal_to_the_source(run_id)


def test_a_start_that_the_source_blocks_goes_on_from_the_queue_as_the_same_run(pipeline: Pipeline) -> None:
    # Longer than a function waits itself.
    waits = {"LONGEST_WAIT_SECONDS": "1", "BLOCKED_REST_SECONDS": "2"}
    with pipeline.variables("FipeManufacturerLoader", **waits):
        pipeline.simulator.faults = Faults.of(Fault.FORBIDDEN, rate=1)
        answer = pipeline.ask_to_start()
    assert (answer["references"], answer["brands_sent"]) == ([], 0)
    assert answer["waiting"] == "blocked by the source; try again in 2 s"
    pipeline.calm()
    pipeline.until_idle()
    pipeline.assert_equal_to_the_source(answer["run_id"])


def test_every_message_delivered_twice_in_random_order(pipeline: Pipeline) -> None:
    pipeline.queue_faults(duplicates=1, any_order=True, seed=1)
    load_and_end_equal(pipeline)


def test_half_of_the_entries_of_each_batch_fail_at_first(pipeline: Pipeline) -> None:
    pipeline.queue_faults(failed_sends=0.3, seed=2)
    load_and_end_equal(pipeline)


@LONG
@pytest.mark.parametrize("fault", ["failed_receives", "failed_deletes"])
def test_event_sources_that_cannot_receive_or_delete_for_a_while(pipeline: Pipeline, fault: str) -> None:
    pipeline.queue_faults(**{fault: 1})
    run_id = pipeline.start()
    time.sleep(FAULT_SECONDS)
    pipeline.queue_faults()
    pipeline.until_idle()
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
@pytest.mark.parametrize("fault", API_FAULTS)
def test_an_api_that_fails_in_some_calls(pipeline: Pipeline, fault: str) -> None:
    pipeline.hold_messages(LONGER_THAN_TIMEOUTS)
    with api_faults(pipeline) as faults:
        faults.strike(API_FAULTS[fault])
        run_id = pipeline.start()
        pipeline.until_idle(180)
        assert faults.struck()
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
@pytest.mark.parametrize("service", ["sqs", "dynamodb"])
def test_an_api_that_fails_in_every_call_for_a_while(pipeline: Pipeline, service: str) -> None:
    # As deployed, a failed message is tried again after half a minute; shortened as for a source that fails.
    delay = {"RETRY_DELAY_SECONDS": str(math.ceil(FAULT_SECONDS / 2))}
    pipeline.hold_messages(LONGER_THAN_TIMEOUTS)
    with (
        pipeline.variables("FipeModelLoader", **delay),
        pipeline.variables("FipePriceLoader", **delay),
        api_faults(pipeline) as faults,
    ):
        run_id = pipeline.start()
        faults.strike({"service": service, "error": {"code": "InternalServerError", "status": 500}})
        time.sleep(FAULT_SECONDS)
        assert faults.struck()
        faults.strike()
        pipeline.until_idle(180 + 5 * FAULT_SECONDS)
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
def test_a_pace_table_that_fails_for_longer_than_five_receives(pipeline: Pipeline) -> None:
    pipeline.hold_messages(LONGER_THAN_TIMEOUTS)
    with api_faults(pipeline) as faults:
        with pipeline.paused("model"):
            run_id = pipeline.start()
            pipeline.until_only_waiting_in("model")
            faults.strike({"service": "dynamodb", "error": {"code": "InternalServerError", "status": 500}})
        # The messages fit into two batches.
        outlasted = pipeline.invocations("FipePriceLoader") + 2 * (RECEIVES + 1)
        eventually(lambda: pipeline.invocations("FipePriceLoader") >= outlasted, 180)
        faults.strike()
        pipeline.until_idle(180)
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("stopped_database", marks=LONG),
        "no_connection_left",
        pytest.param("disk_full", marks=LONG),
    ],
)
def test_a_database_that_is_unavailable_for_a_while(pipeline: Pipeline, fault: str) -> None:
    run_id = pipeline.start()
    with getattr(pipeline, fault)():
        time.sleep(FAULT_SECONDS)
    end_equal(pipeline, run_id)


def test_sessions_that_are_ended_again_and_again(pipeline: Pipeline) -> None:
    run_id = pipeline.start()
    for _ in range(10):
        pipeline.end_sessions()
        time.sleep(0.1)
    end_equal(pipeline, run_id)


@LONG
def test_a_failover_in_the_middle_of_a_batch(pipeline: Pipeline) -> None:
    with pipeline.failover_in_the_middle_of_a_batch():
        run_id = pipeline.start()
    pipeline.until_idle()
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
def test_a_secret_that_is_rotated_in_the_middle_of_a_load(pipeline: Pipeline) -> None:
    secrets = pipeline.cloud.client("secretsmanager")
    passwords = [f"password-{number}" for number in range(4)]
    # Members of rds_iam sign in with tokens only, and so do members of a member.
    pipeline.query("revoke rds_iam from fipe_ingestor")
    create = "create role rotated login in role fipe_ingestor password %s"
    pipeline.execute_as_rds(create, passwords[0])
    secret = secrets.create_secret(Name="rotated", SecretString=json.dumps({"password": passwords[0]}))["ARN"]
    with pipeline.variables("FipeSomaIngestor", RDS_USER="rotated", DB_SECRET_ARN=secret):
        run_id = pipeline.start()
        for password in passwords[1:]:
            pipeline.execute_as_rds("alter role rotated password %s", password)
            pipeline.end_sessions("rotated")
            time.sleep(0.2)
            secrets.put_secret_value(SecretId=secret, SecretString=json.dumps({"password": password}))
            time.sleep(0.5)
        pipeline.until_idle()
    pipeline.query("grant rds_iam to fipe_ingestor")
    eventually(lambda: not pipeline.end_sessions("rotated"))
    pipeline.execute_as_rds("drop role rotated")
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
def test_functions_whose_clocks_are_hours_apart(pipeline: Pipeline) -> None:
    with (
        pipeline.variables("FipeModelLoader", CLOCK_SKEW_SECONDS="7200"),
        pipeline.variables("FipePriceLoader", CLOCK_SKEW_SECONDS="-7200"),
        pipeline.variables("FipeSomaIngestor", CLOCK_SKEW_SECONDS="-86400"),
    ):
        pipeline.simulator.faults = Faults(
            rates={Fault.TOO_MANY_REQUESTS_RETRY_AFTER: 0.1, Fault.TRUNCATED_JSON: 0.1}, seed=6
        )
        load_and_end_equal(pipeline)


@LONG
@pytest.mark.parametrize("fault", list(Fault))
def test_a_source_with_a_fault_in_three_calls_of_ten(pipeline: Pipeline, fault: Fault) -> None:
    pipeline.hold_messages(LONGER_THAN_TIMEOUTS)
    pipeline.simulator.faults = Faults.of(fault, rate=0.3, seed=3, hold_seconds=3)
    run_id = pipeline.start()
    pipeline.until_idle(180)
    pipeline.simulator.faults = Faults()
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
@pytest.mark.parametrize("fault", list(Fault))
def test_a_source_with_a_fault_in_every_call_for_a_while(pipeline: Pipeline, fault: Fault) -> None:
    # As deployed, a question without a usable answer is asked again after a minute, and a failed message is
    # tried again after half a minute. That fits a fault of a minute; for shorter faults, both are shortened
    # in proportion.
    delays = {
        "ROUND_DELAY_SECONDS": str(FAULT_SECONDS),
        "RETRY_DELAY_SECONDS": str(math.ceil(FAULT_SECONDS / 2)),
    }
    pipeline.hold_messages(LONGER_THAN_TIMEOUTS)
    with pipeline.variables("FipeModelLoader", **delays), pipeline.variables("FipePriceLoader", **delays):
        run_id = pipeline.start()
        pipeline.simulator.faults = Faults.of(fault, rate=1, seed=4, hold_seconds=3)
        time.sleep(FAULT_SECONDS)
        pipeline.simulator.faults = Faults()
        pipeline.until_idle(180 + 5 * FAULT_SECONDS)
    assert pipeline.dead_messages() == 0
    pipeline.assert_equal_to_the_source(run_id)


@LONG
def test_workers_killed_again_and_again(pipeline: Pipeline) -> None:
    chance = random.Random(5)
    run_id = pipeline.start()
    kills = 0
    until = time.monotonic() + 5
    while time.monotonic() < until and pipeline.waiting():
        kills += pipeline.kill_a_worker(chance)
        time.sleep(0.2)
    assert kills
    end_equal(pipeline, run_id)
