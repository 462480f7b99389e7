"""Function URLs: HTTP requests become events of a function, and its answers become HTTP answers.

A URL with AWS_IAM takes only requests that are signed for Lambda; one with NONE takes others, too. Either way
the caller needs two permissions, from their own policies or from the function's.
Source: Lambda developer guide, "Invoking Lambda function URLs" and "Control access to Lambda function URLs".
"""

import base64
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import lambda_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from local_cloud.aws.iam.identities import ANYONE, Identity
from local_cloud.aws.iam.policies import Call, for_caller
from local_cloud.aws.iam.signatures import Request, SignatureError, UnsignedError, signer_of
from local_cloud.aws.runner.function_runner import ThrottledError
from local_cloud.aws.runner.function_specs import spec_of
from local_cloud.aws.services import services
from local_cloud.state import REGION

PATH = "/local-cloud/function-url/"

_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see:"
    " https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)

logger = logging.getLogger("local_cloud")

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def url_of(function_name: str) -> str:
    """The URL of a function in this cloud."""
    return f"{services().endpoint.url}{PATH}{function_name}/"


def answer(environ: dict[str, Any], body: bytes, start_response: StartResponse) -> Iterable[bytes]:
    """Answers a request below PATH, as WSGI does."""
    answered = _answer(environ, body)
    headers = [(name, text) for name, text in answered.headers.items() if name.lower() != "content-length"]
    start_response(f"{answered.status} Answer", [*headers, ("Content-Length", str(len(answered.body)))])
    return [answered.body]


def _answer(environ: dict[str, Any], body: bytes) -> _Answer:
    path, _, query = environ["REQUEST_URI"].removeprefix(PATH).partition("?")
    name, _, rest = path.partition("/")
    function = _function(unquote(name))
    if function is None or function.url_config is None:
        return _message(404, None)
    headers = _headers(environ)
    auth_type = function.url_config.config["AuthType"]
    try:
        request = Request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], headers, body)
        caller = ANYONE if auth_type == "NONE" else signer_of(request, "lambda")
    except UnsignedError:
        return _refusal("AccessDeniedException", {"Message": _FORBIDDEN})
    except SignatureError as error:
        return _refusal(error.code, {"message": str(error)})
    if missing := _missing_permission(function, auth_type, caller):
        logger.info("%s: %s has no permission for %s", name, next(iter(caller.arns), "a caller"), missing)
        return _refusal("AccessDeniedException", {"Message": _FORBIDDEN})
    event = json.dumps(_event(environ, headers, f"/{rest}", query, body)).encode()
    reserved = function.reserved_concurrency
    limit = None if reserved is None else int(reserved)
    try:
        outcome = services().runner.invoke(spec_of(function), event, limit)
    except ThrottledError:
        return _message(429, "Rate exceeded")
    if outcome.is_error:
        return _message(502, "Internal Server Error")
    return _as_http(json.loads(outcome.payload))


def _function(name: str) -> Any:
    try:
        return lambda_backends[DEFAULT_ACCOUNT_ID][REGION].get_function(name)
    except UnknownFunctionException:
        return None


def _missing_permission(function: Any, auth_type: str, caller: Identity) -> str | None:
    """The first action that the caller needs on the function, and may not do."""
    needed = {
        "lambda:InvokeFunctionUrl": {"lambda:functionurlauthtype": auth_type},
        "lambda:InvokeFunction": {"lambda:invokedviafunctionurl": "true"},
    }
    granted = for_caller(function.policy.statements, caller.arns)
    for action, context in needed.items():
        if not caller.may(Call(action, function.function_arn, {**caller.context, **context}), granted):
            return action
    return None


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    """The headers of a request, by their names in small letters."""
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
    }


def _event(
    environ: dict[str, Any], headers: Mapping[str, str], path: str, query: str, body: bytes
) -> dict[str, Any]:
    """The event of payload format 2.0."""
    http = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "protocol": environ["SERVER_PROTOCOL"],
        "sourceIp": environ.get("REMOTE_ADDR", ""),
        "userAgent": headers.get("user-agent", ""),
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(headers),
        "requestContext": {
            "accountId": DEFAULT_ACCOUNT_ID,
            "domainName": headers.get("host", ""),
            "http": http,
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _as_http(answered: Any) -> _Answer:
    """What a function returned. Without a status it is the body, as JSON."""
    if not isinstance(answered, dict) or "statusCode" not in answered:
        return _Answer(200, {"Content-Type": "application/json"}, json.dumps(answered).encode())
    text = answered.get("body") or ""
    body = base64.b64decode(text) if answered.get("isBase64Encoded") else text.encode()
    return _Answer(answered["statusCode"], answered.get("headers") or {}, body)


def _refusal(code: str, document: dict[str, str]) -> _Answer:
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
    return _Answer(403, headers, json.dumps(document).encode())


def _message(status: int, text: str | None) -> _Answer:
    return _Answer(status, {"Content-Type": "application/json"}, json.dumps({"Message": text}).encode())
