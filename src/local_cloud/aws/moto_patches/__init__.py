"""Every change to moto's own behaviour, in one place, each with its reason. moto is extended, not forked.

Checked against moto 5.2.5.
"""

import base64
import functools
import json
import threading
from collections.abc import Callable
from typing import Any

from moto import backends
from moto.awslambda import models as awslambda
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.cloudformation import models as cloudformation
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.core.common_models import BaseModel
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.dynamodb.models import DynamoDBBackend
from moto.rds import models as rds
from moto.sqs import models as sqs
from moto.sqs.responses import SQSResponse

from local_cloud.aws.event_sources import QueuePoller
from local_cloud.aws.queues.faults import split_entries
from local_cloud.aws.queues.message_moves import MessageMoves
from local_cloud.aws.queues.message_queue import StandardQueue
from local_cloud.aws.resources import (  # noqa: F401  (moto finds the classes by itself)
    aurora,
    operations,
    queue_policy,
    secrets,
)
from local_cloud.aws.resources.custom_resource import CustomResource
from local_cloud.aws.resources.unsupported import UnsupportedResource
from local_cloud.aws.runner.function_runner import Outcome, ThrottledError
from local_cloud.aws.runner.function_specs import spec_of
from local_cloud.aws.services import services
from local_cloud.aws.stacks import changes as stacks
from local_cloud.aws.stacks import dynamic_references


class ChangeSetNotFound(ServiceException):
    """There is no such change set; moto says ValidationError instead."""

    def __init__(self, name: str) -> None:
        """Named as in the request."""
        super().__init__("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")


StartPoller = Callable[[QueuePoller], None]


def install(start_poller: StartPoller) -> None:
    """Apply all patches to this process; `start_poller` is told of each event source mapping at work."""
    _forget_instances()
    _work_things_out_once()
    _index_queues()
    _inject_queue_faults()
    _move_messages()
    lock_tables()
    _run_functions()
    _poll_queues(start_poller)
    _put_databases_on_loopback()
    _make_all_resources()
    _change_stacks_like_aws()


def _forget_instances() -> None:
    """moto keeps every object it ever made, to reset itself between tests: here a leak."""

    def make(cls: type[Any], *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    _replace(BaseModel, __new__=make)


def _work_things_out_once() -> None:
    """On each request moto lists its own folders; for each message it spells the queue's attributes anew."""
    modules = tuple(backends.list_of_moto_modules())
    _replace(backends, list_of_moto_modules=lambda: modules)
    _replace(sqs, camelcase_to_underscores=functools.cache(camelcase_to_underscores))


def _inject_queue_faults() -> None:
    """What queue_faults has in force strikes batches as they are sent."""
    send = sqs.SQSBackend.send_message_batch

    def send_message_batch(
        self: Any, queue_name: str, entries: dict[str, dict[str, Any]]
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        taken, twice, failed = split_entries(entries)
        messages, refused = send(self, queue_name, taken) if taken else ([], [])
        if twice:
            send(self, queue_name, twice)
        return messages, [*refused, *failed]

    _replace(sqs.SQSBackend, send_message_batch=send_message_batch)


def _index_queues() -> None:
    """moto's queue slows down with its depth and is not safe under threads; see message_queue."""
    moto_queue = sqs.Queue
    _replace(sqs, Queue=StandardQueue)

    def receive_message(
        self: Any,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Any]:
        queue = self.get_queue(queue_name)
        found: list[Any] = queue.receive(
            count, wait_seconds_timeout, visibility_timeout, message_attribute_names or []
        )
        return found

    def change_message_visibility(
        self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int
    ) -> None:
        self.get_queue(queue_name).change_visibility(receipt_handle, int(visibility_timeout))

    def purge_queue(self: Any, queue_name: str) -> None:
        self.get_queue(queue_name).purge()

    def update_from_template(
        original_resource: Any,
        new_resource_name: str,  # noqa: ARG001
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Any:
        attributes = {
            name: value
            for name, value in cloudformation_json["Properties"].items()
            if name in StandardQueue.BASE_ATTRIBUTES
        }
        backend = sqs.sqs_backends[account_id][region_name]
        return backend.set_queue_attributes(original_resource.name, attributes)

    _replace(
        sqs.SQSBackend,
        receive_message=receive_message,
        change_message_visibility=change_message_visibility,
        purge_queue=purge_queue,
    )
    # moto's update of a queue in a template takes over two of its attributes only.
    _replace(moto_queue, update_from_cloudformation_json=staticmethod(update_from_template))


def _move_messages() -> None:
    """moto has no StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask."""

    @functools.cache
    def moves(backend: Any) -> MessageMoves:
        return MessageMoves(lambda: {queue.queue_arn: queue for queue in backend.queues.values()})

    def start_message_move_task(self: Any) -> ActionResult:
        handle = moves(self.sqs_backend).start(
            self._get_param("SourceArn"),
            self._get_param("DestinationArn"),
            self._get_param("MaxNumberOfMessagesPerSecond"),
        )
        return ActionResult({"TaskHandle": handle})

    def list_message_move_tasks(self: Any) -> ActionResult:
        tasks = moves(self.sqs_backend).list(self._get_param("SourceArn"), self._get_param("MaxResults"))
        return ActionResult({"Results": tasks})

    def cancel_message_move_task(self: Any) -> ActionResult:
        moved = moves(self.sqs_backend).cancel(self._get_param("TaskHandle"))
        return ActionResult({"ApproximateNumberOfMessagesMoved": moved})

    _add(
        SQSResponse,
        start_message_move_task=start_message_move_task,
        list_message_move_tasks=list_message_move_tasks,
        cancel_message_move_task=cancel_message_move_task,
    )


def lock_tables() -> None:
    """moto changes an item without a lock, but UpdateItem is atomic, and the shared pace needs that."""
    lock = threading.RLock()

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return method(*args, **kwargs)

        return run

    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        _replace(DynamoDBBackend, **{name: locked(getattr(DynamoDBBackend, name))})


def _run_functions() -> None:
    """moto runs functions in Docker, calls every error Handled, cannot update a function with layers."""

    def invoke(self: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
        event = (body.encode() if isinstance(body, str) else body) or b"{}"
        try:
            json.loads(event)
        except ValueError as error:
            raise _client_error(
                "InvalidRequestContentException", f"Could not parse request body: {error}"
            ) from error
        kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            services().runner.invoke_later(spec_of(self), event, _reserved(self))
            return b""
        try:
            outcome = _invoke(self, event)
        except ThrottledError as error:
            raise _client_error("TooManyRequestsException", "Rate Exceeded.", 429) from error
        response_headers["x-amz-executed-version"] = "$LATEST"
        response_headers["x-amz-log-result"] = base64.b64encode(outcome.log_tail).decode()
        if outcome.is_error:
            response_headers["x-amz-function-error"] = "Unhandled"
        return outcome.payload

    update = awslambda.LambdaFunction.update_from_cloudformation_json

    def update_from_template(
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> Any:
        # In an update moto leaves the layers that a template refers to as objects of its own.
        properties = dict(cloudformation_json["Properties"])
        properties["Layers"] = [getattr(layer, "arn", layer) for layer in properties.get("Layers", [])]
        changed = {**cloudformation_json, "Properties": properties}
        return update(original_resource, new_resource_name, changed, account_id, region_name)

    _replace(
        awslambda.LambdaFunction,
        invoke=invoke,
        update_from_cloudformation_json=staticmethod(update_from_template),
    )


def _poll_queues(start_poller: StartPoller) -> None:
    """moto invokes a function inside SendMessage, and knows neither windows nor partial failures."""
    create = awslambda.LambdaBackend.create_event_source_mapping

    def create_event_source_mapping(self: Any, spec: dict[str, Any]) -> Any:
        queues = sqs.sqs_backends[self.account_id][self.region_name].queues.values()
        queue: Any = next((queue for queue in queues if queue.queue_arn == spec.get("EventSourceArn")), None)
        timeout = int(self.get_function(spec.get("FunctionName", "")).timeout)
        if queue is not None and queue.visibility_timeout < timeout:
            raise InvalidParameterValueException(
                f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than "
                f"Function timeout: {timeout} seconds"
            )
        mapping = create(self, spec)
        if queue is not None:
            start_poller(
                QueuePoller(
                    mapping,
                    queue,
                    invoke=lambda event: _invoke(self.get_function(mapping.function_arn), event),
                    is_deleted=lambda: self.get_event_source_mapping(mapping.uuid) is not mapping,
                )
            )
        return mapping

    _replace(awslambda.LambdaBackend, create_event_source_mapping=create_event_source_mapping)


def _put_databases_on_loopback() -> None:
    """moto gives clusters host names that do not exist; the server behind them is on this machine."""
    localhost = property(lambda _: "localhost")
    _replace(rds.DBCluster, endpoint=localhost, reader_endpoint=localhost)
    _replace(rds.DBInstance, address=localhost)


def _make_all_resources() -> None:
    """moto skips a type that it lacks without a word; it is made by this package, or noted as skipped."""
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

    _replace(
        parsing, resource_class_from_type=resource_class_from_type, parse_resource=parse_resource_and_resolve
    )


def _change_stacks_like_aws() -> None:
    """See stacks: order, events, failures, rollback, nested stacks that are updated and not replaced."""
    stack: Any = cloudformation.Stack
    service = cloudformation.CloudFormationBackend
    outputs = stack.outputs.fget
    describe = service.describe_change_set

    def describe_change_set(self: Any, change_set_name: str) -> Any:
        # The CDK waits for this very error after it has deleted the last deploy's change set.
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
            stacks.create_from_change_set(changed, change_set, self.exports)
        else:
            stacks.update(changed, change_set.template, change_set.parameters, change_set.tags)

    def delete_change_set(self: Any, change_set_name: str) -> None:
        # Deleting one that is not there is no error in AWS, and the CDK does so before each deploy.
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
        stacks.update(self, template, parameters, tags)

    _replace(parsing, parse_and_create_resource=stacks.create_resource)
    _replace(
        stack,
        create_resources=stacks.create,
        update=update,
        update_from_cloudformation_json=staticmethod(stacks.update_nested),
        # As in AWS, where a nested stack is referred to by its ARN.
        physical_resource_id=property(lambda self: self.stack_id),
        # These three make resources as a side effect, in the midst of a change.
        stack_resources=property(stacks.existing_resources),
        outputs=property(lambda self: outputs(self) if stacks.is_whole(self) else None),
        exports=property(lambda self: self.output_map.exports if stacks.is_whole(self) else []),
    )
    stack.get_cfn_attribute = stacks.nested_output
    _replace(
        service,
        describe_change_set=describe_change_set,
        execute_change_set=execute_change_set,
        delete_change_set=delete_change_set,
        delete_stack=stacks.delete,
    )


def _replace(owner: Any, **replacements: Any) -> None:
    """Give a class or module of moto's other members. Raises AttributeError when moto has no such member."""
    for name, replacement in replacements.items():
        getattr(owner, name)
        setattr(owner, name, replacement)


def _add(owner: Any, **members: Any) -> None:
    """Give a class of moto's what it lacks. Raises AttributeError when moto has it by now."""
    for name, member in members.items():
        if hasattr(owner, name):
            raise AttributeError(f"moto has {owner.__name__}.{name} itself")
        setattr(owner, name, member)


def _invoke(function: Any, event: bytes) -> Outcome:
    return services().runner.invoke(spec_of(function), event, _reserved(function))


def _reserved(function: Any) -> int | None:
    reserved = function.reserved_concurrency
    return None if reserved is None else int(reserved)


def _client_error(code: str, message: str, status: int = 400) -> LambdaClientError:
    error = LambdaClientError(code, message)
    error.code = status
    return error
