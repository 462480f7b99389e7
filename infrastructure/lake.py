"""FipeLakeWriter: writes each complete month as Parquet into the user's bucket, without a NAT gateway."""

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infrastructure import names
from infrastructure.api_function import ApiCode
from infrastructure.database import PORT, Database
from infrastructure.database_function import DatabaseFunction
from infrastructure.findings import acknowledge
from infrastructure.functions import FunctionNetwork, build_layer
from infrastructure.names import Function, OptionalQueue
from infrastructure.paths import PYARROW_LAYER
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

KINDS = ["load_complete", "month_changed"]
"""The announcements after which a month has other prices than its file."""
CONCURRENCY = 2
"""The least that an event source of SQS may have. Months are announced one by one."""
FILES = "reference_month=*/prices.parquet"
"""The keys that it may write: fipe_api.database.partitions says them, and a test compares the two."""


class Lake(Construct):
    """A function that reads the database as fipe_reader, and the queue that brings it the announcements.

    Args:
        settings: the settings of the stage, with an export_bucket.
        api_code: the code and the layer.
        database: the database.
        psycopg2_layer: the layer with psycopg2.
        topic: where announcements are told.
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
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage = settings.stage
        network = self._build_network(database, settings)
        queue = QueueWithDlq(self, "Queue", kind=OptionalQueue.EXPORT, settings=settings, one_by_one=True)
        writer = DatabaseFunction(
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
        writer.add_environment("EXPORT_BUCKET", settings.export_bucket)
        self._let_write(writer, settings.export_bucket)
        writer.consume(queue, CONCURRENCY, one_by_one=True)
        topic.add_subscription(
            subscriptions.SqsSubscription(
                queue.queue,
                raw_message_delivery=True,
                filter_policy={"kind": sns.SubscriptionFilter.string_filter(allowlist=KINDS)},
            )
        )
        self._watch(queue, topic)

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

    def _let_write(self, writer: DatabaseFunction, bucket: str) -> None:
        """Lets it write the files of months and read their notes, and nothing else in the bucket."""
        files = f"arn:{Stack.of(self).partition}:s3:::{bucket}/{FILES}"
        writer.add_to_role_policy(
            iam.PolicyStatement(actions=["s3:GetObject", "s3:PutObject"], resources=[files])
        )
        acknowledge(
            self,
            f"AwsSolutions::AwsSolutions-IAM5[Resource::{files}]",
            "Each month has a file of its own, so the month in its name has to be any.",
        )

    def _watch(self, queue: QueueWithDlq, topic: sns.ITopic) -> None:
        name = names.alarm("export-dlq-not-empty", self._stage)
        alarm = cloudwatch.Alarm(
            self,
            "DlqNotEmpty",
            alarm_name=name,
            alarm_description="A month could not be written to the bucket."
            f" `make logs-{self._stage} FUNCTION={Function.LAKE_WRITER} LEVEL=WARNING` shows why. Fix the"
            " cause, then write what is missing: `fipe export s3://BUCKET --partitioned` writes all months"
            " that have changed. Then empty the queue.",
            metric=queue.dlq.metric_approximate_number_of_messages_visible(
                period=Duration.minutes(5), statistic="Maximum"
            ),
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(topic))
