"""The logger and the metrics of all functions; POWERTOOLS_ variables set the service and the log level."""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics(namespace="Fipe")
