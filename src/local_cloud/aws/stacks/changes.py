"""CloudFormation's way of changing a stack, for moto's stacks.

moto changes a stack inside the API call and ignores DependsOn on updates. Whenever the template of a nested
stack changes, it replaces that stack, and with it the queues and their messages. It has no rollback, and it
records no events of resources. Here a change runs in its own thread, as in AWS: each resource after those it
refers to; a resource is updated when its resolved properties have changed; a failure is recorded as an event,
and the change is rolled back.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.utils import get_stack_from_s3_url
from moto.utilities.utils import get_partition

from local_cloud.aws.stacks import StackError
from local_cloud.aws.stacks.resource_changes import delete_resources, update_resource
from local_cloud.aws.stacks.template import in_order

logger = logging.getLogger(__name__)

HEAD_START_SECONDS = 15
"""How long the call that starts a change waits for its end, because the CDK looks again only after 5 s."""


class _Thread(threading.local):
    changes_a_stack = False


_thread = _Thread()


def is_complete(stack: Any) -> bool:
    """Whether all resources of the stack exist, so that reading its outputs creates none."""
    return stack.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


def create(stack: Any) -> None:
    """Create the resources of a new stack; when one fails, delete those that were created."""

    def work() -> None:
        for name in in_order(stack.template_dict["Resources"]):
            stack.resource_map[name]
        _renew_outputs(stack)

    def undo() -> None:
        _change_status(stack, "ROLLBACK_IN_PROGRESS")
        failures = delete_resources(stack, list(stack.template_dict["Resources"]))
        _change_status(
            stack, "ROLLBACK_FAILED" if failures else "ROLLBACK_COMPLETE", "; ".join(failures) or None
        )

    _run(stack, "CREATE", work, undo)


def create_from_change_set(stack: Any, change_set: Any, exports: dict[str, Any]) -> None:
    """Create the resources that a change set describes for a stack under review."""
    stack.template = change_set.template
    stack._parse_template()
    stack.description = stack.template_dict.get("Description")
    stack.parameters = change_set.parameters
    stack.tags = change_set.tags or {}
    stack.cross_stack_resources = exports
    stack.resource_map = stack._create_resource_map()
    create(stack)


def update(stack: Any, template: str, parameters: dict[str, Any] | None, tags: dict[str, str] | None) -> None:
    """Bring a stack to a new template, and back to the old one when that fails."""
    before = (stack.template, stack.parameters)

    def undo() -> None:
        _change_status(stack, "UPDATE_ROLLBACK_IN_PROGRESS")
        try:
            _bring_to(stack, *before)
        except Exception as error:
            _change_status(stack, "UPDATE_ROLLBACK_FAILED", str(error))
        else:
            _change_status(stack, "UPDATE_ROLLBACK_COMPLETE")

    def work() -> None:
        _bring_to(stack, template, parameters if parameters is not None else stack.parameters)
        stack.tags = tags if tags is not None else stack.tags

    _run(stack, "UPDATE", work, undo)


def delete(backend: Any, name_or_id: str) -> None:
    """Delete a stack, if it exists. Raises ValidationError when it is protected."""
    stack = next(
        (found for found in backend.stacks.values() if name_or_id in (found.name, found.stack_id)), None
    )
    if stack is None:
        return
    if stack.enable_termination_protection:
        raise ValidationError(
            message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
        )

    def work() -> None:
        failures = delete_resources(stack, list(stack.template_dict.get("Resources", {})))
        if failures:
            raise StackError("; ".join(failures))
        backend.stacks.pop(stack.stack_id, None)
        backend.deleted_stacks[stack.stack_id] = stack
        for name in [
            name for name, export in backend.exports.items() if export.exporting_stack_id == stack.stack_id
        ]:
            backend.exports.pop(name)

    _run(stack, "DELETE", work, undo=lambda: None)


def nested_output(stack: Any, attribute_name: str) -> Any:
    """Fn::GetAtt of a nested stack: Outputs.NAME."""
    output = stack.output_map[attribute_name.removeprefix("Outputs.")]
    return output.value if output else None


def update_nested(
    original_resource: Any,
    new_resource_name: str,
    cloudformation_json: Any,
    account_id: str,
    region_name: str,
) -> Any:
    """Update a nested stack in place."""
    del new_resource_name  # a nested stack keeps its name
    properties = cloudformation_json["Properties"]
    template = get_stack_from_s3_url(
        properties["TemplateURL"], account_id=account_id, partition=get_partition(region_name)
    )
    update(original_resource, template, properties.get("Parameters", {}), None)
    return original_resource


def _run(stack: Any, verb: str, work: Callable[[], None], undo: Callable[[], None]) -> None:
    """Run a change in the background.

    A change of a nested stack runs at once, in its parent's thread, and raises its failure.
    """
    _change_status(stack, f"{verb}_IN_PROGRESS", "User Initiated")
    if _thread.changes_a_stack:
        error = _attempt(stack, verb, work, undo)
        if error is not None:
            if verb == "CREATE":  # the parent does not know this stack yet, and would never delete it
                backend = cloudformation_backends[stack.account_id][stack.region_name]
                backend.deleted_stacks[stack.stack_id] = backend.stacks.pop(stack.stack_id)
            raise StackError(f"Embedded stack {stack.stack_id} was not successfully {verb.lower()}d: {error}")
        return

    def run() -> None:
        _thread.changes_a_stack = True
        _attempt(stack, verb, work, undo)

    thread = threading.Thread(target=run, name=f"{verb} {stack.name}", daemon=True)
    thread.start()
    thread.join(HEAD_START_SECONDS)


def _attempt(stack: Any, verb: str, work: Callable[[], None], undo: Callable[[], None]) -> Exception | None:
    try:
        work()
    except Exception as error:
        if not isinstance(error, StackError):
            logger.exception("%s of stack %s", verb, stack.name)
        _change_status(stack, f"{verb}_FAILED", str(error))
        undo()
        return error
    _change_status(stack, f"{verb}_COMPLETE")
    return None


def _bring_to(stack: Any, template: str, parameters: dict[str, Any]) -> None:
    resources = stack.resource_map
    old = resources._resource_json_map
    stack.template = template
    stack.parameters = parameters
    stack._parse_template()
    parameters = stack.parameters = _without_resolved(parameters, stack.template_dict)
    stack.description = stack.template_dict.get("Description")
    new = stack.template_dict["Resources"]
    resources._template = stack.template_dict
    resources.input_parameters = parameters
    resources.resolved_parameters = {}
    resources.load_mapping()
    resources.load_parameters()
    resources.load_conditions()
    resources._resource_json_map = {**old, **new}
    for name in in_order(new):
        if name in resources._parsed_resources:
            update_resource(resources, name)
        else:
            resources[name]
    failures = delete_resources(stack, [name for name in old if name not in new])
    resources._resource_json_map = new
    _renew_outputs(stack)
    if failures:
        raise StackError("; ".join(failures))


def _without_resolved(parameters: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """Parameters without those that stand for an SSM parameter.

    For UsePreviousValue, which the CDK asks for, moto gives the value of the SSM parameter instead of its
    name. The template's default is the name.
    """
    declared = template.get("Parameters", {})
    return {
        name: value
        for name, value in parameters.items()
        if not declared.get(name, {}).get("Type", "").startswith("AWS::SSM::Parameter")
        or "Default" not in declared[name]
    }


def _change_status(stack: Any, status: str, reason: str | None = None) -> None:
    last = stack.events[-1] if stack.events else None
    if last is None or (last.logical_resource_id, last.resource_status) != (stack.name, status):
        # moto has recorded some starts itself.
        stack._add_stack_event(status, resource_status_reason=reason)
    stack.status = status


def _renew_outputs(stack: Any) -> None:
    """Read the outputs anew: moto reads them from the template of a stack under review, which has none."""
    stack.output_map = stack._create_output_map()
    exports = cloudformation_backends[stack.account_id][stack.region_name].exports
    for export in stack.output_map.exports:
        exports[export.name] = export
