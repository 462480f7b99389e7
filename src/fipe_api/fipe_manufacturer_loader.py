"""FipeManufacturerLoader: starts a load and sends one message per brand; or cancels a load."""

from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.typing import LambdaContext

from fipe_api.aws.clients import client, wake
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.self_check import answers_checks
from fipe_api.environment import loader_environment
from fipe_api.load import backfill, by_code, cancellation
from fipe_api.load.request import LoadRequest, LoadRequestError, parse_request
from fipe_api.load.start import send, tell_ledger
from fipe_api.messages import StartMessage
from fipe_api.source.factory import price_source
from fipe_api.source.http_source import FipeError
from fipe_api.source.self_check import look_at_sources


@answers_checks(look_at_sources)
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Starts or cancels a load. The payload is described at LoadRequest, the answer to a start at start_load.

    A payload that asks for what cannot be loaded is not a failure of the function: no alarm goes off, and
    Lambda does not invoke it again. The answer then holds `errorType` and `errorMessage`, as after a failure.
    """
    try:
        return _start(event, context)
    except LoadRequestError as error:
        if isinstance(error.__cause__, FipeError):
            raise  # the source may answer when Lambda tries again
        logger.warning("load refused", reason=str(error))
        return {"errorType": type(error).__name__, "errorMessage": str(error)}


def _start(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    request = parse_request(event)
    if request.cancel:
        return _cancel(request)
    if request.go_on:
        return _go_on(request, context)
    # Lambda retries an asynchronous invocation with the same request id, so the retry continues the same run.
    run_id = request.known_run or UUID(context.aws_request_id)
    message = StartMessage(run_id=run_id, request=event or {})
    environment = loader_environment()
    if environment.ingestor_function:
        # It is in a VPC, so Lambda deactivates it after some weeks without a load.
        wake(client("lambda"), environment.ingestor_function)
    if request.run_id is not None:
        lifted = cancellation.lift(run_id)
        if lifted is not None:
            tell_ledger(lifted)
    elif request.start_key and cancellation.is_cancelled(run_id):
        raise LoadRequestError("run {run} is cancelled: `fipe resume {run}` loads what it lacks", run=run_id)
    begin = by_code.begin if request.fipe_codes else backfill.begin
    started = begin(message, price_source(context, run_id), environment)
    send(started, environment.sqs_output_url)
    return started.answer


def _cancel(request: LoadRequest) -> dict[str, Any]:
    if request.run_id is None:
        raise LoadRequestError("cancel needs the run_id of the load to cancel")
    told = cancellation.cancel(request.run_id)
    backfill.stop(request.run_id, loader_environment())
    tell_ledger(told)
    logger.info("load cancelled", run_id=str(request.run_id))
    metrics.add_metric("LoadsCancelled", "Count", 1)
    return {"run_id": str(request.run_id), "cancelled": True}


def _go_on(request: LoadRequest, context: LambdaContext) -> dict[str, Any]:
    if request.run_id is None:
        raise LoadRequestError("go_on needs the run_id of the list of months to go on with")
    environment = loader_environment()
    started = backfill.go_on(request.run_id, price_source(context, request.run_id), environment)
    send(started, environment.sqs_output_url)
    return started.answer
