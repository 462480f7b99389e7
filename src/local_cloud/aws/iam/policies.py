"""What policies say about a call: allowed, denied or nothing.

moto's own evaluator takes a condition that does not hold for a denial and a statement with NotResource for a
permission, and knows hardly any principals (moto.iam.access_control says what it lacks).
Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements reference".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Statement = Mapping[str, Any]
"""A statement of a policy, as JSON has it."""


@dataclass(frozen=True)
class Call:
    """What someone wants to do.

    Args:
        action: like lambda:InvokeFunction.
        resource: the ARN of what they want to do it with.
        context: values of condition keys; the keys are in small letters.
    """

    action: str
    resource: str
    context: Mapping[str, str]


def statements_of(document: Mapping[str, Any]) -> list[Statement]:
    """The statements of a policy."""
    return _listed(document["Statement"])


def denies(statements: Iterable[Statement], call: Call) -> bool:
    """Whether one of the statements denies the call, whatever others allow."""
    return any(_is_about(one, call) for one in statements if one["Effect"] == "Deny")


def allows(statements: Iterable[Statement], call: Call) -> bool:
    """Whether one of the statements allows the call."""
    return any(_is_about(one, call) for one in statements if one["Effect"] == "Allow")


def for_caller(statements: Iterable[Statement], arns: Iterable[str]) -> list[Statement]:
    """The statements of a resource's policy that are for everyone, or for one of these ARNs of the caller."""
    named = {"*", *arns}
    return [one for one in statements if not named.isdisjoint(_principals(one))]


def _principals(statement: Statement) -> list[str]:
    principal = statement.get("Principal", [])
    return _listed(principal.get("AWS", []) if isinstance(principal, Mapping) else principal)


def _is_about(statement: Statement, call: Call) -> bool:
    return (
        _covers(statement, "Action", call.action.lower(), str.lower)
        and _covers(statement, "Resource", call.resource, str)
        and _hold(statement, call.context)
    )


def _covers(statement: Statement, element: str, value: str, spelled: Callable[[str], str]) -> bool:
    """Whether the element, or its opposite such as NotAction, is about the value."""
    is_opposite = element not in statement
    patterns = _listed(statement.get(f"Not{element}" if is_opposite else element, "*"))
    return any(_like(spelled(pattern), value) for pattern in patterns) != is_opposite


def _hold(statement: Statement, context: Mapping[str, str]) -> bool:
    return all(
        _holds(operator, key, _listed(wanted), context, otherwise=statement["Effect"] == "Deny")
        for operator, conditions in statement.get("Condition", {}).items()
        for key, wanted in conditions.items()
    )


def _holds(
    operator: str, key: str, wanted: list[object], context: Mapping[str, str], *, otherwise: bool
) -> bool:
    """Whether a condition holds; `otherwise` if its operator is not known here, so that nobody gets in."""
    name = operator.removesuffix("IfExists")
    is_negative = "Not" in name
    compare = _COMPARISONS.get(name.replace("Not", ""))
    if compare is None:
        return otherwise
    value = context.get(key.lower())
    if value is None:
        return is_negative or operator.endswith("IfExists")
    return any(compare(_text(one), value) for one in wanted) != is_negative


def _like(pattern: str, value: str) -> bool:
    """Whether a value is like a pattern with * and ?."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _equal_but_for_case(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringEqualsIgnoreCase": _equal_but_for_case,
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": _equal_but_for_case,
}
