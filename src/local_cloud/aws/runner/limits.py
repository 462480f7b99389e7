"""What Lambda refuses and moto accepts: payloads, settings of functions and of event source mappings.

Source: Lambda developer guide, "Lambda quotas" and "Defined runtime environment variables"; API reference,
CreateFunction, CreateEventSourceMapping and Invoke.
"""

import json
from collections.abc import Mapping
from typing import Any

from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError

LARGEST_EVENT_BYTES = 6 * 2**20
LARGEST_ASYNCHRONOUS_EVENT_BYTES = 2**20
LARGEST_VARIABLES_BYTES = 4096
MOST_LAYERS = 5

_RESERVED_VARIABLES = {
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
}
_FUNCTION_RANGES = {"Timeout": (1, 900), "MemorySize": (128, 10_240)}
_MAPPING_RANGES = {
    "BatchSize": (1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "MaximumConcurrency": (2, 1000),
}
_LARGEST_BATCH_WITHOUT_WINDOW = 10
_COULD_NOT_SET = (
    "Lambda was unable to configure your environment variables because "
    "the environment variables you have provided"
)


def check_event(event: bytes, *, asynchronous: bool) -> None:
    """Check the size of an invocation's payload.

    Raises:
        LambdaClientError: it is too large.
    """
    limit = LARGEST_ASYNCHRONOUS_EVENT_BYTES if asynchronous else LARGEST_EVENT_BYTES
    if len(event) > limit:
        error = LambdaClientError(
            "RequestTooLargeException",
            f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
        )
        error.code = 413
        raise error


def check_function(settings: Mapping[str, Any]) -> None:
    """Check those settings of a function that are given.

    Raises:
        InvalidParameterValueException: Lambda would refuse one.
    """
    _check_ranges(settings, _FUNCTION_RANGES)
    if len(settings.get("Layers") or ()) > MOST_LAYERS:
        raise InvalidParameterValueException(f"Cannot reference more than {MOST_LAYERS} layers.")
    variables = (settings.get("Environment") or {}).get("Variables") or {}
    reserved = sorted(_RESERVED_VARIABLES & set(variables))
    if reserved:
        raise InvalidParameterValueException(
            f"{_COULD_NOT_SET} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > LARGEST_VARIABLES_BYTES:
        raise InvalidParameterValueException(
            f"{_COULD_NOT_SET} exceeded the 4KB limit. String measured: {measured}"
        )


def check_mapping(settings: Mapping[str, Any]) -> None:
    """Check the settings of an event source mapping from SQS.

    Raises:
        InvalidParameterValueException: Lambda would refuse one.
    """
    _check_ranges({**settings, **(settings.get("ScalingConfig") or {})}, _MAPPING_RANGES)
    batch_size = int(settings.get("BatchSize") or _LARGEST_BATCH_WITHOUT_WINDOW)
    window = int(settings.get("MaximumBatchingWindowInSeconds") or 0)
    if batch_size > _LARGEST_BATCH_WITHOUT_WINDOW and not window:
        raise InvalidParameterValueException(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than "
            f"{_LARGEST_BATCH_WITHOUT_WINDOW}"
        )


def _check_ranges(settings: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]]) -> None:
    for name, (lowest, highest) in ranges.items():
        value = settings.get(name)
        if value is None or lowest <= int(value) <= highest:
            continue
        too_large = int(value) > highest
        bound = f"less than or equal to {highest}" if too_large else f"greater than or equal to {lowest}"
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{value}' at '{name[0].lower()}{name[1:]}' "
            f"failed to satisfy constraint: Member must have value {bound}"
        )
