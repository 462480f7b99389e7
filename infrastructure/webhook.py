"""FipeWebhook: posts a stage's announcements to an address that people choose."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from infrastructure.api_function import ApiCode, ApiFunction
from infrastructure.names import Function
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

WEBHOOK_MEMORY_MB = 128
CONCURRENCY = 2
"""The least that an event source of SQS may have."""
RECEIVES = 12
"""How often an announcement is posted before it is a dead letter: the waits between grow to three hours, so
that a receiver may be out for about half a day."""
ANNOUNCEMENTS = ("load_complete", "load_incomplete", "load_stalled", "month_changed", "backfill_ended")
"""The kinds of announcements. A test compares these with fipe_api.load.announcement."""


class Webhook(ApiFunction):
    """A function outside the VPC that reads one or two secrets, and nothing else of AWS.

    Args:
        settings: the settings of the stage.
        api_code: the code and the layer.
        queue: the queue between the topic and the function.
    """

    def __init__(
        self, scope: Construct, *, settings: StageSettings, api_code: ApiCode, queue: QueueWithDlq
    ) -> None:
        super().__init__(
            scope,
            Function.WEBHOOK,
            "fipe_webhook",
            settings=settings,
            api_code=api_code,
            memory_mb=WEBHOOK_MEMORY_MB,
            environment={
                "SQS_INPUT_URL": queue.queue.queue_url,
                "RETRY_DELAY_SECONDS": str(settings.retry_delay_seconds),
                "WEBHOOK_URL": settings.webhook_url,
                "WEBHOOK_FORMAT": settings.webhook_format,
                "WEBHOOK_SECRET_ARN": settings.webhook_secret_arn,
                "WEBHOOK_DLQ_URL": queue.dlq.queue_url,
            },
        )
        self.consume(queue, CONCURRENCY, one_by_one=True)
        # What the receiver wants no more goes there at once.
        queue.dlq.grant(self, "sqs:SendMessage")
        secrets = _secrets(settings)
        if secrets:
            self.add_to_role_policy(
                iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=list(secrets))
            )


def _secrets(settings: StageSettings) -> Sequence[str]:
    named = (settings.webhook_url, settings.webhook_secret_arn)
    return [each for each in named if each.startswith("arn:")]
