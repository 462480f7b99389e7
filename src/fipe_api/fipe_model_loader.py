"""FipeModelLoader: reads brands, sends their models with their model years and fuels.

It also goes on with starts for which the source did not answer in time, looks up FIPE codes, and moves lists
of months on.
"""

from typing import Any

from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.batch import process_batch
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing
from fipe_api.aws.self_check import answers_checks
from fipe_api.environment import consumer_environment, loader_environment
from fipe_api.load import backfill
from fipe_api.load.by_code import find_models
from fipe_api.load.cancellation import is_dropped
from fipe_api.load.discovery import find_model_years
from fipe_api.load.outbox import outgoing, publish, retry_soon
from fipe_api.load.plan import brand_plans
from fipe_api.load.start import outgoing_of
from fipe_api.messages import MANUFACTURER_QUEUE, BackfillMessage, CodesMessage, StartMessage, Unfinished
from fipe_api.source.factory import official_source, price_source
from fipe_api.source.self_check import look_at_sources


@answers_checks(look_at_sources)
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Works on a batch of the manufacturer queue; returns which messages failed."""
    environment = loader_environment()

    def work(body: str) -> list[Outgoing]:
        message = MANUFACTURER_QUEUE.decode(body)
        if isinstance(message, BackfillMessage):
            seconds_left = context.get_remaining_time_in_millis() / 1000
            sampled = message.sample.reference if message.sample else None
            official = official_source(context, message.run_id, sampled)
            source = price_source(context, message.run_id)
            moved = backfill.move(message, source, environment, seconds_left, official)
            return outgoing_of(moved, consumer_environment().sqs_input_url)
        if is_dropped(message):
            return []
        if isinstance(message, CodesMessage):
            return outgoing(find_models(message, official_source(context, message.run_id, message.reference)))
        if isinstance(message, StartMessage):
            started = backfill.begin(message, price_source(context, message.run_id), environment)
            return outgoing_of(started, consumer_environment().sqs_input_url)
        found = find_model_years(message, price_source(context, message.run_id, message.reference))
        return outgoing(found if isinstance(found, Unfinished) else [*brand_plans(found), *found])

    return process_batch(event, work, publish, retry_soon)
