"""Checks Signature Version 4 in the header Authorization, and says whose it is.

Sources: IAM user guide, "Create a signed AWS API request"; "AWS Signature Version 4 for API requests", which
gives a signature five minutes. CloudFront developer guide, "Restrict access to an AWS Lambda function URL
origin": Lambda takes no unsigned payload.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import SplitResult, quote, unquote_to_bytes

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from local_cloud.aws.iam.identities import Identity, UnknownKeyError, identity_of
from local_cloud.state import REGION

VALID_FOR = timedelta(minutes=5)
_DATE = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request, *SignedHeaders=(?P<headers>[^,\s]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
    " Access Key and signing method. Consult the service documentation for details."
)


class UnsignedError(Exception):
    """The request has no signature of Version 4."""


class SignatureError(Exception):
    """The signature does not count.

    Args:
        code: AWS's name of the error.
        message: AWS's words.
    """

    def __init__(self, message: str, code: str = "InvalidSignatureException") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Args:
        method: like GET.
        uri: path and query, still encoded.
        headers: by name in small letters.
        body: all of it.
    """

    method: str
    uri: str
    headers: Mapping[str, str]
    body: bytes


def signer_of(request: Request, service: str) -> Identity:
    """Who signed a request.

    Args:
        request: the request.
        service: for which it must be signed, like lambda.

    Raises:
        UnsignedError: nobody.
        SignatureError: the signature is wrong, too old or not for this service here, or nobody has the key.
    """
    signed = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    date = request.headers.get("x-amz-date", "")
    if signed is None or not date:
        raise UnsignedError
    if signed["service"] != service:
        raise SignatureError(f"Credential should be scoped to correct service: '{service}'.")
    if signed["region"] != REGION:
        raise SignatureError("Credential should be scoped to a valid region.")
    try:
        identity = identity_of(signed["key"], request.headers.get("x-amz-security-token"))
    except UnknownKeyError:
        raise SignatureError(
            "The security token included in the request is invalid.", "UnrecognizedClientException"
        ) from None
    _check_age(date, signed["day"])
    expected = _signature(request, signed["headers"].split(";"), date, service, identity.secret)
    if not hmac.compare_digest(expected, signed["signature"]):
        raise SignatureError(_MISMATCH)
    return identity


def _check_age(date: str, day: str) -> None:
    try:
        signed_at = datetime.strptime(date, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError(f"Date must be in ISO-8601 'basic format'. Got '{date}'.") from None
    if not date.startswith(day):
        raise SignatureError(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
            f" '{day}' != '{date[:8]}', from '{date}'."
        )
    now = datetime.now(UTC)
    earliest, latest = (f"{at:{_DATE}}" for at in (now - VALID_FOR, now + VALID_FOR))
    if signed_at < now - VALID_FOR:
        raise SignatureError(
            f"Signature expired: {date} is now earlier than {earliest} ({now:{_DATE}} - 5 min.)"
        )
    if signed_at > now + VALID_FOR:
        raise SignatureError(
            f"Signature not yet current: {date} is still later than {latest} ({now:{_DATE}} + 5 min.)"
        )


def _signature(request: Request, names: list[str], date: str, service: str, secret: str) -> str:
    """The signature that the request should have, of the headers with these names."""
    payload = hashlib.sha256(request.body).hexdigest()
    if (
        "host" not in names
        or not request.headers.keys() >= set(names)
        or request.headers.get("x-amz-content-sha256", payload) != payload
    ):
        raise SignatureError(_MISMATCH)
    # "#" begins no fragment here: a client sends none, so it is a part of the path or the query.
    url = f"http://any{request.uri.replace('#', '%23')}"
    headers = {name: request.headers[name] for name in names}
    signed = AWSRequest(request.method, url, headers, request.body)
    signed.context["timestamp"] = date
    auth = _Expected(Credentials("", secret), service, REGION)
    return str(auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed))


class _Expected(SigV4Auth):
    """botocore's signer, for a request that another one has signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        """Exactly those that the other one has signed, such as User-Agent, which botocore leaves out."""
        return request.headers

    def _canonical_query_string_url(self, parts: SplitResult) -> str:
        """AWS encodes names and values anew; botocore trusts that the URL has them so."""
        pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
        encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
        return "&".join(f"{name}={value}" for name, value in encoded)


def _encoded(text: str) -> str:
    """A name or value of a query, encoded as the signature wants it. WSGI gives bytes as Latin-1."""
    return quote(unquote_to_bytes(text.replace("+", " ").encode("latin-1")), safe="-_.~")
