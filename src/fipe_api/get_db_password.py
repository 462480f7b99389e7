"""The password for a database connection: a signed token, or the password from a secret."""

import json

from fipe_api.aws.clients import client
from fipe_api.environment import DatabaseEnvironment


def get_db_password(environment: DatabaseEnvironment) -> str:
    """The password for one new connection; it may expire after some minutes.

    Without DB_SECRET_ARN it is an IAM database token. That is signed locally, so it also works in a VPC that
    reaches no AWS API. With DB_SECRET_ARN it is the secret's password, read each time, so that a rotated
    password is used from the next connection on.
    """
    if environment.db_secret_arn:
        secret = client("secretsmanager").get_secret_value(SecretId=environment.db_secret_arn)
        return str(json.loads(secret["SecretString"])["password"])
    return str(
        client("rds").generate_db_auth_token(
            DBHostname=environment.rds_host, Port=environment.rds_port, DBUsername=environment.rds_user
        )
    )
