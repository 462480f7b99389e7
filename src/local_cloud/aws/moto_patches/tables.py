"""Patches of moto's DynamoDB."""

import functools
import threading
from collections.abc import Callable
from typing import Any

from moto.dynamodb.models import DynamoDBBackend

from local_cloud.aws.moto_patches.members import replace


def lock_tables() -> None:
    """UpdateItem is atomic in AWS, and the shared pace relies on that; moto changes items without a lock."""
    lock = threading.RLock()

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return method(*args, **kwargs)

        return run

    for name in ("put_item", "update_item", "delete_item", "transact_write_items"):
        replace(DynamoDBBackend, **{name: locked(getattr(DynamoDBBackend, name))})
