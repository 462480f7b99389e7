"""The stand-in for a resource type that nothing here can make: it has a name, and nothing behind it."""

from typing import Any

from moto.core.common_models import CloudFormationModel

from local_cloud.aws.services import services


class UnsupportedResource(CloudFormationModel):
    """Makes the rest of a template work, and is listed by `status`."""

    def __init__(self, name: str) -> None:
        """A name to refer to."""
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_name_type() -> str:
        """Unknown."""
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        """No type of its own."""
        return "Local::Unsupported"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Any."""
        return bool(attr)

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """A text that says where it comes from."""
        return f"{self.physical_resource_id}.{attribute_name}"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],  # noqa: ARG003
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
        **kwargs: Any,
    ) -> "UnsupportedResource":
        """Note the type and go on."""
        if kwargs["ResourceType"] != "AWS::CDK::Metadata":
            services().skipped_types.add(kwargs["ResourceType"])
        return cls(resource_name)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: "UnsupportedResource",
        new_resource_name: str,  # noqa: ARG003
        cloudformation_json: dict[str, Any],  # noqa: ARG003
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
    ) -> "UnsupportedResource":
        """Nothing to do."""
        return original_resource
