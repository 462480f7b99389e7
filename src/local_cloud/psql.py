"""Runs psql."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_psql(psql: str | Path, arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run psql until it ends; returns its exit code.

    Args:
        psql: the program.
        arguments: psql's own.
        variables: libpq's, which say where the database is and how to sign in.
    """
    # Ctrl-C is for psql, which cancels its query. A handler, not SIG_IGN, which psql would inherit: then it
    # could not be interrupted while it connects.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([psql, *arguments], env={**os.environ, **variables}, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
