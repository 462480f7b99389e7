"""FipeLakeWriter on a real database and moto's S3: what the bucket holds is what the database says."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from psycopg2.extensions import connection
from pyarrow import dataset, fs

from fipe_api import fipe_lake_writer
from fipe_api.aws.bucket import Bucket
from fipe_api.aws.clients import client as function_client
from fipe_api.database import partitions
from fipe_api.database.writer import write_rows
from fipe_cli.export import Selection
from fipe_cli.partitions import export_months
from infrastructure.lake import FILES
from tests.aws import aws_apis, client
from tests.builders import JUNE_2026, MAY_2026, AnyContext, sqs_event
from tests.databases import as_function
from tests.months import QUESTIONS, SAMPLE, answer, answer_of_files, correct_june, priced

JUNE, MAY = "reference_month=2026-06/prices.parquet", "reference_month=2026-05/prices.parquet"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws_apis() as url:
        yield url


@pytest.fixture
def bucket(dsn: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket, and the function's environment."""
    name = f"lake-{uuid4().hex}"
    client("s3", endpoint).create_bucket(Bucket=name)
    as_function(dsn, "fipe_reader", monkeypatch)
    monkeypatch.setenv("EXPORT_BUCKET", name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    function_client.cache_clear()
    yield name
    function_client.cache_clear()


@pytest.fixture
def two_months(database: connection) -> connection:
    write_rows(database, priced(MAY_2026.month, MAY_2026.code, "0.987")[:-30])
    write_rows(database, priced(JUNE_2026.month, JUNE_2026.code))
    return database


def announcement(month: str, kind: str = "load_complete") -> str:
    """What SNS hands on to the queue."""
    told = {"version": 1, "id": str(uuid4()), "kind": kind, "stage": "dev", "reference_month": month}
    return json.dumps(told | {"run_id": str(uuid4()), "whole_month": True, "prices": 3})


def told(*bodies: str) -> dict[str, Any]:
    answered: dict[str, Any] = fipe_lake_writer.handler(sqs_event(*bodies), AnyContext())
    return answered


def objects(endpoint: str, bucket: str) -> dict[str, str]:
    """The keys in a bucket, with what tells one object from another."""
    found = client("s3", endpoint).list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: f"{entry['ETag']} {entry['LastModified']}" for entry in found}


@pytest.mark.both_postgres
def test_duckdb_over_the_bucket_answers_as_the_database_does_after_a_correction_too(
    two_months: connection, bucket: str, endpoint: str
) -> None:
    s3 = fs.S3FileSystem(
        endpoint_override=endpoint.removeprefix("http://"), scheme="http", region="us-east-1",
        access_key="test", secret_key="test",
    )  # fmt: skip

    def ask(question: str) -> list[Any]:
        with duckdb.connect() as duck:
            duck.register("lake", dataset.dataset(bucket, filesystem=s3, partitioning="hive"))
            return answer_of_files(duck, "lake", question)

    assert told(announcement("2026-05"), announcement("2026-06")) == {"batchItemFailures": []}
    before = {}
    for name, question in QUESTIONS.items():
        before[name] = answer(two_months, question)
        assert ask(question) == before[name] != [], name
    correct_june(two_months)
    assert told(announcement("2026-06", "month_changed")) == {"batchItemFailures": []}
    for name, question in QUESTIONS.items():
        assert ask(question) == answer(two_months, question) != before[name], name


def test_what_is_up_to_date_is_not_written_again(two_months: connection, bucket: str, endpoint: str) -> None:
    asked = {"reference_month": "2026-06"}
    first = fipe_lake_writer.handler(asked, AnyContext())
    assert first == {
        "reference_month": "2026-06", "prices": len(SAMPLE), "loaded": "whole", "is_written": True,
        "place": f"s3://{bucket}/reference_month=2026-06",
    }  # fmt: skip
    before = objects(endpoint, bucket)
    assert list(before) == [JUNE]
    assert fipe_lake_writer.handler(asked, AnyContext())["is_written"] is False
    assert told(announcement("2026-06"), announcement("2026-06")) == {"batchItemFailures": []}
    assert objects(endpoint, bucket) == before
    correct_june(two_months)
    assert fipe_lake_writer.handler(asked, AnyContext())["is_written"] is True
    assert objects(endpoint, bucket) != before


@pytest.mark.usefixtures("bucket")
def test_a_month_that_changes_while_it_is_written_ends_as_the_database_has_it(
    two_months: connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Bucket.replaced
    corrections = [lambda: correct_june(two_months)]

    def slow(self: Bucket, month: str, note: str) -> Any:
        if corrections:  # the prices were read before the correction, and are stored after it
            corrections.pop()()
        return put(self, month, note)

    monkeypatch.setattr(Bucket, "replaced", slow)
    assert fipe_lake_writer.handler({"reference_month": "2026-06"}, AnyContext())["prices"] == len(SAMPLE) - 1


@pytest.mark.usefixtures("two_months")
def test_two_at_once_write_the_same(bucket: str, endpoint: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: told(announcement("2026-06")), range(8)))
    assert answers == [{"batchItemFailures": []}] * 8
    assert list(objects(endpoint, bucket)) == [JUNE]


def test_a_failure_is_said_and_leaves_the_file_as_it_was(
    two_months: connection, bucket: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(announcement("2026-06"))
    before = objects(endpoint, bucket)
    correct_june(two_months)
    event = sqs_event(announcement("2026-06"), announcement("June"), announcement("2026-05"), "nothing")

    def full(target: Any, *_: Any) -> int:
        target.write(b"PAR1 half a month")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("fipe_api.database.parquet.write_months", full)
        answered = fipe_lake_writer.handler(event, AnyContext())
    assert len(answered["batchItemFailures"]) == 4
    assert objects(endpoint, bucket) == before
    failed = fipe_lake_writer.handler(event, AnyContext())["batchItemFailures"]
    assert [each["itemIdentifier"] for each in failed] == [
        event["Records"][place]["messageId"] for place in (1, 3)
    ]
    assert objects(endpoint, bucket).keys() == {MAY, JUNE}
    monkeypatch.setenv("EXPORT_BUCKET", f"not-{bucket}")
    with pytest.raises(Exception, match="NoSuchBucket"):
        fipe_lake_writer.handler({"reference_month": "2026-06"}, AnyContext())


@pytest.mark.usefixtures("two_months")
def test_a_month_without_prices_has_no_file(bucket: str, endpoint: str) -> None:
    answered = fipe_lake_writer.handler({"reference_month": "2020-01"}, AnyContext())
    assert (answered["prices"], answered["is_written"], objects(endpoint, bucket)) == (0, False, {})
    for wrong in ({}, {"reference_month": "latest"}, {"reference_month": None}):
        refused = fipe_lake_writer.handler(wrong, AnyContext())
        assert refused.keys() == {"errorType", "errorMessage"}, "not raised: nobody needs an alarm"
        assert refused["errorMessage"].endswith('use a month like "2026-06"')


@pytest.mark.usefixtures("two_months")
def test_a_check_says_what_it_reaches(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked() -> dict[str, Any]:
        facts: dict[str, Any] = fipe_lake_writer.handler({"check": {}}, AnyContext())["database"]
        return facts

    assert looked()["done"] == f"reached s3://{bucket}, which lacks 2026-06"
    told(announcement("2026-06"))
    assert looked()["done"] == f"reached s3://{bucket}, which has 2026-06"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://localhost:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    function_client.cache_clear()
    assert f"s3://{bucket}: Could not connect" in looked()["error"]


def test_fipe_export_writes_the_same_files_into_a_bucket(
    two_months: connection, bucket: str, endpoint: str
) -> None:
    told(announcement("2026-06"))
    place = Bucket(client("s3", endpoint), bucket)
    found = export_months(two_months, Selection(), place)
    assert found.unchanged == {"2026-06": len(SAMPLE)}
    assert found.written == {"2026-05": len(SAMPLE) - 30}
    assert found.words()[0] == f"s3://{bucket}: wrote 1 month with {len(SAMPLE) - 30} prices"
    below = Bucket(client("s3", endpoint), bucket, "some/where")
    assert export_months(two_months, Selection(month="2026-06"), below).written.keys() == {"2026-06"}
    with two_months, two_months.cursor() as cursor:
        cursor.execute("delete from fipe.price where reference_month = '2026-05-01'")
    gone = export_months(two_months, Selection(), place)
    assert (gone.gone, below.months()) == (["2026-05"], ["2026-06"])
    assert f"delete s3://{bucket}/reference_month=2026-05 if" in gone.words()[-1]
    assert objects(endpoint, bucket).keys() == {JUNE, MAY, f"some/where/{JUNE}"}


def test_the_function_may_write_the_files_that_it_writes() -> None:
    assert partitions.file_of("*") == FILES
