"""Patches of moto as a server that runs for long and answers many calls."""

import functools
from typing import Any

from moto import backends
from moto.core.common_models import BaseModel
from moto.core.utils import camelcase_to_underscores
from moto.sqs import models as sqs

from local_cloud.aws.moto_patches.members import replace


def forget_instances() -> None:
    """moto keeps every object it ever created, to reset itself between tests. In a server that is a leak."""

    def make(cls: type[Any], *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    replace(BaseModel, __new__=make)


def compute_once() -> None:
    """moto lists its own folders at each request, and converts the same attribute names for each message."""
    modules = tuple(backends.list_of_moto_modules())
    replace(backends, list_of_moto_modules=lambda: modules)
    replace(sqs, camelcase_to_underscores=functools.cache(camelcase_to_underscores))
