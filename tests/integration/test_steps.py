"""What shows while something is being done: on a terminal, in a pipe, and with VERBOSE=1."""

import os
import re
import subprocess
import sys

import pytest

from tests.terminal import terminal

WORK = (
    "from local_cloud.steps import step\nwith step('Starting the local cloud'): import time; time.sleep(0.3)"
)


def test_a_terminal_shows_what_is_being_done() -> None:
    with terminal("-c", WORK, environment=_environment(TERM="xterm")) as shown:
        shown.shows("Starting the local cloud")
        assert shown.ends() == 0


@pytest.mark.parametrize(
    ("verbose", "printed"), [("", ""), ("1", r" +\d+\.\d s  Starting the local cloud\n")]
)
def test_a_pipe_shows_nothing_but_the_times_that_are_asked_for(verbose: str, printed: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WORK],
        env=_environment(VERBOSE=verbose), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout == ""
    assert re.fullmatch(printed, ended.stderr)


def _environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "VERBOSE"} | more
