"""The CloudWatch dashboard: the pipeline from left to right, one column per step, with the alarms on top."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, Stack, Tags
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_rds as rds
from constructs import Construct

from infrastructure import names
from infrastructure.metrics import fipe_metric
from infrastructure.names import Function
from infrastructure.queues import QueueWithDlq

PERIOD = Duration.minutes(5)
COLUMN, HEIGHT = 6, 6
"""CloudWatch's grid has 24 columns: four functions side by side."""


class Dashboard(Construct):
    """Three rows: the functions, the queue that each function fills, then the source and the database.

    Args:
        functions: in the order of the pipeline; the last one writes to the database.
        queues: in the same order, each below the function that fills it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: str,
        functions: Mapping[str, lambda_.IFunction],
        queues: Mapping[str, QueueWithDlq],
        cluster: rds.IDatabaseCluster,
        alarms: Sequence[cloudwatch.IAlarm],
    ) -> None:
        super().__init__(scope, construct_id)
        Tags.of(self).add("component", "operations")
        self._stage = stage
        dashboard = cloudwatch.Dashboard(
            self,
            "Pipeline",
            dashboard_name=names.dashboard(stage, Stack.of(self).region),
            default_interval=Duration.days(1),
        )
        dashboard.add_widgets(
            cloudwatch.AlarmStatusWidget(title=f"FIPE {stage}", alarms=list(alarms), width=24, height=3)
        )
        dashboard.add_widgets(*(_function_widget(name, function) for name, function in functions.items()))
        dashboard.add_widgets(*(_queue_widget(kind, queue) for kind, queue in queues.items()), self._prices())
        dashboard.add_widgets(*self._source(), *_database(cluster))

    def _prices(self) -> cloudwatch.GraphWidget:
        counted = ("PricesReceived", "PricesChanged", names.LOADS_COMPLETE, names.LOADS_INCOMPLETE)
        return _graph("Into the database", [self._metric(name, Function.SOMA_INGESTOR) for name in counted])

    def _source(self) -> list[cloudwatch.GraphWidget]:
        """What the source refused, as FipePriceLoader counts it, and the messages that failed."""
        calls = ("CallsThrottled", "CallsBlocked", "SourceDown")
        failing = (Function.MODEL_LOADER, Function.PRICE_LOADER, Function.SOMA_INGESTOR)
        failed = [self._metric("MessagesFailed", function).with_(label=function) for function in failing]
        return [
            _graph("Refused by the source", [self._metric(name, Function.PRICE_LOADER) for name in calls]),
            _graph("Failed messages", [*failed, self._metric("AnswersRejected", Function.PRICE_LOADER)]),
        ]

    def _metric(self, name: str, function: Function) -> cloudwatch.Metric:
        return fipe_metric(name, function, self._stage, PERIOD)


def _function_widget(name: str, function: lambda_.IFunction) -> cloudwatch.GraphWidget:
    return _graph(
        name,
        [
            function.metric_invocations(period=PERIOD, label="invocations"),
            function.metric_errors(period=PERIOD, label="errors", color=cloudwatch.Color.RED),
            function.metric_throttles(period=PERIOD, label="throttles", color=cloudwatch.Color.ORANGE),
        ],
        right=[function.metric_duration(period=PERIOD, label="duration (ms)", color=cloudwatch.Color.GREY)],
    )


def _queue_widget(kind: str, queue: QueueWithDlq) -> cloudwatch.GraphWidget:
    def messages(metric: cloudwatch.Metric, label: str) -> cloudwatch.Metric:
        return metric.with_(period=PERIOD, statistic="Maximum", label=label)

    work, dead = queue.queue, queue.dlq.metric_approximate_number_of_messages_visible()
    return _graph(
        f"{kind} queue",
        [
            messages(work.metric_approximate_number_of_messages_visible(), "waiting"),
            messages(work.metric_approximate_number_of_messages_not_visible(), "in flight"),
            messages(work.metric_approximate_number_of_messages_delayed(), "delayed"),
            messages(dead, "DLQ").with_(color=cloudwatch.Color.RED),
        ],
        right=[messages(work.metric_approximate_age_of_oldest_message(), "oldest (s)")],
    )


def _database(cluster: rds.IDatabaseCluster) -> list[cloudwatch.GraphWidget]:
    return [
        _graph(
            "Database",
            [cluster.metric_cpu_utilization(period=PERIOD, label="CPU (%)")],
            right=[cluster.metric_database_connections(period=PERIOD, label="connections")],
        ),
        _graph(
            "Database size",
            [cluster.metric_volume_bytes_used(period=Duration.hours(1), label="volume (bytes)")],
            right=[cluster.metric_free_local_storage(period=PERIOD, label="free local storage (bytes)")],
        ),
    ]


def _graph(
    title: str, left: Sequence[cloudwatch.IMetric], right: Sequence[cloudwatch.IMetric] = ()
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(left), right=list(right), width=COLUMN, height=HEIGHT
    )
