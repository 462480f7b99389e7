"""The logger and the metrics of all functions; POWERTOOLS_ variables set the service and the log level."""

import json

from aws_lambda_powertools import Logger, Metrics


def _one_line(record: dict[str, object]) -> str:
    """A log record as JSON in ASCII: no name that a source publishes can end the line or steer a terminal."""
    return json.dumps(record, default=str, separators=(",", ":"))


logger = Logger(json_serializer=_one_line)
metrics = Metrics(namespace="Fipe")
