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
from fipe_cli.function_words import understood
from fipe_words import _, marked
from infrastructure.names import DASHBOARD_ROLE, Function
from infrastructure.paths import SQL_SCRIPT

MASTER = marked("database, as the master user")
WELL: Literal["ok"] = "ok"
WITHOUT_TLS = "off"
NOT_ALLOWED = "off"

WRITE_SECRET = marked("write the database's secret anew: JSON with host, port, dbname, username and password")
_UNREACHABLE = (
    "timeout",
    "could not connect",
    "Connection refused",
    "could not translate",
    "no route",
)


class _Master(Struct):
    """What the SQL functions answer to a check."""

    ok: bool
    error: str | None = None
    password_login: str = ""
    iam_login: str = ""
    tls: str = ""
    script: str | None = None
    schema: str | None = None
    dashboard_login: str = ""


def look_at_sign_in(cloud: Cloud, function: Function, facts: Facts | None) -> list[Finding]:
    """How a function signed in, and whether it could do its work.

    Args:
        cloud: where it runs.
        function: which function.
        facts: what it answered.
    """
    if facts is None or facts.database is None:
        part = _("database, by {function}", function=function)
        return [Finding(Level.FAILED, part, _("not looked at"), _("see {function} above", function=function))]
    found = facts.database
    part = _("database, as {user}", user=found.user)
    if found.error:
        return [Finding(Level.FAILED, part, one_line(found.error), _mend(cloud, found.error))]
    if not found.tls and not cloud.endpoint:
        why = _(
            "{done}, but without TLS (sslmode {sslmode})", done=understood(found.done), sslmode=found.sslmode
        )
        return [Finding(Level.FAILED, part, why, _("deploy again with DATABASE_TLS=require or verify-full"))]
    return [
        Finding(
            Level.OK,
            part,
            _("signed in with an IAM token, {tls}; {done}", tls=_tls(found), done=understood(found.done)),
        )
    ]


def _tls(found: DatabaseFacts) -> str:
    if not found.tls:
        return _("without TLS, as on every local cloud")
    return f"{found.tls}, {found.sslmode}"


def look_at_master(deployment: Deployment) -> list[Finding]:
    """How the master user signs in, and whether the schema is that of the deployed script."""
    try:
        answer = convert(deployment.cloud.invoke(Function.SQL_INIT, {KEY: True}, only_reads=True), _Master)
    except CliError as error:
        return [Finding(Level.FAILED, _(MASTER), one_line(error), deployment.look_at_logs(Function.SQL_INIT))]
    except ValidationError as error:
        seen = _("{function} does not know checks ({error})", function=Function.SQL_INIT, error=error)
        return [Finding(Level.FAILED, _(MASTER), seen, _("deploy this release"))]
    logins = _look_at_logins(deployment, answer)
    if logins.level is Level.FAILED:
        return [logins]
    return [logins, _look_at_schema(deployment.cloud, answer), _look_at_dashboard(deployment.cloud, answer)]


def _look_at_logins(deployment: Deployment, answer: _Master) -> Finding:
    by_password, by_token = one_line(answer.password_login), one_line(answer.iam_login)
    tls = _("without TLS") if answer.tls == WITHOUT_TLS else answer.tls
    if by_password == WELL:
        seen = (
            _("signs in with the secret's password and with an IAM token; {tls}", tls=tls)
            if by_token == WELL
            else _(
                "signs in with the secret's password, but not with an IAM token ({reason}); {tls}",
                reason=understood(by_token),
                tls=tls,
            )
        )
        return Finding(Level.OK, _(MASTER), seen)
    if by_token == WELL:
        seen = _("signs in with an IAM token, but the password is refused: {reason}", reason=by_password)
        use = _("nothing: deploys and `fipe psql` use the token. For the password see docs/deploy.md")
        return Finding(Level.WARNING, _(MASTER), seen, use)
    refused = by_password or one_line(answer.error)
    (cluster,) = deployment.resources.get("AWS::RDS::DBCluster", ["CLUSTER"])
    command = deployment.cloud.aws_command(
        *("rds", "modify-db-cluster", "--db-cluster-identifier", cluster),
        *("--master-user-password", "PASSWORD", "--apply-immediately"),
    )
    set_password = _("set the password that the secret has: {command}", command=command)
    mend = set_password if REFUSED in refused else _(WRITE_SECRET)
    return Finding(Level.FAILED, _(MASTER), refused, _mend(deployment.cloud, refused, mend))


def _look_at_schema(cloud: Cloud, answer: _Master) -> Finding:
    part = _("schema")
    if answer.schema is None:
        seen = _("unknown which script made it: a person ran one, or none has run")
        return Finding(Level.WARNING, part, seen, _run_script(cloud))
    if answer.script != answer.schema:
        seen = _(
            "made by script {schema}, but script {script} is deployed",
            schema=answer.schema[:8],
            script=(answer.script or _("none"))[:8],
        )
        return Finding(Level.FAILED, part, seen, _run_script(cloud))
    return Finding(Level.OK, part, _("made by the deployed script, {schema}", schema=answer.schema[:8]))


def _look_at_dashboard(cloud: Cloud, answer: _Master) -> Finding:
    part = _("database, as {user}", user=DASHBOARD_ROLE)
    found = one_line(answer.dashboard_login)
    if found == WELL:
        return Finding(Level.OK, part, _("signs in with the password of its secret"))
    if found == NOT_ALLOWED:
        return Finding(Level.OK, part, _("may not sign in; a deploy with READER_LOGIN=on lets it"))
    set_password = _("set the password that its secret has: {command}", command=_set_password(cloud))
    return Finding(Level.FAILED, part, understood(found), set_password)


def _set_password(cloud: Cloud) -> str:
    """Forbids it to sign in, too, on a stage that was deployed without it."""
    payload = ("--cli-binary-format", "raw-in-base64-out", "--payload", '{"set_dashboard_password": true}')
    return cloud.aws_command(
        "lambda", "invoke", "--function-name", Function.SQL_INIT.of(cloud.stage), *payload, "/dev/stdout"
    )


def _mend(cloud: Cloud, error: str, otherwise: str = "") -> str:
    if any(words in error for words in _UNREACHABLE):
        command = cloud.aws_command("rds", "describe-db-clusters")
        return _("look whether the cluster is available ({command}), or stopped", command=command)
    return otherwise or _run_script(cloud)


def _run_script(cloud: Cloud) -> str:
    name_it = f"set fipe.script_sha256 = '{hashlib.sha256(SQL_SCRIPT.read_bytes()).hexdigest()}'"
    command = shlex.join(["fipe", "--stage", cloud.stage, "psql", "-1", "-c", name_it, "-f", SQL_SCRIPT.name])
    return _("`{command}` makes tables, roles and rights as they should be", command=command)
