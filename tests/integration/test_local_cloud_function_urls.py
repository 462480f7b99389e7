"""Function URLs of the local cloud: requests become events, and only signed ones are let in."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.local_cloud_support import ROLE, Cloud, running_cloud

ECHO = """
    import json

    def handler(event, context):
        if event["rawPath"] == "/fail":
            raise ValueError("told nobody")
        if event["rawPath"] == "/plain":
            return {"is": "json"}
        return {"statusCode": 201, "headers": {"X-Answer": "yes"}, "body": json.dumps(event)}
"""


def template(auth: str) -> dict[str, Any]:
    function = {"Fn::GetAtt": ["Function", "Arn"]}
    properties = {
        "FunctionName": f"echo-{auth}", "Runtime": "python3.14", "Role": ROLE, "Handler": "index.handler",
        "Code": {"ZipFile": "\n".join(line[4:] for line in ECHO.splitlines())},
    }  # fmt: skip
    return {
        "Resources": {
            "Function": {"Type": "AWS::Lambda::Function", "Properties": properties},
            "Url": {
                "Type": "AWS::Lambda::Url",
                "Properties": {"TargetFunctionArn": function, "AuthType": auth},
            },
        },
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Url", "FunctionUrl"]}}},
    }


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def urls(cloud: Cloud) -> dict[str, str]:
    """By kind of authorization."""
    stacks = {
        auth: cloud.deploy(f"url-{auth.replace('_', '-')}", template(auth)) for auth in ("AWS_IAM", "NONE")
    }
    return {auth: stack["Outputs"][0]["OutputValue"] for auth, stack in stacks.items()}


def ask(url: str, *, method: str = "GET", sign: str = "", **options: Any) -> requests.Response:
    headers = options.pop("headers", {})
    if sign:
        request = AWSRequest(method, url, headers, options.get("data"))
        SigV4Auth(Credentials("testing", "testing"), sign, "us-east-1").add_auth(request)
        headers = dict(request.headers)
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, headers=headers, timeout=60, **options)


def test_a_request_becomes_an_event_and_the_answer_an_answer(urls: dict[str, str]) -> None:
    answered = ask(
        f"{urls['NONE']}a%20b/c?q=%C3%A7&x", method="POST", data=b"body", headers={"X-Any": "value"}
    )
    event = answered.json()
    assert (answered.status_code, answered.headers["X-Answer"]) == (201, "yes")
    assert (event["rawPath"], event["rawQueryString"], event["body"]) == (
        "/a%20b/c",
        "q=%C3%A7&x",
        "Ym9keQ==",
    )
    assert (event["headers"]["x-any"], event["requestContext"]["http"]["method"]) == ("value", "POST")


def test_what_is_no_answer_is_json_and_an_error_is_told_nobody(urls: dict[str, str]) -> None:
    assert ask(f"{urls['NONE']}plain").json() == {"is": "json"}
    failed = ask(f"{urls['NONE']}fail")
    assert (failed.status_code, failed.json()) == (502, {"Message": "Internal Server Error"})


def test_only_requests_that_are_signed_for_lambda_are_let_in(urls: dict[str, str]) -> None:
    url = urls["AWS_IAM"]
    assert (ask(url).status_code, ask(url).json()) == (403, {"Message": "Forbidden"})
    assert ask(url, headers={"Authorization": "Bearer x"}).status_code == 403
    assert ask(url, sign="s3").status_code == 403
    assert ask(url, sign="lambda").status_code == 201


def test_a_url_goes_with_its_stack(cloud: Cloud) -> None:
    url = cloud.deploy("gone", template("GONE"))["Outputs"][0]["OutputValue"]
    cloud.client("cloudformation").delete_stack(StackName="gone")
    assert ask(url, sign="lambda").status_code == 404
