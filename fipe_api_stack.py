"""The child stack owns the work: the loaders, the queues, the ingestor, and who tells what has happened."""

from collections.abc import Mapping
from functools import partial

from aws_cdk import CfnOutput, NestedStack, Tags
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_sns import ITopic
from constructs import Construct

from infrastructure import lake, names, webhook
from infrastructure.alarms import Alarms
from infrastructure.announcer import Announcer
from infrastructure.api_function import ApiFunction, build_api_code
from infrastructure.dashboard import Dashboard
from infrastructure.database import Database
from infrastructure.database_function import DatabaseFunction
from infrastructure.lake import Lake
from infrastructure.loader import Loader
from infrastructure.names import PIPELINE, Function, Queue
from infrastructure.pace import PaceTable
from infrastructure.query_function import QueryFunction
from infrastructure.queues import QueueWithDlq
from infrastructure.schedule import LoadSchedule
from infrastructure.webhook import Webhook
from stage_settings import StageSettings

ANNOUNCEMENTS = {Queue.WEBHOOK: webhook.ANNOUNCEMENTS, Queue.EXPORT: lake.ANNOUNCEMENTS}
"""The kinds of announcements that each queue gets from the topic, if the stage has the queue."""


class FipeApiStack(NestedStack):
    """Three loaders and the ingestor; each gets its work from the one before it through a queue.

    FipeAnnouncer tells what becomes of the loads.

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
        api_code = build_api_code(self)
        pace = PaceTable(self, "Pace", stage=settings.stage)
        queues = {kind: self._build_queue(kind, settings) for kind in (*PIPELINE, Queue.ANNOUNCEMENT)}
        manufacturers, models, prices = (queues[kind] for kind in PIPELINE)

        build_loader = partial(Loader, self, settings=settings, api_code=api_code, pace=pace, ledger=prices)
        build_database_function = partial(
            DatabaseFunction,
            self,
            settings=settings,
            api_code=api_code,
            database=database,
            psycopg2_layer=psycopg2_layer,
        )
        start = build_loader(Function.MANUFACTURER_LOADER, "fipe_manufacturer_loader", output=manufacturers)
        model_loader = build_loader(
            Function.MODEL_LOADER, "fipe_model_loader", source=manufacturers, output=models
        )
        price_loader = build_loader(Function.PRICE_LOADER, "fipe_price_loader", source=models, output=prices)
        ingestor = build_database_function(
            Function.SOMA_INGESTOR, "fipe_soma_ingestor", role=names.INGESTOR_ROLE
        )
        ingestor.add_environment("SQS_INPUT_URL", prices.queue.queue_url)
        # No alarm watches it: whoever invokes it sees its errors.
        load_status = build_database_function(Function.LOAD_STATUS, "load.status", role=names.STATUS_ROLE)
        # Both start loads: FipeModelLoader goes on with starts for which the source did not answer in time.
        for starter in (start, model_loader):
            starter.add_environment("RETENTION_DAYS", str(settings.retention_days))
            starter.announce(queues[Queue.ANNOUNCEMENT])
        for loader in (start, model_loader, price_loader):
            loader.ask(load_status)
        start.wake(ingestor)

        model_loader.consume(manufacturers, settings.model_concurrency)
        price_loader.consume(models, settings.price_concurrency)
        ingestor.consume(prices, settings.ingestor_concurrency)
        announcer = Announcer(
            self,
            settings=settings,
            api_code=api_code,
            queue=queues[Queue.ANNOUNCEMENT],
            load_status=load_status,
        )
        functions: dict[Function, ApiFunction] = {
            Function.MANUFACTURER_LOADER: start,
            Function.MODEL_LOADER: model_loader,
            Function.PRICE_LOADER: price_loader,
            Function.SOMA_INGESTOR: ingestor,
            Function.ANNOUNCER: announcer,
        }
        if settings.webhook_url:
            queue = queues[Queue.WEBHOOK] = self._build_queue(Queue.WEBHOOK, settings, webhook.RECEIVES)
            functions[Function.WEBHOOK] = Webhook(self, settings=settings, api_code=api_code, queue=queue)
        if settings.export_bucket:
            queue = queues[Queue.EXPORT] = self._build_queue(Queue.EXPORT, settings)
            functions[Function.LAKE_WRITER] = Lake(
                self,
                "Lake",
                settings=settings,
                api_code=api_code,
                database=database,
                psycopg2_layer=psycopg2_layer,
                queue=queue,
            ).writer
        topic = self._watch(functions, queues, database, settings)
        announcer.tell(topic)
        for kind, announcements in ANNOUNCEMENTS.items():
            if kind in queues:
                queues[kind].listen(topic, announcements)
        if settings.api == "on":
            # No alarm watches it: whoever asks it sees its errors.
            query = QueryFunction(
                self, settings=settings, api_code=api_code, database=database, psycopg2_layer=psycopg2_layer
            )
            self._add_output("ApiUrl", query.url)
        if settings.schedule != "off":
            LoadSchedule(self, "Schedule", stage=settings.stage, expression=settings.schedule, start=start)
        self._add_output("FipeManufacturerLambda", start.function_name)

    def _build_queue(self, kind: Queue, settings: StageSettings, receives: int | None = None) -> QueueWithDlq:
        title = kind.capitalize()
        queue = QueueWithDlq(
            self,
            f"{title}Queue",
            kind=kind,
            settings=settings,
            one_by_one=kind not in PIPELINE,
            receives=receives,
        )
        self._add_output(f"{title}QueueUrl", queue.queue.queue_url)
        self._add_output(f"{title}DLQUrl", queue.dlq.queue_url)
        return queue

    def _watch(
        self,
        functions: Mapping[Function, ApiFunction],
        queues: Mapping[Queue, QueueWithDlq],
        database: Database,
        settings: StageSettings,
    ) -> ITopic:
        """Adds the alarms and the dashboard; returns the topic."""
        watch = Alarms(
            self,
            "Alarms",
            settings=settings,
            queues=queues,
            functions=functions,
            cluster=database.cluster,
        )
        self._add_output("AlarmTopicArn", watch.topic.topic_arn)
        Dashboard(
            self,
            "Dashboard",
            stage=settings.stage,
            functions={
                function: functions[function]
                for function in (Function.MANUFACTURER_LOADER, *(queue.consumer for queue in PIPELINE))
            },
            queues={queue: queues[queue] for queue in PIPELINE},
            cluster=database.cluster,
            alarms=watch.alarms,
        )
        return watch.topic

    def _add_output(self, name: str, value: str) -> None:
        CfnOutput(self, name, value=value)
        self.output_names.append(name)
