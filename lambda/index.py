"""The custom resource Custom::FipeDatabase: runs create_fipe_db.sql at the first deploy and when it changes.

Two functions share this code. `on_event` runs outside the VPC, where it can call AWS's APIs and answer
CloudFormation. `run_sql` runs inside the VPC, where it can reach the database and nothing else.
"""

import json
import logging
import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import cfnresponse
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from psycopg2.extensions import connection

SCRIPT = Path(__file__).parent / "assets" / "create_fipe_db.sql"
PHYSICAL_ID = "fipe-database"

CONNECT_PATIENCE_SECONDS = 90
"""How long to try to connect: a database that was created a moment ago may not answer yet."""
CONNECT_TIMEOUT_SECONDS = 10
SCHEMA_IS_NEWER = "FIPE1"
"""The SQLSTATE with which the script refuses a database that already has the schema of a newer release."""
REFUSED = "authentication failed"
"""What PostgreSQL says about a wrong password, which has no SQLSTATE. Trying again does not help then."""
CONNECT_PAUSE_SECONDS = 3
ASLEEP = ("ResourceNotReadyException", "ResourceConflictException")
"""Lambda's answers for a function that is inactive, or that is still being woken."""
WAKING = {"Delay": 5, "MaxAttempts": 24}
TIME_TO_ANSWER_SECONDS = 15
"""Time that a function keeps for reporting why it gives up, before Lambda ends it."""

logger = logging.getLogger("fipe_sql_init")
logger.setLevel(logging.INFO)


class InitError(Exception):
    """The script did not run; the text says why and contains no secret."""


def on_event(event: dict[str, Any], context: "LambdaContext") -> None:
    """Runs the script for Create and Update; Delete keeps the data. Always answers CloudFormation.

    Environment: DB_SECRET_ARN, the secret with host, port, dbname, username and password; SQL_RUNNER, the
    name of the function with `run_sql`.
    """
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


def run_sql(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Runs the script in one transaction.

    If a newer release has already upgraded the database, it stays as it is, and that counts as success.
    Otherwise CloudFormation could not roll back a deploy that fails after its upgrade.

    Args:
        event: host, port, dbname, user and password; libpq's variables give the rest, such as PGSSLMODE.
        context: says how much time is left, which limits each statement.

    Returns:
        `{"ok": true}`, or `{"ok": false, "error": text}`.
    """
    # Only this function has the layer with psycopg2; `on_event` must be able to answer without it.
    import psycopg2

    try:
        # The inner `with` of the connection is the transaction.
        with closing(_connect(event)) as database, database, database.cursor() as cursor:
            cursor.execute("set local statement_timeout = %s", (int(_seconds_left(context) * 1000),))
            cursor.execute(SCRIPT.read_text(encoding="utf-8"))
    except psycopg2.Error as error:
        reason = str(error).strip()
        if error.pgcode == SCHEMA_IS_NEWER:
            logger.warning("%s did nothing: %s", SCRIPT.name, reason)
            return {"ok": True}
        logger.error("failed: %s", reason)
        return {"ok": False, "error": reason}
    logger.info("%s has run", SCRIPT.name)
    return {"ok": True}


def _have_script_run(context: "LambdaContext") -> None:
    """Invokes the runner with the secret's contents and waits for its answer.

    A runner that was not invoked for weeks is inactive: the next invocation fails, and wakes it (Lambda
    developer guide, "Lambda function states").
    """
    runner, credentials = os.environ["SQL_RUNNER"], json.dumps(_database_credentials())
    try:
        answer = _invoke(runner, credentials, _seconds_left(context))
    except ClientError as error:
        if error.response["Error"]["Code"] not in ASLEEP:
            raise
        boto3.client("lambda").get_waiter("function_active").wait(FunctionName=runner, WaiterConfig=WAKING)
        answer = _invoke(runner, credentials, _seconds_left(context))
    outcome = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise InitError(f"{runner}: {outcome.get('errorMessage', 'it ended without an error message')}")
    if not outcome["ok"]:
        raise InitError(outcome["error"])


def _invoke(function: str, payload: str, seconds: float) -> Any:
    """Invokes a function and returns its answer; it may take this many seconds."""
    configuration = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
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


def _connect(parameters: dict[str, Any]) -> "connection":
    """Connects; tries again for a while, because at a first deploy the database may not be up yet."""
    import psycopg2

    deadline = time.monotonic() + CONNECT_PATIENCE_SECONDS
    while True:
        try:
            database: connection = psycopg2.connect(
                **parameters, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name="FipeSqlRunner"
            )
            return database
        except psycopg2.OperationalError as error:
            if REFUSED in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(CONNECT_PAUSE_SECONDS)


def _seconds_left(context: "LambdaContext") -> float:
    return max(1.0, context.get_remaining_time_in_millis() / 1000 - TIME_TO_ANSWER_SECONDS)
