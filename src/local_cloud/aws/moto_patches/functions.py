"""Patches of moto's Lambda."""

import base64
import json
import os
from collections.abc import Callable
from typing import Any

from moto.awslambda import models as awslambda
from moto.awslambda import policy, urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.responses import LambdaResponse
from moto.logs.models import logs_backends
from moto.sqs import models as sqs

from local_cloud.aws.event_sources import QueuePoller
from local_cloud.aws.moto_patches.members import add, replace
from local_cloud.aws.runner.environment import Outcome
from local_cloud.aws.runner.function_runner import ThrottledError
from local_cloud.aws.runner.function_specs import spec_of
from local_cloud.aws.runner.limits import check_event, check_function, check_mapping
from local_cloud.aws.services import services

CONCURRENCY = 1000
"""Concurrent executions of an account, as AWS gives them; MOTO_LAMBDA_CONCURRENCY_QUOTA says otherwise."""

StartPoller = Callable[[QueuePoller], None]


def run_functions() -> None:
    """moto runs functions in Docker, calls every error Handled, and cannot update a function with layers."""

    def invoke(self: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
        event = (body.encode() if isinstance(body, str) else body) or b"{}"
        try:
            json.loads(event)
        except ValueError as error:
            raise _client_error(
                "InvalidRequestContentException", f"Could not parse request body: {error}"
            ) from error
        kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
        check_event(event, asynchronous=kind == "Event")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            services().runner.invoke_later(spec_of(self), event, _reserved(self))
            return b""
        try:
            outcome = _invoke(self, event)
        except ThrottledError as error:
            raise _client_error("TooManyRequestsException", "Rate Exceeded.", 429) from error
        response_headers["x-amz-executed-version"] = "$LATEST"
        response_headers["x-amz-log-result"] = base64.b64encode(outcome.log_tail).decode()
        if outcome.is_error:
            response_headers["x-amz-function-error"] = "Unhandled"
        return outcome.payload

    update = awslambda.LambdaFunction.update_from_cloudformation_json

    def update_from_template(
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Any:
        # When a template changes, moto passes the layers that it refers to as objects of its own.
        properties = dict(cloudformation_json["Properties"])
        properties["Layers"] = [getattr(layer, "arn", layer) for layer in properties.get("Layers", [])]
        changed = {**cloudformation_json, "Properties": properties}
        return update(original_resource, new_resource_name, changed, account_id, region_name)

    replace(
        awslambda.LambdaFunction,
        invoke=invoke,
        update_from_cloudformation_json=staticmethod(update_from_template),
    )


def refuse_what_lambda_refuses() -> None:
    """moto accepts any setting of a function or an event source mapping; see runner.limits."""
    create, configure = awslambda.LambdaBackend.create_function, awslambda.LambdaFunction.update_configuration
    update_mapping = awslambda.LambdaBackend.update_event_source_mapping

    def create_function(self: Any, spec: dict[str, Any]) -> Any:
        check_function(spec)
        # Lambda makes it at the first invocation. One that is deleted later stays away, and its lines are
        # lost: no role of the application may make log groups.
        logs_backends[self.account_id][self.region_name].ensure_log_group(
            f"/aws/lambda/{spec['FunctionName']}"
        )
        return create(self, spec)

    def update_configuration(self: Any, config_updates: dict[str, Any]) -> Any:
        check_function(config_updates)
        return configure(self, config_updates)

    def update_event_source_mapping(self: Any, uuid: str, spec: dict[str, Any]) -> Any:
        mapping = self.get_event_source_mapping(uuid)
        if mapping is not None:
            present = {
                "BatchSize": mapping.batch_size,
                "MaximumBatchingWindowInSeconds": mapping.max_batch_window,
                "ScalingConfig": mapping.scaling_config,
            }
            check_mapping({**present, **spec})
        return update_mapping(self, uuid, spec)

    replace(
        awslambda.LambdaBackend,
        create_function=create_function,
        update_event_source_mapping=update_event_source_mapping,
    )
    replace(awslambda.LambdaFunction, update_configuration=update_configuration)


def keep_conditions_of_urls() -> None:
    """moto drops what a permission says about function URLs: it would be for every call."""
    decode = policy.Policy.decode_policy

    def decode_policy(self: Any, obj: dict[str, Any]) -> Any:
        auth_type, via_url = obj.pop("FunctionUrlAuthType", None), obj.pop("InvokedViaFunctionUrl", None)
        decoded = decode(self, obj)
        conditions = (
            ("StringEquals", "lambda:FunctionUrlAuthType", auth_type),
            ("Bool", "lambda:InvokedViaFunctionUrl", None if via_url is None else str(via_url).lower()),
        )
        for operator, key, value in conditions:
            if value is not None:
                decoded.statements[0].setdefault("Condition", {}).setdefault(operator, {})[key] = value
        return decoded

    replace(policy.Policy, decode_policy=decode_policy)


def tell_account_settings() -> None:
    """moto lacks GetAccountSettings."""

    def get_account_settings(self: Any) -> tuple[int, dict[str, str], str]:
        quota = int(os.environ.get("MOTO_LAMBDA_CONCURRENCY_QUOTA", CONCURRENCY))
        functions = self.backend.list_functions()
        reserved = sum(_reserved(function) or 0 for function in functions)
        limits = {"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": quota - reserved}
        return (
            200,
            {},
            json.dumps({"AccountLimit": limits, "AccountUsage": {"FunctionCount": len(functions)}}),
        )

    urls.url_paths[r"{0}/(?P<api_version>[^/]+)/account-settings/?$"] = LambdaResponse.dispatch
    add(LambdaResponse, get_account_settings=get_account_settings)


def poll_queues(start_poller: StartPoller) -> None:
    """moto invokes a function inside SendMessage, and has neither batching windows nor partial failures."""
    create = awslambda.LambdaBackend.create_event_source_mapping

    def create_event_source_mapping(self: Any, spec: dict[str, Any]) -> Any:
        check_mapping(spec)
        queues = sqs.sqs_backends[self.account_id][self.region_name].queues.values()
        queue: Any = next((queue for queue in queues if queue.queue_arn == spec.get("EventSourceArn")), None)
        timeout = int(self.get_function(spec.get("FunctionName", "")).timeout)
        if queue is not None and queue.visibility_timeout < timeout:
            raise InvalidParameterValueException(
                f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than "
                f"Function timeout: {timeout} seconds"
            )
        mapping = create(self, spec)
        if queue is not None:
            services().runner.prepare(spec_of(self.get_function(mapping.function_arn)))
            start_poller(
                QueuePoller(
                    mapping,
                    queue,
                    invoke=lambda event: _invoke(self.get_function(mapping.function_arn), event),
                    is_deleted=lambda: self.get_event_source_mapping(mapping.uuid) is not mapping,
                )
            )
        return mapping

    replace(awslambda.LambdaBackend, create_event_source_mapping=create_event_source_mapping)


def _invoke(function: Any, event: bytes) -> Outcome:
    return services().runner.invoke(spec_of(function), event, _reserved(function))


def _reserved(function: Any) -> int | None:
    reserved = function.reserved_concurrency
    return None if reserved is None else int(reserved)


def _client_error(code: str, message: str, status: int = 400) -> LambdaClientError:
    error = LambdaClientError(code, message)
    error.code = status
    return error
