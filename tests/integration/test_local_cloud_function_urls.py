"""Function URLs of the local cloud: requests become events, and only callers with permission are let in."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from local_cloud.aws.iam.identities import UnknownKeyError, identity_of
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
ACCOUNT = "arn:aws:iam::123456789012"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:echo-AWS_IAM"
URL, INVOKE = "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"
KEYS = Credentials("testing", "testing")
FORBIDDEN = {
    "Message": "Forbidden. For troubleshooting Function URL authorization issues, see:"
    " https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
}
MISMATCH = {
    "message": "The request signature we calculated does not match the signature you provided. Check your AWS"
    " Secret Access Key and signing method. Consult the service documentation for details."
}

Statement = dict[str, Any]


def template(auth: str, **permissions: Statement) -> dict[str, Any]:
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
            **{
                name: {
                    "Type": "AWS::Lambda::Permission",
                    "Properties": {"FunctionName": function, **permission},
                }
                for name, permission in permissions.items()
            },
        },
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Url", "FunctionUrl"]}}},
    }


def deployed(cloud: Cloud, name: str, document: dict[str, Any]) -> str:
    """The URL of a function, deployed."""
    url: str = cloud.deploy(name, document)["Outputs"][0]["OutputValue"]
    return url


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def public(cloud: Cloud) -> str:
    """A URL that takes requests of everyone, as AWS's console makes it."""
    anyone = template(
        "NONE",
        Url1={"Principal": "*", "Action": URL, "FunctionUrlAuthType": "NONE"},
        Url2={"Principal": "*", "Action": INVOKE, "InvokedViaFunctionUrl": True},
    )
    return deployed(cloud, "url-public", anyone)


@pytest.fixture(scope="module")
def url(cloud: Cloud) -> str:
    """A URL that takes requests of those who may."""
    return deployed(cloud, "url-iam", template("AWS_IAM"))


def ask(url: str, *, method: str = "GET", **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=60, **options)


def signed(
    url: str, keys: Credentials = KEYS, *, method: str = "GET", body: bytes = b"", at: datetime | None = None,
    service: str = "lambda", region: str = "us-east-1", headers: dict[str, str] | None = None,
) -> dict[str, str]:  # fmt: skip
    """The headers of a signed request. With `at` as of then, by the steps of botocore's signer."""
    request = AWSRequest(method, url, dict(headers or {}), body)
    signer = SigV4Auth(keys, service, region)
    if at is None:
        signer.add_auth(request)
    else:
        request.context["timestamp"] = f"{at:%Y%m%dT%H%M%SZ}"
        signer._modify_request_before_signing(request)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        signer._inject_signature_to_request(request, signer.signature(text, request))
    return dict(request.headers)


def called(url: str, keys: Credentials = KEYS) -> requests.Response:
    return ask(url, headers=signed(url, keys))


def allow(*actions: str, **further: Any) -> Statement:
    return {"Effect": "Allow", "Action": list(actions), "Resource": ARN, **further}


def deny(*actions: str, **further: Any) -> Statement:
    return {**allow(*actions, **further), "Effect": "Deny"}


BOTH = allow(URL, INVOKE)


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Users:
    """Users of the account, each with policies of their own."""

    def __init__(self, cloud: Cloud) -> None:
        self.iam = cloud.client("iam")
        self.count = 0

    def add(self, *statements: Statement, group: bool = False, managed: bool = False) -> SimpleNamespace:
        """A new user; the statements are in a policy of their own or of a group's, inline or managed."""
        self.count += 1
        name = f"user-{self.count}"
        self.iam.create_user(UserName=name)
        kind = "group" if group else "user"
        if group:
            self.iam.create_group(GroupName=name)
            self.iam.add_user_to_group(GroupName=name, UserName=name)
        whose = {f"{kind.title()}Name": name}
        if managed:
            made = self.iam.create_policy(PolicyName=name, PolicyDocument=document(*statements))
            getattr(self.iam, f"attach_{kind}_policy")(**whose, PolicyArn=made["Policy"]["Arn"])
        elif statements:
            getattr(self.iam, f"put_{kind}_policy")(
                **whose, PolicyName="only", PolicyDocument=document(*statements)
            )
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        keys = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        return SimpleNamespace(name=name, arn=f"{ACCOUNT}:user/{name}", keys=keys)


@pytest.fixture(scope="module")
def users(cloud: Cloud) -> Users:
    return Users(cloud)


def test_a_request_becomes_an_event_and_the_answer_an_answer(public: str) -> None:
    answered = ask(f"{public}a%20b/c?q=%C3%A7&x", method="POST", data=b"body", headers={"X-Any": "value"})
    event = answered.json()
    assert (answered.status_code, answered.headers["X-Answer"]) == (201, "yes")
    assert (event["rawPath"], event["rawQueryString"], event["body"]) == (
        "/a%20b/c",
        "q=%C3%A7&x",
        "Ym9keQ==",
    )
    assert (event["headers"]["x-any"], event["requestContext"]["http"]["method"]) == ("value", "POST")


def test_what_is_no_answer_is_json_and_an_error_is_told_nobody(public: str) -> None:
    assert ask(f"{public}plain").json() == {"is": "json"}
    failed = ask(f"{public}fail")
    assert (failed.status_code, failed.json()) == (502, {"Message": "Internal Server Error"})


def test_a_url_goes_with_its_stack(cloud: Cloud) -> None:
    url = deployed(cloud, "gone", template("GONE"))
    cloud.client("cloudformation").delete_stack(StackName="gone")
    assert called(url).status_code == 404


def test_the_account_is_let_in_and_who_signs_nothing_is_not(url: str) -> None:
    assert called(url).status_code == 201
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}):
        refused = ask(url, headers=headers)
        assert (refused.status_code, refused.json()) == (403, FORBIDDEN)
        assert refused.headers["x-amzn-ErrorType"] == "AccessDeniedException"


def test_a_request_that_was_changed_after_signing_is_refused(url: str) -> None:
    there = f"{url}a%20b/c?b=1&a=%C3%A7"
    headers = signed(there, method="POST", body=b"body")
    assert ask(there, method="POST", data=b"body", headers=headers).status_code == 201
    changes: list[dict[str, Any]] = [
        {"data": b"another"},
        {"data": b""},
        {"url": f"{url}a%20b/d?b=1&a=%C3%A7"},
        {"url": f"{url}a%20b/c?b=2&a=%C3%A7"},
        {"url": f"{there}&c"},
        {"url": there.replace("%C3", "%C4")},
        {"url": there.partition("?")[0]},
        {"method": "PUT"},
        {"headers": {**headers, "X-Amz-Date": f"{datetime.now(UTC) - timedelta(seconds=9):%Y%m%dT%H%M%SZ}"}},
        {"headers": {**headers, "X-Amz-Content-SHA256": "0" * 64}},
        {"headers": {**headers, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}},
        {"headers": {**headers, "Authorization": headers["Authorization"].replace("host;", "")}},
        {
            "headers": {
                **headers,
                "Authorization": headers["Authorization"].replace("host;", "host;x-not-there;"),
            }
        },
    ]
    for change in changes:
        request = {"url": there, "method": "POST", "data": b"body", "headers": headers, **change}
        refused = ask(request.pop("url"), **request)
        assert (change, refused.status_code, refused.json()) == (change, 403, MISMATCH)
        assert refused.headers["x-amzn-ErrorType"] == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, b"body"),
        ({"X-Amz-Content-SHA256": "0" * 64}, b"body"),
    ],
)
def test_the_body_is_signed_itself(url: str, headers: dict[str, str], body: bytes) -> None:
    refused = ask(
        url, method="POST", data=body, headers=signed(url, method="POST", body=body, headers=headers)
    )
    assert (refused.status_code, refused.json()) == (403, MISMATCH)


def test_all_that_was_signed_counts_however_it_is_spelled(url: str) -> None:
    there = f"{url}v1//search/../search?q=a%20b&q=B&empty="
    headers = {"X-Any": "two  blanks", "Content-Type": "text/plain"}
    answered = ask(
        there,
        method="POST",
        data=b"\xff",
        headers=signed(there, method="POST", body=b"\xff", headers=headers),
    )
    assert answered.status_code == 201
    assert base64.b64decode(answered.json()["body"]) == b"\xff"
    spaced = signed(f"{url}?q=a%20b%2Bc")
    assert ask(f"{url}?q=a+b%2Bc", headers=spaced).status_code == 201
    assert ask(f"{url}?q=a+b+c", headers=spaced).json() == MISMATCH


def test_a_path_has_no_fragment_in_which_a_change_could_hide(url: str) -> None:
    there = urlsplit(url)
    for path, status in ((f"{there.path}v1", 201), (f"{there.path}v1#2", 403)):
        connection = HTTPConnection(there.netloc, timeout=60)
        connection.request("GET", path, headers=signed(f"{url}v1"))
        assert connection.getresponse().status == status
        connection.close()


def test_the_host_must_be_signed(url: str) -> None:
    class WithoutHost(SigV4Auth):
        def headers_to_sign(self, request: AWSRequest) -> Any:
            headers = super().headers_to_sign(request)
            del headers["host"]
            return headers

    request = AWSRequest("GET", url)
    WithoutHost(KEYS, "lambda", "us-east-1").add_auth(request)
    assert ask(url, headers=dict(request.headers)).json() == MISMATCH


def test_a_signature_is_for_five_minutes_and_for_lambda_here(url: str) -> None:
    now = datetime.now(UTC)
    near, far = timedelta(minutes=4, seconds=30), timedelta(minutes=5, seconds=30)
    for at in (now - near, now + near):
        assert ask(url, headers=signed(url, at=at)).status_code == 201
    refusals = {
        "Signature expired: ": signed(url, at=now - far),
        "Signature not yet current: ": signed(url, at=now + far),
        "Credential should be scoped to correct service: 'lambda'.": signed(url, service="s3"),
        "Credential should be scoped to a valid region.": signed(url, region="sa-east-1"),
        "Date in Credential scope does not match": {**signed(url), "X-Amz-Date": "19990101T000000Z"},
        "Date must be in ISO-8601": {**signed(url), "X-Amz-Date": "yesterday"},
    }
    for reason, headers in refusals.items():
        refused = ask(url, headers=headers)
        assert refused.status_code == 403
        assert refused.json()["message"].startswith(reason)
        assert refused.headers["x-amzn-ErrorType"] == "InvalidSignatureException"


def test_only_keys_that_there_are_count(url: str, users: Users) -> None:
    user = users.add(BOTH)
    key = user.keys.access_key
    assert called(url, user.keys).status_code == 201
    wrong = called(url, Credentials(key, "another secret"))
    assert (wrong.status_code, wrong.json()) == (403, MISMATCH)
    unknown = {"message": "The security token included in the request is invalid."}

    def is_unknown(keys: Credentials) -> bool:
        refused = called(url, keys)
        return (refused.status_code, refused.json()) == (403, unknown)

    assert is_unknown(Credentials("AKIANOBODY", "secret"))
    assert is_unknown(Credentials(key, user.keys.secret_key, "a token"))
    users.iam.update_access_key(UserName=user.name, AccessKeyId=key, Status="Inactive")
    assert is_unknown(user.keys)
    users.iam.update_access_key(UserName=user.name, AccessKeyId=key, Status="Active")
    assert called(url, user.keys).status_code == 201
    users.iam.delete_access_key(UserName=user.name, AccessKeyId=key)
    assert is_unknown(user.keys)


def has_boolean(value: object) -> Statement:
    return {"Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": value}}}


def has_auth(value: object, operator: str = "StringEquals") -> Statement:
    return {"Condition": {operator: {"lambda:FunctionUrlAuthType": value}}}


@pytest.mark.parametrize(
    ("is_let_in", "statements"),
    [
        (True, [BOTH]),
        (True, [allow(URL), allow(INVOKE)]),
        (True, [allow("lambda:*")]),
        (True, [allow("LAMBDA:invokefunction*")]),
        (True, [allow("lambda:InvokeFunctio?", "lambda:InvokeFunctionUr?")]),
        (True, [{"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::*"}]),
        (True, [allow(URL, INVOKE, Resource=["arn:aws:s3:::any", "arn:aws:lambda:*:*:function:echo-*"])]),
        (True, [allow(URL, **has_auth("AWS_IAM")), allow(INVOKE, **has_boolean("true"))]),
        (True, [allow(URL, **has_auth(["NONE", "AWS_IAM"])), allow(INVOKE, **has_boolean(True))]),
        (True, [allow(URL, INVOKE, Condition={"ArnLike": {"aws:PrincipalArn": f"{ACCOUNT}:user/*"}})]),
        (True, [allow(URL, INVOKE, **has_auth("AWS_*", "StringLikeIfExists"))]),
        (True, [BOTH, deny(URL, **has_auth("NONE")), deny(INVOKE, **has_boolean("false"))]),
        (True, [BOTH, deny(URL, **has_auth("AWS_IAM", "StringNotEquals"))]),
        (True, [BOTH, deny("*", Condition={"Bool": {"aws:SecureTransport": "false"}})]),
        (True, [BOTH, deny("*", Resource=f"{ARN}-2")]),
        (False, []),
        (False, [allow(URL)]),
        (False, [allow(INVOKE)]),
        (False, [allow(URL, INVOKE, Resource=f"{ARN}-2")]),
        (False, [allow(URL, INVOKE, Resource=f"{ARN}:live")]),
        (False, [allow(URL, INVOKE, Resource=ARN.replace("-", "."))]),
        (False, [allow(URL, **has_auth("NONE")), allow(INVOKE)]),
        (False, [allow(URL), allow(INVOKE, **has_boolean("false"))]),
        (False, [allow(URL, INVOKE, Condition={"StringEquals": {"aws:PrincipalArn": f"{ACCOUNT}:user/*"}})]),
        (False, [allow(URL, INVOKE, Condition={"StringEquals": {"aws:RequestedRegion": "sa-east-1"}})]),
        (False, [allow(URL, INVOKE, Condition={"NumericLessThan": {"aws:MultiFactorAuthAge": "9"}})]),
        (False, [BOTH, deny(URL)]),
        (False, [BOTH, deny(INVOKE)]),
        (False, [deny("*", Resource="*"), BOTH]),
        (False, [BOTH, {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}]),
        (False, [BOTH, {"Effect": "Deny", "Action": "*", "NotResource": "arn:aws:s3:::*"}]),
        (False, [BOTH, deny("*", Condition={"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}})]),
    ],
    ids=lambda value: None if isinstance(value, bool) else json.dumps(value).replace(ARN, "ARN")[:120],
)  # fmt: skip
def test_a_caller_needs_both_permissions(
    url: str, users: Users, is_let_in: bool, statements: list[Statement]
) -> None:
    answered = called(url, users.add(*statements).keys)
    if is_let_in:
        assert answered.status_code == 201
    else:
        assert (answered.status_code, answered.json()) == (403, FORBIDDEN)


@pytest.mark.parametrize("managed", [False, True])
@pytest.mark.parametrize("group", [False, True])
def test_users_have_permissions_of_their_own_and_of_their_groups(
    url: str, users: Users, group: bool, managed: bool
) -> None:
    assert called(url, users.add(BOTH, group=group, managed=managed).keys).status_code == 201
    assert called(url, users.add(allow(URL), group=group, managed=managed).keys).status_code == 403
    user = users.add(BOTH, group=group, managed=managed)
    users.iam.put_user_policy(UserName=user.name, PolicyName="not", PolicyDocument=document(deny(INVOKE)))
    assert called(url, user.keys).status_code == 403


@pytest.fixture(scope="module")
def assume(cloud: Cloud, users: Users) -> Callable[..., Credentials]:
    """A session of a new role with these policies."""

    def assume(*statements: Statement, boundary: str = "", name: str = "", **options: str) -> Credentials:
        users.count += 1
        name = name or f"role-{users.count}"
        trust = document({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"})
        bounded = {"PermissionsBoundary": boundary} if boundary else {}
        arn = users.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **bounded)["Role"]["Arn"]
        if statements:
            users.iam.put_role_policy(RoleName=name, PolicyName="only", PolicyDocument=document(*statements))
        given = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="tester", **options)[
            "Credentials"
        ]
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])

    return assume


def test_a_session_has_the_permissions_of_its_role(
    url: str, users: Users, assume: Callable[..., Credentials]
) -> None:
    keys = assume(BOTH)
    assert called(url, keys).status_code == 201
    for token in (None, "another"):
        assert called(url, Credentials(keys.access_key, keys.secret_key, token)).json() == {
            "message": "The security token included in the request is invalid."
        }
    assert called(url, assume(allow(INVOKE))).json() == FORBIDDEN
    assert called(url, assume(BOTH, deny(URL))).json() == FORBIDDEN
    assert called(url, assume(BOTH, Policy=document(allow(URL)))).json() == FORBIDDEN
    everything = allow("*", Resource="*")
    assert called(url, assume(BOTH, Policy=document(everything))).status_code == 201
    assert called(url, assume(BOTH, Policy=document(everything, deny(INVOKE)))).json() == FORBIDDEN
    boundary = users.iam.create_policy(PolicyName="boundary", PolicyDocument=document(allow(INVOKE)))
    assert called(url, assume(BOTH, boundary=boundary["Policy"]["Arn"])).json() == FORBIDDEN
    over = assume(BOTH, name="over")
    assert called(url, over).status_code == 201
    users.iam.delete_role_policy(RoleName="over", PolicyName="only")
    assert called(url, over).json() == FORBIDDEN
    users.iam.delete_role(RoleName="over")
    assert called(url, over).json() == {"message": "The security token included in the request is invalid."}


def test_the_function_can_let_someone_in(
    cloud: Cloud, url: str, users: Users, assume: Callable[..., Credentials]
) -> None:
    functions = cloud.client("lambda")
    user, other = users.add(), users.add()
    permissions: dict[str, dict[str, Any]] = {
        "url": {"Action": URL, "Principal": user.arn, "FunctionUrlAuthType": "AWS_IAM"},
        "invoke": {"Action": INVOKE, "Principal": user.arn, "InvokedViaFunctionUrl": True},
        "role": {"Action": "lambda:*", "Principal": f"{ACCOUNT}:role/named"},
        "open": {"Action": "lambda:*", "Principal": "*", "FunctionUrlAuthType": "NONE"},
        "service": {"Action": "lambda:*", "Principal": "events.amazonaws.com"},
        "account": {"Action": "lambda:*", "Principal": "123456789012"},
    }

    def put(name: str) -> None:
        functions.add_permission(FunctionName="echo-AWS_IAM", StatementId=name, **permissions[name])

    put("url")
    assert called(url, user.keys).json() == FORBIDDEN
    put("invoke")
    assert called(url, user.keys).status_code == 201
    for name in ("role", "open", "service", "account"):
        put(name)
    assert called(url, other.keys).json() == FORBIDDEN
    assert called(url, assume()).json() == FORBIDDEN
    assert called(url, assume(name="named")).status_code == 201
    users.iam.put_user_policy(UserName=user.name, PolicyName="not", PolicyDocument=document(deny(URL)))
    assert called(url, user.keys).json() == FORBIDDEN
    for name in permissions:
        functions.remove_permission(FunctionName="echo-AWS_IAM", StatementId=name)
    assert called(url, assume(name="unnamed")).json() == FORBIDDEN


def test_a_public_url_needs_permissions_for_everyone(cloud: Cloud, public: str, users: Users) -> None:
    assert ask(public).status_code == 201
    assert called(public, users.add().keys).status_code == 201
    functions = cloud.client("lambda")
    functions.create_function_url_config(FunctionName="echo-NONE", AuthType="AWS_IAM")
    assert called(public, users.add().keys).json() == FORBIDDEN
    functions.update_function_url_config(FunctionName="echo-NONE", AuthType="NONE")
    for statement in json.loads(functions.get_policy(FunctionName="echo-NONE")["Policy"])["Statement"]:
        functions.remove_permission(FunctionName="echo-NONE", StatementId=statement["Sid"])
    refused = ask(public)
    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)


def test_curl_signs_what_is_checked(url: str, users: Users, assume: Callable[..., Credentials]) -> None:
    def curl(keys: Credentials, *options: str) -> str:
        token = ["-H", f"x-amz-security-token: {keys.token}"] if keys.token else []
        command = [
            "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*",
            "--aws-sigv4", "aws:amz:us-east-1:lambda", "--user", f"{keys.access_key}:{keys.secret_key}",
        ]  # fmt: skip
        ended = subprocess.run([*command, *token, *options], capture_output=True, text=True, check=True)
        return ended.stdout

    user = users.add(BOTH).keys
    assert curl(user, f"{url}v1/search?limit=5&q=vw%20gol") == "201"
    assert curl(user, f"{url}v1/search?limit=5&q=citro%C3%ABn") == "201"
    assert curl(user, f"{url}v1/valuations", "-d", '{"a": 1}') == "201"
    assert curl(user, f"{url}v1/valuations", "--json", '{"a": 1}') == "201"
    assert curl(user, url, "-X", "PUT", "-H", "X-Any: value") == "201"
    assert curl(user, url, "-H", "User-Agent: tester", "-H", "X-Amz-Meta-Any:  a  b") == "201"
    assert curl(assume(BOTH), f"{url}v1/months") == "201"
    assert curl(Credentials(user.access_key, "wrong"), url) == "403"
    assert curl(users.add(allow(URL)).keys, url) == "403"


def test_a_session_ends() -> None:
    trust, name = document(allow("sts:AssumeRole")), "ended"
    iam = iam_backends["123456789012"]["aws"]
    role = iam.create_role(name, trust, "/", None, "", {}, 3600)
    sts = sts_backends["123456789012"]["aws"]
    for seconds, is_known in ((900, True), (-1, False)):
        one = sts.assume_role("us-east-1", "tester", role.arn, "", seconds, "")
        with nullcontext() if is_known else pytest.raises(UnknownKeyError):
            assert identity_of(one.access_key_id, one.session_token).arns == (one.arn, role.arn)
