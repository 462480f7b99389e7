"""Every physical name of the application, spelled once. All but those inside the database hold the stage.

Pure Python without the CDK, so that the command line and the benchmarks find things by the same names.
"""

from enum import StrEnum

METRICS_NAMESPACE = "Fipe"
LOADS_COMPLETE, LOADS_INCOMPLETE = "LoadsComplete", "LoadsIncomplete"
"""Metrics: loads that ended in one state of fipe_api.load.state or the other. A test compares the names."""
LOOKS_FAILED = "LooksFailed"
"""Metric: looks at loads that failed; fipe_api.fipe_announcer counts them. A test compares the names."""

NO_DNS_HOSTNAMES = "fipe:no-dns-hostnames"
"""A key of the CDK context: `fipe` puts the VPC's id there if the VPC gives no host names. Only the
application finds out whether the database will be public, and so needs one."""

INGESTOR_ROLE, STATUS_ROLE = "fipe_ingestor", "fipe_status"
READER_ROLE, IMPORTER_ROLE, WATCHER_ROLE = "fipe_reader", "fipe_importer", "fipe_watcher"
"""The database roles that sign in with IAM tokens: the ingestor's, FipeLoadStatus's, those of `fipe query`
(and FipeQuery), `fipe import` and `fipe watch`."""
DASHBOARD_ROLE = "fipe_dashboard"
"""The database role for programs that keep a password; it signs in only with the setting reader_login=on."""
DASHBOARD_SECRET_OUTPUT = "DashboardSecretArn"
"""The output with the ARN of its secret."""


class Function(StrEnum):
    """The Lambda functions."""

    MANUFACTURER_LOADER = "FipeManufacturerLoader"
    MODEL_LOADER = "FipeModelLoader"
    PRICE_LOADER = "FipePriceLoader"
    SOMA_INGESTOR = "FipeSomaIngestor"
    LOAD_STATUS = "FipeLoadStatus"
    ANNOUNCER = "FipeAnnouncer"
    WEBHOOK = "FipeWebhook"
    QUERY = "FipeQuery"
    LAKE_WRITER = "FipeLakeWriter"
    SQL_RUNNER = "FipeSqlRunner"
    SQL_INIT = "FipeSqlInit"

    def of(self, stage: str) -> str:
        """The function's name. Its logs and metrics have this name too, so that stages do not mix."""
        return f"{self}-{stage}"


OPTIONAL_FUNCTIONS = frozenset({Function.WEBHOOK, Function.QUERY, Function.LAKE_WRITER})
"""The functions that only some stages have."""


class Queue(StrEnum):
    """The queues, each with a dead letter queue: the pipeline's in order, then what is to be told."""

    MANUFACTURER = "manufacturer"
    MODEL = "model"
    PRICE = "price"
    ANNOUNCEMENT = "announcement"
    WEBHOOK = "webhook"
    EXPORT = "export"

    def of(self, stage: str) -> str:
        """The queue's name."""
        return f"fipe-{self}-queue-{stage}"

    def dlq(self, stage: str) -> str:
        """The name of its dead letter queue."""
        return f"fipe-{self}-dlq-{stage}"

    @property
    def consumer(self) -> Function:
        """The function that works on the queue's messages."""
        return _CONSUMERS[self]


_CONSUMERS = {
    Queue.MANUFACTURER: Function.MODEL_LOADER,
    Queue.MODEL: Function.PRICE_LOADER,
    Queue.PRICE: Function.SOMA_INGESTOR,
    Queue.ANNOUNCEMENT: Function.ANNOUNCER,
    Queue.WEBHOOK: Function.WEBHOOK,
    Queue.EXPORT: Function.LAKE_WRITER,
}

PIPELINE = (Queue.MANUFACTURER, Queue.MODEL, Queue.PRICE)
"""The queues that a load goes through. While one of them has messages, a load is at work."""
OPTIONAL_QUEUES = frozenset({Queue.WEBHOOK, Queue.EXPORT})
"""The queues that only some stages have. The stage's topic sends them its announcements."""


def log_group(function_name: str) -> str:
    """Where a function logs; its name holds the stage."""
    return f"/aws/lambda/{function_name}"


def stack(stage: str) -> str:
    """The parent stack, the one to deploy and to delete."""
    return f"FipeDataStack-{stage}"


def pace_table(stage: str) -> str:
    """The DynamoDB table that keeps the shared pace."""
    return f"fipe-pace-{stage}"


def schedule(stage: str) -> str:
    """The schedule that starts a load."""
    return f"fipe-load-{stage}"


def alarm(subject: str, stage: str) -> str:
    """The alarm on a subject such as `price-dlq-not-empty`; `*` gives the pattern of all alarms."""
    return f"fipe-{subject}-{stage}"


def alarm_topic(stage: str) -> str:
    """The SNS topic that alarms and announcements are sent to."""
    return f"fipe-alarms-{stage}"


def dashboard(stage: str, region: str) -> str:
    """The CloudWatch dashboard. Dashboards of all regions of an account share their names."""
    return f"fipe-{stage}-{region}"
