"""A running local cloud, used with AWS's own tools as documented."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from fipe_api.database.writer import PriceRow
from fipe_simulator import SAMPLE_CATALOGUE, catalogue_for_month, read_catalogue
from tests.aws import client
from tests.documents import walked_commands
from tests.e2e.make import ROOT, Place, lines, place
from tests.fipex import write_csv
from tests.local_cloud_support import eventually, paused

PATIENCE_SECONDS = 60
MONTH_FILE = "reference_month=2026-06/prices.parquet"


class Cloud:
    """A running local cloud with the application in it."""

    def __init__(self, here: Place) -> None:
        self.here = here
        started = here.make("local-up")
        assert started.returncode == 0, started.stdout + started.stderr
        printed = [line.strip().removeprefix("export ") for line in started.stdout.splitlines()]
        self.variables = dict(
            pair.split("=", 1) for line in printed if line.startswith("AWS_") for pair in line.split()
        )
        self.outputs = dict(line.split(" = ", 1) for line in printed if " = " in line)
        self.endpoint = self.variables["AWS_ENDPOINT_URL"]

    def aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the AWS command line as the README says."""
        return subprocess.run(
            [ROOT / ".venv/bin/aws", "--endpoint-url", self.endpoint, *arguments],
            env=self.here.environment(**self.variables),
            cwd=self.here.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def fipe(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `fipe` for a user without any AWS settings."""
        return subprocess.run(
            [ROOT / ".venv/bin/fipe", *arguments],
            env=self.here.environment(),
            cwd=self.here.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def invoke(self, **payload: Any) -> dict[str, Any]:
        """Starts a load; returns the function's answer."""
        text = ["--payload", json.dumps(payload)] if payload else []
        ended = self.aws(
            "lambda", "invoke", "--function-name", "FipeManufacturerLoader-dev", *text, "out.json"
        )
        assert ended.returncode == 0, ended.stderr
        answer: dict[str, Any] = json.loads((self.here.folder / "out.json").read_text())
        return answer

    def messages(self, queue: str) -> int:
        """Messages of all states in a queue."""
        attributes = client("sqs", self.endpoint).get_queue_attributes(
            QueueUrl=self.outputs[queue], AttributeNames=["All"]
        )["Attributes"]
        return sum(
            int(attributes[f"ApproximateNumberOfMessages{state}"]) for state in ("", "NotVisible", "Delayed")
        )


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with place(tmp_path_factory.mktemp("cloud")) as here:
        yield Cloud(here)


def wait_until_complete(cloud: Cloud, run_id: str) -> None:
    query = f"select bool_and(complete) from fipe.load_status where run_id = '{run_id}'"
    eventually(lambda: cloud.here.query(query) == ["t"], PATIENCE_SECONDS)


def wait_until_nothing_is_under_way(cloud: Cloud) -> None:
    """Waits until all queues are empty; reads them in the pipeline's order, so that it misses no message."""
    queues = [f"{kind}QueueUrl" for kind in ("Manufacturer", "Model", "Price")]
    eventually(lambda: not any(map(cloud.messages, queues)), PATIENCE_SECONDS)


def test_the_aws_command_line_starts_a_load(cloud: Cloud) -> None:
    answer = cloud.invoke()
    assert answer["references"] == [{"code": 334, "month": "2026-06", "brands": 12}]
    assert answer["brands_sent"] == 12
    wait_until_complete(cloud, answer["run_id"])
    assert cloud.here.prices("2026-06") == lines(read_catalogue(SAMPLE_CATALOGUE))


def test_cloudwatch_has_the_metrics_that_functions_count(cloud: Cloud) -> None:
    now = datetime.now(UTC)
    points = client("cloudwatch", cloud.endpoint).get_metric_statistics(
        Namespace="Fipe",
        MetricName="PricesReceived",
        Dimensions=[{"Name": "service", "Value": "FipeSomaIngestor-dev"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=3600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in points) >= len(lines(read_catalogue(SAMPLE_CATALOGUE)))


def test_a_payload_chooses_what_is_loaded(cloud: Cloud) -> None:
    answer = cloud.invoke(reference="2024-02", vehicle_types=["car"], brands=["Acura", 303])
    assert [(one["month"], one["brands"]) for one in answer["references"]] == [("2024-02", 2)]
    wait_until_complete(cloud, answer["run_id"])
    brands = "select distinct brand from fipe.vehicle_price where reference_month = '2024-02-01' order by 1"
    assert cloud.here.query(brands) == ["Acura", "BYD"]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"reference": "2031-01"}, "2031-01 is not published: use months from 2001-01 to 2026-06"),
        ({"reference": 99999}, "no reference month has the code 99999"),
        ({"brands": []}, "invalid brands []: use a list of names or codes"),
        ({"brnads": ["Fiat"]}, "unknown key 'brnads'"),
    ],
)
def test_an_invalid_payload_gets_a_clear_error_and_starts_nothing(
    cloud: Cloud, payload: dict[str, Any], words: str
) -> None:
    answer = cloud.invoke(**payload)
    assert answer["errorType"] == "LoadRequestError"
    assert words in answer["errorMessage"]
    assert cloud.messages("ManufacturerQueueUrl") == 0


def test_the_secret_opens_the_database(cloud: Cloud) -> None:
    ended = cloud.aws(
        "secretsmanager", "get-secret-value", "--secret-id", cloud.outputs["DBSecretArn"],
        "--query", "SecretString", "--output", "text",
    )  # fmt: skip
    secret = json.loads(ended.stdout)
    assert (secret["host"], str(secret["port"])) == (cloud.outputs["DBEndpoint"], cloud.outputs["DBPort"])
    assert (secret["dbname"], secret["username"]) == ("fipedata", "postgres")


def test_make_local_says_in_one_line_what_the_source_does_not_have(cloud: Cloud) -> None:
    runs = cloud.here.query("select count(*) from fipe.load_run")
    ended = cloud.here.make("local", "BRANDS=Fait")
    assert ended.returncode != 0
    (error,) = [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")]
    assert "did you mean Fiat" in error
    assert cloud.here.query("select count(*) from fipe.load_run") == runs


def test_a_second_cloud_is_refused_in_one_line(cloud: Cloud) -> None:
    ended = cloud.here.make("local-up")
    assert ended.returncode != 0
    (error,) = [line for line in ended.stderr.splitlines() if not line.startswith("make: ***")]
    assert "already" in error


def test_a_second_make_local_is_refused_in_one_line_while_one_runs(cloud: Cloud) -> None:
    first = subprocess.Popen(
        ["make", "local"], cwd=ROOT, env=cloud.here.environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert "Using the local cloud" in first.stdout.readline()
        second = cloud.here.make("local")
        assert second.returncode != 0
        (error,) = [line for line in second.stderr.splitlines() if not line.startswith("make: ***")]
        assert "another `make local` is running" in error
    finally:
        first.communicate(timeout=120)
    assert first.returncode == 0


@pytest.fixture(scope="module")
def loaded(cloud: Cloud) -> Cloud:
    """The cloud with the sample in its database, and the folder docs, as a reader of the documents has it."""
    (cloud.here.folder / "docs").symlink_to(ROOT / "docs")
    wait_until_complete(cloud, cloud.invoke()["run_id"])
    return cloud


@pytest.mark.walkthrough
@pytest.mark.parametrize("command", walked_commands())
def test_a_command_of_the_documents_does_its_work(loaded: Cloud, command: str) -> None:
    # `fipe status` exits with 1 while the load of the command before is still running.
    wait_until_nothing_is_under_way(loaded)
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT if command.startswith("make") else loaded.here.folder,
        env=loaded.here.environment(PATH=f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", **loaded.variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.strip()


def test_fipe_finds_the_running_cloud_without_settings(cloud: Cloud) -> None:
    """Without any AWS variables."""
    ended = cloud.fipe("load", "--brands", "Acura", "--follow")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    started, _, *lines = ended.stdout.splitlines()
    run_id = started.split()[1]
    assert lines[-1].endswith("complete")
    status = json.loads(cloud.fipe("status", run_id, "--json").stdout)
    assert status["complete"] is True
    assert {stage["name"]: stage["done"] for stage in status["stages"]} == {
        "brands searched": 1, "models loaded": 3, "prices loaded": 15,
    }  # fmt: skip


def test_a_load_is_cancelled_and_resumed(cloud: Cloud) -> None:
    with paused(client("lambda", cloud.endpoint), "FipePriceLoader-dev"):
        run_id = cloud.fipe("load", "--brands", "Acura,Fiat").stdout.split()[1]
        eventually(lambda: cloud.messages("ModelQueueUrl"), PATIENCE_SECONDS)
        cancelled = cloud.fipe("cancel", run_id)
        assert (cancelled.returncode, cancelled.stderr) == (0, "")
        assert cancelled.stdout.splitlines() == [
            f"run {run_id} is cancelled: what waits is dropped, what came stays",
            f"to load the rest: fipe resume {run_id}",
        ]
        seen = cloud.fipe("status", run_id)
        assert seen.returncode == 1
        assert "cancelled: what came stays; run `fipe resume` to load the rest" in seen.stdout
    wait_until_nothing_is_under_way(cloud)
    state = f"select distinct state from fipe.load_status where run_id = '{run_id}'"
    assert cloud.here.query(state) == ["cancelled"]
    resumed = cloud.fipe("resume", run_id, "--follow")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert resumed.stdout.splitlines()[-1].endswith("complete")
    again = cloud.fipe("cancel", run_id)
    assert (again.returncode, again.stderr) == (
        2, f"error: run {run_id} is complete: there is nothing to cancel\n",
    )  # fmt: skip


def test_a_run_that_the_database_does_not_know_is_not_called_cancelled(cloud: Cloud) -> None:
    unknown = str(UUID(int=1))
    refused = cloud.fipe("cancel", unknown)
    assert (refused.returncode, refused.stdout) == (2, "")
    with paused(client("lambda", cloud.endpoint), "FipeModelLoader-dev"):
        cloud.fipe("load", "--brands", "Acura")
        eventually(lambda: cloud.messages("ManufacturerQueueUrl"), PATIENCE_SECONDS)
        words = f"the database does not know run {unknown} yet; if it waits to start, it is dropped\n"
        assert cloud.fipe("cancel", unknown).stdout == words
    wait_until_nothing_is_under_way(cloud)


def test_a_dry_run_says_what_a_load_would_take_and_starts_nothing(cloud: Cloud) -> None:
    runs = cloud.here.query("select count(*) from fipe.load_run")
    months = "2024-01..2024-03"
    ended = cloud.fipe("load", "--dry-run", "--json", "--reference", months, "--brands", "Acura")
    plan = json.loads(ended.stdout)
    assert (plan["months"], plan["brands"]) == (["2024-01", "2024-02", "2024-03"], 3)
    assert plan["calls"] > plan["prices"] > 0
    assert cloud.here.query("select count(*) from fipe.load_run") == runs


def test_a_backfill_loads_months_one_at_a_time_and_says_how_far_it_is(cloud: Cloud) -> None:
    assert "no backfill yet: start one with" in cloud.fipe("backfill").stderr
    ended = cloud.fipe("backfill", "2024-02..2024-03", "2024-01", "--brands", "Acura", "--follow")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, started, *_, wanted, done = ended.stdout.splitlines()
    assert first.startswith("3 months, about ")
    assert " started: 2024-01 to 2024-03 (3 months), one at a time; 1 brand of the first" in started
    assert (wanted, done[:24]) == ("brands: Acura", "done: 2024-03 to 2024-01")
    seen = json.loads(cloud.fipe("backfill", "--json").stdout)
    assert (seen["state"], seen["to_come"], seen["at_work"]) == ("ended", [], None)
    assert [month["month"] for month in seen["done"]] == ["2024-03", "2024-02", "2024-01"]
    again = cloud.fipe("backfill", "2024-01..2024-03", "--brands", "Acura")
    assert "nothing to load: 2024-01 is complete; 2024-02 is complete" in again.stdout
    assert "there is nothing to stop" in cloud.fipe("backfill", "--stop").stderr
    assert "the list of months has ended: start another one" in cloud.fipe("backfill", "--resume").stderr
    for arguments in (["--stop", "--resume"], ["2024-13"], ["2024-02..2024-01"], ["June"]):
        refused = cloud.fipe("backfill", *arguments)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    wait_until_nothing_is_under_way(cloud)


@pytest.mark.walkthrough
def test_a_backfill_confirms_imported_months_by_samples(cloud: Cloud, tmp_path: Path) -> None:
    catalogue = read_catalogue(SAMPLE_CATALOGUE)
    months = [date(2023, number, 1) for number in (11, 12)]
    rows = [
        PriceRow(month, 0, *row) for month in months for row in catalogue_for_month(catalogue, month).rows
    ]
    ended = cloud.fipe("import", str(write_csv(tmp_path / "fipex.csv", rows)))
    assert ended.returncode == 0, ended.stderr
    wanted = ("backfill", "2023-11..2023-12", "--verify", "sample=50")
    ended = cloud.fipe(*wanted, "--follow")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (
        " started: 2023-11 to 2023-12 (2 months), one at a time; asks for a sample of 2023-12" in ended.stdout
    )
    assert ended.stdout.splitlines()[-1] == (
        "confirmed: 2023-12 to 2023-11 (2 months); 50 of 50 prices alike in each, with 95% confidence at"
        " least 94.18% of the month is right"
    )
    wait_until_nothing_is_under_way(cloud)
    assert "2 months confirmed by their samples" in cloud.fipe("status", "--once").stdout
    again = cloud.fipe(*wanted)
    assert "nothing to load: 2023-11 is confirmed; 2023-12 is confirmed" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["load", "--brands", "Fait"], 2, "did you mean Fiat"),
        (["load", "--reference", "2031-01", "--dry-run"], 2, "is not published: use months from"),
        (["--stage", "prd", "load"], 3, "is missing: prd on http://localhost"),
    ],
)
def test_fipe_says_in_one_line_what_is_wrong(
    cloud: Cloud, arguments: list[str], code: int, words: str
) -> None:
    ended = cloud.fipe(*arguments)
    assert ended.returncode == code
    (line,) = ended.stderr.splitlines()
    assert words in line


def test_fipe_redrives_what_failed(cloud: Cloud) -> None:
    sqs = client("sqs", cloud.endpoint)
    poison = json.dumps({"poison": True})
    sqs.send_message(QueueUrl=cloud.outputs["PriceDLQUrl"], MessageBody=poison)
    assert cloud.fipe("status").returncode == 1
    assert '"poison": true' in cloud.fipe("redrive", "price", "--dry-run").stdout
    assert json.loads(cloud.fipe("redrive", "--json").stdout)["moved"]["price"] == 1
    assert cloud.messages("PriceDLQUrl") == 0
    sqs.purge_queue(QueueUrl=cloud.outputs["PriceQueueUrl"])


def lose_and_redrive_a_month(cloud: Cloud, queue: str, dead: str) -> None:
    """Takes the bucket away while a month is announced, and has it written once the bucket is back."""
    lake, sqs = client("s3", cloud.endpoint), client("sqs", cloud.endpoint)

    def letters() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["ApproximateNumberOfMessages"])
        return found["Attributes"]["ApproximateNumberOfMessages"] == "1"

    lake.delete_object(Bucket="lake", Key=MONTH_FILE)
    lake.delete_bucket(Bucket="lake")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    told = {"version": 1, "kind": "load_complete", "reference_month": "2026-06"}
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(told))
    eventually(letters, PATIENCE_SECONDS)
    shown = cloud.fipe("--stage", "stg", "redrive", "export", "--dry-run").stdout
    assert "load_complete" in shown
    assert "NoSuchBucket" in shown
    assert "failed   export DLQ: 1 dead letter. To do: " in cloud.fipe("--stage", "stg", "check").stdout
    lake.create_bucket(Bucket="lake")
    moved = cloud.fipe("--stage", "stg", "redrive", "--json").stdout
    assert json.loads(moved)["moved"]["export"] == 1
    eventually(lambda: lake.list_objects_v2(Bucket="lake").get("Contents"), PATIENCE_SECONDS)


@pytest.mark.walkthrough
def test_a_stage_is_deployed_loaded_and_destroyed_without_any_aws_setting(cloud: Cloud) -> None:
    lake = client("s3", cloud.endpoint)
    lake.create_bucket(Bucket="lake")
    deployed = cloud.here.make("deploy-stg", "READER_LOGIN=on", "EXPORT_BUCKET=lake")
    assert deployed.returncode == 0, deployed.stderr
    assert "FipeManufacturerLambda = FipeManufacturerLoader-stg" in deployed.stdout
    dashboard = cloud.fipe("--stage", "stg", "dsn", "--user", "fipe_dashboard", "--password")
    with closing(psycopg2.connect(dashboard.stdout.strip())) as database, database.cursor() as cursor:
        cursor.execute("select count(*) from fipe.vehicle_price")
        assert cursor.fetchall() == [(0,)]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute("delete from fipe.price")
    loaded = cloud.here.make("load-stg", "BRANDS=Acura", "FOLLOW=1")
    assert loaded.stdout.rstrip().endswith("complete"), loaded.stdout + loaded.stderr
    assert "FipeSomaIngestor: prices written" in cloud.here.make("logs-stg").stdout
    (file,) = eventually(lambda: lake.list_objects_v2(Bucket="lake").get("Contents"), PATIENCE_SECONDS)
    assert file["Key"] == MONTH_FILE
    exported = cloud.fipe("--stage", "stg", "export", "s3://lake", "--partitioned")
    assert "1 month unchanged since the last export" in exported.stdout, exported.stderr
    checked = cloud.fipe("--stage", "stg", "check").stdout
    assert "Parquet in a bucket: reached s3://lake, which has 2026-06\n" in checked
    assert "export DLQ and back: a message came back to FipeLakeWriter, which dropped it" in checked
    assert "database, as fipe_dashboard: signs in with the password of its secret" in checked
    outputs = dict(line.split(" = ", 1) for line in deployed.stdout.splitlines() if " = " in line)
    lose_and_redrive_a_month(cloud, outputs["ExportQueueUrl"], outputs["ExportDLQUrl"])
    refused = cloud.here.make("destroy-stg")
    assert "error: not confirmed: to delete FipeDataStack-stg in account 123456789012" in refused.stderr
    destroyed = cloud.here.make("destroy-stg", "CONFIRM=1")
    assert destroyed.returncode == 0, destroyed.stderr
    assert ", with 15 prices of 1 month" in destroyed.stdout
    assert cloud.here.make("status-stg").returncode != 0


def test_no_log_holds_the_databases_password(cloud: Cloud) -> None:
    secret = client("secretsmanager", cloud.endpoint).get_secret_value(SecretId=cloud.outputs["DBSecretArn"])
    password = json.loads(secret["SecretString"])["password"]
    logs = [path for path in (cloud.here.folder / "logs").rglob("*") if path.is_file()]
    assert {path.name for path in logs} >= {"deploy.log", "FipeSqlInit-dev.log", "FipeSomaIngestor-dev.log"}
    assert [path.name for path in logs if password in path.read_text(errors="replace")] == []
