"""Loading by the calendar: EventBridge Scheduler starts FipeManufacturerLoader."""

import json

from aws_cdk import ArnFormat, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infrastructure import names

TIME_ZONE = "America/Sao_Paulo"
PAYLOAD = {"reference": "latest", "until_stable": True}
"""A month fills up over its first days: it is loaded again until a load brings nothing new."""


class LoadSchedule(Construct):
    """Starts a load of the newest reference at each of the schedule's times.

    Args:
        stage: the stage, which the schedule is named for.
        expression: a cron or rate expression of EventBridge Scheduler, in Brazil's time.
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
            description="Loads FIPE's newest reference again, until a load brings nothing new",
            schedule_expression=expression,
            schedule_expression_timezone=TIME_ZONE,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=start.function_arn,
                input=json.dumps(PAYLOAD),
                role_arn=self._build_role(start).role_arn,
                # Whether the load could start is Lambda's to retry; this is about reaching Lambda.
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=3600, maximum_retry_attempts=5
                ),
            ),
        )

    def _build_role(self, start: lambda_.IFunction) -> iam.Role:
        """A role that invokes this one function."""
        stack = Stack.of(self)
        # Scheduler names the group of a schedule, not the schedule, as the source of what it does.
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
