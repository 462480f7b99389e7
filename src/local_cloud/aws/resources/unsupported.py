"""The stand-in for a resource type that nothing here can create: it has a name, and nothing behind it."""

from typing import Self

from local_cloud.aws.resources.base import Resource, Wanted
from local_cloud.aws.services import services


class UnsupportedResource(Resource):
    """Lets the rest of a template work; `status` lists its type."""

    type_name = "Local::Unsupported"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Any attribute: nothing here knows the type's own."""
        return bool(attr)

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """A text that says where it comes from."""
        return f"{self.physical_resource_id}.{attribute_name}"

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Note the type."""
        if wanted.type_name != "AWS::CDK::Metadata":
            services().skipped_types.add(wanted.type_name)
        return cls(wanted, wanted.name)

    def update(self, wanted: Wanted) -> Resource:  # noqa: ARG002
        """Leave it."""
        return self

    def remove(self) -> None:
        """Leave it: there is nothing to delete."""
