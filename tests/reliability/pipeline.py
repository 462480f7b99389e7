"""The real pipeline in a local cloud of its own, without the CDK: it starts in seconds, and all tests share
it.

The deployed package is src/fipe_api plus a module that shortens waits of minutes (rests, rounds) to parts of
a second. The queues' settings shorten the visibility timeouts. Nothing else differs.
"""

import io
import json
import random
import signal
import socket
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg2
import requests

from fipe_simulator import (
    SAMPLE_CATALOGUE,
    Catalogue,
    CatalogueRow,
    Faults,
    FipeSimulator,
    read_catalogue,
)
from infrastructure.webhook import ANNOUNCEMENTS
from local_cloud.database_gateway import ADMINISTRATOR
from local_cloud.postgres import Connection, PostgresCluster, make_dsn
from tests.aws import make_pace_table
from tests.conftest import ROOT
from tests.local_cloud_support import ROLE, Cloud, eventually, messages_of, paused, running_cloud
from tests.reliability.webhook_receiver import Receiver, webhook_receiver

STAGES = ("manufacturer", "model", "price")
ANNOUNCEMENT, WEBHOOK = "announcement", "webhook"
FUNCTIONS = {
    WEBHOOK: ("FipeWebhook", "webhook"),
    ANNOUNCEMENT: ("FipeAnnouncer", "announcer"),
    "manufacturer": ("FipeModelLoader", "model_loader"),
    "model": ("FipePriceLoader", "price_loader"),
    "price": ("FipeSomaIngestor", "ingestor"),
}
WEBHOOK_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VISIBILITY_SECONDS = 3
TIMEOUT_SECONDS = 60
RECEIVES = 5
TABLES = (
    "announcement, load_run, load_cancellation, rejected_answer, price_revision, model_answer, price,"
    " vehicle, model, reference_month, import_file"
)

SHORT_WAITS = """
import os

from fipe_api import fipe_announcer, fipe_webhook
from fipe_api.aws import queue_publisher
from fipe_api.load import announcements, backfill, rounds, sample, start
from fipe_api.source import http_source, rate_control, tolerant_pace

announcements.LEASE_SECONDS = 2.0
fipe_announcer.UNTOLD_SECONDS = 1.0
fipe_webhook.TIMEOUT_SECONDS = 0.5
backfill.REST_SECONDS = 1.0
backfill.QUIET_SECONDS = 4.0
backfill.STALLED_SECONDS = 15.0
backfill.OUTAGE_SECONDS = 2.0
sample.PART = 5
rounds.FIRST_DELAY_SECONDS = float(os.environ.get("ROUND_DELAY_SECONDS", "0.2"))
http_source.FIRST_BACKOFF_SECONDS = 0.02
longest_wait = float(os.environ.get("LONGEST_WAIT_SECONDS", "15"))
http_source.LONGEST_WAIT_SECONDS = start.LONGEST_WAIT_SECONDS = longest_wait
http_source.DOWN_SECONDS = (0.2, 1.0)
http_source.TIMEOUT_SECONDS = 2.0
rate_control.USUAL_REST_SECONDS = 0.2
tolerant_pace.REST_SECONDS = 0.2
queue_publisher.FIRST_BACKOFF_SECONDS = 0.01
"""
KILL_POINTS = """
import os
import signal

POINT, MARKS = os.environ.get("KILL_POINT", ""), os.environ.get("KILL_MARKS", "")
TIMES = int(os.environ.get("KILL_TIMES", "0"))


def _killing(point, work, first):
    def killed(*arguments):
        if POINT != point or (os.path.exists(MARKS) and len(open(MARKS).readlines()) >= TIMES):
            return work(*arguments)
        if first:
            work(*arguments)
        with open(MARKS, "a") as marks:
            marks.write("killed\\n")
        os.kill(os.getpid(), signal.SIGKILL)

    return killed


def install(module):
    if module == "fipe_soma_ingestor":
        from fipe_api import fipe_soma_ingestor
        from fipe_api.database import writer

        # After the last statement, before the commit; and after the commit, before the answer.
        writer.end_runs = _killing("before_commit", writer.end_runs, True)
        fipe_soma_ingestor.write_messages = _killing("after_commit", fipe_soma_ingestor.write_messages, True)
    elif module == "fipe_announcer":
        from fipe_api import fipe_announcer

        tell = _killing("before_tell", fipe_announcer.tell, False)
        fipe_announcer.tell = _killing("after_tell", tell, True)
    elif module != "load.status":
        from fipe_api.load import outbox

        send = _killing("before_send", outbox.send_all, False)
        outbox.send_all = _killing("after_send", send, True)
"""
"""Kills the worker at a point of its work; environment variables say at which, and how often."""
SKEWED_CLOCK = """
import datetime
import os
import time
import types

import awslambdaric.lambda_context
import botocore.compat
import fipe_api.messages  # knows moments by their real type

SKEW = float(os.environ.get("CLOCK_SKEW_SECONDS", "0"))
if SKEW:
    now, now_ns = time.time, time.time_ns
    # The deadline of an invocation is given in the real time, so the runtime keeps the real clock.
    awslambdaric.lambda_context.time = types.SimpleNamespace(time=now)
    time.time = lambda: now() + SKEW
    time.time_ns = lambda: now_ns() + int(SKEW * 1e9)

    real = datetime.datetime

    class Skewed(real):
        @classmethod
        def now(cls, tz=None):
            return real.now(tz) + datetime.timedelta(seconds=SKEW)

    datetime.datetime = Skewed
    # AWS refuses what was signed more than minutes ago, so what signs keeps the real clock.
    botocore.compat.datetime = types.SimpleNamespace(datetime=real, timezone=datetime.timezone)
"""

HANDLERS = {
    "webhook": "fipe_webhook",
    "announcer": "fipe_announcer",
    "start": "fipe_manufacturer_loader",
    "model_loader": "fipe_model_loader",
    "price_loader": "fipe_price_loader",
    "ingestor": "fipe_soma_ingestor",
    "status": "load.status",
}


def small_catalogue(seed: int = 0) -> Catalogue:
    """Some brands of the sample, with a few models each."""
    whole = read_catalogue(SAMPLE_CATALOGUE)
    models: dict[tuple[int, int], list[Any]] = {}
    for rows in whole.by_model():
        models.setdefault((rows[0].vehicle_type, rows[0].brand_code), []).append(rows)
    chance = random.Random(seed)
    brands = chance.sample(sorted(models), 4)
    return Catalogue(whole.month, [row for brand in brands for rows in models[brand][:4] for row in rows[:4]])


def earlier_state(catalogue: Catalogue, seed: int = 0) -> Catalogue:
    """The month before its corrections: other prices and names, vehicles that are gone or new since."""
    chance = random.Random(seed)
    rows = []
    for model in catalogue.by_model():
        name = f"{model[0].model} (old)" if chance.random() < 0.1 else model[0].model
        for row in model:
            if chance.random() < 0.2:
                row = row._replace(price_brl=row.price_brl + 1)
            if chance.random() > 0.1:
                rows.append(row._replace(model=name))
        if chance.random() < 0.2:
            rows.append(model[0]._replace(model=name, model_year=1949))
        if chance.random() < 0.1:
            rows.append(
                model[0]._replace(model=f"{model[0].model} (gone)", model_code=90_000 + model[0].model_code)
            )
    return Catalogue(catalogue.month, rows)


class Pipeline:
    """Queues, functions, database and source, and the faults of each."""

    def __init__(
        self,
        cloud: Cloud,
        simulator: FipeSimulator,
        postgres: PostgresCluster,
        place: Connection,
        receiver: Receiver,
    ) -> None:
        self.cloud = cloud
        self.simulator = simulator
        self.postgres = postgres
        self._place = place
        self.queues: dict[str, str] = {}
        self.dead: dict[str, str] = {}
        self.subscriber = ""
        self.receiver = receiver
        self._deploy()

    # What people do

    def start(self, **payload: Any) -> str:
        """Starts a load; returns the run's id."""
        run_id: str = self.ask_to_start(**payload)["run_id"]
        return run_id

    def ask_to_start(self, **payload: Any) -> dict[str, Any]:
        """Invokes FipeManufacturerLoader, again if it fails; returns its answer."""

        def invoke() -> Any:
            answer = self.cloud.invoke("FipeManufacturerLoader", payload)
            document = json.load(answer["Payload"])
            has_failed = "FunctionError" in answer or "errorType" in document
            return None if has_failed else document

        answer: dict[str, Any] = eventually(invoke, 60)
        return answer

    def redrive(self) -> int:
        """Moves all dead letters back; returns how many there were."""
        moved = 0
        for kind, dead in self.dead.items():
            letters = self.take_all(dead)
            self._send(self.queues[kind], letters)
            moved += len(letters)
        return moved

    def results_of(self, catalogue: Catalogue, seconds: float = 60) -> list[str]:
        """The messages that a load of another state of the month sends to the ingestor; none is written."""
        published = self.simulator.catalogue
        self._publish(catalogue)
        with self.paused("price"):
            self.start()
            self.until_only_waiting_in("price", seconds)
            messages = self.take_all(self.queues["price"])
        self._publish(published)
        return messages

    def deliver(self, messages: Sequence[str]) -> None:
        """Sends messages to the ingestor."""
        self._send(self.queues["price"], messages)

    def take_all(self, queue_url: str) -> list[str]:
        """Removes the messages of a queue; returns their bodies."""
        client, taken = self.cloud.client("sqs"), []
        while found := client.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            taken += [message["Body"] for message in found]
            for message in found:
                client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def told(self) -> list[dict[str, Any]]:
        """Takes what the topic was told."""
        return [json.loads(body) for body in self.take_all(self.subscriber)]

    # What people look at

    def waiting(self) -> int:
        """Messages in the queues of the pipeline, including those in flight."""
        return sum(sum(states.values()) for states in self._counts().values())

    def _counts(self) -> dict[str, dict[str, int]]:
        """How many messages each queue of the pipeline has in each state, all at one moment."""
        status = {queue["name"]: queue for queue in self.cloud.status()["queues"]}
        return {
            kind: {
                state: status[url.rsplit("/", 1)[-1]][state] for state in ("visible", "in_flight", "delayed")
            }
            for kind, url in self.queues.items()
            if kind in STAGES
        }

    def invocations(self, function: str) -> int:
        """How often a function was invoked, whether it ended or was killed."""
        count: int = self.cloud.status()["functions"].get(function, {"invocations": 0})["invocations"]
        return count

    def workers(self, module: str = "") -> list[int]:
        """The processes of the functions, or of one handler module."""
        workers = []
        for pid in self.cloud.status()["processes"]:
            try:
                command = psutil.Process(pid).cmdline()
            except psutil.Error:
                continue
            if "awslambdaric" in command and module in command[-1]:
                workers.append(pid)
        return workers

    def dead_messages(self) -> int:
        """Dead letters in all queues."""
        return sum(self.cloud.counts(url)["visible"] for url in self.dead.values())

    def until_idle(self, seconds: float = 90) -> None:
        """Waits until the queues are empty. Raises AssertionError if they stay filled."""
        eventually(lambda: not self.waiting(), seconds)

    def until_only_waiting_in(self, kind: str, seconds: float = 60) -> None:
        """Waits until one queue has messages, and no other has any."""

        def is_so() -> bool:
            counts = self._counts()
            visible = counts[kind]["visible"]
            return 0 < visible == sum(sum(states.values()) for states in counts.values())

        eventually(is_so, seconds)

    def settings(self) -> dict[str, object]:
        """What tests change and must put back, so that the next test finds it as deployed."""
        client = self.cloud.client("lambda")
        sources = client.list_event_source_mappings()["EventSourceMappings"]
        return {
            "functions": {
                function["FunctionName"]: function["Environment"]["Variables"]
                for function in client.list_functions()["Functions"]
            },
            "event sources": sorted((source["FunctionArn"], source["State"]) for source in sources),
            "tables": self.cloud.client("dynamodb").list_tables()["TableNames"],
            "roles": self.query("select rolname, rolconnlimit from pg_roles order by rolname"),
            "members": self.query(
                "select roleid::regrole::text, member::regrole::text from pg_auth_members order by 1, 2"
            ),
            "triggers": self.query("select tgname from pg_trigger where not tgisinternal order by tgname"),
        }

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Runs a query as the master user; returns its rows."""
        with closing(self.connect()) as session, session, session.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def execute_as_rds(self, sql: str, *parameters: object) -> None:
        """Runs a statement as RDS's own superuser, for what the master user may not do."""
        rds = self.postgres.socket_environment(ADMINISTRATOR, self._place.database)
        with closing(psycopg2.connect(make_dsn(rds))) as session, session, session.cursor() as cursor:
            cursor.execute(sql, parameters)

    def assert_prices_equal_to_the_source(self) -> None:
        """Asserts that the prices in the database are those of the catalogue."""
        columns = ", ".join(CatalogueRow._fields)
        assert set(self.query(f"select {columns} from fipe.vehicle_price")) == {
            tuple(row) for row in self.simulator.catalogue.rows
        }

    def assert_equal_to_the_source(self, run_id: str) -> None:
        """Asserts that the database equals the catalogue, the load is complete and no DLQ has a message."""
        self.assert_prices_equal_to_the_source()
        missing = self.query("select * from fipe.load_missing where run_id = %s", run_id)
        assert missing == []
        status = "select complete, rejected, unpriced, prices from fipe.load_status where run_id = %s"
        assert self.query(status, run_id) == [(True, 0, 0, len(self.simulator.catalogue.rows))]
        assert self.dead_messages() == 0

    # What goes wrong

    def queue_faults(self, **faults: object) -> None:
        """Sets the faults of the queues; without any, it ends them."""
        requests.put(
            f"{self.cloud.endpoint.url}/local-cloud/faults", json=faults, timeout=5
        ).raise_for_status()

    def kill_a_worker(self, chance: random.Random, module: str = "") -> bool:
        """Kills a function's process with kill -9, of one handler module if named; says whether one ran."""
        workers = self.workers(module)
        if not workers:
            return False
        try:
            psutil.Process(chance.choice(workers)).kill()
        except psutil.NoSuchProcess:
            return False
        return True

    @contextmanager
    def killed_at(self, function: str, point: str, marks: Path, times: int) -> Iterator[None]:
        """Kills some workers of a function with kill -9 at a point; each writes a line to `marks` first."""
        with self.variables(function, KILL_POINT=point, KILL_MARKS=str(marks), KILL_TIMES=str(times)):
            yield

    @contextmanager
    def variables(self, function: str, **more: str) -> Iterator[None]:
        """Adds environment variables to a function while the block runs."""
        client = self.cloud.client("lambda")
        variables = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=function, Environment={"Variables": variables | more}
        )
        try:
            yield
        finally:
            client.update_function_configuration(FunctionName=function, Environment={"Variables": variables})

    @contextmanager
    def pace_table(self) -> Iterator[str]:
        """Makes a table for a shared pace and for cancelled runs while the block runs; gives its name."""
        client, name = self.cloud.client("dynamodb"), "pace"
        make_pace_table(client, name)
        try:
            yield name
        finally:
            client.delete_table(TableName=name)

    def paused(self, kind: str) -> AbstractContextManager[None]:
        """Keeps functions from receiving messages of a queue while the block runs."""
        return paused(self.cloud.client("lambda"), FUNCTIONS[kind][0])

    def end_sessions(self, user: str = "fipe_ingestor") -> int:
        """Ends the ingestor's sessions, as a restart does; returns how many there were."""
        sessions = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"
        return len(self.query(sessions, user))

    @contextmanager
    def failover_in_the_middle_of_a_batch(self) -> Iterator[None]:
        """Kills the server while a batch is half written, then lets it recover."""
        with closing(self.connect()) as session, session.cursor() as cursor:
            # A batch writes the ledger last. While the ledger is locked, prices are written but not
            # committed.
            cursor.execute("lock table fipe.load_run in exclusive mode")
            yield
            waiting = "usename = 'fipe_ingestor' and wait_event_type = 'Lock'"
            eventually(lambda: self.query(f"select pid from pg_stat_activity where {waiting}"))
            psutil.Process(self.postgres.processes()[0]).send_signal(signal.SIGQUIT)
            # The gateway ends a moment later; until then it has the port.
            self.postgres.stop()
        with self._port_kept():
            self.postgres.start()

    @contextmanager
    def stopped_database(self) -> Iterator[None]:
        """Stops PostgreSQL while the block runs."""
        self.postgres.stop()
        with self._port_kept():
            try:
                yield
            finally:
                self.postgres.start()

    @contextmanager
    def _port_kept(self) -> Iterator[None]:
        """Keeps other processes off the stopped server's port: the functions will connect there again."""
        with closing(socket.socket()) as keeper:
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind(("127.0.0.1", self._place.port))
            yield

    @contextmanager
    def no_connection_left(self) -> Iterator[None]:
        """Refuses connections to the ingestor's role while the block runs, and ends those that it has."""
        self.execute_as_rds("alter role fipe_ingestor connection limit 0")
        self.end_sessions()
        try:
            yield
        finally:
            self.execute_as_rds("alter role fipe_ingestor connection limit -1")

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """Makes each write of a price fail as if the disk were full (SQLSTATE 53100) while the block runs."""
        self.query(
            "create or replace function fipe.no_space() returns trigger language plpgsql as"
            " $$ begin raise exception 'no space left on device' using errcode = 'disk_full'; end $$;"
            " create trigger no_space before insert on fipe.price"
            " for each row execute function fipe.no_space()"
        )
        try:
            yield
        finally:
            self.query("drop trigger no_space on fipe.price; drop function fipe.no_space")

    def calm(self) -> None:
        """Ends all faults of the queues and the source."""
        self.queue_faults()
        self.simulator.faults = Faults()
        self.simulator.published = 1

    def hold_messages(self, seconds: int) -> None:
        """Sets the visibility timeout: a received message comes back after this time."""
        for url in self.queues.values():
            attributes = {"VisibilityTimeout": str(seconds)}
            self.cloud.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=attributes)

    def clear(self) -> None:
        """Empties queues and tables, for the next test."""
        self.calm()
        # Shorter than AWS allows with this function timeout, so that the messages of a killed worker return
        # soon.
        self.hold_messages(VISIBILITY_SECONDS)
        # A worker that is still at work may write, send a message to the next one, or post to the receiver.
        eventually(self._is_drained)
        self.receiver.reset()
        self.query(f"truncate {', '.join('fipe.' + table.strip() for table in TABLES.split(','))} cascade")

    def _is_drained(self) -> bool:
        """Drops all messages. Whether there were none, and no function is at work."""
        status = self.cloud.status()
        for url in (*self.queues.values(), *self.dead.values(), self.subscriber):
            self.cloud.client("sqs").purge_queue(QueueUrl=url)
        at_work = any(each["running"] for each in status["functions"].values())
        return not at_work and not any(map(messages_of, status["queues"]))

    def _publish(self, catalogue: Catalogue) -> None:
        self.simulator.catalogue = catalogue
        self.simulator.published = 1

    def _send(self, queue_url: str, bodies: Sequence[str]) -> None:
        """Sends messages; what the queue refuses is sent again."""
        client, left = self.cloud.client("sqs"), list(bodies)
        while left:
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(left[:10])]
            answer = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
            refused = {int(entry["Id"]) for entry in answer.get("Failed", [])}
            left = [body for place, body in enumerate(left) if place >= 10 or place in refused]

    def connect(self) -> Any:
        """Connects to the database as the master user."""
        place = self.postgres.connection()
        assert place is not None
        return psycopg2.connect(
            host=place.host, port=place.port, user=place.user, password=place.password, dbname=place.database
        )

    def _deploy(self) -> None:
        for kind in (*STAGES, ANNOUNCEMENT, WEBHOOK):
            self.dead[kind] = self.cloud.put_queue(f"{kind}-dlq")
            policy = {"deadLetterTargetArn": self.cloud.arn_of(self.dead[kind]), "maxReceiveCount": RECEIVES}
            self.queues[kind] = self.cloud.put_queue(
                f"{kind}-queue", VisibilityTimeout=TIMEOUT_SECONDS, RedrivePolicy=json.dumps(policy)
            )
        self._topic = self._make_topic()
        secret = self.cloud.client("secretsmanager").create_secret(
            Name="webhook-key", SecretString=WEBHOOK_KEY
        )
        self._webhook_secret = secret["ARN"]
        self._put("FipeManufacturerLoader", "start", output="manufacturer")
        self._put("FipeLoadStatus", "status", user="fipe_status")
        for kind, output in zip(
            (*STAGES, ANNOUNCEMENT, WEBHOOK), ("model", "price", "", "", ""), strict=True
        ):
            name, handler = FUNCTIONS[kind]
            self._put(name, handler, output=output, source=kind)
            self.cloud.client("lambda").create_event_source_mapping(
                EventSourceArn=self.cloud.arn_of(self.queues[kind]),
                FunctionName=name,
                BatchSize=10 if kind in STAGES else 1,
                FunctionResponseTypes=["ReportBatchItemFailures"],
                ScalingConfig={"MaximumConcurrency": 2},
            )

    def _make_topic(self) -> str:
        """A topic, and a queue that gets what it is told."""
        client = self.cloud.client("sns")
        topic: str = client.create_topic(Name="alarms")["TopicArn"]
        self.subscriber = self.cloud.put_queue("subscriber")
        for queue in (self.subscriber, self.queues[WEBHOOK]):
            client.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=self.cloud.arn_of(queue),
                Attributes={
                    "RawMessageDelivery": "true",
                    "FilterPolicy": json.dumps({"kind": list(ANNOUNCEMENTS)}),
                },
            )
        return topic

    def _put(
        self, name: str, handler: str, *, output: str = "", source: str = "", user: str = "fipe_ingestor"
    ) -> None:
        variables = {
            "SQS_OUTPUT_URL": self.queues.get(output, ""),
            "SQS_INPUT_URL": self.queues.get(source, ""),
            "SQS_LEDGER_URL": self.queues["price"],
            "SQS_ANNOUNCEMENT_URL": self.queues[ANNOUNCEMENT],
            "ANNOUNCEMENT_TOPIC_ARN": self._topic,
            "STAGE": "dev",
            "WEBHOOK_URL": self.receiver.url,
            "WEBHOOK_SECRET_ARN": self._webhook_secret,
            "WEBHOOK_DLQ_URL": self.dead[WEBHOOK],
            "REJECTED_ANSWERS_URL": self.queues["price"],
            "FIPE_API_URL": self.simulator.url,
            "FIPE_CALLS_PER_MINUTE": "max",
            "BLOCKED_REST_SECONDS": "0.2",
            "RETRY_DELAY_SECONDS": "0",
            "LOAD_STATUS_FUNCTION": "FipeLoadStatus",
            "RDS_USER": user,
            "RDS_HOST": self._place.host,
            "RDS_PORT": str(self._place.port),
            "RDS_DATABASE": self._place.database,
            "POWERTOOLS_SERVICE_NAME": name,
            "POWERTOOLS_METRICS_NAMESPACE": "Fipe",
        }
        self.cloud.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.14",
            Role=ROLE,
            Handler=f"{handler}.handler",
            Code={"ZipFile": _package()},
            Timeout=TIMEOUT_SECONDS,
            Environment={"Variables": variables},
        )


def _package() -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        for path in sorted((ROOT / "src/fipe_api").rglob("*.*")):
            if path.suffix != ".pyc":
                archive.write(path, path.relative_to(ROOT / "src"))
        archive.writestr("short_waits.py", SHORT_WAITS)
        archive.writestr("kill_points.py", KILL_POINTS)
        archive.writestr("skewed_clock.py", SKEWED_CLOCK)
        for name, module in HANDLERS.items():
            lines = "import skewed_clock\nimport kill_points\nimport short_waits\n"
            lines += f"from fipe_api.{module} import handler\nkill_points.install({module!r})\n"
            archive.writestr(f"{name}.py", lines)
    return package.getvalue()


@contextmanager
def running_pipeline(folder: Path, catalogue: Catalogue, **source: Any) -> Iterator[Pipeline]:
    """A pipeline with its own cloud, database and source; `source` has more options of the simulator."""
    postgres = PostgresCluster(folder / "postgres")
    postgres.start()
    try:
        place = postgres.set_up(user="postgres", password=uuid.uuid4().hex, database="fipedata")
        (folder / "cloud").mkdir()
        with (
            running_cloud(folder / "cloud") as cloud,
            FipeSimulator(catalogue, **source) as simulator,
            webhook_receiver(WEBHOOK_KEY) as receiver,
        ):
            pipeline = Pipeline(cloud, simulator, postgres, place, receiver)
            pipeline.query((ROOT / "create_fipe_db.sql").read_text().replace("%", "%%"))
            yield pipeline
    finally:
        postgres.stop()


class SharedPipeline:
    """The pipeline that the tests of a process share until one fails: the next test gets a new one."""

    def __init__(self, start: Callable[[], AbstractContextManager[Pipeline]]) -> None:
        self._start = start
        self._running = ExitStack()
        self._pipeline: Pipeline | None = None
        self._failures = 0

    def get(self, failures: int) -> Pipeline:
        """A pipeline that runs; `failures` is how many tests of this process have failed so far."""
        if self._pipeline is None or failures != self._failures:
            self.close()
            self._pipeline = self._running.enter_context(self._start())
            self._failures = failures
        return self._pipeline

    def close(self) -> None:
        """Ends the pipeline, if one runs."""
        self._pipeline = None
        self._running.close()
