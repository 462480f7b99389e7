"""Whatever goes wrong, both programs say it in one line and end with the same exit code for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.state import REPOSITORY

ELSEWHERE = {
    "AWS_ENDPOINT_URL": "http://localhost:1",
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_REGION": "us-east-1",
}


def ended(folder: Path, *command: str, output: str = os.devnull, **variables: str) -> tuple[int, list[str]]:
    """The exit code of a command, and its lines on stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VERBOSE"))}
    with Path(output).open("w") as target:
        process = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            env={**kept, "FIPE_LOCAL_DIR": str(folder), **variables},
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return process.returncode, process.stderr.splitlines()


@pytest.mark.parametrize(
    "command",
    [["fipe_cli", "--help"], ["fipe_cli", "load", "--help"], ["local_cloud", "--help"]],
    ids=" ".join,
)
def test_help_that_cannot_be_written(tmp_path: Path, command: list[str]) -> None:
    assert ended(tmp_path, *command, output="/dev/full") == (3, ["error: No space left on device"])


@pytest.mark.parametrize("program", ["fipe_cli", "local_cloud"])
def test_a_damaged_file_of_the_local_cloud(tmp_path: Path, program: str) -> None:
    file = tmp_path / "endpoint.json"
    for text in ("", "[]", '{"pid": 1}', '{"pid": 1, "port": "x"}'):
        file.write_text(text)
        assert ended(tmp_path, program, "status") == (3, [f"error: {file} is damaged: remove it"])


@pytest.mark.parametrize("program", ["fipe_cli", "local_cloud"])
def test_no_cloud_that_runs(tmp_path: Path, program: str) -> None:
    code, (line,) = ended(tmp_path, program, "status")
    assert code == 3
    assert line.startswith("error: no local cloud is running: run `make local-up`")


@pytest.mark.parametrize("command", [["fipe_cli", "local"], ["local_cloud", "deploy"]], ids=" ".join)
def test_an_invalid_option(tmp_path: Path, command: list[str]) -> None:
    words = 'error: invalid RATE=fast: use a number of calls per minute, or "max"'
    assert ended(tmp_path, *command, "--rate", "fast") == (2, [words])


def test_an_invalid_setting_of_aws(tmp_path: Path) -> None:
    code, (line,) = ended(tmp_path, "fipe_cli", "status", **ELSEWHERE, AWS_MAX_ATTEMPTS="x")
    assert code == 2
    assert line.startswith("error: invalid AWS setting, in a variable AWS_... or in ~/.aws/config: ")
    assert line.endswith("'x'")


def test_what_nobody_has_thought_of(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import typer\n"
        "from local_cloud.command_errors import CommandGroup\n"
        "app = typer.Typer(cls=CommandGroup)\n"
        "@app.callback()\n"
        "def main() -> None: ...\n"
        "@app.command()\n"
        "def work() -> None: {}['key']\n"
        "app()\n"
    )
    run = [sys.executable, str(script), "work"]
    one_line = subprocess.run(run, capture_output=True, text=True, check=False)
    words = "error: unexpected KeyError: 'key' (VERBOSE=1 shows where)\n"
    assert (one_line.returncode, one_line.stderr) == (3, words)
    verbose = subprocess.run(
        run, env={**os.environ, "VERBOSE": "1"}, capture_output=True, text=True, check=False
    )
    assert "Traceback" in verbose.stderr
