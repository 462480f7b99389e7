"""Custom::... resources: created, updated and deleted by their function, failures included.

Source: CloudFormation user guide, "Custom resource request and response reference".
"""

import json
import threading
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Self

from moto.awslambda.utils import get_backend

from local_cloud.aws.resources.base import Resource, Wanted
from local_cloud.aws.runner.environment import Outcome
from local_cloud.aws.runner.function_specs import spec_of
from local_cloud.aws.services import services

SERVICE_TIMEOUT_SECONDS = 3600


class CustomResourceError(Exception):
    """The function behind a custom resource reported a failure or did not answer."""


class CustomResource(Resource):
    """A custom resource, as its function last described it.

    Args:
        wanted: what its template wants of it.
        answer: the function's answer.
    """

    type_name = "AWS::CloudFormation::CustomResource"

    def __init__(self, wanted: Wanted, answer: dict[str, Any]) -> None:
        super().__init__(wanted, str(answer["PhysicalResourceId"]))
        self._data: dict[str, Any] = answer.get("Data") or {}

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Any attribute: the function decides."""
        return bool(attr)

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        """A value of the answer's Data."""
        return self._data.get(attribute_name)

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Have the function create the resource. Raises CustomResourceError."""
        return cls(wanted, _ask("Create", wanted))

    def update(self, wanted: Wanted) -> Resource:
        """Have the function update the resource. When it gives a new physical id, delete the old resource.

        Raises CustomResourceError.
        """
        updated = CustomResource(
            wanted,
            _ask(
                "Update",
                wanted,
                PhysicalResourceId=self.physical_resource_id,
                OldResourceProperties=_as_strings(self.wanted.properties),
            ),
        )
        if updated.physical_resource_id != self.physical_resource_id:
            self.remove()
        return updated

    def remove(self) -> None:
        """Have the function delete the resource. Raises CustomResourceError."""
        _ask("Delete", self.wanted, PhysicalResourceId=self.physical_resource_id)


def _ask(request_type: str, wanted: Wanted, **identity: Any) -> dict[str, Any]:
    """Send a request to the function and wait for its answer."""
    properties = _as_strings(wanted.properties)
    function = get_backend(wanted.account_id, wanted.region).get_function(properties["ServiceToken"])
    url, answer = services().answers.expect()
    request = {
        "RequestType": request_type,
        "ServiceToken": properties["ServiceToken"],
        "ResponseURL": url,
        "RequestId": str(uuid.uuid4()),
        "StackId": wanted.stack_id,
        "LogicalResourceId": wanted.logical_id,
        "ResourceType": wanted.type_name,
        "ResourceProperties": properties,
        **identity,
    }
    invocation = _invoke(function, json.dumps(request).encode())
    limit = float(properties.get("ServiceTimeout", SERVICE_TIMEOUT_SECONDS))
    ends: tuple[Future[Any], ...] = (answer, _failure_of(invocation))
    wait(ends, limit, FIRST_COMPLETED)
    if not answer.done():
        raise CustomResourceError(_why_silent(function.function_name, invocation, limit))
    document = answer.result()
    if document.get("Status") != "SUCCESS":
        raise CustomResourceError(
            "Received response status [FAILED] from custom resource. "
            f"Message returned: {document.get('Reason')}"
        )
    if not document.get("PhysicalResourceId"):
        raise CustomResourceError("Invalid PhysicalResourceId")
    return document


def _invoke(function: Any, event: bytes) -> "Future[Outcome]":
    invocation: Future[Outcome] = Future()

    def run() -> None:
        try:
            invocation.set_result(services().runner.invoke(spec_of(function), event))
        except Exception as error:
            invocation.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return invocation


def _failure_of(invocation: "Future[Outcome]") -> "Future[None]":
    """A future that is done once the invocation has failed. AWS would wait for the service timeout."""
    failure: Future[None] = Future()

    def look(ended: "Future[Outcome]") -> None:
        if ended.exception() is not None or ended.result().is_error:
            failure.set_result(None)

    invocation.add_done_callback(look)
    return failure


def _why_silent(name: str, invocation: "Future[Outcome]", limit: float) -> str:
    if not invocation.done() or (invocation.exception() is None and not invocation.result().is_error):
        return f"CloudFormation did not receive a response from {name} within {limit:.0f} seconds"
    error = invocation.exception() or json.loads(invocation.result().payload).get("errorMessage")
    return f"{name} failed and did not answer: {error}"


def _as_strings(value: Any) -> Any:
    """The value as CloudFormation sends it: numbers and booleans become strings."""
    if isinstance(value, dict):
        return {key: _as_strings(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_strings(inner) for inner in value]
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)
