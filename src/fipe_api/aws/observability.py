"""The logger and the metrics of all functions. POWERTOOLS_ variables set the service and the log level."""

import json

from aws_lambda_powertools import Logger, Metrics


def _one_line(record: dict[str, object]) -> str:
    """A log record as JSON in ASCII: so no published name can break the line or control a terminal."""
    return json.dumps(record, default=str, separators=(",", ":"))


logger = Logger(json_serializer=_one_line)
metrics = Metrics(namespace="Fipe")
