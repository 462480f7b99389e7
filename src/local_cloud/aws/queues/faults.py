"""What SQS may do and rarely does, on demand: deliver twice or in any order, take a part of a batch, or fail.

`PUT /local-cloud/faults` sets them, and `{}` ends them. They apply to what is sent and received from then on.
"""

import random
from collections.abc import Mapping
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Entries = dict[str, dict[str, Any]]


class QueueFaults(BaseModel):
    """How often each fault occurs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    duplicates: Share = Field(default=0, description="share of the messages that are delivered twice")
    failed_sends: Share = Field(
        default=0, description="share of the entries of SendMessageBatch that fail with an error of SQS"
    )
    failed_receives: Share = Field(
        default=0, description="share of an event source's calls of ReceiveMessage that fail"
    )
    failed_deletes: Share = Field(
        default=0, description="share of the messages that an event source fails to delete after their work"
    )
    any_order: bool = Field(default=False, description="whether messages are received in random order")
    seed: int = 0


class _InForce:
    def __init__(self, faults: QueueFaults) -> None:
        self.faults = faults
        self.random = random.Random(faults.seed)
        self.lock = Lock()

    def strikes(self, share: float) -> bool:
        with self.lock:
            return self.random.random() < share


_in_force = _InForce(QueueFaults())


def set_queue_faults(faults: QueueFaults) -> None:
    """Use these faults in this process, instead of the previous ones."""
    global _in_force
    _in_force = _InForce(faults)


def split_entries(entries: Entries) -> tuple[Entries, Entries, list[dict[str, Any]]]:
    """What becomes of a SendMessageBatch: entries accepted, those accepted twice, failures of the others."""
    now = _in_force
    taken: Entries = {}
    failed = []
    for key, entry in entries.items():
        if now.strikes(now.faults.failed_sends):
            reason = {"Code": "InternalError", "Message": "injected", "SenderFault": False}
            failed.append({"Id": entry["Id"], **reason})
        else:
            taken[key] = entry
    twice = {key: entry for key, entry in taken.items() if now.strikes(now.faults.duplicates)}
    return taken, twice, failed


def receive_fails() -> bool:
    """Whether the next call of ReceiveMessage fails."""
    now = _in_force
    return now.strikes(now.faults.failed_receives)


def delete_fails() -> bool:
    """Whether the next message cannot be deleted. It becomes visible again, and is delivered once more."""
    now = _in_force
    return now.strikes(now.faults.failed_deletes)


def next_message_id(visible: Mapping[str, object]) -> str:
    """The id of the message to receive next; there must be at least one visible message."""
    now = _in_force
    if not now.faults.any_order:
        return next(iter(visible))
    with now.lock:
        return now.random.choice(list(visible))
