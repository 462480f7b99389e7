"""FipeAnnouncer: tells the topic of a stage what has happened to loads."""

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from infrastructure.api_function import ApiCode, ApiFunction
from infrastructure.functions import INVOKE_AND_WAKE
from infrastructure.names import Function
from infrastructure.queues import QueueWithDlq
from stage_settings import StageSettings

ANNOUNCER_MEMORY_MB = 128
CONCURRENCY = 2
"""The least that an event source of SQS may have. There is little to do, and nobody waits for it."""


class Announcer(ApiFunction):
    """A function outside the VPC, where it can reach SNS. It asks FipeLoadStatus what there is to tell.

    Args:
        settings: the settings of the stage.
        api_code: the code and the layer.
        queue: the queue that it works on, and to which it sends what it shall look at later.
        load_status: knows what there is to tell.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        settings: StageSettings,
        api_code: ApiCode,
        queue: QueueWithDlq,
        load_status: lambda_.IFunction,
    ) -> None:
        super().__init__(
            scope,
            Function.ANNOUNCER,
            "fipe_announcer",
            settings=settings,
            api_code=api_code,
            memory_mb=ANNOUNCER_MEMORY_MB,
            environment={
                "SQS_INPUT_URL": queue.queue.queue_url,
                "RETRY_DELAY_SECONDS": str(settings.retry_delay_seconds),
                "LOAD_STATUS_FUNCTION": load_status.function_name,
                "STAGE": settings.stage,
                "STALLED_HOURS": str(settings.stalled_hours),
            },
            may_loop=True,
        )
        queue.queue.grant(self, "sqs:SendMessage")
        # grant_invoke would also allow every version of the function.
        self.add_to_role_policy(
            iam.PolicyStatement(actions=INVOKE_AND_WAKE, resources=[load_status.function_arn])
        )
        self.consume(queue, CONCURRENCY, one_by_one=True)

    def tell(self, topic: sns.ITopic) -> None:
        """Lets it publish to a topic."""
        self.add_to_role_policy(iam.PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn]))
        self.add_environment("ANNOUNCEMENT_TOPIC_ARN", topic.topic_arn)
