"""CloudFormation's way of changing a stack, for moto's stacks.

moto changes a stack inside the API call, ignores DependsOn on updates, replaces a nested stack (and with it
the queues and their messages) whenever its template changes, knows no rollback and records no event of a
resource. Here a change runs in a thread of its own, like in AWS: each resource after those it refers to; a
resource is updated when its resolved properties changed; a failure is told in the events, and undone.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Event, cloudformation_backends

logger = logging.getLogger(__name__)

HEAD_START_SECONDS = 15
"""How long the call that starts a change waits for its end: the CDK looks again only after 5 s."""

_RESOLVED = "resolved_properties"
_SUB_REFERENCE = re.compile(r"\$\{(?!!)([^}.]+)(?:\.[^}]+)?\}")

# moto's own function, which calls back into create_resource for what it refers to.
_moto_create_resource = parsing.parse_and_create_resource


class StackError(Exception):
    """A resource of a stack could not be made, changed or deleted."""


class _Thread(threading.local):
    changes_a_stack = False


_thread = _Thread()


def is_whole(stack: Any) -> bool:
    """Whether all resources of the stack are there, so that its outputs can be read without making any."""
    return stack.status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


# What the API calls ----------------------------------------------------------------------------------------


def create(stack: Any) -> None:
    """Make the resources of a new stack, and take away again what was made when one fails."""

    def work() -> None:
        for name in _in_order(stack.template_dict["Resources"]):
            stack.resource_map[name]
        _renew_outputs(stack)

    def undo() -> None:
        _change_status(stack, "ROLLBACK_IN_PROGRESS")
        failures = _delete_resources(stack, list(stack.template_dict["Resources"]))
        _change_status(
            stack, "ROLLBACK_FAILED" if failures else "ROLLBACK_COMPLETE", "; ".join(failures) or None
        )

    _run(stack, "CREATE", work, undo)


def create_from_change_set(stack: Any, change_set: Any, exports: dict[str, Any]) -> None:
    """Make the resources that a change set describes for a stack under review."""
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
    """Delete a stack, if it is there. Raises ValidationError when it is protected."""
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
        failures = _delete_resources(stack, list(stack.template_dict.get("Resources", {})))
        if failures:
            raise StackError("; ".join(failures))
        backend.stacks.pop(stack.stack_id, None)
        backend.deleted_stacks[stack.stack_id] = stack
        for name in [
            name for name, export in backend.exports.items() if export.exporting_stack_id == stack.stack_id
        ]:
            backend.exports.pop(name)

    _run(stack, "DELETE", work, undo=lambda: None)


# What takes the place of moto's functions -------------------------------------------------------------------


def create_resource(
    logical_id: str, resource_json: dict[str, Any], resources: Any, account_id: str, region_name: str
) -> Any:
    """Make one resource after those it needs, with its events. Raises StackError."""
    condition = resource_json.get("Condition")
    if condition and not resources.lazy_condition_map[condition]:
        return None
    for dependency in _as_list(resource_json.get("DependsOn")):
        resources[dependency]
    properties = parsing.clean_json(resource_json.get("Properties", {}), resources)
    with _events(resources, logical_id, resource_json["Type"], "CREATE") as done:
        resource = _moto_create_resource(logical_id, resource_json, resources, account_id, region_name)
        done(resource)
    _resolved(resources)[logical_id] = properties
    return resource


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
    from moto.cloudformation.utils import get_stack_from_s3_url
    from moto.utilities.utils import get_partition

    properties = cloudformation_json["Properties"]
    template = get_stack_from_s3_url(
        properties["TemplateURL"], account_id=account_id, partition=get_partition(region_name)
    )
    update(original_resource, template, properties.get("Parameters", {}), None)
    return original_resource


def existing_resources(stack: Any) -> list[Any]:
    """The resources made so far: to list a stack must not make any."""
    resources = stack.resource_map
    parsed = [resources._parsed_resources.get(name) for name in list(resources._resource_json_map)]
    return [resource for resource in parsed if resource is not None]


# How it is done ---------------------------------------------------------------------------------------------


def _run(stack: Any, verb: str, work: Callable[[], None], undo: Callable[[], None]) -> None:
    """Run a change in the background; at once, passing on its failure, when it is part of another."""
    _change_status(stack, f"{verb}_IN_PROGRESS", "User Initiated")
    if _thread.changes_a_stack:
        error = _attempt(stack, verb, work, undo)
        if error is not None:
            if verb == "CREATE":  # the parent knows nothing of it, so nobody would ever delete it
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
    for name in _in_order(new):
        if name in resources._parsed_resources:
            _update_resource(resources, name)
        else:
            resources[name]
    failures = _delete_resources(stack, [name for name in old if name not in new])
    resources._resource_json_map = new
    _renew_outputs(stack)
    if failures:
        raise StackError("; ".join(failures))


def _without_resolved(parameters: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """Parameters without those that moto gives the value of an SSM parameter for, instead of its name.

    It does so for UsePreviousValue, which the CDK asks for; the template's default has the name.
    """
    declared = template.get("Parameters", {})
    return {
        name: value
        for name, value in parameters.items()
        if not declared.get(name, {}).get("Type", "").startswith("AWS::SSM::Parameter")
        or "Default" not in declared[name]
    }


def _update_resource(resources: Any, name: str) -> None:
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


def _delete_resources(stack: Any, names: list[str]) -> list[str]:
    """Delete resources, those that refer to others first; the failures, in words."""
    resources = stack.resource_map
    failures = []
    in_order = _in_order({name: resources._resource_json_map[name] for name in names})
    for name in reversed(in_order):
        resource = resources._parsed_resources.get(name)
        resource_json = resources._resource_json_map[name]
        if resource is None or resource_json.get("DeletionPolicy") == "Retain":
            continue
        try:
            with _events(resources, name, resource_json["Type"], "DELETE") as done:
                resources._delete_resource(resource, resource_json)
                done(resource)
        except StackError as error:
            failures.append(str(error))
        else:
            resources._parsed_resources.pop(name)
    return failures


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


def _change_status(stack: Any, status: str, reason: str | None = None) -> None:
    last = stack.events[-1] if stack.events else None
    if last is None or (last.logical_resource_id, last.resource_status) != (stack.name, status):
        stack._add_stack_event(
            status, resource_status_reason=reason
        )  # some starts are recorded by moto already
    stack.status = status


def _renew_outputs(stack: Any) -> None:
    """moto makes the map of outputs from the template that a stack under review has: none."""
    stack.output_map = stack._create_output_map()
    exports = cloudformation_backends[stack.account_id][stack.region_name].exports
    for export in stack.output_map.exports:
        exports[export.name] = export


def _resolved(resources: Any) -> dict[str, Any]:
    """The properties that each resource of a stack was last made with."""
    known: dict[str, Any] = vars(resources).setdefault(_RESOLVED, {})
    return known


def _in_order(resources: dict[str, Any]) -> list[str]:
    """The logical ids of a template's resources, each after those it needs."""
    graph = {
        name: sorted(_needs(definition) & set(resources) - {name}) for name, definition in resources.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise StackError(f"Circular dependency between resources: {error.args[1]}") from error


def _needs(value: Any) -> set[str]:
    """Every logical id that a part of a template may refer to."""
    if isinstance(value, list):
        return set().union(*map(_needs, value))
    if not isinstance(value, dict):
        return set()
    needs = set(_as_list(value.get("DependsOn")))
    for key, inner in value.items():
        if key == "Ref":
            needs.add(inner)
        elif key == "Fn::GetAtt":
            needs.add(inner[0] if isinstance(inner, list) else inner.split(".")[0])
        elif key == "Fn::Sub":
            needs.update(_SUB_REFERENCE.findall(inner if isinstance(inner, str) else inner[0]))
            needs |= _needs(inner)
        else:
            needs |= _needs(inner)
    return needs


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
