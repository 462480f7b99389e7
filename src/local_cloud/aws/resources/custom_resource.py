"""Custom::... resources: created, updated and deleted by their function, failures included.

Source: CloudFormation user guide, "Custom resource request and response reference".
"""

import json
import threading
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from moto.awslambda.utils import get_backend
from moto.core.common_models import CloudFormationModel

from local_cloud.aws.runner.environment import Outcome
from local_cloud.aws.runner.function_specs import spec_of
from local_cloud.aws.services import services

SERVICE_TIMEOUT_SECONDS = 3600


class CustomResourceError(Exception):
    """The function behind a custom resource reported a failure, or did not answer."""


class CustomResource(CloudFormationModel):
    """One custom resource, as its function last described it."""

    def __init__(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        """Keep what later requests repeat: the stack, the logical id and the type."""
        self._request = request
        self.physical_resource_id = str(answer["PhysicalResourceId"])
        self._data: dict[str, Any] = answer.get("Data") or {}

    @staticmethod
    def cloudformation_name_type() -> str:
        """Custom resources have no name property."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """The type without a name; Custom::Anything comes here, too."""
        return "AWS::CloudFormation::CustomResource"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Any: the function decides."""
        return bool(attr)

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        """A value of the answer's Data."""
        return self._data.get(attribute_name)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> "CustomResource":
        """Have the function create the resource. Raises CustomResourceError."""
        identity = {
            "StackId": kwargs["StackId"],
            "LogicalResourceId": kwargs["LogicalId"],
            "ResourceType": kwargs["ResourceType"],
        }
        properties = _as_strings(cloudformation_json["Properties"])
        answer = _ask("Create", {**identity, "ResourceProperties": properties}, account_id, region_name)
        return cls({**identity, "ResourceProperties": properties}, answer)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "CustomResource",
        new_resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> "CustomResource":
        """Have the function update the resource; when it gives a new physical id, delete the old resource."""
        old = original_resource._request
        properties = _as_strings(cloudformation_json["Properties"])
        request = {**old, "ResourceProperties": properties}
        change = {
            "PhysicalResourceId": original_resource.physical_resource_id,
            "OldResourceProperties": old["ResourceProperties"],
        }
        updated = cls(request, _ask("Update", {**request, **change}, account_id, region_name))
        if updated.physical_resource_id != original_resource.physical_resource_id:
            original_resource.delete(account_id, region_name)
        return updated

    def delete(self, account_id: str, region_name: str) -> None:
        """Have the function delete the resource. Raises CustomResourceError."""
        _ask(
            "Delete",
            {**self._request, "PhysicalResourceId": self.physical_resource_id},
            account_id,
            region_name,
        )


def _ask(kind: str, request: dict[str, Any], account_id: str, region_name: str) -> dict[str, Any]:
    """Send a request to the function and wait for its answer."""
    properties = request["ResourceProperties"]
    function = get_backend(account_id, region_name).get_function(properties["ServiceToken"])
    url, answer = services().answers.expect()
    event = {
        "RequestType": kind,
        "ServiceToken": properties["ServiceToken"],
        "ResponseURL": url,
        "RequestId": str(uuid.uuid4()),
        **request,
    }
    invocation = _invoke(function, json.dumps(event).encode())
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
    """Done when the invocation failed: AWS waits for the service timeout, here it is told at once."""
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
