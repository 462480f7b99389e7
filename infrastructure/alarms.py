"""What somebody should hear of: alarms, and the topic that they go to."""

from collections.abc import Mapping

from aws_cdk import ArnFormat, Duration, Stack, Tags
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_rds as rds
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infrastructure import names
from infrastructure.metrics import fipe_metric
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

MINUTES = Duration.minutes
GIB = 2**30

LOST_AFTER = 0.5
"""The share of a queue's retention after which a message that still waits is told of."""
LEAST_LOCAL_STORAGE = GIB
"""Bytes for temporary files; without any, large queries fail."""
SPARE_CONNECTIONS = 40
"""Connections besides the ingestor's: people, and the tools they use. A db.t3.medium has some 400."""


class Alarms(Construct):
    """The alarms of a stage. Each goes to the topic, and says in its description what to do.

    Attributes:
        topic: what else should hear of an alarm subscribes to it.
        alarms: all of them.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StageSettings,
        queues: Mapping[str, QueueWithDlq],
        functions: Mapping[str, lambda_.IFunction],
        cluster: rds.IDatabaseCluster,
    ) -> None:
        super().__init__(scope, construct_id)
        Tags.of(self).add("component", "operations")
        self._stage = settings.stage
        self.topic = self._build_topic(settings)
        self.alarms: list[cloudwatch.Alarm] = []
        for kind, queue in queues.items():
            self._watch_queue(kind, queue, settings)
        for name, function in functions.items():
            self._watch_function(name, function)
        self._watch_loads(queues, settings)
        self._watch_database(cluster, settings)

    def _build_topic(self, settings: StageSettings) -> sns.Topic:
        topic = sns.Topic(self, "Topic", topic_name=names.alarm_topic(settings.stage), enforce_ssl=True)
        every_alarm = self._arn_of_alarm(names.alarm("*", settings.stage))
        # A topic with a policy of its own has to say that alarms may use it.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisStage",
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                conditions={"ArnLike": {"aws:SourceArn": every_alarm}},
            )
        )
        if settings.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        return topic

    def _arn_of_alarm(self, name: str) -> str:
        return Stack.of(self).format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )

    def _watch_queue(self, kind: str, queue: QueueWithDlq, settings: StageSettings) -> None:
        title = kind.capitalize()
        self._alarm(
            f"{title}DlqNotEmpty",
            f"{kind}-dlq-not-empty",
            queue.dlq.metric_approximate_number_of_messages_visible(period=MINUTES(5), statistic="Maximum"),
            threshold=1,
            what_to_do=f"Messages failed for good. `make redrive-{self._stage} QUEUE={kind} DRY_RUN=1` shows"
            " them and why; once that is mended, the same without DRY_RUN moves them back.",
        )
        hours = settings.retention_days * 24 * LOST_AFTER
        self._alarm(
            f"{title}MessageOld",
            f"{kind}-message-old",
            queue.queue.metric_approximate_age_of_oldest_message(period=MINUTES(15), statistic="Maximum"),
            threshold=hours * 3600,
            what_to_do=f"A message has waited for {hours:g} h of the {settings.retention_days} days that the"
            " queue keeps it. A load is slower than it should be, or its function does not run.",
        )

    def _watch_function(self, name: str, function: lambda_.IFunction) -> None:
        self._alarm(
            f"{name}Errors",
            f"{name}-errors",
            function.metric_errors(period=MINUTES(5)),
            threshold=1,
            what_to_do="The function ended by an exception or a timeout, which it should not: a failed"
            " message is no error of it."
            f" `make logs-{self._stage} FUNCTION={name} LEVEL=ERROR SINCE=1h` shows it.",
        )
        self._alarm(
            f"{name}Throttles",
            f"{name}-throttles",
            function.metric_throttles(period=MINUTES(5)),
            threshold=1,
            periods=3,
            what_to_do="Lambda starts the function less often than asked, for 15 minutes: the account's limit"
            " of concurrent executions is used up (10 in a new account).",
        )

    def _watch_loads(self, queues: Mapping[str, QueueWithDlq], settings: StageSettings) -> None:
        hour = Duration.hours(1)
        waiting = {
            f"waiting{number}": queue.queue.metric_approximate_number_of_messages_visible(
                period=hour, statistic="Maximum"
            )
            for number, queue in enumerate(queues.values())
        }
        # A message that leaves the last queue is in the database. These metrics of a queue that is polled are
        # there with a 0; others, PricesReceived among them, just stop coming, and a sum with them as well.
        written = list(queues.values())[-1].queue.metric_number_of_messages_deleted(
            period=hour, statistic="Sum"
        )
        self._alarm(
            "LoadStalled",
            "load-stalled",
            cloudwatch.MathExpression(
                expression=f"IF(({' + '.join(waiting)}) > 0 AND written < 1, 1, 0)",
                using_metrics={**waiting, "written": written},
                label="messages wait, but no price comes",
                period=hour,
            ),
            threshold=1,
            periods=settings.stalled_hours,
            what_to_do=f"Messages wait, but no price has come for {settings.stalled_hours} h. The source"
            " may be down, or block us:"
            f" `make logs-{self._stage} LEVEL=WARNING SINCE={settings.stalled_hours}h`.",
        )
        self._alarm(
            "LoadCompleted",
            "load-completed",
            fipe_metric("LoadsCompleted", names.Function.SOMA_INGESTOR, self._stage, MINUTES(5)),
            threshold=1,
            what_to_do="Nothing: a load is complete, every message of it is in the database.",
        )

    def _watch_database(self, cluster: rds.IDatabaseCluster, settings: StageSettings) -> None:
        self._alarm(
            "DatabaseLarge",
            "database-large",
            cluster.metric_volume_bytes_used(period=Duration.hours(1), statistic="Maximum"),
            threshold=settings.database_alarm_gib * GIB,
            what_to_do=f"The database is larger than {settings.database_alarm_gib} GiB, and storage costs by"
            " the GiB. If that is as it should be, raise database_alarm_gib.",
        )
        self._alarm(
            "DatabaseLocalStorageLow",
            "database-local-storage-low",
            cluster.metric_free_local_storage(period=MINUTES(5), statistic="Minimum"),
            threshold=LEAST_LOCAL_STORAGE,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            what_to_do="Temporary files fill the instance. End the query that writes them, or take a larger"
            " instance_class.",
        )
        connections = settings.ingestor_concurrency + SPARE_CONNECTIONS
        self._alarm(
            "DatabaseConnections",
            "database-connections",
            cluster.metric_database_connections(period=MINUTES(5), statistic="Maximum"),
            threshold=connections,
            periods=3,
            what_to_do=f"More than {connections} connections for 15 minutes; the ingestor needs"
            f" {settings.ingestor_concurrency}. pg_stat_activity shows whose they are.",
        )

    def _alarm(
        self,
        construct_id: str,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        threshold: float,
        what_to_do: str,
        periods: int = 1,
        comparison: cloudwatch.ComparisonOperator = (
            cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
        ),
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            construct_id,
            alarm_name=names.alarm(name, self._stage),
            alarm_description=what_to_do,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            # Queues and functions without work send nothing, nor does a database that is paused.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        self.alarms.append(alarm)
