"""One resource of a stack at a time: created, updated, deleted, each with its events."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import Event, cloudformation_backends

from local_cloud.aws.resources.base import Resource
from local_cloud.aws.stacks import StackError
from local_cloud.aws.stacks.template import depends_on, in_order

logger = logging.getLogger(__name__)

_RESOLVED = "resolved_properties"

# moto's own function, which calls back into create_resource for each resource that this one refers to.
_moto_create_resource = parsing.parse_and_create_resource


def create_resource(
    logical_id: str, resource_json: dict[str, Any], resources: Any, account_id: str, region_name: str
) -> Any:
    """Create one resource after those it needs; takes the place of moto's parse_and_create_resource.

    Raises:
        StackError: it could not be created.
    """
    condition = resource_json.get("Condition")
    if condition and not resources.lazy_condition_map[condition]:
        return None
    for dependency in depends_on(resource_json):
        resources[dependency]
    properties = parsing.clean_json(resource_json.get("Properties", {}), resources)
    with _events(resources, logical_id, resource_json["Type"], "CREATE") as done:
        resource = _moto_create_resource(logical_id, resource_json, resources, account_id, region_name)
        done(resource)
    _resolved(resources)[logical_id] = properties
    return resource


def update_resource(resources: Any, name: str) -> None:
    """Update one resource when its resolved properties have changed.

    Raises:
        StackError: it could not be updated.
    """
    resource_json = resources._resource_json_map[name]
    properties = parsing.clean_json(resource_json.get("Properties", {}), resources)
    if properties == _resolved(resources).get(name):
        return
    with _events(resources, name, resource_json["Type"], "UPDATE") as done:
        changed = parsing.parse_and_update_resource(
            name, resource_json, resources, resources._account_id, resources._region_name
        )
        if changed is None:
            logger.warning(
                "%s %s: moto cannot update this type; the resource stays as it is",
                resource_json["Type"],
                name,
            )
            changed = resources._parsed_resources[name]
        done(changed)
    resources._parsed_resources[name] = changed
    _resolved(resources)[name] = properties


def delete_resources(stack: Any, names: list[str]) -> list[str]:
    """Delete resources, each before those that it refers to; the failures, in words."""
    resources = stack.resource_map
    failures = []
    ordered = in_order({name: resources._resource_json_map[name] for name in names})
    for name in reversed(ordered):
        resource = resources._parsed_resources.get(name)
        resource_json = resources._resource_json_map[name]
        if resource is None or resource_json.get("DeletionPolicy") == "Retain":
            continue
        try:
            with _events(resources, name, resource_json["Type"], "DELETE") as done:
                _delete(resources, resource, resource_json)
                done(resource)
        except StackError as error:
            failures.append(str(error))
        else:
            resources._parsed_resources.pop(name)
    return failures


def _delete(resources: Any, resource: Any, resource_json: dict[str, Any]) -> None:
    if isinstance(resource, Resource):  # moto would hide a TypeError or an AttributeError
        resource.remove()
    else:
        resources._delete_resource(resource, resource_json)


def existing_resources(stack: Any) -> list[Any]:
    """The resources created so far. moto's own list creates those that are missing."""
    resources = stack.resource_map
    parsed = [resources._parsed_resources.get(name) for name in list(resources._resource_json_map)]
    return [resource for resource in parsed if resource is not None]


@contextmanager
def _events(
    resources: Any, logical_id: str, resource_type: str, verb: str
) -> Iterator[Callable[[Any], None]]:
    """Record what happens to a resource; turn any failure into a StackError with its name."""
    stack = cloudformation_backends[resources._account_id][resources._region_name].get_stack(
        resources.stack_id
    )
    physical_id = str(getattr(resources._parsed_resources.get(logical_id), "physical_resource_id", ""))

    def record(status: str, reason: str | None = None) -> None:
        stack.events.append(
            Event(
                stack_id=stack.stack_id,
                stack_name=stack.name,
                logical_resource_id=logical_id,
                physical_resource_id=physical_id,
                resource_type=resource_type,
                resource_status=f"{verb}_{status}",
                resource_status_reason=reason,
                resource_properties=None,
            )
        )

    def done(resource: Any) -> None:
        nonlocal physical_id
        physical_id = str(getattr(resource, "physical_resource_id", logical_id))

    record("IN_PROGRESS")
    try:
        yield done
    except Exception as error:
        reason = str(getattr(error, "message", None) or error) or type(error).__name__
        record("FAILED", reason)
        if not isinstance(error, StackError):
            logger.warning("%s %s of stack %s", verb, logical_id, stack.name, exc_info=True)
        raise StackError(f"{logical_id}: {reason}") from error
    record("COMPLETE")


def _resolved(resources: Any) -> dict[str, Any]:
    """The properties that each resource of a stack was last created or updated with."""
    known: dict[str, Any] = vars(resources).setdefault(_RESOLVED, {})
    return known
