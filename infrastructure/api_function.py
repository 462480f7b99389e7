"""What the functions of src/fipe_api have in common: their code, their layer and their settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration, IgnoreMode
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from constructs import Construct

from infrastructure.functions import FipeFunction, FunctionNetwork, build_layer
from infrastructure.names import METRICS_NAMESPACE, Function
from infrastructure.paths import API_LAYER, FUNCTIONS, NOT_PACKED_OF_SRC
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings


@dataclass(frozen=True)
class ApiCode:
    """The code of src/fipe_api and the layer with its packages, shared by all its functions.

    Attributes:
        package: where the modules with the handlers are.
    """

    code: lambda_.Code
    layer: lambda_.ILayerVersion
    package: str = "fipe_api"


def build_api_code(scope: Construct) -> ApiCode:
    """Packs the code, and makes the layer."""
    return ApiCode(
        lambda_.Code.from_asset(str(FUNCTIONS), exclude=NOT_PACKED_OF_SRC, ignore_mode=IgnoreMode.GIT),
        build_layer(
            scope, "ApiLayer", API_LAYER, "msgspec, requests, standardwebhooks, aws-lambda-powertools"
        ),
    )


class ApiFunction(FipeFunction):
    """A function of src/fipe_api.

    Args:
        kind: which function; it gives the construct and the function their names.
        module: the module of the code's package with its handler.
        settings: the settings of the stage.
        api_code: the code and the layer.
        memory_mb: the memory; Lambda gives CPU time in proportion.
        environment: its own environment variables.
        layers: further layers.
        network: where in the VPC it runs; None means outside.
        may_loop: it sends messages to the queue that invokes it.
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
        memory_mb: int,
        environment: Mapping[str, str],
        layers: Sequence[lambda_.ILayerVersion] = (),
        network: FunctionNetwork | None = None,
        may_loop: bool = False,
        reserved_concurrency: int | None = None,
    ) -> None:
        self._settings = settings
        name = kind.of(settings.stage)
        super().__init__(
            scope,
            kind,
            name=name,
            handler=f"{api_code.package}.{module}.handler",
            code=api_code.code,
            timeout=Duration.seconds(settings.function_timeout_seconds),
            memory_mb=memory_mb,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": settings.log_level,
                **environment,
            },
            layers=[api_code.layer, *layers],
            network=network,
            may_loop=may_loop,
            reserved_concurrency=reserved_concurrency,
        )

    def consume(self, queue: QueueWithDlq, concurrency: int, *, one_by_one: bool = False) -> None:
        """Invokes the function with batches of the queue, and lets it receive and delete messages.

        Args:
            queue: the queue.
            concurrency: how many invocations may run at a time.
            one_by_one: each message has an invocation of its own, at once.
        """
        window = 0 if one_by_one else self._settings.batching_window_seconds
        self.add_event_source(
            event_sources.SqsEventSource(
                queue.queue,
                batch_size=1 if one_by_one else self._settings.batch_size,
                max_batching_window=Duration.seconds(window),
                report_batch_item_failures=True,
                # Not reserved concurrency: a throttled invocation would count as a failed attempt of its
                # messages.
                max_concurrency=concurrency,
            )
        )
