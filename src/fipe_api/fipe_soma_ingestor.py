"""FipeSomaIngestor: writes a batch of the price queue to PostgreSQL.

It runs in the VPC, where it reaches the database but no AWS API: a call to SQS would hang until the
function's timeout. So it cannot send a failed message back; the message returns when its visibility timeout
ends.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import psycopg2
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.batch import process_batch
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.self_check import answers_checks
from fipe_api.database.connection import connect
from fipe_api.database.ledger import LedgerNews
from fipe_api.database.self_check import look_at_database, rehearse
from fipe_api.database.writer import ReferenceMismatchError, Written, write_messages
from fipe_api.load.state import LoadState
from fipe_api.messages import PRICE_QUEUE, PriceQueueMessage

if TYPE_CHECKING:
    from psycopg2.extensions import connection


@answers_checks(lambda _: {"database": look_at_database("FipeSomaIngestor", rehearse)})
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:  # noqa: ARG001
    """Writes a batch of the price queue; returns which messages failed."""
    return process_batch(event, PRICE_QUEUE.decode, _write)


def _write(messages: Sequence[PriceQueueMessage]) -> Mapping[int, Exception]:
    """Writes all messages at once, or one by one if that fails; returns the errors by position."""
    if not messages:
        return {}
    try:
        written = _write_together(messages)
    except psycopg2.OperationalError as error:
        return dict.fromkeys(range(len(messages)), error)
    except (psycopg2.Error, ReferenceMismatchError) as error:
        if len(messages) == 1:
            return {0: error}
        return {
            position: error
            for position, message in enumerate(messages)
            for error in _write([message]).values()
        }
    logger.info("prices written", messages=len(messages), prices=written.given, changed=written.changed)
    metrics.add_metric("PricesReceived", "Count", written.given)
    metrics.add_metric("PricesChanged", "Count", written.changed)
    _announce(written.news)
    return {}


def _announce(news: LedgerNews) -> None:
    for load in news.ended:
        is_complete = load.state == LoadState.COMPLETE
        tell = logger.info if is_complete else logger.warning
        tell(
            f"load {load.state}",
            run_id=load.run_id,
            reference_month=f"{load.reference_month:%Y-%m}",
            changed=load.changed,
            unpriced=load.unpriced,
            rejected=load.rejected,
        )
        metrics.add_metric(load.state.metric, "Count", 1)
    for shrunk in news.shrunk:
        logger.warning(
            "this month lost more prices than a finished month does: see fipe.month_comparison",
            reference_month=f"{shrunk.reference_month:%Y-%m}",
            brands=shrunk.brands,
            prices_before=shrunk.prices_before,
            prices=shrunk.prices,
        )
        metrics.add_metric("MonthsShrunk", "Count", 1)


def _write_together(messages: Sequence[PriceQueueMessage]) -> Written:
    database = _connection()
    try:
        return write_messages(database, messages)
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        # The connection of a warm function may be gone by now: a freeze, a restart, a failover or the idle
        # timeout.
        database.close()
        _connection.cache_clear()
        return write_messages(_connection(), messages)


@cache
def _connection() -> "connection":
    return connect("FipeSomaIngestor")
