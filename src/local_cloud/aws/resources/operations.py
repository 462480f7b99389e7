"""Alarms, subscriptions, topic policies, schedules: moto has their APIs, but makes none from a template.

Each is made by a call of its API, whose parameters are the resource's properties, so that a property which
AWS does not know fails the stack. moto keeps them to be listed; it evaluates no alarm, sends no mail and
starts nothing by the calendar.
"""

import functools
import json
from typing import Any, ClassVar

from moto.core.common_models import CloudFormationModel

from local_cloud.aws.services import services


class _MadeByItsApi:
    """A resource that is made, replaced and deleted by calls of a service's API.

    The resources are direct subclasses of CloudFormationModel as well: moto finds no others.
    """

    service: ClassVar[str]

    def __init__(self, physical_id: str, properties: dict[str, Any]) -> None:
        """What it is referred to by, and what it was made with."""
        self.physical_resource_id = physical_id
        self.properties = properties

    @classmethod
    def client(cls) -> Any:
        """The client of the service in this cloud."""
        return _client(cls.service)

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """Make the resource with these properties; what it is referred to by."""
        raise NotImplementedError

    def remove(self) -> None:
        """Delete the resource."""
        raise NotImplementedError

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
        **kwargs: Any,  # noqa: ARG003
    ) -> "_MadeByItsApi":
        """Make it."""
        properties = cloudformation_json["Properties"]
        return cls(cls.put(resource_name, properties), properties)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "_MadeByItsApi",
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "_MadeByItsApi":
        """Put the new one in place of the old."""
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(
            new_resource_name, cloudformation_json, account_id, region_name
        )

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        """Delete it."""
        self.remove()


class Alarm(_MadeByItsApi, CloudFormationModel):
    """AWS::CloudWatch::Alarm."""

    service = "cloudwatch"

    @staticmethod
    def cloudformation_name_type() -> str:
        """The property that names it."""
        return "AlarmName"

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Arn alone."""
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:  # noqa: ARG002
        """The ARN."""
        found = self.client().describe_alarms(AlarmNames=[self.physical_resource_id])["MetricAlarms"]
        return str(found[0]["AlarmArn"])

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """PutMetricAlarm."""
        cls.client().put_metric_alarm(**{**properties, "AlarmName": name})
        return name

    def remove(self) -> None:
        """DeleteAlarms."""
        self.client().delete_alarms(AlarmNames=[self.physical_resource_id])


class Schedule(_MadeByItsApi, CloudFormationModel):
    """AWS::Scheduler::Schedule."""

    service = "scheduler"

    @staticmethod
    def cloudformation_name_type() -> str:
        """The property that names it."""
        return "Name"

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::Scheduler::Schedule"

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """CreateSchedule."""
        cls.client().create_schedule(**{**properties, "Name": name})
        return name

    def remove(self) -> None:
        """DeleteSchedule."""
        self.client().delete_schedule(Name=self.physical_resource_id)


class Subscription(_MadeByItsApi, CloudFormationModel):
    """AWS::SNS::Subscription."""

    service = "sns"

    @staticmethod
    def cloudformation_name_type() -> str:
        """It has no name."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::SNS::Subscription"

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:  # noqa: ARG003
        """Subscribe."""
        return str(cls.client().subscribe(**properties)["SubscriptionArn"])

    def remove(self) -> None:
        """Unsubscribe."""
        self.client().unsubscribe(SubscriptionArn=self.physical_resource_id)


class TopicPolicy(_MadeByItsApi, CloudFormationModel):
    """AWS::SNS::TopicPolicy."""

    service = "sns"

    @staticmethod
    def cloudformation_name_type() -> str:
        """It has no name."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::SNS::TopicPolicy"

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """SetTopicAttributes of each topic."""
        policy = json.dumps(properties["PolicyDocument"])
        for topic in properties["Topics"]:
            cls.client().set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        return name

    def remove(self) -> None:
        """Leave it: the topics go with it, or get another."""


@functools.cache
def _client(service: str) -> Any:
    from local_cloud.deployment import client

    return client(services().endpoint, service)
