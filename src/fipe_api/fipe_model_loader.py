"""FipeModelLoader: reads brands, sends their models with their model years and fuels."""

from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.batch import process_batch
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing
from fipe_api.load.discovery import find_model_years
from fipe_api.load.outbox import outgoing, publish, retry_soon
from fipe_api.load.plan import brand_plans
from fipe_api.messages import MANUFACTURER_QUEUE, Unfinished
from fipe_api.source.factory import price_source


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Works on a batch of the manufacturer queue; returns which messages failed."""

    def work(body: str) -> list[Outgoing]:
        message = MANUFACTURER_QUEUE.decode(body)
        found = find_model_years(message, price_source(context, message.run_id, message.reference))
        return outgoing(found if isinstance(found, Unfinished) else [*brand_plans(found), *found])

    return process_batch(event, work, publish, retry_soon)
