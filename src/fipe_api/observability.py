"""The logger and the metrics of all functions, made once; named by the POWERTOOLS_ variables."""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()
