"""FipeManufacturerLoader: starts a load and sends one message per brand."""

from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.clients import client, wake
from fipe_api.aws.observability import logger, metrics
from fipe_api.environment import loader_environment
from fipe_api.load.request import parse_request
from fipe_api.load.start import start_load
from fipe_api.source.factory import price_source


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Starts a load. The payload is described at LoadRequest, the answer at start_load."""
    request = parse_request(event)
    # Lambda retries an asynchronous invocation with the same request id, so the retry continues the same run.
    run_id = request.run_id or UUID(context.aws_request_id)
    if loader_environment().ingestor_function:
        # It is in a VPC, so Lambda deactivates it after some weeks without a load.
        wake(client("lambda"), loader_environment().ingestor_function)
    return start_load(request, run_id, price_source(context, run_id), loader_environment())
