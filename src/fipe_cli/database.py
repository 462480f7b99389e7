"""The way to the stage's database: that of the local cloud, running or not, or Aurora by its secret."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from botocore.exceptions import ClientError

from fipe_cli.cloud import Cloud
from fipe_cli.errors import CliError
from infrastructure import names
from local_cloud.stage_database import find_database, stage_database

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECT_TIMEOUT_SECONDS = "10"


@dataclass(frozen=True)
class Database:
    """A database that is up.

    Attributes:
        variables: libpq's environment variables, so that no password shows in a list of processes.
        psql: the psql that fits it, or None when this machine has none.
    """

    variables: dict[str, str]
    psql: str | None

    @contextmanager
    def session(self) -> Iterator["connection"]:
        """A connection that only reads; a query that would write is refused."""
        keywords: dict[str, Any] = {
            name.removeprefix("PG").lower(): value for name, value in self.variables.items()
        }
        # For the transactions that a query opens by itself, after a commit in it, as well.
        options = f"{os.environ.get('PGOPTIONS', '')} -c default_transaction_read_only=on"
        with closing(psycopg2.connect(**keywords, options=options)) as opened:
            opened.set_session(readonly=True)
            yield opened


@contextmanager
def open_database(cloud: Cloud) -> Iterator[Database]:
    """The stage's database, as its master user; a local one is up for as long as the block lasts.

    Raises:
        CliError: the stage is not deployed, or its secret cannot be read.
    """
    if cloud.local:
        if find_database(cloud.local, cloud.stage) is None:
            raise CliError(
                f"{cloud.stage} has no database on this machine: run `{cloud.deploy_command}`,"
                " or give AWS_PROFILE (--profile) for AWS"
            )
        with stage_database(cloud.local, cloud.stage) as (cluster, connection):
            yield Database(connection.environment(), str(cluster.psql))
    else:
        yield Database(_variables(cloud), shutil.which("psql"))


def _variables(cloud: Cloud) -> dict[str, str]:
    stack = names.stack(cloud.stage)
    try:
        answer = cloud.client("cloudformation").describe_stacks(StackName=stack)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in answer["Stacks"][0]["Outputs"]}
        secret = cloud.client("secretsmanager").get_secret_value(SecretId=outputs["DBSecretArn"])
    except ClientError as error:
        raise cloud.explained(error, f"stack {stack}") from error
    except KeyError as error:
        raise CliError(f"stack {stack} has no output {error}; is its deploy complete?") from error
    known = json.loads(secret["SecretString"])
    return {
        "PGHOST": known["host"],
        "PGPORT": str(known["port"]),
        "PGUSER": known["username"],
        "PGPASSWORD": known["password"],
        "PGDATABASE": known["dbname"],
        # The local cloud's PostgreSQL has no TLS. On AWS never without, and verified when libpq is told how.
        "PGSSLMODE": os.environ.get("PGSSLMODE", "disable" if cloud.endpoint else "require"),
        "PGCONNECT_TIMEOUT": os.environ.get("PGCONNECT_TIMEOUT", CONNECT_TIMEOUT_SECONDS),
    }
