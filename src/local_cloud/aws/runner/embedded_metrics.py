"""Metrics that functions print as lines of JSON for CloudWatch (embedded metric format).

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

MARK = '"CloudWatchMetrics"'


def embedded_metrics(line: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The metrics in a log line, if any: namespaces, each with its data for PutMetricData."""
    if MARK not in line:
        return
    try:
        document = json.loads(line)
        described = document["_aws"]
        # moto compares times in UTC that carry no time zone.
        moment = datetime.fromtimestamp(described["Timestamp"] / 1000, UTC).replace(tzinfo=None)
        for directive in described["CloudWatchMetrics"]:
            yield directive["Namespace"], list(_data(document, directive, moment))
    except (ValueError, TypeError, KeyError):
        return  # a line that only quotes such a document


def _data(document: dict[str, Any], directive: dict[str, Any], moment: datetime) -> Iterator[dict[str, Any]]:
    for names in directive["Dimensions"]:
        dimensions = [{"Name": name, "Value": document[name]} for name in names]
        for metric in directive["Metrics"]:
            values = document[metric["Name"]]
            yield {
                "MetricName": metric["Name"],
                "Unit": metric.get("Unit", "None"),
                "Dimensions": dimensions,
                "Timestamp": moment,
                "Values": values if isinstance(values, list) else [values],
            }
