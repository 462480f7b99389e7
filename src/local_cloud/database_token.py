"""Checks an IAM database token, as Aurora does.

A token is the URL of a request that was never sent, signed with Signature Version 4 (Aurora user guide, "IAM
database authentication"; IAM user guide, "Create a signed AWS API request").
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

VALID_FOR = timedelta(minutes=15)
CLOCKS_MAY_DIFFER_BY = timedelta(minutes=5)
ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "rds-db"
_DATE = "%Y%m%dT%H%M%SZ"


class TokenError(Exception):
    """The text is no token, or not for this sign-in; says why."""


def check_token(token: str, host: str, port: int, user: str) -> None:
    """Checks that a token lets this user sign in at this address now.

    The gateway knows no users of IAM, so it takes each access key for its own secret, such as `testing`.

    Raises:
        TokenError: it does not.
    """
    url = urlsplit(f"//{token}")
    asked = dict(parse_qsl(url.query, keep_blank_values=True))
    signature = asked.pop("X-Amz-Signature", "")
    key, _, scope = asked.get("X-Amz-Credential", "").partition("/")
    _expect(url.netloc == f"{host}:{port}", f"not a token for {host}:{port}")
    _expect(asked.get("Action") == "connect" and asked.get("DBUser") == user, f"not a token for {user}")
    _expect(asked.get("X-Amz-Algorithm") == ALGORITHM, f"not signed with {ALGORITHM}")
    _check_age(asked)
    _expect(scope.split("/")[2:3] == [SERVICE], f"not signed for {SERVICE}")
    request = "\n".join(
        ("GET", "/", _canonical(asked), f"host:{url.netloc}", "", "host", hashlib.sha256().hexdigest())
    )
    to_sign = "\n".join((ALGORITHM, asked["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()))
    _expect(
        hmac.compare_digest(_sign(key, scope, to_sign), signature),
        f"signed with another secret than {key!r}: the local cloud takes an access key for its own secret",
    )


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise TokenError(otherwise)


def _check_age(asked: dict[str, str]) -> None:
    try:
        signed_at = datetime.strptime(asked.get("X-Amz-Date", ""), _DATE).replace(tzinfo=UTC)
        valid_for = min(timedelta(seconds=int(asked.get("X-Amz-Expires", ""))), VALID_FOR)
    except ValueError:
        raise TokenError("not a token: it does not say when it was signed, and for how long") from None
    age = datetime.now(UTC) - signed_at
    _expect(-CLOCKS_MAY_DIFFER_BY <= age <= valid_for, f"signed at {signed_at}, and valid for {valid_for}")


def _canonical(asked: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(asked[name], safe='-_.~')}" for name in sorted(asked))


def _sign(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
