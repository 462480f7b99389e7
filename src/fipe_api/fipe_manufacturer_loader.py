"""FipeManufacturerLoader: starts a load, one message a brand."""

from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.clients import client
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing, SendError
from fipe_api.load.loader import environment, outgoing, price_source, publish
from fipe_api.load.plan import run_plans
from fipe_api.load.request import LoadRequestError, brand_messages, choose_references, parse_request
from fipe_api.load.size import refuse_what_expires, size_of
from fipe_api.load.stability import reason_to_wait
from fipe_api.messages import Reference, to_json
from fipe_api.source.http_source import FipeError


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Starts the load that the payload asks for (see LoadRequest).

    Returns:
        `run_id`; `references`, each with its code, month and number of brands; and `brands_sent`. With
        until_stable and nothing to load, `run_id` is null and `nothing_to_load` says why.

    Raises:
        LoadRequestError: the payload makes no sense, the load is too long for the queues, or the source gives
            no answer; nothing was started.
        SendError: SQS took only some of the brands.
    """
    request = parse_request(event)
    # Lambda retries an asynchronous invocation under the same id: that is the same run, not another one.
    run_id = request.run_id or UUID(context.aws_request_id)
    api = price_source(context, run_id)
    try:
        references = choose_references(request, api.references())
        if request.until_stable:
            reasons = {reference: _reason_to_wait(reference) for reference in references}
            references = [reference for reference in references if reasons[reference] is None]
            if not references:
                return _nothing_to_load([reason for reason in reasons.values() if reason])
        messages = brand_messages(run_id, request, references, api)
    except FipeError as error:
        raise LoadRequestError(f"nothing was started: {error}") from error
    plans = []
    if request.run_id is None:  # a resumed run was let in, and has told the ledger its plan, when it began
        refuse_what_expires(size_of(messages), environment().calls_per_minute, environment().retention_days)
        plans = run_plans(request, messages)
    queue = environment().sqs_output_url
    sent = [*(outgoing([plan]) for plan in plans)]
    sent += [[Outgoing(queue, to_json(message))] for message in messages]
    failed = publish(sent)
    if failed:
        lost = f"{len(failed)} of {len(sent)} messages were not sent; start the load again"
        raise SendError(lost) from next(iter(failed.values()))
    brands = {message.reference.code: message.brands_in_run for message in messages}
    started = [
        {"code": reference.code, "month": f"{reference.month:%Y-%m}", "brands": brands.get(reference.code, 0)}
        for reference in references
    ]
    logger.info("load started", run_id=str(run_id), references=started, brands_sent=len(messages))
    metrics.add_metric("BrandsSent", "Count", len(messages))
    return {"run_id": str(run_id), "references": started, "brands_sent": len(messages)}


def _reason_to_wait(reference: Reference) -> str | None:
    return reason_to_wait(client("lambda"), environment().load_status_function, reference)


def _nothing_to_load(reasons: list[str]) -> dict[str, Any]:
    why = "; ".join(reasons)
    logger.info("nothing to load", reason=why)
    return {"run_id": None, "references": [], "brands_sent": 0, "nothing_to_load": why}
