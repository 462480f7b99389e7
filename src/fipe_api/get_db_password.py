"""The password for a database connection: a signed token, or the password from a secret."""

import json

from fipe_api.aws.clients import client
from fipe_api.environment import DatabaseEnvironment


def get_db_password(environment: DatabaseEnvironment) -> str:
    """Returns the password for one new connection; it may expire after some minutes.

    Without DB_SECRET_ARN it is an IAM database token. It is signed locally, so no AWS API is needed. With
    DB_SECRET_ARN it is the password in that secret, read each time, so that the next connection uses a
    rotated password.
    """
    if environment.db_secret_arn:
        secret = client("secretsmanager").get_secret_value(SecretId=environment.db_secret_arn)
        return str(json.loads(secret["SecretString"])["password"])
    return str(
        client("rds").generate_db_auth_token(
            DBHostname=environment.rds_host, Port=environment.rds_port, DBUsername=environment.rds_user
        )
    )
