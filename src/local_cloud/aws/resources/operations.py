"""Alarms, subscriptions, topic policies, schedules: moto has their APIs, but creates none from a template.

Each is created by a call of its API with the resource's properties as parameters. So a property that AWS does
not know fails the stack. moto only stores them: it evaluates no alarm, sends no mail and starts no schedule.
"""

import functools
import json
from typing import Any, ClassVar, Self

from local_cloud.aws.resources.base import Resource, Wanted, is_true
from local_cloud.aws.services import services
from local_cloud.deployment import client


class _CreatedByItsApi(Resource):
    """A resource that is created, replaced and deleted by calls of a service's API."""

    service: ClassVar[str]

    @classmethod
    def client(cls) -> Any:
        """The client of the service in this cloud."""
        return _client(cls.service)

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """Create the resource with these properties; what Ref gives."""
        raise NotImplementedError

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Create it by its API."""
        return cls(wanted, cls.put(wanted.name, wanted.properties))

    def update(self, wanted: Wanted) -> Resource:
        """Put the new one in place of the old."""
        self.remove()
        return self.create(wanted)


class Alarm(_CreatedByItsApi):
    """AWS::CloudWatch::Alarm."""

    type_name = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    attributes: ClassVar = {"Arn": lambda alarm: alarm.arn}
    service = "cloudwatch"

    @property
    def arn(self) -> str:
        """The ARN that CloudWatch gave it."""
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


class Schedule(_CreatedByItsApi):
    """AWS::Scheduler::Schedule."""

    type_name = "AWS::Scheduler::Schedule"
    name_property = "Name"
    service = "scheduler"

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """CreateSchedule."""
        cls.client().create_schedule(**{**properties, "Name": name})
        return name

    def remove(self) -> None:
        """DeleteSchedule."""
        self.client().delete_schedule(Name=self.physical_resource_id)


class Subscription(_CreatedByItsApi):
    """AWS::SNS::Subscription."""

    type_name = "AWS::SNS::Subscription"
    service = "sns"

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:  # noqa: ARG003
        """Subscribe. What the API takes as text, a template has as objects and booleans."""
        asked = {key: properties[key] for key in ("TopicArn", "Protocol", "Endpoint") if key in properties}
        attributes = {}
        if "FilterPolicy" in properties:
            attributes["FilterPolicy"] = json.dumps(properties["FilterPolicy"])
        if is_true(properties.get("RawMessageDelivery")):
            attributes["RawMessageDelivery"] = "true"
        return str(cls.client().subscribe(**asked, Attributes=attributes)["SubscriptionArn"])

    def remove(self) -> None:
        """Unsubscribe."""
        self.client().unsubscribe(SubscriptionArn=self.physical_resource_id)


class TopicPolicy(_CreatedByItsApi):
    """AWS::SNS::TopicPolicy."""

    type_name = "AWS::SNS::TopicPolicy"
    service = "sns"

    @classmethod
    def put(cls, name: str, properties: dict[str, Any]) -> str:
        """SetTopicAttributes of each topic."""
        policy = json.dumps(properties["PolicyDocument"])
        for topic in properties["Topics"]:
            cls.client().set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        return name

    def remove(self) -> None:
        """Do nothing: the policy is deleted with its topic, or replaced by another one."""


@functools.cache
def _client(service: str) -> Any:
    return client(services().endpoint, service)
