"""FipeLakeWriter: writes each complete month as Parquet into the user's bucket, without a NAT gateway."""

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure import names
from infrastructure.api_function import ApiCode
from infrastructure.database import PORT, Database
from infrastructure.database_function import DatabaseFunction
from infrastructure.findings import acknowledge
from infrastructure.functions import FunctionNetwork, build_layer
from infrastructure.names import Function
from infrastructure.paths import PYARROW_LAYER
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

ANNOUNCEMENTS = ("load_complete", "month_changed")
"""The announcements after which a month has other prices than its file."""
CONCURRENCY = 2
"""The least that an event source of SQS may have. Months are announced one by one."""
FILES = "reference_month=*/prices.parquet"
"""The keys that it may write: fipe_api.database.partitions says them, and a test compares the two."""


class Lake(Construct):
    """A function that reads the database as fipe_reader, and its way to S3.

    Args:
        settings: the settings of the stage, with an export_bucket.
        api_code: the code and the layer.
        database: the database.
        psycopg2_layer: the layer with psycopg2.
        queue: brings the function the announcements.

    Attributes:
        writer: the function.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StageSettings,
        api_code: ApiCode,
        database: Database,
        psycopg2_layer: lambda_.ILayerVersion,
        queue: QueueWithDlq,
    ) -> None:
        super().__init__(scope, construct_id)
        network = self._build_network(database, settings)
        self.writer = DatabaseFunction(
            self,
            Function.LAKE_WRITER,
            "fipe_lake_writer",
            settings=settings,
            api_code=api_code,
            database=database,
            role=names.READER_ROLE,
            psycopg2_layer=psycopg2_layer,
            layers=[build_layer(self, "PyarrowLayer", PYARROW_LAYER, "pyarrow")],
            network=network,
        )
        self.writer.add_environment("EXPORT_BUCKET", settings.export_bucket)
        self._let_write(settings.export_bucket)
        self.writer.consume(queue, CONCURRENCY, one_by_one=True)

    def _build_network(self, database: Database, settings: StageSettings) -> FunctionNetwork:
        """Beside the database, from where it also reaches S3.

        A gateway endpoint costs nothing. It adds a route to S3 for all that is in those subnets, so it has
        the default policy, which forbids nobody anything: the function's role says what the function may do.
        (VPC user guide, "Gateway endpoints for Amazon S3".)
        """
        beside = database.network
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=beside.vpc,
            description="The function that writes to S3",
            allow_all_outbound=False,
        )
        group.connections.allow_to(database.cluster, PORT, "The writer to the database")
        # S3 has many addresses, which differ by region. Without a public address of its own, or a NAT
        # gateway, the function reaches no other place by this rule.
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.HTTPS, "S3, through the gateway endpoint")
        if settings.s3_endpoint == "create":
            beside.vpc.add_gateway_endpoint(
                "S3", service=ec2.GatewayVpcEndpointAwsService.S3, subnets=[beside.subnets]
            )
        return FunctionNetwork(beside.vpc, beside.subnets, group)

    def _let_write(self, bucket: str) -> None:
        """Lets it write the files of months and read their notes, and nothing else in the bucket."""
        files = f"arn:{Stack.of(self).partition}:s3:::{bucket}/{FILES}"
        self.writer.add_to_role_policy(
            iam.PolicyStatement(actions=["s3:GetObject", "s3:PutObject"], resources=[files])
        )
        acknowledge(
            self,
            f"AwsSolutions::AwsSolutions-IAM5[Resource::{files}]",
            "Each month has a file of its own, so the month in its name has to be any.",
        )
