"""CloudWatch metrics for the alarms and the dashboard."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

NAMESPACE = "Fipe"


def service_name(function: str, stage: str) -> str:
    """The function's name in logs and metrics, with the stage, so that stages do not mix."""
    return f"{function}-{stage}"


def fipe_metric(name: str, function: str, stage: str, period: Duration) -> cloudwatch.Metric:
    """The sum of a metric that one of our functions reports."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"service": service_name(function, stage)},
        statistic="Sum",
        period=period,
    )
