"""A test process that is killed leaves nothing running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.guard import ROOT
from tests.local_cloud_support import eventually

TEST_PROCESS = """
import os, subprocess, sys
from pathlib import Path
from tests.guard import FolderGuard
FolderGuard().watch(Path(sys.argv[1]))
for folder in sys.argv[1:]:
    started = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, "FIPE_LOCAL_DIR": folder + "/local"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    print(started.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_test_process_leaves_nothing_running_in_its_folders(tmp_path: Path) -> None:
    folders = [str(tmp_path / "mine"), str(tmp_path / "mine-not")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    killed = subprocess.run(
        [sys.executable, "-c", TEST_PROCESS, *folders],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    mine, other = map(int, killed.stdout.split())
    try:
        eventually(lambda: not runs(mine), seconds=20)
        assert runs(other)
    finally:
        os.kill(other, signal.SIGKILL)


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
