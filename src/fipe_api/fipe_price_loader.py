"""FipePriceLoader: reads models with their model years and fuels, sends their prices."""

from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.batch import process_batch
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing
from fipe_api.aws.self_check import answers_checks
from fipe_api.load.cancellation import is_dropped
from fipe_api.load.denials import denied_before
from fipe_api.load.outbox import outgoing, publish, retry_soon
from fipe_api.load.prices import collect_prices
from fipe_api.messages import MODEL_QUEUE
from fipe_api.source.factory import price_source
from fipe_api.source.self_check import look_at_sources


@answers_checks(look_at_sources)
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Works on a batch of the model queue; returns which messages failed."""

    def work(body: str) -> list[Outgoing]:
        message = MODEL_QUEUE.decode(body)
        if is_dropped(message):
            return []
        source = price_source(context, message.run_id, message.reference)
        return outgoing(collect_prices(message, source, denied_before))

    return process_batch(event, work, publish, retry_soon)
