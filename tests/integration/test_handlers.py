"""The handlers as Lambda calls them, on the SQS and DynamoDB APIs, the simulator and PostgreSQL."""

import io
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlparse

import annotated_types
import psycopg2
import pytest
from botocore.exceptions import ClientError
from msgspec import convert
from psycopg2.extensions import connection, parse_dsn

from fipe_api import (
    fipe_manufacturer_loader,
    fipe_model_loader,
    fipe_price_loader,
    fipe_soma_ingestor,
)
from fipe_api.aws import clients
from fipe_api.aws.observability import logger
from fipe_api.environment import DatabaseEnvironment, consumer_environment, loader_environment
from fipe_api.get_db_password import get_db_password
from fipe_api.load import cancellation, outbox
from fipe_api.load.start import start_load
from fipe_api.messages import (
    BrandMessage,
    BrandPlanMessage,
    EmptyBrandMessage,
    ModelMessage,
    ModelYearFuel,
    Reference,
    RunPlanMessage,
    StartMessage,
    to_json,
)
from fipe_api.source import factory, http_source
from fipe_api.source.factory import price_source
from fipe_api.source.http_source import BlockedError
from fipe_api.source.tolerant_pace import PaceTableMissingError
from fipe_simulator import Fault, Faults, FipeSimulator
from stage_settings import StageSettings
from tests.aws import client, make_pace_table
from tests.builders import (
    AnyContext,
    any_brand_message,
    any_model_message,
    any_named,
    any_price_message,
    sqs_event,
)
from tests.http_server import http_server, send_json

CACHED = (
    loader_environment, consumer_environment, clients.client, factory._session, factory._pace,
    factory._mirror_pace, factory._secrets, fipe_soma_ingestor._connection,
)  # fmt: skip


@pytest.fixture
def sqs(endpoint: str) -> Any:
    return client("sqs", endpoint)


class Queues:
    """The queues of the function under test."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self.input, self.output, self.ledger = (
            str(sqs.create_queue(QueueName=f"{name}-{uuid.uuid4().hex}")["QueueUrl"])
            for name in ("in", "out", "ledger")
        )

    def received(self, queue: str) -> list[Any]:
        messages = self._sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]

    def count(self, queue: str, state: str) -> int:
        name = f"ApproximateNumberOfMessages{state}"
        return int(self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"][name])

    def event_of(self, *bodies: str) -> dict[str, Any]:
        """Sends bodies to the input queue and receives them, as the event source does."""
        for body in bodies:
            self._sqs.send_message(QueueUrl=self.input, MessageBody=body)
        messages = self._sqs.receive_message(
            QueueUrl=self.input, MaxNumberOfMessages=10, AttributeNames=["All"], VisibilityTimeout=1800
        )["Messages"]
        event = sqs_event(*(message["Body"] for message in messages))
        for record, message in zip(event["Records"], messages, strict=True):
            record |= {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"]}
        return event


@pytest.fixture
def queues(sqs: Any) -> Queues:
    return Queues(sqs)


@pytest.fixture(autouse=True)
def _environment(
    endpoint: str, simulator: FipeSimulator, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SQS_INPUT_URL": queues.input,
        "SQS_OUTPUT_URL": queues.output,
        "SQS_LEDGER_URL": queues.ledger,
        "FIPE_API_URL": simulator.url,
        "FIPE_CALLS_PER_MINUTE": "max",
        "RETRY_DELAY_SECONDS": "7",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cancellation._not_cancelled_at.clear()
    for cached in CACHED:
        cached.cache_clear()
    yield
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture
def _database_environment(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = parse_dsn(dsn)
    monkeypatch.setenv("RDS_HOST", place["host"])
    monkeypatch.setenv("RDS_PORT", place["port"])
    monkeypatch.setenv("RDS_DATABASE", place["dbname"])
    yield
    if fipe_soma_ingestor._connection.cache_info().currsize:
        fipe_soma_ingestor._connection().close()


def test_starts_a_load_with_a_message_a_brand(queues: Queues) -> None:
    context = AnyContext()
    answer = fipe_manufacturer_loader.handler({"vehicle_types": ["car"], "brands": ["Fiat", 395]}, context)
    assert answer == {
        "run_id": context.aws_request_id,
        "references": [{"code": 334, "month": "2026-06", "brands": 2}],
        "brands_sent": 2,
    }
    messages = [convert(body, BrandMessage) for body in queues.received(queues.output)]
    assert {(message.brand.name, message.brands_in_run) for message in messages} == {
        ("Fiat", 2), ("VW - VolksWagen", 2),
    }  # fmt: skip
    assert {str(message.run_id) for message in messages} == {context.aws_request_id}


def test_starts_with_the_same_key_are_the_same_run() -> None:
    def run(**payload: str) -> str:
        return str(fipe_manufacturer_loader.handler({"brands": ["Acura"], **payload}, AnyContext())["run_id"])

    key = "arn:aws:scheduler:sa-east-1:123456789012:schedule/default/fipe-load-dev 2026-11-01T12:00:00Z"
    first = run(start_key=key)
    assert run(start_key=key) == first
    assert len({first, run(start_key=key.replace("01T", "02T")), run(), run()}) == 4


def test_tells_the_ledger_the_brands_and_models_before_their_results(queues: Queues) -> None:
    fipe_manufacturer_loader.handler({"vehicle_types": ["car"], "brands": ["Fiat", 395]}, AnyContext())
    (plan,) = (convert(body, RunPlanMessage) for body in queues.received(queues.ledger))
    assert ({each.brand.name for each in plan.brands}, plan.brands_in_run, plan.whole_month) == (
        {"Fiat", "VW - VolksWagen"}, 2, False,
    )  # fmt: skip
    brand = any_brand_message(brand=any_named(code=1, name="Acura"))
    fipe_model_loader.handler(queues.event_of(to_json(brand)), AnyContext())
    (told,) = (convert(body, BrandPlanMessage) for body in queues.received(queues.ledger))
    found = [body for body in queues.received(queues.output) if body.get("kind") == "model"]
    assert [tuple(model) for model in told.models] == [
        (body["model"]["code"], len(body["years_to_ask"])) for body in found
    ]


def test_a_start_wakes_the_ingestor_which_takes_the_empty_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken: list[tuple[str, Any]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        woken.append((request.path, json.loads(body)))
        send_json(request, {}, 202)

    with http_server(answer) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint)
        monkeypatch.setenv("INGESTOR_FUNCTION", "FipeSomaIngestor-dev")
        assert fipe_manufacturer_loader.handler({"brands": ["Acura"]}, AnyContext())["brands_sent"] == 1
    ((path, event),) = woken
    assert path == "/2015-03-31/functions/FipeSomaIngestor-dev/invocations"
    # It needs no database for that.
    assert fipe_soma_ingestor.handler(event, AnyContext()) == {"batchItemFailures": []}


def test_a_resumed_load_keeps_its_run_and_its_plan(queues: Queues) -> None:
    run_id = str(uuid.uuid4())
    payload = {"run_id": run_id, "reference": 334, "vehicle_types": [1], "brands": [1], "models": [2]}
    assert fipe_manufacturer_loader.handler(payload, AnyContext())["run_id"] == run_id
    (message,) = (convert(body, BrandMessage) for body in queues.received(queues.output))
    assert (str(message.run_id), message.brand.code, message.wanted_models) == (run_id, 1, (2,))
    assert queues.received(queues.ledger) == []


def test_starts_nothing_on_an_invalid_payload(queues: Queues, simulator: FipeSimulator) -> None:
    for payload in ({"brands": []}, {"reference": "2031-01"}):
        answer = fipe_manufacturer_loader.handler(payload, AnyContext())
        assert answer.keys() == {"errorType", "errorMessage"}, "not raised: nobody needs an alarm"
        assert answer["errorType"] == "LoadRequestError"
    assert queues.received(queues.output) == []
    assert set(simulator.statistics().calls) == {"ConsultarTabelaDeReferencia"}


def test_starts_nothing_that_the_queues_would_lose_before_its_turn(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIPE_CALLS_PER_MINUTE", "0.1")
    refused = fipe_manufacturer_loader.handler({}, AnyContext())
    assert "the queues keep a message for 4 days: load fewer" in refused["errorMessage"]
    assert queues.received(queues.output) == queues.received(queues.ledger) == []
    monkeypatch.setenv("RETENTION_DAYS", "14")
    loader_environment.cache_clear()
    assert fipe_manufacturer_loader.handler({"brands": ["Acura"]}, AnyContext())["brands_sent"] == 1


# A load is cancelled ---------------------------------------------------------------------------------------


@pytest.fixture
def _pace_table(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = f"pace-{uuid.uuid4().hex}"
    make_pace_table(client("dynamodb", endpoint), table)
    monkeypatch.setenv("PACE_TABLE", table)


def cancel(run_id: str) -> dict[str, Any]:
    return fipe_manufacturer_loader.handler({"run_id": run_id, "cancel": True}, AnyContext())


@pytest.mark.usefixtures("_pace_table")
def test_the_loaders_drop_what_waits_of_a_cancelled_run_and_nothing_else(
    queues: Queues, simulator: FipeSimulator
) -> None:
    cancelled, other = uuid.uuid4(), uuid.uuid4()
    assert cancel(str(cancelled)) == {"run_id": str(cancelled), "cancelled": True}
    (told,) = queues.received(queues.ledger)
    assert told == {
        "kind": "cancellation", "version": 1, "run_id": str(cancelled), "changes": 1, "cancelled": True,
        "waits_for": "",
    }  # fmt: skip
    brand = {"brand": any_named(code=1, name="Acura")}
    start = StartMessage(run_id=cancelled, request={})
    bodies = [
        to_json(start),
        *(to_json(any_brand_message(run_id=run, **brand)) for run in (cancelled, other)),
    ]
    assert fipe_model_loader.handler(queues.event_of(*bodies), AnyContext()) == {"batchItemFailures": []}
    assert {body["run_id"] for body in queues.received(queues.output)} == {str(other)}
    calls = simulator.statistics().total
    model = to_json(any_model_message(run_id=cancelled))
    assert fipe_price_loader.handler(queues.event_of(model), AnyContext()) == {"batchItemFailures": []}
    assert simulator.statistics().total == calls


@pytest.mark.usefixtures("_pace_table")
def test_each_change_of_a_cancellation_is_told_with_a_number(queues: Queues) -> None:
    run_id = str(uuid.uuid4())
    resume = {"run_id": run_id, "reference": 334, "vehicle_types": [1], "brands": [1]}
    told = []
    for payload in (
        {"run_id": run_id, "cancel": True}, {"run_id": run_id, "cancel": True}, resume, resume,
        {"run_id": run_id, "cancel": True},
    ):  # fmt: skip
        assert "errorType" not in fipe_manufacturer_loader.handler(payload, AnyContext())
        told += [(each["changes"], each["cancelled"]) for each in queues.received(queues.ledger)]
    # Who repeats one because the message was lost tells the same again.
    assert told == [(1, True), (1, True), (2, False), (2, False), (3, True)]


@pytest.mark.usefixtures("_pace_table")
def test_a_start_with_the_key_of_a_cancelled_run_is_refused(queues: Queues) -> None:
    payload = {"brands": ["Acura"], "start_key": "daily"}
    run_id = fipe_manufacturer_loader.handler(payload, AnyContext())["run_id"]
    cancel(run_id)
    queues.received(queues.output)
    refused = fipe_manufacturer_loader.handler(payload, AnyContext())
    assert refused["errorMessage"] == (
        f"run {run_id} is cancelled: `fipe resume {run_id}` loads what it lacks"
    )
    assert queues.received(queues.output) == []


def test_a_cancellation_needs_a_run_and_a_table(queues: Queues) -> None:
    without_run = fipe_manufacturer_loader.handler({"cancel": True}, AnyContext())
    assert without_run["errorMessage"] == "cancel needs the run_id of the load to cancel"
    assert "its loaders have no PACE_TABLE" in cancel(str(uuid.uuid4()))["errorMessage"]
    assert queues.received(queues.ledger) == []


# A start while the source does not answer -------------------------------------------------------------------


def test_a_start_spends_a_short_wait_in_the_invocation(queues: Queues, simulator: FipeSimulator) -> None:
    simulator.faults = Faults(rates={Fault.TOO_MANY_REQUESTS_RETRY_AFTER: 0.5}, seed=3, retry_after_seconds=1)
    answer = fipe_manufacturer_loader.handler({"brands": ["Fiat"]}, AnyContext())
    assert simulator.statistics().statuses[429] > 0
    assert (answer["brands_sent"], "waiting" in answer) == (1, False)
    assert queues.count(queues.output, "") == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.TOO_MANY_REQUESTS, "throttled by the source; try again in 61 s"),
        (Fault.FORBIDDEN, "blocked by the source; try again in 120 s"),
        (Fault.TRUNCATED_JSON, "Input data was truncated"),
    ],
)
def test_a_start_that_the_source_does_not_answer_goes_on_from_the_queue(
    queues: Queues,
    simulator: FipeSimulator,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    reason: str,
) -> None:
    monkeypatch.setattr(http_source, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(outbox, "ceil", lambda _: 0)  # handed back without a delay
    simulator.faults = Faults.of(fault, rate=1)
    context = AnyContext()
    payload = {"brands": ["Fiat"], "vehicle_types": ["car"]}
    answer = fipe_manufacturer_loader.handler(payload, context)
    assert answer == {
        "run_id": context.aws_request_id, "references": [], "brands_sent": 0, "waiting": answer["waiting"],
    }  # fmt: skip
    assert reason in answer["waiting"]
    (body,) = queues.received(queues.output)
    start = convert(body, StartMessage)
    assert (str(start.run_id), start.request) == (context.aws_request_id, payload)
    # FipeModelLoader goes on with it: first the source still refuses, then it answers.
    assert fipe_model_loader.handler(queues.event_of(json.dumps(body)), AnyContext()) == {
        "batchItemFailures": []
    }
    (again,) = queues.received(queues.input)
    simulator.faults = Faults()
    factory._pace.cache_clear()
    fipe_model_loader.handler(sqs_event(json.dumps(again)), AnyContext())
    (brand,) = (convert(each, BrandMessage) for each in queues.received(queues.input))
    (plan,) = (convert(each, RunPlanMessage) for each in queues.received(queues.ledger))
    assert (brand.run_id, plan.run_id) == (start.run_id, start.run_id)
    assert (brand.brand.name, plan.brands_in_run, plan.whole_month) == ("Fiat", 1, False)


def test_a_start_keeps_what_it_has_found(simulator: FipeSimulator) -> None:
    source = price_source(AnyContext(), uuid.uuid4())
    first = StartMessage(run_id=uuid.uuid4(), request={"reference": "2026-06"})
    sent: list[Any] = []

    def start(message: StartMessage, calls: int) -> StartMessage | None:
        started = start_load(message, _Refusing(source, calls), loader_environment())
        sent.extend(started.messages)
        left = started.unfinished and started.unfinished.message
        assert left is None or isinstance(left, StartMessage)
        return left

    left = start(first, 2)
    assert left is not None
    assert left.reference == Reference(code=334, month=date(2026, 6, 1))
    assert [each.vehicle_type for each in left.listed] == [1]
    left = start(left, 1)
    assert left is not None
    assert sent == []
    assert start(left, 100) is None
    calls = simulator.statistics().calls
    assert calls == {"ConsultarTabelaDeReferencia": 1, "ConsultarMarcas": 3}
    (plan,) = (each for each in sent if isinstance(each, RunPlanMessage))
    assert len([each for each in sent if isinstance(each, BrandMessage)]) == plan.brands_in_run


class _Refusing:
    """A source that refuses from a call on."""

    def __init__(self, source: Any, calls: int) -> None:
        self._source, self._left = source, calls

    def __getattr__(self, name: str) -> Any:
        if not self._left:
            raise BlockedError("blocked", 120)
        self._left -= 1
        return getattr(self._source, name)


def test_a_start_from_the_queue_that_is_a_mistake_fails_its_message(queues: Queues) -> None:
    start = StartMessage(run_id=uuid.uuid4(), request={"brands": ["Fait"]})
    event = queues.event_of(to_json(start))
    assert len(fipe_model_loader.handler(event, AnyContext())["batchItemFailures"]) == 1
    assert queues.count(queues.input, "") == queues.count(queues.ledger, "") == 0


def test_a_load_of_fipe_codes_looks_them_up_and_then_starts(queues: Queues) -> None:
    context = AnyContext()
    answer = fipe_manufacturer_loader.handler({"fipe_codes": ["005340-6", "001018-9"]}, context)
    assert answer == {
        "run_id": context.aws_request_id, "references": [], "brands_sent": 0,
        "waiting": "2 of 2 FIPE codes are not in the database, and are looked up first",
    }  # fmt: skip
    (body,) = queues.received(queues.output)
    for _ in range(2):  # looked up, then started
        assert fipe_model_loader.handler(queues.event_of(json.dumps(body)), AnyContext()) == {
            "batchItemFailures": []
        }
        body, *others = queues.received(queues.input)
    brands = [convert(each, BrandMessage) for each in (body, *others)]
    assert {(each.brand.name, len(each.wanted_models), each.brands_in_run) for each in brands} == {
        ("Fiat", 1, 2), ("VW - VolksWagen", 1, 2),
    }  # fmt: skip
    (plan,) = (convert(each, RunPlanMessage) for each in queues.received(queues.ledger))
    assert (str(plan.run_id), plan.whole_month) == (context.aws_request_id, False)


# A load that goes on ----------------------------------------------------------------------------------------


def test_a_resumed_load_closes_a_brand_that_is_no_longer_listed(queues: Queues) -> None:
    payload = {"run_id": str(uuid.uuid4()), "reference": 334, "vehicle_types": [1], "brands": [1, 9999]}
    assert fipe_manufacturer_loader.handler(payload, AnyContext())["brands_sent"] == 1
    (closed,) = (convert(body, EmptyBrandMessage) for body in queues.received(queues.ledger))
    assert (closed.vehicle_type, closed.brand.code, closed.models_in_brand) == (1, 9999, 0)


def test_a_load_whose_plan_was_lost_is_planned_again_and_asks_for_the_other_brands(
    queues: Queues, simulator: FipeSimulator
) -> None:
    brands = [code for code, _ in simulator.catalogue.brands(1)]
    known = [[1, code] for code in brands[2:]]
    payload = {
        "run_id": str(uuid.uuid4()), "reference": 334, "vehicle_types": [1], "known_brands": known,
        "unknown_brands": 2,
    }  # fmt: skip
    fipe_manufacturer_loader.handler(payload, AnyContext())
    (plan,) = (convert(body, RunPlanMessage) for body in queues.received(queues.ledger))
    assert plan.brands_in_run == len(plan.brands) == len(brands)
    sent = [convert(body, BrandMessage) for body in queues.received(queues.output)]
    assert {each.brand.code for each in sent} == set(brands[:2])
    assert {each.brands_in_run for each in sent} == {len(brands)}
    refused = fipe_manufacturer_loader.handler(
        {**payload, "vehicle_types": [1, 2, 3], "known_brands": [], "unknown_brands": 1}, AnyContext()
    )
    assert "it was for 1 of 12 brands: start the load again" in refused["errorMessage"]


def test_reports_only_the_failed_message_when_one_is_malformed(queues: Queues) -> None:
    good = to_json(any_brand_message(brand=any_named(code=329, name="Fiat")))
    event = queues.event_of(good, '{"version": 1}')
    (bad,) = [record["messageId"] for record in event["Records"] if record["body"] != good]
    answer = fipe_model_loader.handler(event, AnyContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": bad}]}
    assert {body["brand"]["name"] for body in queues.received(queues.output)} == {"Fiat"}


def test_lets_a_failed_message_be_tried_again_after_the_retry_delay(queues: Queues) -> None:
    event = queues.event_of("not JSON")
    asked: list[dict[str, Any]] = []
    clients.sqs_client().meta.events.register(
        "provide-client-params.sqs.ChangeMessageVisibility", lambda params, **_: asked.append(params)
    )
    event["Records"][0]["attributes"]["ApproximateReceiveCount"] = "3"
    fipe_price_loader.handler(event, AnyContext())
    assert [call["VisibilityTimeout"] for call in asked] == [7 * 2**2]
    assert queues.count(queues.input, "NotVisible") == 1


def test_a_message_that_failed_stays_failed_when_sqs_does_not_let_it_be_tried_again_soon(
    queues: Queues,
) -> None:
    good = to_json(any_brand_message(brand=any_named(code=329, name="Fiat")))
    event = queues.event_of(good, "not JSON")
    for record in event["Records"]:
        record["receiptHandle"] = "of another queue"
    answer = fipe_model_loader.handler(event, AnyContext())
    assert len(answer["batchItemFailures"]) == 1
    assert {body["brand"]["name"] for body in queues.received(queues.output)} == {"Fiat"}


def test_the_shortest_timeout_is_enough_for_all_attempts_of_a_call(
    queues: Queues, simulator: FipeSimulator
) -> None:
    (least,) = (
        rule.ge
        for rule in StageSettings.model_fields["function_timeout_seconds"].metadata
        if isinstance(rule, annotated_types.Ge)
    )
    context = AnyContext(seconds_left=least)
    # Each of the others may take a turn before this function does, at the default rate.
    turns = 5 * 60 / 40 * http_source.ATTEMPTS
    needed = turns + factory.RESERVED_SECONDS + http_source.TIMEOUT_SECONDS
    assert least >= needed
    code, name = simulator.catalogue.models(1, 1)[1]
    years = simulator.catalogue.model_years_of_model(1, 1, code)[:2]
    model = any_model_message(
        brand=any_named(code=1, name="Acura"),
        model=any_named(code=code, name=name),
        years_to_ask=tuple(
            ModelYearFuel(model_year=year.model_year, fuel_code=year.fuel_code) for year in years
        ),
    )
    fipe_price_loader.handler(queues.event_of(to_json(model)), context)
    (price,) = queues.received(queues.output)
    assert len(price["prices"]) == 2


def test_hands_a_model_back_when_the_source_throttles_without_failing_it(
    queues: Queues, simulator: FipeSimulator
) -> None:
    simulator.faults = Faults.of(Fault.TOO_MANY_REQUESTS, rate=1)
    model = any_model_message()
    answer = fipe_price_loader.handler(queues.event_of(to_json(model)), AnyContext())
    assert answer == {"batchItemFailures": []}
    assert queues.count(queues.input, "Delayed") == 1
    assert queues.received(queues.output) == []


# The answers of a pace table that fails; a closed port gives none.
FAILURES = {
    "fails": (500, "InternalServerError"),
    "throttles": (400, "ProvisionedThroughputExceededException"),
    "throttles its account": (400, "ThrottlingException"),
}
FORBIDDEN = (400, "AccessDeniedException")


@contextmanager
def failing_pace(monkeypatch: pytest.MonkeyPatch, status: int, code: str) -> Iterator[list[str]]:
    """Gives the functions a pace table whose requests all fail; gives the requests."""
    requests: list[str] = []

    def fail(request: BaseHTTPRequestHandler, _body: bytes) -> None:
        requests.append(request.headers["X-Amz-Target"].partition(".")[2])
        send_json(request, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "any"}, status)

    with http_server(fail) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        monkeypatch.setenv("PACE_TABLE", "pace")
        yield requests


@pytest.mark.parametrize("failure", FAILURES)
def test_hands_messages_back_when_the_pace_table_fails_without_failing_them(
    queues: Queues, simulator: FipeSimulator, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    with failing_pace(monkeypatch, *FAILURES[failure]) as requests:
        models = [to_json(any_model_message()) for _ in range(3)]
        answer = fipe_price_loader.handler(queues.event_of(*models), AnyContext())
    assert answer == {"batchItemFailures": []}
    assert queues.count(queues.input, "Delayed") == len(models)
    assert simulator.statistics().total == 0
    # Whether the run is cancelled, and the pace; the other messages do not ask the table again.
    assert requests == ["GetItem"] * clients.TABLE_ATTEMPTS * 2


def test_hands_messages_back_when_nothing_answers_for_the_pace_table(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing_pace(monkeypatch, *FORBIDDEN):
        pass
    brand = to_json(any_brand_message())
    answer = fipe_model_loader.handler(queues.event_of(brand), AnyContext())
    assert answer == {"batchItemFailures": []}
    assert queues.count(queues.input, "Delayed") == 1


def test_a_start_goes_on_from_the_queue_when_the_pace_table_fails(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing_pace(monkeypatch, *FAILURES["fails"]):
        answer = fipe_manufacturer_loader.handler({}, AnyContext())
    assert answer["waiting"] == "the pace table does not answer; try again in 30 s"
    assert queues.count(queues.output, "Delayed") == 1


def test_a_missing_right_to_the_pace_table_fails_the_start_and_each_message(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing_pace(monkeypatch, *FORBIDDEN):
        answer = fipe_price_loader.handler(queues.event_of(to_json(any_model_message())), AnyContext())
        assert len(answer["batchItemFailures"]) == 1
        with pytest.raises(ClientError, match="AccessDenied"):
            fipe_manufacturer_loader.handler({}, AnyContext())


@pytest.mark.usefixtures("queues")
def test_a_start_a_resume_and_a_cancellation_without_the_pace_table_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with failing_pace(monkeypatch, 400, "ResourceNotFoundException"):
        run = {"run_id": str(uuid.uuid4())}
        for event in ({}, run, run | {"cancel": True}):
            with pytest.raises(PaceTableMissingError, match="the pace table is missing, and without it"):
                fipe_manufacturer_loader.handler(event, AnyContext())


def test_hands_a_brand_back_at_once_when_its_own_time_is_up(queues: Queues) -> None:
    brand = any_brand_message(brand=any_named(code=329, name="Fiat"))
    context = AnyContext(seconds_left=5)
    assert fipe_model_loader.handler(queues.event_of(to_json(brand)), context) == {"batchItemFailures": []}
    assert [convert(body, BrandMessage) for body in queues.received(queues.input)] == [brand]


def test_a_brand_becomes_models_and_a_model_its_prices(queues: Queues, simulator: FipeSimulator) -> None:
    brand = any_brand_message(brand=any_named(code=1, name="Acura"))
    fipe_model_loader.handler(queues.event_of(to_json(brand)), AnyContext())
    models = [convert(body, ModelMessage) for body in queues.received(queues.output)]
    assert [model.model.code for model in models] == [code for code, _ in simulator.catalogue.models(1, 1)]
    event = queues.event_of(*(to_json(model) for model in models))
    assert fipe_price_loader.handler(event, AnyContext()) == {"batchItemFailures": []}
    prices = queues.received(queues.output)
    assert sum(len(body["prices"]) for body in prices) == sum(len(model.years_to_ask) for model in models) > 0


def stored(dsn: str) -> int:
    with closing(psycopg2.connect(dsn)) as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from fipe.vehicle_price")
        return int(cursor.fetchone()[0])


@pytest.mark.usefixtures("_database_environment")
def test_writes_the_good_messages_of_a_batch_and_reports_each_poison_alone(dsn: str, queues: Queues) -> None:
    contradicts = any_price_message(reference=Reference(code=1, month=date(2026, 6, 1)))
    good = [any_price_message() for _ in range(3)]
    fipe_soma_ingestor.handler(queues.event_of(to_json(good[0])), AnyContext())
    event = queues.event_of(*(to_json(message) for message in (good[1], contradicts, good[2])), "poison")
    poisons = {
        record["messageId"]
        for record in event["Records"]
        if record["body"] in ("poison", to_json(contradicts))
    }
    answer = fipe_soma_ingestor.handler(event, AnyContext())
    assert {failure["itemIdentifier"] for failure in answer["batchItemFailures"]} == poisons
    assert stored(dsn) == 3


@pytest.mark.usefixtures("_database_environment")
def test_survives_a_warm_connection_that_the_server_has_closed(
    dsn: str, database: connection, queues: Queues
) -> None:
    fipe_soma_ingestor.handler(queues.event_of(to_json(any_price_message())), AnyContext())
    with database, database.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and usename = 'fipe_ingestor'"
        )
        assert cursor.fetchall() == [(True,)]
    answer = fipe_soma_ingestor.handler(queues.event_of(to_json(any_price_message())), AnyContext())
    assert answer == {"batchItemFailures": []}
    assert stored(dsn) == 2


@pytest.mark.usefixtures("_database_environment")
def test_the_ingestor_calls_no_aws_api_not_even_when_messages_fail(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = queues.event_of(to_json(any_price_message()), "poison")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert len(fipe_soma_ingestor.handler(event, AnyContext())["batchItemFailures"]) == 1


@pytest.mark.usefixtures("_database_environment")
def test_reports_every_message_and_loses_none_when_the_database_cannot_be_reached(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDS_PORT", "1")
    event = queues.event_of(*(to_json(any_price_message()) for _ in range(2)))
    answer = fipe_soma_ingestor.handler(event, AnyContext())
    assert len(answer["batchItemFailures"]) == 2


def test_signs_a_token_for_the_role_without_calling_any_api() -> None:
    environment = DatabaseEnvironment(
        rds_host="fipe.cluster-x.us-east-1.rds.amazonaws.com", rds_port=5432, rds_user="fipe_ingestor"
    )
    token = urlparse(f"https://{get_db_password(environment)}")
    asked = parse_qs(token.query)
    assert token.netloc == "fipe.cluster-x.us-east-1.rds.amazonaws.com:5432"
    assert (asked["Action"], asked["DBUser"]) == (["connect"], ["fipe_ingestor"])
    assert "X-Amz-Signature" in asked


def test_reads_the_secret_anew_for_each_connection(endpoint: str) -> None:
    secrets = client("secretsmanager", endpoint)
    arn = secrets.create_secret(Name=f"db-{uuid.uuid4().hex}", SecretString='{"password": "first"}')["ARN"]
    environment = DatabaseEnvironment(rds_host="any", db_secret_arn=arn)
    assert get_db_password(environment) == "first"
    secrets.put_secret_value(SecretId=arn, SecretString='{"password": "rotated"}')
    assert get_db_password(environment) == "rotated"


def test_names_the_environment_variables_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQS_OUTPUT_URL")
    with pytest.raises(RuntimeError, match=r"variables: .* missing required field `SQS_OUTPUT_URL`"):
        fipe_manufacturer_loader.handler({}, AnyContext())


# Answers that are not what was asked ------------------------------------------------------------------------


@pytest.mark.usefixtures("_database_environment")
def test_a_rejected_answer_ends_in_the_quarantine_with_the_call_that_gave_it(
    database: connection, queues: Queues, simulator: FipeSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_source, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setenv("REJECTED_ANSWERS_URL", queues.output)
    simulator.faults = Faults.of(Fault.TRUNCATED_JSON, rate=1)
    model = any_model_message()
    event = queues.event_of(to_json(model))
    assert fipe_price_loader.handler(event, AnyContext()) == {"batchItemFailures": []}
    assert queues.count(queues.input, "Delayed") == 1, "the model is handed back, not failed"
    rejected = queues.received(queues.output)
    assert [body["kind"] for body in rejected] == ["rejected_answer"] * 3
    event = queues.event_of(*(json.dumps(body) for body in rejected))
    assert fipe_soma_ingestor.handler(event, AnyContext()) == {"batchItemFailures": []}
    with database, database.cursor() as cursor:
        cursor.execute(
            "select run_id::text, reference_code, call, parameters->>'codigoModelo', times_seen"
            " from fipe.rejected_answer"
        )
        ((run_id, reference, call, code, times),) = cursor.fetchall()
    assert (run_id, reference, code) == (str(model.run_id), 334, str(model.model.code))
    assert (call, times) == ("ConsultarValorComTodosParametros", 3)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the functions log."""
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


@pytest.mark.parametrize(
    "name", ["A\nB", "A\r\nSTART", "A\x1b[2JB", "A\u2028B", "A\x85B", "A\u202eB", '{"level":"x"}']
)
def test_a_name_can_neither_end_a_log_line_nor_steer_a_terminal(
    queues: Queues, simulator: FipeSimulator, log: io.StringIO, name: str
) -> None:
    simulator.faults = Faults.of(Fault.TOO_MANY_REQUESTS, rate=1)
    model = any_model_message(model=any_named(name=name), brand=any_named(name=name))
    fipe_price_loader.handler(queues.event_of(to_json(model), f'"{name}"'), AnyContext())
    handed_back, failed = log.getvalue().splitlines()
    assert json.loads(handed_back)["model"] == name
    assert json.loads(failed)["message"] == "message failed"
    assert all(line.isascii() and line.isprintable() for line in (handed_back, failed))


def test_what_is_sent_back_is_logged_and_counted(
    queues: Queues, simulator: FipeSimulator, capsys: pytest.CaptureFixture[str], log: io.StringIO
) -> None:
    simulator.faults = Faults.of(Fault.FORBIDDEN, rate=1)
    model = any_model_message()
    fipe_price_loader.handler(queues.event_of(to_json(model)), AnyContext())
    line = json.loads(log.getvalue())
    assert line["message"] == "handed back"
    assert (line["model"], line["retry_in"]) == (model.model.name, 120)
    counted: dict[str, Any] = {}
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        counted |= {name: line[name] for name in ("MessagesHandedBack", "CallsBlocked") if name in line}
    assert counted == {"MessagesHandedBack": [1.0], "CallsBlocked": [1.0]}


def test_the_mirror_answers_while_fipe_blocks_with_its_token_and_within_its_day(
    endpoint: str, queues: Queues, simulator: FipeSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"pace-{uuid.uuid4().hex}"
    make_pace_table(client("dynamodb", endpoint), table)
    secret = client("secretsmanager", endpoint).create_secret(Name=uuid.uuid4().hex, SecretString="token\n")
    variables = {
        "PACE_TABLE": table,
        "PARALLELUM_URL": simulator.mirror_url,
        "PARALLELUM_CALLS_PER_DAY": "4",
        "PARALLELUM_TOKEN_SECRET_ARN": secret["ARN"],
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert factory._mirror_token() == "token"
    simulator.faults = Faults.of(Fault.FORBIDDEN, rate=1)
    code, name = simulator.catalogue.models(1, 1)[1]
    years = simulator.catalogue.model_years_of_model(1, 1, code)[:5]
    model = any_model_message(
        brand=any_named(code=1, name="Acura"),
        model=any_named(code=code, name=name),
        years_to_ask=tuple(
            ModelYearFuel(model_year=year.model_year, fuel_code=year.fuel_code) for year in years
        ),
    )
    assert len(years) == 5
    fipe_price_loader.handler(queues.event_of(to_json(model)), AnyContext())
    calls = simulator.statistics().calls
    assert calls == {"ConsultarValorComTodosParametros": 1, "Parallelum": 4}
    assert queues.count(queues.input, "Delayed") == 1, "the fifth price waits for FIPE, or for tomorrow"
