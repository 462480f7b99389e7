"""How the master user signs in to the database: with its password, or with an IAM token.

The database decides which of the two it takes: a member of rds_iam, direct or indirect, signs in with tokens
only (Aurora user guide, "IAM database authentication"). PostgreSQL makes whoever creates a role a member of
it. So a role with IAM tokens can shut out the password of the master user that created it. create_fipe_db.sql
avoids that. If it happens all the same, the token still works: it is signed here, without a call to AWS.
"""

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

import boto3

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECT_TIMEOUT_SECONDS = 60
"""A paused Aurora takes 15 s to wake, after a day 30 s or more."""

REFUSED = "authentication failed"
"""What PostgreSQL says about a wrong password or token, which has no SQLSTATE. Trying again does not help."""
TOKENS_ONLY = "PAM authentication failed"
"""What RDS says when a member of rds_iam signs in with anything but a valid token."""

APPLICATION = "FipeSqlRunner"

LIVENESS = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A database that is gone is noticed within 25 s, while a statement runs and while one is sent."""

logger = logging.getLogger("fipe_sql_init")


class Place(TypedDict):
    """Where the database is, and who signs in; libpq's variables give the rest, such as PGSSLMODE."""

    host: str
    port: int
    dbname: str
    user: str
    password: str


class SignIns(TypedDict):
    """What came of both ways to sign in: `ok`, or why not."""

    password_login: str
    iam_login: str


def connect(place: Place) -> "connection":
    """Signs in with the password, or with a token if the database takes nothing else from this user.

    Raises:
        psycopg2.OperationalError: the database cannot be reached, or refuses both.
    """
    import psycopg2

    try:
        return connect_by_password(place)
    except psycopg2.OperationalError as error:
        if TOKENS_ONLY not in str(error):
            raise
        logger.warning("%s has to sign in with an IAM token: %s", place["user"], str(error).strip())
        return connect_by_token(place)


def connect_by_password(place: Place, seconds: int = CONNECT_TIMEOUT_SECONDS) -> "connection":
    """Signs in with the password. Raises psycopg2.OperationalError."""
    return _connect(place, seconds)


def connect_by_token(place: Place, seconds: int = CONNECT_TIMEOUT_SECONDS) -> "connection":
    """Signs in with an IAM token. Raises psycopg2.OperationalError."""
    token = boto3.client("rds").generate_db_auth_token(
        DBHostname=place["host"], Port=int(place["port"]), DBUsername=place["user"]
    )
    return _connect({**place, "password": token}, seconds)


def try_password(place: Place, seconds: int = CONNECT_TIMEOUT_SECONDS) -> str:
    """Signs in with the password; `ok`, or why not."""
    return _try(connect_by_password, place, seconds)


def try_both(place: Place, seconds: int = CONNECT_TIMEOUT_SECONDS) -> SignIns:
    """Signs in both ways, each over a connection of its own, and says what came of it.

    Args:
        place: where, and who.
        seconds: how long each of them may take.
    """
    found: SignIns = {
        "password_login": try_password(place, seconds),
        "iam_login": _try(connect_by_token, place, seconds),
    }
    if found["password_login"] == "ok" and REFUSED in found["iam_login"]:
        found["iam_login"] = f"not needed: {place['user']} is no member of rds_iam"
    return found


def describe_tls(database: "connection") -> str:
    """The version of TLS and what is checked, such as `TLSv1.3, verify-full`; `off` without TLS."""
    if not database.info.ssl_in_use:
        return "off"
    return f"{database.info.ssl_attribute('protocol')}, {os.environ.get('PGSSLMODE', 'prefer')}"


def _try(sign_in: Callable[[Place, int], "connection"], place: Place, seconds: int) -> str:
    import psycopg2

    try:
        sign_in(place, seconds).close()
    except psycopg2.OperationalError as error:
        return str(error).strip()
    return "ok"


def _connect(place: Place, seconds: int) -> "connection":
    import psycopg2

    parameters: dict[str, Any] = {**place, **LIVENESS, "connect_timeout": seconds}
    opened: connection = psycopg2.connect(**parameters, application_name=APPLICATION)
    return opened
