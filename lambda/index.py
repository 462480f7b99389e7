"""The custom resource Custom::FipeDatabase: runs create_fipe_db.sql at the first deploy and when it changes.

Two functions share this code. `on_event` runs outside the VPC, where it can call AWS's APIs and answer
CloudFormation. `run_sql` runs inside the VPC, where it can reach the database and nothing else.

Invoked by hand with `{"check": true}`, `on_event` changes nothing: it says how the master user signs in, and
which script made the schema.
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
REACH_LAMBDA_SECONDS = 10
ASLEEP = ("ResourceNotReadyException", "ResourceConflictException")
"""Lambda's answers for a function that is inactive, or that is still being woken."""
WAKING = {"Delay": 5, "MaxAttempts": 24}
TIME_TO_ANSWER_SECONDS = 15
"""Time that a function keeps for reporting why it gives up, before Lambda ends it."""

logger = logging.getLogger("fipe_sql_init")
logger.setLevel(logging.INFO)


class InitError(Exception):
    """The script did not run; the text says why and contains no secret."""


def on_event(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any] | None:
    """Runs the script for Create and Update; Delete keeps the data. Always answers CloudFormation.

    Environment: DB_SECRET_ARN, the secret with host, port, dbname, username and password; SQL_RUNNER, the
    name of the function with `run_sql`.

    Returns:
        For `{"check": true}` the answer of `run_sql`, otherwise nothing.
    """
    if event.get("check"):
        return _check_from_vpc(context)
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
            With `"check": true` the script does not run.
        context: says how much time is left, which limits each statement.

    Returns:
        `{"ok": false, "error": text}`, or `{"ok": true}` and how each way to sign in went: password_login and
        iam_login, `ok` or a text. A check adds tls, script (the SHA-256 of the script in this package) and
        schema (the SHA-256 of the script that made the schema, or None).
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
            return _check(place)
        _run_script(place, context)
    except psycopg2.Error as error:
        reason = str(error).strip()
        if error.pgcode != SCHEMA_IS_NEWER:
            logger.error("failed: %s", reason)
            return {"ok": False, "error": reason}
        logger.warning("%s did nothing: %s", SCRIPT.name, reason)
    else:
        logger.info("%s has run", SCRIPT.name)
    return {"ok": True, **_sign_in_anew(place)}


def _run_script(place: master.Place, context: "LambdaContext") -> None:
    # The inner `with` of the connection is the transaction.
    with closing(_connect(place)) as database, database, database.cursor() as cursor:
        cursor.execute("set local statement_timeout = %s", (int(_seconds_left(context) * 1000),))
        # The script keeps this beside the version of the schema, for checks.
        cursor.execute("select set_config('fipe.script_sha256', %s, true)", (_script_sha256(),))
        cursor.execute(SCRIPT.read_text(encoding="utf-8"))


def _sign_in_anew(place: master.Place) -> master.SignIns:
    """Says how the master user signs in now: the script may have made it a member of rds_iam."""
    found = master.try_both(place, TIME_TO_ANSWER_SECONDS // 3)
    level = logging.INFO if found["password_login"] == "ok" else logging.WARNING
    logger.log(level, "signed in anew: password %(password_login)s; IAM token %(iam_login)s", found)
    return found


def _check(place: master.Place) -> dict[str, Any]:
    """What `run_sql` answers to a check. Raises psycopg2.Error if no way to sign in works."""
    found = master.try_both(place)
    with closing(master.connect(place)) as database:
        return {
            "ok": True,
            **found,
            "tls": master.describe_tls(database),
            "script": _script_sha256(),
            "schema": _schema_sha256(database),
        }


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
    outcome = _run_in_vpc(_database_credentials(), context)
    if not outcome["ok"]:
        raise InitError(outcome["error"])


def _check_from_vpc(context: "LambdaContext") -> dict[str, Any]:
    try:
        return _run_in_vpc({"check": True, **_database_credentials()}, context)
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


def _database_credentials() -> dict[str, Any]:
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["DB_SECRET_ARN"])
    try:
        values = json.loads(secret["SecretString"])
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
