"""The start of a load: from what was asked for to the messages in the queues."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fipe_api.aws.clients import client
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import SendError
from fipe_api.environment import LoaderEnvironment
from fipe_api.load.outbox import outgoing, publish
from fipe_api.load.plan import run_plans
from fipe_api.load.request import LoadRequest, LoadRequestError, brand_messages, choose_references
from fipe_api.load.size import refuse_what_expires, size_of
from fipe_api.load.stability import reason_to_wait
from fipe_api.messages import BrandMessage, Reference, RunPlanMessage
from fipe_api.source.http_source import FipeError
from fipe_api.source.price_source import PriceSource


def start_load(
    request: LoadRequest, run_id: UUID, source: PriceSource, environment: LoaderEnvironment
) -> dict[str, Any]:
    """Sends the load's plan to the ledger and one message per brand to the manufacturer queue.

    Returns:
        `run_id`; `references`, each with its code, month and number of brands; and `brands_sent`. When
        until_stable leaves nothing to load, `run_id` is null and `nothing_to_load` gives the reasons.

    Raises:
        LoadRequestError: the source does not have what was asked for or does not answer, or the load would
            take longer than the queues keep a message. Nothing was started.
        SendError: SQS did not accept all messages.
    """
    try:
        references = choose_references(request, source.references())
        if request.until_stable:
            references, reasons = _still_to_load(references, environment.load_status_function)
            if not references:
                return _nothing_to_load(reasons)
        messages = brand_messages(run_id, request, references, source)
    except FipeError as error:
        raise LoadRequestError(f"nothing was started: {error}") from error
    _send([*_plans(request, messages, environment), *messages])
    started = _with_brand_counts(references, messages)
    logger.info("load started", run_id=str(run_id), references=started, brands_sent=len(messages))
    metrics.add_metric("BrandsSent", "Count", len(messages))
    return {"run_id": str(run_id), "references": started, "brands_sent": len(messages)}


def _still_to_load(
    references: Sequence[Reference], load_status_function: str
) -> tuple[list[Reference], list[str]]:
    """The reference months to load now, and a reason for each month that is skipped."""
    lambda_client = client("lambda")
    to_load, reasons = [], []
    for reference in references:
        reason = reason_to_wait(lambda_client, load_status_function, reference)
        if reason is None:
            to_load.append(reference)
        else:
            reasons.append(reason)
    return to_load, reasons


def _nothing_to_load(reasons: Sequence[str]) -> dict[str, Any]:
    why = "; ".join(reasons)
    logger.info("nothing to load", reason=why)
    return {"run_id": None, "references": [], "brands_sent": 0, "nothing_to_load": why}


def _plans(
    request: LoadRequest, messages: Sequence[BrandMessage], environment: LoaderEnvironment
) -> list[RunPlanMessage]:
    if request.run_id is not None:
        # A resumed run was checked when it first started, and the ledger has its plan since then.
        return []
    refuse_what_expires(size_of(messages), environment.calls_per_minute, environment.retention_days)
    return run_plans(request, messages)


def _send(messages: Sequence[RunPlanMessage | BrandMessage]) -> None:
    failed = publish([outgoing([message]) for message in messages])
    if failed:
        lost = f"{len(failed)} of {len(messages)} messages were not sent; start the load again"
        raise SendError(lost) from next(iter(failed.values()))


def _with_brand_counts(
    references: Sequence[Reference], messages: Sequence[BrandMessage]
) -> list[dict[str, Any]]:
    brands = {message.reference.code: message.brands_in_run for message in messages}
    return [
        {"code": reference.code, "month": f"{reference.month:%Y-%m}", "brands": brands.get(reference.code, 0)}
        for reference in references
    ]
