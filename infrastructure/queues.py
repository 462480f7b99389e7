"""A queue and its dead letter queue."""

from collections.abc import Sequence

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infrastructure.names import Queue
from stage_settings import StageSettings

VISIBILITY_IN_FUNCTION_TIMEOUTS = 6
"""AWS recommends a visibility timeout of six function timeouts plus the batching window."""


class QueueWithDlq(Construct):
    """A queue, and a dead letter queue that serves only that queue.

    SQS encrypts both with its own keys; both refuse plain HTTP.

    Args:
        kind: which queue.
        settings: the settings of the stage.
        one_by_one: its function gets one message at a time, so a message that fails is soon tried again.
        receives: how often a message may be received; None means as often as the stage's settings say.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        kind: Queue,
        settings: StageSettings,
        one_by_one: bool = False,
        receives: int | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        name = kind.of(settings.stage)
        self._timeouts = 1 if one_by_one else VISIBILITY_IN_FUNCTION_TIMEOUTS
        self.dlq = self._build_dlq(kind.dlq(settings.stage), name, settings)
        self.queue = self._build_queue(name, settings, receives or settings.max_receive_count)

    def listen(self, topic: sns.ITopic, announcements: Sequence[str]) -> None:
        """Has a topic send its announcements of these kinds to the queue. Alarms have no kind."""
        topic.add_subscription(
            subscriptions.SqsSubscription(
                self.queue,
                raw_message_delivery=True,
                filter_policy={
                    "kind": sns.SubscriptionFilter.string_filter(allowlist=list(announcements)),
                },
            )
        )

    def _build_dlq(self, name: str, source_name: str, settings: StageSettings) -> sqs.Queue:
        # Uses the queue's name, not the construct: two queues that refer to each other are a cycle in
        # CloudFormation.
        source_arn = Stack.of(self).format_arn(
            service="sqs", resource=source_name, arn_format=ArnFormat.NO_RESOURCE_NAME
        )
        return sqs.Queue(
            self,
            "Dlq",
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(settings.dlq_retention_days),
            redrive_allow_policy=sqs.RedriveAllowPolicy(
                redrive_permission=sqs.RedrivePermission.BY_QUEUE,
                source_queues=[sqs.Queue.from_queue_arn(self, "Source", source_arn)],
            ),
        )

    def _build_queue(self, name: str, settings: StageSettings, receives: int) -> sqs.Queue:
        return sqs.Queue(
            self,
            "Queue",
            queue_name=name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(settings.retention_days),
            visibility_timeout=Duration.seconds(
                self._timeouts * settings.function_timeout_seconds + settings.batching_window_seconds
            ),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dlq, max_receive_count=receives),
        )
