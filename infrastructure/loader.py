"""The loaders: the functions that call the source."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure.api_function import ApiCode, ApiFunction
from infrastructure.functions import INVOKE_AND_WAKE
from infrastructure.names import Function
from infrastructure.pace import PaceTable
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

LOADER_MEMORY_MB = 128
"""A loader uses 60 MB and mostly waits. AWS bills waiting by memory, so the smallest size is the cheapest.
Its share of a processor imports a loader in 4 of the 10 s that Lambda allows (lambda-layer/README.md)."""


class Loader(ApiFunction):
    """A function outside the VPC, where it can reach FIPE and AWS.

    Args:
        kind: which loader.
        module: the module of fipe_api with its handler.
        settings: the settings of the stage.
        api_code: the code and the layer.
        pace: the pace that it shares with the other loaders.
        output: the queue for its results.
        ledger: the queue of the ingestor, which writes plans and rejected answers to the database.
        source: the queue that it works on, and to which it sends unfinished work back; None for the first
            one.
    """

    def __init__(
        self,
        scope: Construct,
        kind: Function,
        module: str,
        *,
        settings: StageSettings,
        api_code: ApiCode,
        pace: PaceTable,
        output: QueueWithDlq,
        ledger: QueueWithDlq,
        source: QueueWithDlq | None = None,
    ) -> None:
        super().__init__(
            scope,
            kind,
            module,
            settings=settings,
            api_code=api_code,
            memory_mb=LOADER_MEMORY_MB,
            environment={
                "SQS_OUTPUT_URL": output.queue.queue_url,
                "SQS_LEDGER_URL": ledger.queue.queue_url,
                "FIPE_API_URL": settings.fipe_api_url,
                "FIPE_CALLS_PER_MINUTE": settings.calls_per_minute,
                "BLOCKED_REST_SECONDS": f"{settings.blocked_rest_seconds:g}",
                "PACE_TABLE": pace.table_name,
                "REJECTED_ANSWERS_URL": ledger.queue.queue_url,
                **_mirror_variables(settings),
                **(_consumer_variables(source, settings) if source else {}),
            },
            may_loop=source is not None,
        )
        pace.grant_pacing(self)
        for queue in (ledger, output, source):
            if queue:
                queue.queue.grant(self, "sqs:SendMessage")
        if settings.parallelum_token_secret_arn:
            self.add_to_role_policy(
                iam.PolicyStatement(
                    actions=["secretsmanager:GetSecretValue"],
                    resources=[settings.parallelum_token_secret_arn],
                )
            )

    def ask(self, load_status: lambda_.IFunction) -> None:
        """Lets it ask FipeLoadStatus what earlier loads found, and wake it."""
        # grant_invoke would also allow every version of the function.
        self.add_to_role_policy(
            iam.PolicyStatement(actions=INVOKE_AND_WAKE, resources=[load_status.function_arn])
        )
        self.add_environment("LOAD_STATUS_FUNCTION", load_status.function_name)

    def announce(self, announcements: QueueWithDlq) -> None:
        """Lets it have somebody tell what becomes of the loads that it starts."""
        announcements.queue.grant(self, "sqs:SendMessage")
        self.add_environment("SQS_ANNOUNCEMENT_URL", announcements.queue.queue_url)

    def wake(self, ingestor: lambda_.IFunction) -> None:
        """Lets it wake the ingestor when a load starts."""
        self.add_to_role_policy(
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[ingestor.function_arn])
        )
        self.add_environment("INGESTOR_FUNCTION", ingestor.function_name)


def _mirror_variables(settings: StageSettings) -> dict[str, str]:
    if not settings.parallelum_calls_per_day:
        return {}
    return {
        "PARALLELUM_URL": settings.parallelum_url,
        "PARALLELUM_CALLS_PER_DAY": str(settings.parallelum_calls_per_day),
        "PARALLELUM_TOKEN_SECRET_ARN": settings.parallelum_token_secret_arn,
    }


def _consumer_variables(source: QueueWithDlq, settings: StageSettings) -> dict[str, str]:
    return {
        "SQS_INPUT_URL": source.queue.queue_url,
        "RETRY_DELAY_SECONDS": str(settings.retry_delay_seconds),
    }
