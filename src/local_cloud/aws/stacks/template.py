"""The order of a template's resources: each after those that it refers to."""

import re
from graphlib import CycleError, TopologicalSorter
from typing import Any

from local_cloud.aws.stacks import StackError

_SUB_REFERENCE = re.compile(r"\$\{(?!!)([^}.]+)(?:\.[^}]+)?\}")


def in_order(resources: dict[str, Any]) -> list[str]:
    """The logical ids of a template's resources, each after those that it needs.

    Raises:
        StackError: resources need each other in a circle.
    """
    graph = {
        name: sorted(_needs(definition) & set(resources) - {name}) for name, definition in resources.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise StackError(f"Circular dependency between resources: {error.args[1]}") from error


def depends_on(resource_json: dict[str, Any]) -> list[str]:
    """The logical ids in a resource's DependsOn: none, one or a list."""
    value = resource_json.get("DependsOn")
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _needs(value: Any) -> set[str]:
    """Every logical id that a part of a template may refer to."""
    if isinstance(value, list):
        return set().union(*map(_needs, value))
    if not isinstance(value, dict):
        return set()
    needs = set(depends_on(value))
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
