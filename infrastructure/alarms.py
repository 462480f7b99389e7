"""The alarms of a stage, and the SNS topic that they notify."""

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
from infrastructure.names import Function, Queue
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

MINUTES = Duration.minutes
GIB = 2**30

LOST_AFTER = 0.5
"""Alarm when a message has waited for this share of the queue's retention."""
LEAST_LOCAL_STORAGE = GIB
"""Bytes free for temporary files; at zero, large queries fail."""
SPARE_CONNECTIONS = 40
"""Connections for people and their tools, besides the ingestor's. A db.t3.medium allows about 400."""


class Alarms(Construct):
    """The alarms of a stage. Each notifies the topic, and its description says what to do.

    Attributes:
        topic: subscribe to it to be notified.
        alarms: all alarms.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StageSettings,
        queues: Mapping[Queue, QueueWithDlq],
        functions: Mapping[Function, lambda_.IFunction],
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
        # enforce_ssl adds a policy, which replaces the default one that lets alarms publish.
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
            what_to_do="A message failed too often and moved to the DLQ."
            f" `make redrive-{self._stage} QUEUE={kind} DRY_RUN=1` shows the messages and their errors."
            " Fix the cause, then run it without DRY_RUN.",
        )
        hours = settings.retention_days * 24 * LOST_AFTER
        self._alarm(
            f"{title}MessageOld",
            f"{kind}-message-old",
            queue.queue.metric_approximate_age_of_oldest_message(period=MINUTES(15), statistic="Maximum"),
            threshold=hours * 3600,
            what_to_do=f"A message has waited for {hours:g} h; the queue deletes it after"
            f" {settings.retention_days} days. The load is too slow, or its function does not run:"
            f" `make status-{self._stage}` and `make logs-{self._stage} LEVEL=WARNING`.",
        )

    def _watch_function(self, name: str, function: lambda_.IFunction) -> None:
        self._alarm(
            f"{name}Errors",
            f"{name}-errors",
            function.metric_errors(period=MINUTES(5)),
            threshold=1,
            what_to_do="The function crashed or timed out. A message that fails does not cause this alarm."
            f" `make logs-{self._stage} FUNCTION={name} LEVEL=ERROR SINCE=1h` shows the error.",
        )
        self._alarm(
            f"{name}Throttles",
            f"{name}-throttles",
            function.metric_throttles(period=MINUTES(5)),
            threshold=1,
            periods=3,
            what_to_do="Lambda has throttled the function for 15 minutes: the account's limit of concurrent"
            " executions is used up (10 in a new account). Ask AWS for a higher quota.",
        )

    def _watch_loads(self, queues: Mapping[Queue, QueueWithDlq], settings: StageSettings) -> None:
        """Whether they stall, end incomplete, or nobody sees what becomes of them.

        FipeAnnouncer tells that a load has stalled, with its figures. So an alarm says it only while
        FipeAnnouncer does not look: as long as a load waits for results, it works on a message every 15
        minutes. If it works on them but cannot see the loads, it counts that.
        """
        hour = Duration.hours(1)
        pipeline = [queues[kind].queue for kind in names.PIPELINE]
        waiting = {
            f"waiting{number}": queue.metric_approximate_number_of_messages_visible(
                period=hour, statistic="Maximum"
            )
            for number, queue in enumerate(pipeline)
        }
        # A message that leaves the last queue is in the database. SQS reports 0 for a polled queue without
        # messages, while our own metrics just stop, and a sum over missing values would be missing as well.
        written, looks = (
            queue.metric_number_of_messages_deleted(period=hour, statistic="Sum")
            for queue in (pipeline[-1], queues[Queue.ANNOUNCEMENT].queue)
        )
        self._alarm(
            "LoadStalled",
            "load-stalled",
            cloudwatch.MathExpression(
                expression=f"IF(({' + '.join(waiting)}) > 0 AND written < 1 AND looks < 1, 1, 0)",
                using_metrics={**waiting, "written": written, "looks": looks},
                label="messages wait, but no price arrives, and nobody looks",
                period=hour,
            ),
            threshold=1,
            periods=settings.stalled_hours,
            what_to_do=f"Messages wait, but for {settings.stalled_hours} h no price has arrived, and"
            f" {Function.ANNOUNCER} has not looked at a load, or it would have told that. The source may be"
            " down or block this address while a load starts, or functions do not run:"
            f" `make logs-{self._stage} LEVEL=WARNING SINCE={settings.stalled_hours}h` and"
            f" `make check-{self._stage}` show which.",
        )
        self._alarm(
            "LooksFailed",
            "looks-failed",
            fipe_metric(names.LOOKS_FAILED, Function.ANNOUNCER, self._stage, hour),
            threshold=1,
            periods=2,
            what_to_do=f"For two hours {Function.ANNOUNCER} could not ask what becomes of the loads, so"
            " nobody is told. The database may be stopped, or no function reaches it:"
            f" `make check-{self._stage}` shows which.",
        )
        self._alarm(
            "LoadIncomplete",
            "load-incomplete",
            fipe_metric(names.LOADS_INCOMPLETE, Function.SOMA_INGESTOR, self._stage, MINUTES(5)),
            threshold=1,
            what_to_do="A load has ended incomplete: some prices had no usable answer."
            f" `make status-{self._stage}` names them, and `make resume-{self._stage}` asks for them again.",
        )

    def _watch_database(self, cluster: rds.IDatabaseCluster, settings: StageSettings) -> None:
        self._alarm(
            "DatabaseLarge",
            "database-large",
            cluster.metric_volume_bytes_used(period=Duration.hours(1), statistic="Maximum"),
            threshold=settings.database_alarm_gib * GIB,
            what_to_do=f"The database is larger than {settings.database_alarm_gib} GiB, and AWS bills storage"
            " per GiB. If you expect this size, deploy with a higher DATABASE_ALARM_GIB.",
        )
        self._alarm(
            "DatabaseLocalStorageLow",
            "database-local-storage-low",
            cluster.metric_free_local_storage(period=MINUTES(5), statistic="Minimum"),
            threshold=LEAST_LOCAL_STORAGE,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            what_to_do="Temporary files fill the instance. Stop the query that writes them"
            " (pg_stat_activity lists it), or deploy with"
            + (
                # AWS says of this metric that a larger class, which serverless does not have, brings more.
                " an INSTANCE_CLASS that is not serverless, such as db.r6g.large, which has more."
                if settings.is_serverless
                else " a larger INSTANCE_CLASS."
            ),
        )
        connections = settings.ingestor_concurrency + SPARE_CONNECTIONS
        self._alarm(
            "DatabaseConnections",
            "database-connections",
            cluster.metric_database_connections(period=MINUTES(5), statistic="Maximum"),
            threshold=connections,
            periods=3,
            what_to_do=f"{connections} or more connections for 15 minutes; the ingestor needs"
            f" {settings.ingestor_concurrency}. pg_stat_activity shows who holds the others.",
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
            # Idle queues, idle functions and a paused database send no data, which is fine.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        self.alarms.append(alarm)
