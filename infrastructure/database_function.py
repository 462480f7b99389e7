"""The functions of src/fipe_api that connect to the database."""

from collections.abc import Sequence

from aws_cdk import Token
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure.api_function import ApiCode, ApiFunction
from infrastructure.database import Database
from infrastructure.functions import FunctionNetwork
from infrastructure.names import Function
from stage_settings import StageSettings

DATABASE_FUNCTION_MEMORY_MB = 512


class DatabaseFunction(ApiFunction):
    """A function inside the VPC, next to the database. Without a network of its own it reaches nothing else.

    Args:
        kind: which function.
        module: the module of the code's package with its handler.
        settings: the settings of the stage.
        api_code: the code and the layer.
        database: the database.
        role: the database role that it signs in as, with an IAM token.
        psycopg2_layer: the layer with psycopg2.
        layers: further layers.
        network: where it runs; by default, beside the database.
        reserved_concurrency: how many invocations may run at a time; None for any number.
    """

    def __init__(
        self,
        scope: Construct,
        kind: Function,
        module: str,
        *,
        settings: StageSettings,
        api_code: ApiCode,
        database: Database,
        role: str,
        psycopg2_layer: lambda_.ILayerVersion,
        layers: Sequence[lambda_.ILayerVersion] = (),
        network: FunctionNetwork | None = None,
        reserved_concurrency: int | None = None,
    ) -> None:
        endpoint = database.cluster.cluster_endpoint
        super().__init__(
            scope,
            kind,
            module,
            settings=settings,
            api_code=api_code,
            memory_mb=DATABASE_FUNCTION_MEMORY_MB,
            environment={
                "RDS_HOST": endpoint.hostname,
                "RDS_PORT": Token.as_string(endpoint.port),
                "RDS_DATABASE": settings.database_name,
                "RDS_USER": role,
                **database.tls_variables,
            },
            layers=[psycopg2_layer, *layers],
            network=network or database.network,
            reserved_concurrency=reserved_concurrency,
        )
        database.cluster.grant_connect(self, role)
