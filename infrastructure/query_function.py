"""The API on AWS: FipeQuery in the VPC, as a reader, behind a URL that takes only signed requests."""

from aws_cdk import IgnoreMode
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure.api_function import ApiCode
from infrastructure.database import Database
from infrastructure.database_function import DatabaseFunction
from infrastructure.functions import build_layer
from infrastructure.names import READER_ROLE, Function
from infrastructure.paths import FUNCTIONS, NOT_PACKED_OF_QUERY, QUERY_LAYER
from stage_settings import StageSettings


class QueryFunction(DatabaseFunction):
    """Answers questions about the prices over HTTP, each invocation on one connection to the database.

    Args:
        settings: the settings of the stage.
        api_code: the code and layer of the other functions.
        database: the database.
        psycopg2_layer: the layer with psycopg2.

    Attributes:
        url: where it answers.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        settings: StageSettings,
        api_code: ApiCode,
        database: Database,
        psycopg2_layer: lambda_.ILayerVersion,
    ) -> None:
        code = lambda_.Code.from_asset(
            str(FUNCTIONS), exclude=NOT_PACKED_OF_QUERY, ignore_mode=IgnoreMode.GIT
        )
        query_layer = build_layer(scope, "QueryLayer", QUERY_LAYER, "fastapi, mangum")
        super().__init__(
            scope,
            Function.QUERY,
            "handler",
            settings=settings,
            api_code=ApiCode(code, api_code.layer, package="fipe_query"),
            database=database,
            role=READER_ROLE,
            psycopg2_layer=psycopg2_layer,
            layers=[query_layer],
            # Nothing else bounds how many connections a function URL can take.
            reserved_concurrency=settings.api_concurrency,
        )
        self.url = self.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM).url
