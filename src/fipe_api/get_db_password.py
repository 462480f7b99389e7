"""The credential for a database connection: a token signed for the role, or the password from a secret."""

import json

from fipe_api.aws.clients import client
from fipe_api.environment import DatabaseEnvironment


def get_db_password(environment: DatabaseEnvironment) -> str:
    """The password to connect with, valid for at least some minutes; asked anew for each connection.

    Without a secret it is an IAM database token, which is signed locally: in a VPC without a way to any AWS
    API it is there all the same. With DB_SECRET_ARN set it is the secret's password, read each time, so that
    a rotation is noticed at the next connection.
    """
    if environment.db_secret_arn:
        secret = client("secretsmanager").get_secret_value(SecretId=environment.db_secret_arn)
        return str(json.loads(secret["SecretString"])["password"])
    return str(
        client("rds").generate_db_auth_token(
            DBHostname=environment.rds_host, Port=environment.rds_port, DBUsername=environment.rds_user
        )
    )
