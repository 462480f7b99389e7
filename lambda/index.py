"""The custom resource Custom::FipeDatabase: runs create_fipe_db.sql at the first deploy and when it changes.

Two functions share this code. `on_event` runs outside the VPC, where it can call AWS's APIs and answer
CloudFormation. `run_sql` runs inside the VPC, where it can reach the database and nothing else.

It also lets the role fipe_dashboard sign in with the password of its secret, or not, as the setting
reader_login says.

Invoked by hand with `{"check": true}`, `on_event` changes nothing: it says how the master user and
fipe_dashboard sign in, and which script made the schema. With `{"set_dashboard_password": true}` it does
nothing but give fipe_dashboard the password that its secret has now.
"""

import hashlib
import json
import logging
import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import cfnresponse
import dashboard_login
import master
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from psycopg2.extensions import connection

SCRIPT = Path(__file__).parent / "assets" / "create_fipe_db.sql"
PHYSICAL_ID = "fipe-database"

CONNECT_PATIENCE_SECONDS = 90
"""How long to try to connect: a database that was created a moment ago may not answer yet."""
CONNECT_PAUSE_SECONDS = 3
SCHEMA_IS_NEWER = "FIPE1"
"""The SQLSTATE with which the script refuses a database that already has the schema of a newer release."""
SCHEMA_IS_MISSING = ("42P01", "42703", "3F000")
"""The SQLSTATEs of a table, a column or a schema that is not there."""
GRANT_PATIENCE_SECONDS = 60
"""How long to try to read a secret: a permission that this deploy has given may not count at once (IAM user
guide, "Troubleshoot IAM": changes are not always immediately visible)."""
GRANT_PAUSE_SECONDS = 5
NOT_ALLOWED = "off"
"""What a check answers when fipe_dashboard cannot sign in, and should not."""
ALLOWED_BY_OTHERS = "may sign in, although the stage was deployed with reader_login=off"
REACH_LAMBDA_SECONDS = 10
ASLEEP = ("ResourceNotReadyException", "ResourceConflictException")
"""Lambda's answers for a function that is inactive, or that is still being woken."""
WAKING = {"Delay": 5, "MaxAttempts": 24}
BY_HAND = ("check", "set_dashboard_password")
"""What somebody may ask for, who invokes `on_event` by hand."""
TIME_TO_ANSWER_SECONDS = 15
"""Time that a function keeps for reporting why it gives up, before Lambda ends it."""

logger = logging.getLogger("fipe_sql_init")
logger.setLevel(logging.INFO)


class InitError(Exception):
    """The script did not run; the text says why and contains no secret."""


def on_event(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    """Runs the script for Create and Update; Delete keeps the data. Always answers CloudFormation.

    Environment: DB_SECRET_ARN, the secret with host, port, dbname, username and password; SQL_RUNNER, the
    name of the function with `run_sql`; DASHBOARD_SECRET_ARN, the secret with the password of
    fipe_dashboard, if it may sign in.

    Returns:
        The answer of `run_sql` to somebody who invokes it by hand, otherwise nothing.
    """
    for question in BY_HAND:
        if event.get(question):
            return _answer_from_vpc({question: True}, context)
    status: cfnresponse.Status = "SUCCESS"
    reason = ""
    try:
        logger.info("%s of %s", event["RequestType"], event["LogicalResourceId"])
        if event["RequestType"] != "Delete":
            _have_script_run(context)
    except Exception as error:
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
        logger.error("failed: %s", reason)
    cfnresponse.send(event, status, reason, PHYSICAL_ID)
    return None


def run_sql(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Runs the script in one transaction, then signs in anew, as the next deploy will.

    If a newer release has already upgraded the database, it stays as it is, and that counts as success.
    Otherwise CloudFormation could not roll back a deploy that fails after its upgrade.

    Args:
        event: host, port, dbname, user and password; libpq's variables give the rest, such as PGSSLMODE.
            dashboard_password, or null if fipe_dashboard may not sign in. With `"check": true` nothing
            changes; with `"set_dashboard_password": true` the script does not run.
        context: says how much time is left, which limits each statement.

    Returns:
        `{"ok": false, "error": text}`, or `{"ok": true}` and how each way to sign in went: password_login and
        iam_login, `ok` or a text. A check adds tls, script (the SHA-256 of the script in this package),
        schema (the SHA-256 of the script that made the schema, or None) and dashboard_login (`ok`, `off` or a
        text).
    """
    # Only this function has the layer with psycopg2; `on_event` must be able to answer without it.
    import psycopg2

    place: master.Place = {
        "host": event["host"],
        "port": event["port"],
        "dbname": event["dbname"],
        "user": event["user"],
        "password": event["password"],
    }
    try:
        if event.get("check"):
            return _check(place, event.get("dashboard_password"))
        if not event.get("set_dashboard_password"):
            _run_script(place, context)
        _set_dashboard_login(place, event.get("dashboard_password"))
    except psycopg2.Error as error:
        reason = str(error).strip()
        logger.error("failed: %s", reason)
        return {"ok": False, "error": reason}
    return {"ok": True, **_sign_in_anew(place)}


def _run_script(place: master.Place, context: "LambdaContext") -> None:
    import psycopg2

    try:
        # The inner `with` of the connection is the transaction.
        with closing(_connect(place)) as database, database, database.cursor() as cursor:
            cursor.execute("set local statement_timeout = %s", (int(_seconds_left(context) * 1000),))
            # The script keeps this beside the version of the schema, for checks.
            cursor.execute("select set_config('fipe.script_sha256', %s, true)", (_script_sha256(),))
            cursor.execute(SCRIPT.read_text(encoding="utf-8"))
    except psycopg2.Error as error:
        if error.pgcode != SCHEMA_IS_NEWER:
            raise
        logger.warning("%s did nothing: %s", SCRIPT.name, str(error).strip())
    else:
        logger.info("%s has run", SCRIPT.name)


def _set_dashboard_login(place: master.Place, password: str | None) -> None:
    with closing(master.connect(place)) as database:
        if password:
            dashboard_login.allow(database, password)
        elif dashboard_login.is_allowed(database):
            dashboard_login.forbid(database)


def _sign_in_anew(place: master.Place) -> master.SignIns:
    """Says how the master user signs in now: the script may have made it a member of rds_iam."""
    found = master.try_both(place, TIME_TO_ANSWER_SECONDS // 3)
    level = logging.INFO if found["password_login"] == "ok" else logging.WARNING
    logger.log(level, "signed in anew: password %(password_login)s; IAM token %(iam_login)s", found)
    return found


def _check(place: master.Place, dashboard_password: str | None) -> dict[str, Any]:
    """What `run_sql` answers to a check. Raises psycopg2.Error if no way to sign in works."""
    found = master.try_both(place)
    with closing(master.connect(place)) as database:
        return {
            "ok": True,
            **found,
            "tls": master.describe_tls(database),
            "script": _script_sha256(),
            "dashboard_login": _check_dashboard(place, database, dashboard_password),
            # The last: it fails when there is no schema, and then the session answers nothing more.
            "schema": _schema_sha256(database),
        }


def _check_dashboard(place: master.Place, database: "connection", password: str | None) -> str:
    """How fipe_dashboard signs in: `ok`, `off` if it cannot and should not, or what is wrong."""
    if password:
        return master.try_password({**place, "user": dashboard_login.ROLE, "password": password})
    return ALLOWED_BY_OTHERS if dashboard_login.is_allowed(database) else NOT_ALLOWED


def _script_sha256() -> str:
    return hashlib.sha256(SCRIPT.read_bytes()).hexdigest()


def _schema_sha256(database: "connection") -> str | None:
    """The SHA-256 of the script that made the schema; None if no deploy did."""
    import psycopg2

    with database.cursor() as cursor:
        try:
            cursor.execute("select script_sha256 from fipe.schema_version")
        except psycopg2.ProgrammingError as error:
            if error.pgcode in SCHEMA_IS_MISSING:
                return None
            raise
        found = cursor.fetchone()
    return found[0] if found else None


def _have_script_run(context: "LambdaContext") -> None:
    outcome = _run_in_vpc(_credentials(), context)
    if not outcome["ok"]:
        raise InitError(outcome["error"])


def _answer_from_vpc(question: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    try:
        return _run_in_vpc({**question, **_credentials()}, context)
    except Exception as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def _run_in_vpc(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Invokes the runner and waits for its answer.

    A runner that was not invoked for weeks is inactive: the next invocation fails, and wakes it (Lambda
    developer guide, "Lambda function states").
    """
    runner, payload = os.environ["SQL_RUNNER"], json.dumps(event)
    try:
        answer = _invoke(runner, payload, _seconds_left(context))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ASLEEP:
            raise
        boto3.client("lambda").get_waiter("function_active").wait(FunctionName=runner, WaiterConfig=WAKING)
        answer = _invoke(runner, payload, _seconds_left(context))
    outcome: dict[str, Any] = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise InitError(f"{runner}: {outcome.get('errorMessage', 'it ended without an error message')}")
    return outcome


def _invoke(function: str, payload: str, seconds: float) -> Any:
    """Invokes a function and returns its answer; it may take this many seconds."""
    configuration = Config(
        connect_timeout=REACH_LAMBDA_SECONDS,
        read_timeout=seconds,
        retries={"total_max_attempts": 1},
        tcp_keepalive=True,
    )
    return boto3.client("lambda", config=configuration).invoke(FunctionName=function, Payload=payload)


def _credentials() -> dict[str, Any]:
    """What the runner needs to know of the secrets."""
    arn = os.environ.get("DASHBOARD_SECRET_ARN")
    return {**_database_credentials(), "dashboard_password": _dashboard_password(arn) if arn else None}


def _database_credentials() -> dict[str, Any]:
    secret = _read_secret(os.environ["DB_SECRET_ARN"])
    try:
        values = json.loads(secret)
        return {
            "host": values["host"],
            "port": values["port"],
            "dbname": values["dbname"],
            "user": values["username"],
            "password": values["password"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InitError(
            f"the database's secret must be JSON with host, port, dbname, username and password:"
            f" {type(error).__name__} {error}"
        ) from None


def _dashboard_password(arn: str) -> str:
    try:
        password = json.loads(_read_secret(arn))["password"]
    except (KeyError, TypeError, ValueError):
        password = None
    if not isinstance(password, str) or not password:
        raise InitError(f"the secret of {dashboard_login.ROLE} must be JSON with a password")
    return password


def _read_secret(arn: str) -> str:
    deadline = time.monotonic() + GRANT_PATIENCE_SECONDS
    while True:
        try:
            secret = boto3.client("secretsmanager").get_secret_value(SecretId=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException" or time.monotonic() > deadline:
                raise
            time.sleep(GRANT_PAUSE_SECONDS)
        else:
            return str(secret["SecretString"])


def _connect(place: master.Place) -> "connection":
    """Connects; tries again for a while, because at a first deploy the database may not be up yet."""
    import psycopg2

    deadline = time.monotonic() + CONNECT_PATIENCE_SECONDS
    while True:
        try:
            return master.connect(place)
        except psycopg2.OperationalError as error:
            if master.REFUSED in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(CONNECT_PAUSE_SECONDS)


def _seconds_left(context: "LambdaContext") -> float:
    return max(1.0, context.get_remaining_time_in_millis() / 1000 - TIME_TO_ANSWER_SECONDS)
