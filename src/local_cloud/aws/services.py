"""The parts of the running local cloud, for objects that moto creates: we cannot pass arguments to these."""

from dataclasses import dataclass, field

from local_cloud.aws.runner.function_runner import FunctionRunner
from local_cloud.aws.stacks.custom_resource_answers import CustomResourceAnswers
from local_cloud.guard import ProcessGuard
from local_cloud.state import Endpoint, LocalState


@dataclass
class Services:
    """The parts of one running local cloud."""

    state: LocalState
    endpoint: Endpoint
    guard: ProcessGuard
    runner: FunctionRunner
    answers: CustomResourceAnswers
    skipped_types: set[str] = field(default_factory=set)
    """Resource types of deployed templates that neither moto nor this package can create."""


_current: list[Services] = []


def provide(services: Services) -> None:
    """Make `services` available to this process."""
    _current[:] = [services]


def services() -> Services:
    """The services of this process. Raises RuntimeError outside of a running local cloud."""
    if not _current:
        raise RuntimeError("no local cloud runs in this process")
    return _current[0]
