"""Patches of moto's CloudFormation."""

from typing import Any

from moto.cloudformation import models as cloudformation
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.core.exceptions import ServiceException

from local_cloud.aws.moto_patches.members import replace
from local_cloud.aws.resources.aurora import AuroraCluster, AuroraInstance
from local_cloud.aws.resources.custom_resource import CustomResource
from local_cloud.aws.resources.function_url import FunctionUrl
from local_cloud.aws.resources.operations import Alarm, Schedule, Subscription, TopicPolicy
from local_cloud.aws.resources.queue_policy import QueuePolicy
from local_cloud.aws.resources.secrets import Secret, SecretTargetAttachment
from local_cloud.aws.resources.unsupported import UnsupportedResource
from local_cloud.aws.stacks import changes, dynamic_references, resource_changes

RESOURCES = (
    Alarm,
    AuroraCluster,
    AuroraInstance,
    CustomResource,
    FunctionUrl,
    QueuePolicy,
    Schedule,
    Secret,
    SecretTargetAttachment,
    Subscription,
    TopicPolicy,
)
"""The types that moto lacks or creates wrongly."""


class ChangeSetNotFound(ServiceException):
    """The change set does not exist; moto raises ValidationError instead."""

    def __init__(self, name: str) -> None:
        """Named as in the request."""
        super().__init__("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")


def create_all_resources() -> None:
    """moto silently skips a type that it lacks; here it is created, or recorded as skipped."""
    ours = {resource.type_name for resource in RESOURCES}
    models = [
        *(model for model in parsing.get_model_list() if model.cloudformation_type() not in ours),
        *RESOURCES,
    ]
    known = parsing.resource_class_from_type
    parse_resource = parsing.parse_resource

    def resource_class_from_type(resource_type: str) -> Any:
        if resource_type.startswith("Custom::"):
            return CustomResource  # moto's own cannot fail, be updated or be deleted
        if resource_type not in parsing.NULL_MODELS and resource_type not in parsing.get_model_map():
            return UnsupportedResource
        return known(resource_type)

    def parse_resource_and_resolve(resource_json: dict[str, Any], resources: Any) -> Any:
        parsed = parse_resource(resource_json, resources)
        if not parsed:
            return parsed
        resource_class, clean, resource_type = parsed  # moto knows no dynamic references
        return (
            resource_class,
            dynamic_references.resolve(clean, resources._account_id, resources._region_name),
            resource_type,
        )

    replace(
        parsing,
        get_model_list=lambda: models,
        resource_class_from_type=resource_class_from_type,
        parse_resource=parse_resource_and_resolve,
    )


def change_stacks_like_aws() -> None:
    """Order, events, failures, rollback, nested stacks that are updated in place; see stacks.changes."""
    stack: Any = cloudformation.Stack
    service = cloudformation.CloudFormationBackend
    outputs = stack.outputs.fget
    describe = service.describe_change_set

    def describe_change_set(self: Any, change_set_name: str) -> Any:
        # After it has deleted the last deploy's change set, the CDK waits for exactly this error.
        try:
            return describe(self, change_set_name)
        except ValidationError as error:
            raise ChangeSetNotFound(change_set_name) from error

    def execute_change_set(
        self: Any,
        change_set_name: str,
        stack_name: str | None = None,  # noqa: ARG001
    ) -> None:
        change_set = self.describe_change_set(change_set_name)
        changed = self.stacks[change_set.stack_id]
        change_set.execution_status = "EXECUTE_COMPLETE"
        if change_set.change_set_type == "CREATE":
            changes.create_from_change_set(changed, change_set, self.exports)
        else:
            changes.update(changed, change_set.template, change_set.parameters, change_set.tags)

    def delete_change_set(self: Any, change_set_name: str) -> None:
        # The CDK deletes the change set before each deploy; in AWS it is no error when there is none.
        for change_set_id, change_set in list(self.change_sets.items()):
            if change_set_name in (change_set_id, change_set.change_set_name):
                del self.change_sets[change_set_id]

    def update(
        self: Any,
        template: str,
        role_arn: str | None = None,  # noqa: ARG001
        parameters: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        changes.update(self, template, parameters, tags)

    replace(parsing, parse_and_create_resource=resource_changes.create_resource)
    replace(
        stack,
        create_resources=changes.create,
        update=update,
        update_from_cloudformation_json=staticmethod(changes.update_nested),
        # As in AWS, Ref gives the ARN of a nested stack.
        physical_resource_id=property(lambda self: self.stack_id),
        # moto's own versions create missing resources, even while a change is running.
        stack_resources=property(resource_changes.existing_resources),
        outputs=property(lambda self: outputs(self) if changes.is_complete(self) else None),
        exports=property(lambda self: self.output_map.exports if changes.is_complete(self) else []),
    )
    stack.get_cfn_attribute = changes.nested_output
    replace(
        service,
        describe_change_set=describe_change_set,
        execute_change_set=execute_change_set,
        delete_change_set=delete_change_set,
        delete_stack=changes.delete,
    )
