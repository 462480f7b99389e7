"""CloudWatch metrics for the alarms and the dashboard."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

from infrastructure.names import METRICS_NAMESPACE, Function


def fipe_metric(name: str, function: Function, stage: str, period: Duration) -> cloudwatch.Metric:
    """The sum of a metric that one of our functions reports."""
    return cloudwatch.Metric(
        namespace=METRICS_NAMESPACE,
        metric_name=name,
        dimensions_map={"service": function.of(stage)},
        statistic="Sum",
        period=period,
    )
