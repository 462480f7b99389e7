"""The database, as the functions and as the master user sign in to it."""

import hashlib
import shlex
from typing import Literal

from msgspec import Struct, ValidationError, convert

from fipe_api.aws.self_check import KEY, DatabaseFacts, Facts
from fipe_cli.check.deployment import Deployment
from fipe_cli.check.findings import Finding, Level
from fipe_cli.check.functions import one_line
from fipe_cli.cloud import Cloud
from fipe_cli.database import REFUSED
from fipe_cli.errors import CliError
from infrastructure.names import Function
from infrastructure.paths import SQL_SCRIPT

MASTER = "database, as the master user"
WELL: Literal["ok"] = "ok"

WRITE_SECRET = "write the database's secret anew: JSON with host, port, dbname, username and password"
_UNREACHABLE = ("timeout", "could not connect", "Connection refused", "could not translate", "no route")


class _Master(Struct):
    """What the SQL functions answer to a check."""

    ok: bool
    error: str | None = None
    password_login: str = ""
    iam_login: str = ""
    tls: str = ""
    script: str | None = None
    schema: str | None = None


def look_at_sign_in(cloud: Cloud, function: Function, facts: Facts | None) -> list[Finding]:
    """How a function signed in, and whether it could do its work.

    Args:
        cloud: where it runs.
        function: which function.
        facts: what it answered.
    """
    if facts is None or facts.database is None:
        part = f"database, by {function}"
        return [Finding(Level.FAILED, part, "not looked at", f"see {function} above")]
    found = facts.database
    part = f"database, as {found.user}"
    if found.error:
        return [Finding(Level.FAILED, part, one_line(found.error), _mend(cloud, found.error))]
    if not found.tls and not cloud.endpoint:
        why = f"{found.done}, but without TLS (sslmode {found.sslmode})"
        return [Finding(Level.FAILED, part, why, "deploy again with DATABASE_TLS=require or verify-full")]
    return [Finding(Level.OK, part, f"signed in with an IAM token, {_tls(found)}; {found.done}")]


def _tls(found: DatabaseFacts) -> str:
    if not found.tls:
        return "without TLS, as on every local cloud"
    return f"{found.tls}, {found.sslmode}"


def look_at_master(deployment: Deployment) -> list[Finding]:
    """How the master user signs in, and whether the schema is that of the deployed script."""
    try:
        answer = convert(deployment.cloud.invoke(Function.SQL_INIT, {KEY: True}, only_reads=True), _Master)
    except CliError as error:
        return [Finding(Level.FAILED, MASTER, one_line(error), deployment.look_at_logs(Function.SQL_INIT))]
    except ValidationError as error:
        seen = f"{Function.SQL_INIT} does not know checks ({error})"
        return [Finding(Level.FAILED, MASTER, seen, "deploy this release")]
    logins = _look_at_logins(deployment, answer)
    if logins.level is Level.FAILED:
        return [logins]
    return [logins, _look_at_schema(deployment.cloud, answer)]


def _look_at_logins(deployment: Deployment, answer: _Master) -> Finding:
    by_password, by_token = one_line(answer.password_login), one_line(answer.iam_login)
    if by_password == WELL:
        token = "and with an IAM token" if by_token == WELL else f"but not with an IAM token ({by_token})"
        return Finding(Level.OK, MASTER, f"signs in with the secret's password {token}; {answer.tls}")
    if by_token == WELL:
        seen = f"signs in with an IAM token, but the password is refused: {by_password}"
        use = "nothing: deploys and `fipe psql` use the token. For the password see docs/deploy.md"
        return Finding(Level.WARNING, MASTER, seen, use)
    refused = by_password or one_line(answer.error)
    (cluster,) = deployment.resources.get("AWS::RDS::DBCluster", ["CLUSTER"])
    command = deployment.cloud.aws_command(
        *("rds", "modify-db-cluster", "--db-cluster-identifier", cluster),
        *("--master-user-password", "PASSWORD", "--apply-immediately"),
    )
    set_password = f"set the password that the secret has: {command}"
    mend = set_password if REFUSED in refused else WRITE_SECRET
    return Finding(Level.FAILED, MASTER, refused, _mend(deployment.cloud, refused, mend))


def _look_at_schema(cloud: Cloud, answer: _Master) -> Finding:
    part = "schema"
    if answer.schema is None:
        seen = "unknown which script made it: a person ran one, or none has run"
        return Finding(Level.WARNING, part, seen, _run_script(cloud))
    if answer.script != answer.schema:
        seen = f"made by script {answer.schema[:8]}, but script {(answer.script or 'none')[:8]} is deployed"
        return Finding(Level.FAILED, part, seen, _run_script(cloud))
    return Finding(Level.OK, part, f"made by the deployed script, {answer.schema[:8]}")


def _mend(cloud: Cloud, error: str, otherwise: str = "") -> str:
    if any(words in error for words in _UNREACHABLE):
        look = cloud.aws_command("rds", "describe-db-clusters")
        return f"look whether the cluster is available ({look}), or stopped"
    return otherwise or _run_script(cloud)


def _run_script(cloud: Cloud) -> str:
    name_it = f"set fipe.script_sha256 = '{hashlib.sha256(SQL_SCRIPT.read_bytes()).hexdigest()}'"
    command = shlex.join(["fipe", "--stage", cloud.stage, "psql", "-1", "-c", name_it, "-f", SQL_SCRIPT.name])
    return f"`{command}` makes tables, roles and rights as they should be"
