"""The child stack owns the work: the loaders, the queues and the ingestor."""

from collections.abc import Mapping, Sequence

from aws_cdk import CfnOutput, Duration, IgnoreMode, NestedStack, RemovalPolicy, Tags, Token
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from constructs import Construct

from infrastructure import names
from infrastructure.alarms import Alarms
from infrastructure.dashboard import Dashboard
from infrastructure.database import Database
from infrastructure.findings import acknowledge
from infrastructure.functions import INVOKE_AND_WAKE, FipeFunction, FunctionNetwork, build_layer
from infrastructure.names import METRICS_NAMESPACE, Function, Queue
from infrastructure.paths import API_LAYER, FUNCTIONS, NOT_PACKED_OF_SRC
from infrastructure.queues import QueueWithDlq
from infrastructure.schedule import LoadSchedule
from stage_settings import StageSettings

INGESTOR_ROLE = "fipe_ingestor"
STATUS_ROLE = "fipe_status"
"""Database roles of the functions in the VPC, from create_fipe_db.sql; they sign in with IAM tokens."""

LOADER_MEMORY_MB = 128
"""A loader uses 60 MB and mostly waits. AWS bills waiting by memory, so the smallest size is the cheapest."""
DATABASE_FUNCTION_MEMORY_MB = 512


class FipeApiStack(NestedStack):
    """Three loaders and the ingestor; each gets its work from the one before it through a queue.

    The loaders run outside the VPC, where they can reach FIPE and AWS. The ingestor runs inside, next to the
    database.

    Attributes:
        output_names: the names of the outputs, which the parent stack repeats.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: StageSettings,
        database: Database,
        psycopg2_layer: lambda_.ILayerVersion,
    ) -> None:
        super().__init__(scope, construct_id, description="FIPE: loaders, queues and the ingestor")
        Tags.of(self).add("component", "api")
        self.output_names: list[str] = []
        self._functions: dict[str, FipeFunction] = {}
        self._settings = settings
        self._code = lambda_.Code.from_asset(
            str(FUNCTIONS), exclude=NOT_PACKED_OF_SRC, ignore_mode=IgnoreMode.GIT
        )
        self._api_layer = build_layer(self, "ApiLayer", API_LAYER, "msgspec, requests, aws-lambda-powertools")
        self._pace = self._build_pace_table()

        manufacturers, models, prices = (self._build_queue(kind) for kind in Queue)
        self._price_queue = prices.queue
        start = self._build_loader(
            Function.MANUFACTURER_LOADER, "fipe_manufacturer_loader", output=manufacturers
        )
        model_loader = self._build_loader(
            Function.MODEL_LOADER, "fipe_model_loader", source=manufacturers, output=models
        )
        price_loader = self._build_loader(
            Function.PRICE_LOADER, "fipe_price_loader", source=models, output=prices
        )
        ingestor = self._build_database_function(
            Function.SOMA_INGESTOR,
            "fipe_soma_ingestor",
            database=database,
            role=INGESTOR_ROLE,
            psycopg2_layer=psycopg2_layer,
        )
        ingestor.add_environment("SQS_INPUT_URL", prices.queue.queue_url)

        self._feed(model_loader, manufacturers, settings.model_concurrency)
        self._feed(price_loader, models, settings.price_concurrency)
        self._feed(ingestor, prices, settings.ingestor_concurrency)
        self._watch({Queue.MANUFACTURER: manufacturers, Queue.MODEL: models, Queue.PRICE: prices}, database)
        # Built after the alarms, so it gets none: whoever invokes it sees its errors.
        load_status = self._build_database_function(
            Function.LOAD_STATUS,
            "load.status",
            database=database,
            role=STATUS_ROLE,
            psycopg2_layer=psycopg2_layer,
        )
        # grant_invoke would also allow every version of the function.
        start.add_to_role_policy(
            iam.PolicyStatement(actions=INVOKE_AND_WAKE, resources=[load_status.function_arn])
        )
        start.add_environment("LOAD_STATUS_FUNCTION", load_status.function_name)
        start.add_environment("RETENTION_DAYS", str(settings.retention_days))
        if settings.schedule != "off":
            LoadSchedule(self, "Schedule", stage=settings.stage, expression=settings.schedule, start=start)
        self._add_output("FipeManufacturerLambda", start.function_name)

    def _build_pace_table(self) -> dynamodb.Table:
        """Builds the table of the shared pace. Its one item says when the source may be called next."""
        table = dynamodb.Table(
            self,
            "Pace",
            table_name=names.pace_table(self._settings.stage),
            partition_key=dynamodb.Attribute(name="source", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            table,
            "AwsSolutions::AwsSolutions-DDB3",
            "No backup: the only item is out of date after a minute.",
        )
        return table

    def _build_queue(self, kind: Queue) -> QueueWithDlq:
        title = kind.capitalize()
        queue = QueueWithDlq(self, f"{title}Queue", kind=kind, settings=self._settings)
        self._add_output(f"{title}QueueUrl", queue.queue.queue_url)
        self._add_output(f"{title}DLQUrl", queue.dlq.queue_url)
        return queue

    def _build_loader(
        self,
        name: Function,
        module: str,
        *,
        output: QueueWithDlq,
        source: QueueWithDlq | None = None,
    ) -> FipeFunction:
        """Builds a function that calls the source and sends unfinished work back to its own queue."""
        loader = self._build_function(
            name,
            module,
            memory_mb=LOADER_MEMORY_MB,
            environment={
                "SQS_OUTPUT_URL": output.queue.queue_url,
                "SQS_LEDGER_URL": self._price_queue.queue_url,
                "FIPE_API_URL": self._settings.fipe_api_url,
                "FIPE_CALLS_PER_MINUTE": self._settings.calls_per_minute,
                "BLOCKED_REST_SECONDS": f"{self._settings.blocked_rest_seconds:g}",
                "PACE_TABLE": self._pace.table_name,
                "REJECTED_ANSWERS_URL": self._price_queue.queue_url,
                **self._fallback_environment(),
                **(self._consumer_environment(source) if source else {}),
            },
            may_loop=source is not None,
        )
        self._pace.grant(loader, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        if self._settings.parallelum_token_secret_arn:
            loader.add_to_role_policy(
                iam.PolicyStatement(
                    actions=["secretsmanager:GetSecretValue"],
                    resources=[self._settings.parallelum_token_secret_arn],
                )
            )
        # The ingestor writes plans and rejected answers to the database, so they go straight to its queue.
        self._price_queue.grant(loader, "sqs:SendMessage")
        output.queue.grant(loader, "sqs:SendMessage")
        if source:
            source.queue.grant(loader, "sqs:SendMessage")
        return loader

    def _build_database_function(
        self,
        name: Function,
        module: str,
        *,
        database: Database,
        role: str,
        psycopg2_layer: lambda_.ILayerVersion,
    ) -> FipeFunction:
        """Builds a function in the VPC that signs in to the database as `role` and can reach nothing else."""
        endpoint = database.cluster.cluster_endpoint
        function = self._build_function(
            name,
            module,
            memory_mb=DATABASE_FUNCTION_MEMORY_MB,
            environment={
                "RDS_HOST": endpoint.hostname,
                "RDS_PORT": Token.as_string(endpoint.port),
                "RDS_DATABASE": self._settings.database_name,
                "RDS_USER": role,
                **database.tls_variables,
            },
            layers=[psycopg2_layer],
            network=database.network,
        )
        database.cluster.grant_connect(function, role)
        return function

    def _fallback_environment(self) -> dict[str, str]:
        if not self._settings.parallelum_calls_per_day:
            return {}
        return {
            "PARALLELUM_URL": self._settings.parallelum_url,
            "PARALLELUM_CALLS_PER_DAY": str(self._settings.parallelum_calls_per_day),
            "PARALLELUM_TOKEN_SECRET_ARN": self._settings.parallelum_token_secret_arn,
        }

    def _consumer_environment(self, source: QueueWithDlq) -> dict[str, str]:
        return {
            "SQS_INPUT_URL": source.queue.queue_url,
            "RETRY_DELAY_SECONDS": str(self._settings.retry_delay_seconds),
        }

    def _build_function(
        self,
        name: Function,
        module: str,
        *,
        memory_mb: int,
        environment: Mapping[str, str],
        layers: Sequence[lambda_.ILayerVersion] = (),
        network: FunctionNetwork | None = None,
        may_loop: bool = False,
    ) -> FipeFunction:
        function = FipeFunction(
            self,
            name,
            name=name.of(self._settings.stage),
            handler=f"fipe_api.{module}.handler",
            code=self._code,
            timeout=Duration.seconds(self._settings.function_timeout_seconds),
            memory_mb=memory_mb,
            environment={
                "POWERTOOLS_SERVICE_NAME": name.of(self._settings.stage),
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": self._settings.log_level,
                **environment,
            },
            layers=[self._api_layer, *layers],
            network=network,
            may_loop=may_loop,
        )
        self._functions[name] = function
        return function

    def _feed(self, function: FipeFunction, source: QueueWithDlq, concurrency: int) -> None:
        """Invokes the function with batches from the queue, and lets it receive and delete messages."""
        function.add_event_source(
            event_sources.SqsEventSource(
                source.queue,
                batch_size=self._settings.batch_size,
                max_batching_window=Duration.seconds(self._settings.batching_window_seconds),
                report_batch_item_failures=True,
                # Not reserved concurrency: a throttled invocation would count as a failed attempt of its
                # messages.
                max_concurrency=concurrency,
            )
        )

    def _watch(self, queues: Mapping[str, QueueWithDlq], database: Database) -> None:
        """Adds the alarms and the dashboard."""
        watch = Alarms(
            self,
            "Alarms",
            settings=self._settings,
            queues=queues,
            functions=self._functions,
            cluster=database.cluster,
        )
        self._add_output("AlarmTopicArn", watch.topic.topic_arn)
        Dashboard(
            self,
            "Dashboard",
            stage=self._settings.stage,
            functions=self._functions,
            queues=queues,
            cluster=database.cluster,
            alarms=watch.alarms,
        )

    def _add_output(self, name: str, value: str) -> None:
        CfnOutput(self, name, value=value)
        self.output_names.append(name)
