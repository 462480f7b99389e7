"""AWS::SQS::QueuePolicy."""

import json
from typing import Self

from moto.sqs.models import sqs_backends

from local_cloud.aws.resources.base import Resource, Wanted


class QueuePolicy(Resource):
    """A policy on one or more queues."""

    type_name = "AWS::SQS::QueuePolicy"

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Set the policy of each queue."""
        policy = cls(wanted, wanted.name)
        policy._set(json.dumps(wanted.properties["PolicyDocument"]))
        return policy

    def update(self, wanted: Wanted) -> Resource:
        """Replace the policy of each queue."""
        self.remove()
        return self.create(wanted)

    def remove(self) -> None:
        """Take the policy off each queue."""
        self._set("")

    def _set(self, policy: str) -> None:
        backend = self.wanted.backend(sqs_backends)
        for url in self.wanted.properties["Queues"]:
            name = url.rsplit("/", 1)[-1]
            if name in backend.queues:
                backend.set_queue_attributes(name, {"Policy": policy})
