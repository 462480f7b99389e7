"""The CDK CLI as a process: its exit code, and its end when the command is interrupted."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local_cloud.deployment import _run_with_children
from tests.local_cloud_support import eventually

PARENT = """
import subprocess, sys
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
Path(sys.argv[1]).write_text(str(child.pid))
child.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Also when the signal reaches the command alone, not its process group: `kill -INT`, not Ctrl-C."""
    note = tmp_path / "child"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from fipe_cli.local_load import interrupted_by_signals\n"
        "from local_cloud.deployment import _run_with_children\n"
        f"interrupted_by_signals()\n"
        f"_run_with_children([sys.executable, '-c', {PARENT!r}, {str(note)!r}],"
        " Path('.'), os.environ, sys.stdout)"
    )
    command = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    child = psutil.Process(int(eventually(lambda: note.exists() and note.read_text())))
    command.send_signal(number)
    assert "KeyboardInterrupt" in command.communicate(timeout=30)[1]
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_command_that_ends_by_itself_gives_its_exit_code(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        assert _run_with_children(["sh", "-c", "echo done; exit 3"], tmp_path, {}, log) == 3
    assert (tmp_path / "log").read_text() == "done\n"
