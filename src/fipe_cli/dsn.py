"""Where other programs find the stage's database, and how they sign in as a reader."""

import json
from dataclasses import dataclass
from urllib.parse import quote

from botocore.exceptions import ClientError

from fipe_cli.cloud import Cloud
from fipe_cli.database import sign_token
from fipe_cli.errors import USAGE, CliError
from fipe_words import _
from infrastructure import names
from infrastructure.names import DASHBOARD_ROLE, READER_ROLE, Function

TOKEN_MINUTES = 15


@dataclass(frozen=True)
class Address:
    """An address of the database.

    Attributes:
        password: a password, an IAM token, or empty.
        sslmode: as libpq names it.
    """

    host: str
    port: int
    database: str
    user: str
    password: str
    sslmode: str

    @property
    def url(self) -> str:
        """As PostgreSQL's own programs and most libraries take it."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        user = quote(self.user, safe="")
        return (
            f"postgresql://{user}{password}@{self.host}:{self.port}/{quote(self.database, safe='')}"
            f"?sslmode={self.sslmode}"
        )

    @property
    def jdbc(self) -> str:
        """As programs in Java take it, such as DBeaver and Metabase; they ask for the user themselves."""
        database = quote(self.database, safe="")
        return f"jdbc:postgresql://{self.host}:{self.port}/{database}?sslmode={self.sslmode}"


def find_address(cloud: Cloud, user: str, *, token: bool = False, password: bool = False) -> Address:
    """The address of a stage that runs.

    Args:
        cloud: the stage.
        user: the role to sign in as; fipe_reader signs in with a token.
        token: whether to sign one, as AWS's `rds generate-db-auth-token` does; it lasts 15 minutes.
        password: whether to read the password of fipe_dashboard from its secret.

    Raises:
        CliError: the stage does not run, or is not deployed; or there is no such password.
    """
    if password and (token or user != DASHBOARD_ROLE):
        raise CliError(
            _("invalid options: --password is for --user {role}, without --token", role=DASHBOARD_ROLE), USAGE
        )
    # The functions' own settings, which need no permission to read the master user's secret.
    place = cloud.environment_of(Function.SOMA_INGESTOR)
    host, port = place["RDS_HOST"], place["RDS_PORT"]
    secret = _password(cloud) if password else sign_token(cloud, host, port, user) if token else ""
    # A local cloud's PostgreSQL has no TLS, and Aurora takes nothing else.
    sslmode = "disable" if cloud.endpoint else "require"
    return Address(host, int(port), place["RDS_DATABASE"], user, secret, sslmode)


def _password(cloud: Cloud) -> str:
    stack = names.stack(cloud.stage)
    try:
        (found,) = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
        arn = outputs.get(names.DASHBOARD_SECRET_OUTPUT)
        if arn is None:
            raise CliError(
                _("{role} may not sign in: deploy with READER_LOGIN=on to let it", role=DASHBOARD_ROLE), USAGE
            )
        secret = cloud.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    except ClientError as error:
        raise cloud.explained(error, _("stack {stack}", stack=stack)) from error
    try:
        return str(json.loads(secret)["password"])
    except (KeyError, TypeError, ValueError) as error:
        raise CliError(
            _("the secret of {role} is damaged: write it anew, as JSON with a password", role=DASHBOARD_ROLE)
        ) from error


def how_to_sign_in(user: str, *, token: bool = False, password: bool = False) -> str:
    """What to know about the password."""
    if password:
        return _("this password is valid until you change it: keep it where nobody else reads it")
    if user == DASHBOARD_ROLE and not token:
        return _(
            "the password is in Secrets Manager, after a deploy with READER_LOGIN=on: --password shows it"
        )
    if token:
        if user == READER_ROLE:
            return _("the password is a token: it lets you in for {minutes} minutes", minutes=TOKEN_MINUTES)
        return _(
            "the password is a token: it lets you in for {minutes} minutes, if {user} is a member of rds_iam;"
            " other roles need their own password",
            minutes=TOKEN_MINUTES,
            user=user,
        )
    if user == READER_ROLE:
        return _(
            "{role} signs in with a token (--token); for a program that keeps a password see docs/bi.md",
            role=READER_ROLE,
        )
    return _("the password is the one that {user} was given", user=user)
