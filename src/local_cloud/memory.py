"""How much memory the local cloud takes. Shared pages count once, so that the parts add up."""

import os
from collections.abc import Iterable

import psutil  # type: ignore[import-untyped]


def megabytes(pids: Iterable[int]) -> float:
    """Memory of these processes and of this one, in MiB: PSS where the system reports it, otherwise RSS."""
    return sum(map(_bytes, {*pids, os.getpid()})) / 2**20


def _bytes(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        full = process.memory_full_info() if psutil.LINUX else process.memory_info()
    except psutil.Error:
        return 0
    return int(getattr(full, "pss", full.rss))
