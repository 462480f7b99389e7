"""AWS::SQS::QueuePolicy."""

import json
from typing import Any

from moto.core.common_models import CloudFormationModel
from moto.sqs.models import sqs_backends


class QueuePolicy(CloudFormationModel):
    """A policy on one or more queues."""

    def __init__(self, name: str, queue_names: list[str]) -> None:
        """The queues that have it."""
        self.physical_resource_id = name
        self._queue_names = queue_names

    @staticmethod
    def cloudformation_name_type() -> str:
        """It has no name."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """The type."""
        return "AWS::SQS::QueuePolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ARG003
    ) -> "QueuePolicy":
        """Set the policy of each queue."""
        properties = cloudformation_json["Properties"]
        names = [url.rsplit("/", 1)[-1] for url in properties["Queues"]]
        _set_policies(names, json.dumps(properties["PolicyDocument"]), account_id, region_name)
        return cls(resource_name, names)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "QueuePolicy",
        new_resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "QueuePolicy":
        """Replace the policy of each queue."""
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(
            original_resource.physical_resource_id, cloudformation_json, account_id, region_name
        )

    def delete(self, account_id: str, region_name: str) -> None:
        """Take the policy off each queue."""
        _set_policies(self._queue_names, "", account_id, region_name)


def _set_policies(names: list[str], policy: str, account_id: str, region_name: str) -> None:
    backend = sqs_backends[account_id][region_name]
    for name in names:
        if name in backend.queues:
            backend.set_queue_attributes(name, {"Policy": policy})
