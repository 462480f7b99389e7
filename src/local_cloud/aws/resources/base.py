"""What moto expects of every resource class. Each resource adds only what is special to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Wanted:
    """A resource as its template describes it, with all references resolved."""

    name: str
    """The name that the template gives it, or a generated one."""
    properties: dict[str, Any]
    account_id: str
    region: str
    stack_id: str
    logical_id: str
    type_name: str

    def backend(self, backends: Any) -> Any:
        """A service's backend of moto, from `backends`, for the account and region of the stack."""
        return backends[self.account_id][self.region]

    def flag(self, name: str) -> bool:
        """A property that is true or false, and false when it is missing."""
        return is_true(self.properties.get(name))


class Resource(ABC):
    """A resource of a stack.

    Args:
        wanted: what its template wants of it.
        physical_id: what Ref gives.
    """

    type_name: ClassVar[str]
    name_property: ClassVar[str] = ""
    """The property that names it; empty for a type without one."""
    attributes: ClassVar[Mapping[str, Callable[[Any], object]]] = {}
    """What Fn::GetAtt gives, by attribute."""

    def __init__(self, wanted: Wanted, physical_id: str) -> None:
        self.wanted = wanted
        self.physical_resource_id = physical_id

    @classmethod
    @abstractmethod
    def create(cls, wanted: Wanted) -> Self:
        """Create the resource. Any exception fails the stack, with its text as the reason."""

    @abstractmethod
    def update(self, wanted: Wanted) -> "Resource":
        """Update the resource in place, or replace it; the resource as it is now."""

    @abstractmethod
    def remove(self) -> None:
        """Delete the resource."""

    # moto calls these.

    @classmethod
    def cloudformation_type(cls) -> str:
        """The type in a template."""
        return cls.type_name

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """The property that names it."""
        return cls.name_property

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Whether Fn::GetAtt knows an attribute."""
        return attr in cls.attributes

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        """A value for Fn::GetAtt. Raises KeyError for an unknown one."""
        return str(self.attributes[attribute_name](self))

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **stack: Any,
    ) -> Self:
        """Create the resource."""
        return cls.create(
            Wanted(
                name=resource_name,
                properties=cloudformation_json["Properties"],
                account_id=account_id,
                region=region_name,
                stack_id=stack["StackId"],
                logical_id=stack["LogicalId"],
                type_name=stack["ResourceType"],
            )
        )

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "Resource",
        new_resource_name: str,  # noqa: ARG003  (without a name in the template, moto generates another one at each update)
        cloudformation_json: dict[str, Any],
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
    ) -> "Resource":
        """Update the resource; it keeps its generated name."""
        properties = cloudformation_json["Properties"]
        name = properties.get(cls.name_property, original_resource.wanted.name)
        return original_resource.update(replace(original_resource.wanted, name=name, properties=properties))

    def delete(self, account_id: str, region_name: str) -> None:  # noqa: ARG002
        """Delete the resource."""
        self.remove()


def is_true(value: object) -> bool:
    """A boolean of a template, which may be spelled as text; a missing one is false."""
    return str(value).lower() == "true"
