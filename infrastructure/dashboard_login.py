"""The secret of fipe_dashboard, the database role for programs that keep a password: a dashboard, Excel."""

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infrastructure import names
from infrastructure.database import Database
from infrastructure.findings import acknowledge
from stage_settings import StageSettings

PASSWORD_LENGTH = 30


class DashboardLogin(Construct):
    """A secret with a generated password. FipeSqlInit reads it, and lets the role sign in.

    Attributes:
        secret: user, password, host, port and name of the database, as JSON, like the master user's.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: StageSettings, database: Database
    ) -> None:
        super().__init__(scope, construct_id)
        endpoint = database.cluster.cluster_endpoint
        place = {
            "host": endpoint.hostname,
            "port": endpoint.port,
            "dbname": settings.database_name,
            "username": names.DASHBOARD_ROLE,
        }
        self.secret = secretsmanager.Secret(
            self,
            "Secret",
            description=f"FIPE ({settings.stage}): how {names.DASHBOARD_ROLE} signs in, which can only read",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=Stack.of(self).to_json_string(place),
                generate_string_key="password",
                password_length=PASSWORD_LENGTH,
                # So that it can be part of a URL as it is.
                exclude_punctuation=True,
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.secret,
            "AwsSolutions::AwsSolutions-SMG4",
            "Dashboards keep a copy of the password, so one that changes by itself would lock them out."
            " docs/bi.md says how to change it.",
        )
