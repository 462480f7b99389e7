"""What the functions answer to a check, and how they drop its messages."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import convert
from psycopg2.extensions import connection, parse_dsn

from fipe_api import fipe_manufacturer_loader, fipe_model_loader, fipe_price_loader, fipe_soma_ingestor
from fipe_api.aws.observability import logger
from fipe_api.aws.self_check import DROPPED, Facts
from fipe_api.environment import loader_environment
from fipe_api.load import status
from fipe_api.messages import to_json
from fipe_api.source import factory, http_source
from fipe_simulator import Fault, Faults, FipeSimulator
from tests.aws import client, make_pace_table
from tests.builders import AnyContext, any_price_message, sqs_event

CHECK: dict[str, Any] = {"check": {}}
DROP = '{"check": "0000"}'
LOADERS = (fipe_manufacturer_loader, fipe_model_loader, fipe_price_loader)
CACHED = (loader_environment, factory._session, factory._pace, factory._mirror_pace)
COUNTS = """
select (select count(*) from fipe.reference_month), (select count(*) from fipe.model),
       (select count(*) from fipe.price), (select count(*) from fipe.load_run),
       (select count(*) from fipe.load_brand), (select count(*) from fipe.rejected_answer)
"""


@pytest.fixture
def pace(endpoint: str) -> Iterator[Any]:
    dynamodb = client("dynamodb", endpoint)
    make_pace_table(dynamodb, "pace")
    yield dynamodb
    dynamodb.delete_table(TableName="pace")


@pytest.fixture(autouse=True)
def _environment(endpoint: str, simulator: FipeSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SQS_OUTPUT_URL": "unused",
        "SQS_LEDGER_URL": "unused",
        "FIPE_API_URL": simulator.url,
        "PACE_TABLE": "pace",
        "PARALLELUM_URL": simulator.mirror_url,
        "PARALLELUM_CALLS_PER_DAY": "500",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(http_source, "FIRST_BACKOFF_SECONDS", 0)
    for cached in CACHED:
        cached.cache_clear()
    yield
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture
def _database_environment(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = parse_dsn(dsn)
    monkeypatch.setenv("RDS_HOST", place["host"])
    monkeypatch.setenv("RDS_PORT", place["port"])
    monkeypatch.setenv("RDS_DATABASE", place["dbname"])


def asked(handler: Any) -> Facts:
    return convert(handler(CHECK, AnyContext()), Facts)


@pytest.mark.parametrize("loader", LOADERS, ids=lambda module: module.__name__.rpartition(".")[2])
@pytest.mark.usefixtures("pace")
def test_a_loader_asks_each_source_once(loader: Any, simulator: FipeSimulator) -> None:
    facts = asked(loader.handler)
    assert [(source.name, source.state, source.words) for source in facts.sources] == [
        ("fipe", "answered", "2026-06"),
        ("parallelum", "answered", "2026-06"),
    ]
    assert facts.python.startswith("3.")
    assert {"botocore", "urllib3"} <= facts.packages.keys()
    assert simulator.statistics().calls["ConsultarTabelaDeReferencia"] == 1


def test_the_pace_learns_of_a_block_and_the_source_is_left_alone(simulator: FipeSimulator, pace: Any) -> None:
    simulator.faults = Faults.of(Fault.FORBIDDEN, rate=1)
    states = [asked(loader.handler).sources[0] for loader in LOADERS]
    assert {source.state for source in states} == {"blocked"}
    assert all(source.words.startswith("blocked by the source; try again in 1") for source in states)
    assert simulator.statistics().total == 1 + len(states), "once FIPE, and the mirror each time"
    item = pace.get_item(TableName="pace", Key={"source": {"S": "fipe"}})["Item"]
    assert item["outage_kind"] == {"S": "blocked"}


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (Fault.STATUS_503, "down"),
        (Fault.TOO_MANY_REQUESTS, "throttled"),
        (Fault.TRUNCATED_JSON, "unusable"),
    ],
)
@pytest.mark.usefixtures("pace")
def test_a_source_that_does_not_answer_well(simulator: FipeSimulator, fault: Fault, state: str) -> None:
    simulator.faults = Faults.of(fault, rate=1)
    assert asked(fipe_price_loader.handler).sources[0].state == state


def test_without_the_pace_table_no_source_is_asked(simulator: FipeSimulator) -> None:
    official, _ = asked(fipe_price_loader.handler).sources
    assert official.state == "not asked"
    assert official.words == "the pace table is missing, and without it no loader calls a source"
    assert simulator.statistics().total == 0


@pytest.mark.usefixtures("_database_environment")
def test_the_ingestor_rehearses_its_work_and_leaves_nothing(database: connection) -> None:
    with database.cursor() as cursor:
        for _ in range(2):
            facts = asked(fipe_soma_ingestor.handler)
            assert facts.database is not None
            assert (facts.database.error, facts.database.user) == ("", "fipe_ingestor")
            assert facts.database.done == "wrote 2 prices, and undid it"
            assert "psycopg2" in facts.packages
            cursor.execute(COUNTS)
            assert set(cursor.fetchall()[0]) == {0}


@pytest.mark.usefixtures("_database_environment")
def test_a_right_that_the_ingestor_lacks(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("revoke delete on fipe.price from fipe_ingestor")
    facts = asked(fipe_soma_ingestor.handler)
    assert facts.database is not None
    assert facts.database.error == "permission denied for table price"


@pytest.mark.usefixtures("_database_environment", "database")
def test_the_status_reads_its_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDS_USER", "fipe_status")
    facts = asked(status.handler)
    assert facts.database is not None
    assert (facts.database.error, facts.database.done) == ("", "read 0 loads")


@pytest.mark.usefixtures("_database_environment")
def test_a_message_of_a_check_is_dropped_before_the_others_are_read(
    database: connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger._logger, "propagate", True)
    event = sqs_event(DROP, to_json(any_price_message()), '{"check": 1}')
    with caplog.at_level(logging.INFO):
        answer = fipe_soma_ingestor.handler(event, AnyContext())
    failed = event["Records"][2]["messageId"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert [record.__dict__["check"] for record in caplog.records if record.message == DROPPED] == ["0000"]
    with database.cursor() as cursor:
        cursor.execute("select count(*) from fipe.price")
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize("consumer", [fipe_model_loader, fipe_price_loader, fipe_soma_ingestor])
def test_a_batch_of_check_messages_alone_is_no_work(consumer: Any, simulator: FipeSimulator) -> None:
    assert consumer.handler(sqs_event(DROP, DROP), AnyContext()) == {"batchItemFailures": []}
    assert simulator.statistics().total == 0


def test_what_only_looks_like_a_message_of_a_check_fails() -> None:
    bodies = ['{"check": "x", "more": 1}', '{"check"', json.dumps({"check": "x"}) + "!"]
    answer = fipe_soma_ingestor.handler(sqs_event(*bodies), AnyContext())
    assert len(answer["batchItemFailures"]) == len(bodies)
