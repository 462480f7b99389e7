"""Where other programs find the stage's database, and how they sign in as a reader."""

from dataclasses import dataclass
from urllib.parse import quote

from fipe_cli.cloud import Cloud
from fipe_cli.database import sign_token
from fipe_words import _
from infrastructure.names import READER_ROLE, Function

TOKEN_MINUTES = 15


@dataclass(frozen=True)
class Address:
    """An address of the database.

    Attributes:
        password: an IAM token, or empty.
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


def find_address(cloud: Cloud, user: str, *, token: bool) -> Address:
    """The address of a stage that runs.

    Args:
        cloud: the stage.
        user: the role to sign in as; fipe_reader signs in with a token.
        token: whether to sign one, as AWS's `rds generate-db-auth-token` does; it lasts 15 minutes.

    Raises:
        CliError: the stage does not run, or is not deployed.
    """
    # The functions' own settings, which need no permission to read the master user's secret.
    place = cloud.environment_of(Function.SOMA_INGESTOR)
    host, port = place["RDS_HOST"], place["RDS_PORT"]
    password = sign_token(cloud, host, port, user) if token else ""
    # A local cloud's PostgreSQL has no TLS, and Aurora takes nothing else.
    sslmode = "disable" if cloud.endpoint else "require"
    return Address(host, int(port), place["RDS_DATABASE"], user, password, sslmode)


def how_to_sign_in(user: str, *, token: bool) -> str:
    """What to know about the password."""
    if token:
        return _("the password is a token: it lets you in for {minutes} minutes", minutes=TOKEN_MINUTES)
    if user == READER_ROLE:
        return _(
            "{role} signs in with a token (--token); a program that keeps a password needs a role of"
            " its own, see docs/queries.md",
            role=READER_ROLE,
        )
    return _("the password is the one that {user} was given", user=user)
