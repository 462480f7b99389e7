"""The database's schema: a custom resource and its two functions, which run create_fipe_db.sql."""

import hashlib

from aws_cdk import CustomResource, Duration, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure.dashboard_login import DashboardLogin
from infrastructure.database import Database
from infrastructure.functions import INVOKE_AND_WAKE, FipeFunction
from infrastructure.names import Function
from infrastructure.paths import NOT_PACKED, SQL_INIT, SQL_SCRIPT
from stage_settings import StageSettings

# Each waits for the one above, and still has time to report what went wrong.
RUNNER_TIMEOUT = Duration.minutes(5)
INIT_TIMEOUT = Duration.minutes(6)
SERVICE_TIMEOUT = Duration.minutes(8)

MEMORY_MB = 256


class SqlInit(Construct):
    """Runs the SQL script at the first deploy, and again when the script or the cluster has changed.

    It also lets fipe_dashboard sign in, if it gets a secret for that, or forbids it. Deleting this resource
    deletes no data.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StageSettings,
        database: Database,
        psycopg2_layer: lambda_.LayerVersion,
        dashboard_login: DashboardLogin | None,
    ) -> None:
        super().__init__(scope, construct_id)
        Tags.of(self).add("component", "sql-init")
        code = lambda_.Code.from_asset(str(SQL_INIT), exclude=NOT_PACKED)
        runner = FipeFunction(
            self,
            "Runner",
            name=Function.SQL_RUNNER.of(settings.stage),
            handler="index.run_sql",
            code=code,
            timeout=RUNNER_TIMEOUT,
            memory_mb=MEMORY_MB,
            environment=database.tls_variables,
            layers=[psycopg2_layer],
            network=database.network,
        )
        # The script signs in with the password. A master user whose password the database no longer takes can
        # sign in with a token: see lambda/master.py.
        database.cluster.grant_connect(runner, settings.database_user)
        init = FipeFunction(
            self,
            "Init",
            name=Function.SQL_INIT.of(settings.stage),
            handler="index.on_event",
            code=code,
            timeout=INIT_TIMEOUT,
            memory_mb=MEMORY_MB,
            environment={"DB_SECRET_ARN": database.secret.secret_arn, "SQL_RUNNER": runner.function_name},
        )
        database.secret.grant_read(init)
        if dashboard_login:
            init.add_environment("DASHBOARD_SECRET_ARN", dashboard_login.secret.secret_arn)
            dashboard_login.secret.grant_read(init)
        init.add_to_role_policy(iam.PolicyStatement(actions=INVOKE_AND_WAKE, resources=[runner.function_arn]))
        contents = CustomResource(
            self,
            "Contents",
            resource_type="Custom::FipeDatabase",
            service_token=init.function_arn,
            service_timeout=SERVICE_TIMEOUT,
            properties={
                "ScriptSha256": hashlib.sha256(SQL_SCRIPT.read_bytes()).hexdigest(),
                "Cluster": database.cluster.cluster_resource_identifier,
                "DashboardLogin": dashboard_login.secret.secret_arn if dashboard_login else "off",
            },
        )
        # The script needs the database instance and the security group rules that let the runner in.
        contents.node.add_dependency(database)
