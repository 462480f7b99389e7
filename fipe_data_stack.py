"""The parent stack owns the data: the database and its schema. The nested child stack owns the work."""

from aws_cdk import CfnOutput, Environment, Stack, Tags, Token
from constructs import Construct

from fipe_api_stack import FipeApiStack
from infrastructure import names
from infrastructure.dashboard_login import DashboardLogin
from infrastructure.database import Database
from infrastructure.functions import build_layer
from infrastructure.paths import PSYCOPG2_LAYER
from infrastructure.sql_init import SqlInit
from stage_settings import StageSettings


class FipeDataStack(Stack):
    """One whole stage, so that one command deploys, compares or destroys it.

    Raises:
        SettingsError: the VPC cannot hold what the settings ask for.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: StageSettings, env: Environment
    ) -> None:
        tags = {"project": "fipe", "stage": settings.stage, "cost-centre": settings.cost_centre}
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"FIPE ({settings.stage}): loads vehicle prices into Aurora PostgreSQL",
            termination_protection=settings.keeps_data,
            tags=tags,
        )
        for key, value in {**tags, "component": "data"}.items():
            Tags.of(self).add(key, value)

        database = Database(self, "Database", settings=settings)
        psycopg2_layer = build_layer(self, "Psycopg2Layer", PSYCOPG2_LAYER, "psycopg2")
        login = (
            DashboardLogin(self, "DashboardLogin", settings=settings, database=database)
            if settings.reader_login == "on"
            else None
        )
        contents = SqlInit(
            self,
            "SqlInit",
            settings=settings,
            database=database,
            psycopg2_layer=psycopg2_layer,
            dashboard_login=login,
        )
        work = FipeApiStack(
            self, "FipeApiStack", settings=settings, database=database, psycopg2_layer=psycopg2_layer
        )
        # New code may need the new schema, so the SQL script runs first.
        work.node.add_dependency(contents)
        self._add_outputs(database, work)
        if login:
            CfnOutput(self, names.DASHBOARD_SECRET_OUTPUT, value=login.secret.secret_arn)

    def _add_outputs(self, database: Database, work: FipeApiStack) -> None:
        """Repeats the child's outputs on the parent, so that a deploy prints all of them."""
        endpoint = database.cluster.cluster_endpoint
        CfnOutput(self, "DBEndpoint", value=endpoint.hostname)
        CfnOutput(self, "DBPort", value=Token.as_string(endpoint.port))
        CfnOutput(self, "DBSecretArn", value=database.secret.secret_arn)
        child = work.nested_stack_resource
        assert child is not None, "a nested stack is a resource of its parent"
        for name in work.output_names:
            CfnOutput(self, name, value=child.get_att(f"Outputs.{name}").to_string())
