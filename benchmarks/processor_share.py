"""A share of a processor, as Lambda gives it to a function in proportion to its memory."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FULL_PROCESSOR_MB = 1_769
"""A function of this size has one processor (Lambda developer guide, "Configure Lambda function memory")."""
PERIOD_MICROSECONDS = 20_000
CGROUP = Path("/sys/fs/cgroup/cpu")
"""Where cgroup v1 limits processors."""

Run = Callable[[Sequence[str], dict[str, str], str], str]
"""Runs a command with an environment and an input; returns its output."""


def can_limit() -> bool:
    """Whether this machine lets us limit a process to a share."""
    return os.access(CGROUP / "cpu.cfs_quota_us", os.W_OK)


@contextmanager
def share_of(memory_mb: int) -> Iterator[Run]:
    """Gives a function that runs commands with the share of a function of this size, or without a limit."""
    if not can_limit():
        yield lambda command, environment, given: _run(command, environment, given, None)
        return
    group = CGROUP / f"fipe-benchmark-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text(f"{PERIOD_MICROSECONDS}")
        quota = PERIOD_MICROSECONDS * memory_mb // FULL_PROCESSOR_MB
        (group / "cpu.cfs_quota_us").write_text(f"{quota}")
        yield lambda command, environment, given: _run(command, environment, given, group)
    finally:
        group.rmdir()


def _run(command: Sequence[str], environment: dict[str, str], given: str, group: Path | None) -> str:
    def join() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(f"{os.getpid()}")

    return subprocess.run(
        command, env=environment, input=given, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=join
    ).stdout
