"""AWS clients, made with botocore: boto3 would load its S3 transfers too, which no function needs."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from fipe_api.aws.connections import closed_after_invocation
from fipe_api.aws.observability import logger

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient
    from types_boto3_lambda.type_defs import InvocationResponseTypeDef
    from types_boto3_sqs import SQSClient

ASLEEP = ("ResourceNotReadyException", "ResourceConflictException")
"""Lambda's error codes for a function that is inactive, or that is just being activated."""
NO_MESSAGES: Mapping[str, Any] = {"Records": []}
"""The event of an empty batch."""
WAKING_DELAY_SECONDS, WAKING_ATTEMPTS = 5, 24
CONNECT_TIMEOUT_SECONDS, TIMEOUT_SECONDS = 3, 10
"""The time to connect, and to wait for an answer. AWS answers within parts of a second; botocore would wait
for a minute."""
INVOKE_TIMEOUT_SECONDS = 90
"""The same for the answer of a function: it may have to wait for a paused database to wake."""
ATTEMPTS = 5
"""How often a request is made that gets no answer or is throttled. Repeating one that had arrived does no
harm: a message arrives twice, or a call's turn is left unused."""
TABLE_TIMEOUT_SECONDS = 2
"""The times to connect and to answer for DynamoDB, which answers within milliseconds: each call to a source
waits for it, and all attempts together have to fit into what is left of an invocation."""
TABLE_ATTEMPTS = 6
"""How often a request to DynamoDB is made: for 1.6 s while it throttles, for 14 s while nothing answers."""


@cache
def session() -> Session:
    """The session of this execution environment."""
    return Session()


@cache
def client(service: str) -> Any:
    """The client of an AWS service of this execution environment, as boto3.client makes it."""
    return closed_after_invocation(session().create_client(service, config=_config(service)))


def _config(service: str) -> Config:
    if service == "dynamodb":
        return Config(
            connect_timeout=TABLE_TIMEOUT_SECONDS,
            read_timeout=TABLE_TIMEOUT_SECONDS,
            # In this mode, botocore waits 50 ms before the first retry to DynamoDB, and twice as long before
            # each further one. In "standard" mode it waits twenty times as long after throttling.
            retries={"mode": "legacy", "total_max_attempts": TABLE_ATTEMPTS},
        )
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=INVOKE_TIMEOUT_SECONDS if service == "lambda" else TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )


def sqs_client() -> "SQSClient":
    """The SQS client of this execution environment."""
    return client("sqs")  # type: ignore[no-any-return]


def wake(lambda_client: "LambdaClient", function: str) -> None:
    """Activates a function that a queue feeds, without waiting for it, if Lambda has deactivated it.

    Otherwise its first batch would fail, stay hidden for the queue's visibility timeout, and have one attempt
    less. Nothing is raised: without this, the function wakes by its queue, only later.
    """
    try:
        lambda_client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(NO_MESSAGES))
    except (ClientError, BotoCoreError) as error:
        # An inactive function may refuse even this, and wakes nevertheless.
        logger.warning("could not wake", function=function, error=str(error))


def invoke(
    lambda_client: "LambdaClient", function: str, payload: Mapping[str, Any]
) -> "InvocationResponseTypeDef":
    """Invokes a function and returns its answer, which may say that it failed.

    Lambda deactivates a function in a VPC that nothing invokes for weeks. The next invocation fails and
    activates it (Lambda developer guide, "Lambda function states"). Then it is invoked again as soon as it is
    active.

    Raises:
        ClientError, BotoCoreError: it could not be invoked.
    """
    body = json.dumps(payload)
    try:
        return lambda_client.invoke(FunctionName=function, Payload=body)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ASLEEP:
            raise
    lambda_client.get_waiter("function_active").wait(
        FunctionName=function,
        WaiterConfig={"Delay": WAKING_DELAY_SECONDS, "MaxAttempts": WAKING_ATTEMPTS},
    )
    return lambda_client.invoke(FunctionName=function, Payload=body)
