"""The schedule: EventBridge Scheduler starts FipeManufacturerLoader."""

import json

from aws_cdk import ArnFormat, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infrastructure import names

TIME_ZONE = "America/Sao_Paulo"
PAYLOAD = {
    "reference": "latest",
    "until_stable": True,
    "start_key": "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time>",
}
"""FIPE publishes a month over several days, so the load is repeated until it brings nothing new.

Scheduler puts its own name and time there. It may deliver a start twice, and then both are the same run. Its
execution id would not do: each attempt has its own.
"""


class LoadSchedule(Construct):
    """Starts a load of the newest month at each time of the schedule.

    Args:
        stage: the stage, which is part of the schedule's name.
        expression: a cron or rate expression of EventBridge Scheduler, in Brasília time.
        start: the function that starts a load.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, stage: str, expression: str, start: lambda_.IFunction
    ) -> None:
        super().__init__(scope, construct_id)
        Tags.of(self).add("component", "operations")
        scheduler.CfnSchedule(
            self,
            "Schedule",
            name=names.schedule(stage),
            description="Loads FIPE's newest month again until a load brings nothing new",
            schedule_expression=expression,
            schedule_expression_timezone=TIME_ZONE,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=start.function_arn,
                input=json.dumps(PAYLOAD),
                role_arn=self._build_role(start).role_arn,
                # Only for calls that do not reach Lambda; Lambda itself retries a failed start.
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=3600, maximum_retry_attempts=5
                ),
            ),
        )

    def _build_role(self, start: lambda_.IFunction) -> iam.Role:
        """Builds a role that may only invoke this function."""
        stack = Stack.of(self)
        # Scheduler gives the ARN of the schedule's group, not of the schedule, as the source of its calls.
        group_arn = stack.format_arn(
            service="scheduler",
            resource="schedule-group",
            resource_name="default",
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": stack.account, "aws:SourceArn": group_arn}},
            ),
        )
        role.add_to_policy(
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[start.function_arn])
        )
        return role
