"""Installs what make's targets need: Python packages, Node.js packages, and the Lambda layers.

    python3 scripts/install.py [dev] [layers] [second-cloud]

Installs only what is not up to date, and several things in parallel where it can. It runs before anything is
installed, so it uses only Python's standard library. It writes only inside the project's folder, and removes
what a failed step has left there. VERBOSE=1 shows what the tools print and how long each step takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = (ROOT / ".venv").resolve()
CACHE = VENV / ".cache"
"""On the same disk as the packages, so that uv can link their files instead of copying them."""

SECOND_CLOUD, MINISTACK = VENV / "second-cloud", "tests/second_cloud/requirements.txt"
"""The venv of the second cloud, which needs other versions, and what it gets."""

UNFINISHED = VENV / ".unfinished"
"""Exists while the first install runs. If it exists at the start, an earlier install was killed."""

TERMINAL = sys.stderr.isatty()
VERBOSE = bool(os.environ.get("VERBOSE"))

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

CAUSES = {
    r"No module named '?(venv|ensurepip)|ensurepip is not\s+available|No module named pip": (
        "this Python cannot make virtual environments: install the package python3-venv (Debian, Ubuntu), or"
        " use another Python: make PYTHON=python3.12 ..."
    ),
    r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate|SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER"
    r"|UNABLE_TO_VERIFY|unable to get local issuer|self[- ]signed certificate": (
        "the certificate of the package index is not trusted; behind a proxy that decrypts TLS, set"
        " SSL_CERT_FILE to a PEM file with the proxy's certificate (PIP_CERT, REQUESTS_CA_BUNDLE and"
        " NODE_EXTRA_CA_CERTS are set to the same file unless you set them)"
    ),
    r"No space left on device|ENOSPC": "the disk is full: the project needs 1.3 GB",
    r"Permission denied|EACCES|Read-only file system|EROFS": (
        "cannot write to the project's folder: use a folder that you may write to"
    ),
    r"hash(es)? mismatch|DO NOT MATCH THE HASHES|EINTEGRITY": (
        "a package differs from the one that the project pins: ask who runs the package index or proxy why"
    ),
    r"name resolution|dns error|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|[Cc]onnection refused"
    r"|[Nn]etwork is unreachable|timed? ?out|ConnectionError|error sending request|[Ff]ailed to fetch": (
        "the package index cannot be reached: check the network; behind a proxy set HTTPS_PROXY"
    ),
}
"""What a tool may print, as a regular expression, and the cause with its remedy, for the user."""


class InstallError(Exception):
    """A step failed; the text says in one line why, and what to do."""


_running: list[str] = []


class Step:
    """Shows what is being done: on a terminal while it lasts, and with VERBOSE=1 how long it took."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.monotonic()
        _running.append(self._name)
        self._show()

    def __exit__(self, *_: object) -> None:
        _running.remove(self._name)
        if VERBOSE:
            print(f"{CLEAR_LINE}{time.monotonic() - self._began:6.1f} s  {self._name}", file=sys.stderr)
        self._show()

    def _show(self) -> None:
        if TERMINAL:
            words = f"Installing {', '.join(_running)} ..." if _running else ""
            print(CLEAR_LINE + words, end="", file=sys.stderr, flush=True)


CLEAR_LINE = "\r\033[K" if TERMINAL else ""


def main(parts: list[str]) -> None:
    """Installs the runtime and `parts`, or ends with one line that says why not."""
    if sys.version_info < (3, 11):  # noqa: UP036 - nothing has checked it yet
        sys.exit("error: this Python is too old: use 3.11 or newer, for example make PYTHON=python3.12 ...")
    try:
        # One at a time: a second make waits for the first, and then finds everything done.
        with (ROOT / "Makefile").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _interrupt)
            _install(parts)
    except (InstallError, OSError) as error:
        sys.exit(CLEAR_LINE + ("interrupted" if _interrupted.is_set() else f"error: {error}"))
    except KeyboardInterrupt:  # while it waits for another make
        sys.exit("interrupted")


def _install(parts: list[str]) -> None:
    if not (_is_current(VENV / ".runtime", _runtime_digest()) and _works()):
        if not TERMINAL:
            print("Installing into .venv and node_modules (about half a minute)", flush=True)
        _install_runtime()
    tasks = [partial(_install_node_packages, ROOT)]
    if "dev" in parts and not _is_current(VENV / ".dev", _digest("requirements-dev.txt")):
        tasks.append(partial(_install_dev))
    if "dev" in parts:
        # PostgreSQL 17, Aurora's default, which the tests use in addition to the embedded version.
        tasks.append(partial(_install_node_packages, ROOT / "tests/postgres17"))
        # What the report's page is made and checked with.
        tasks.append(partial(_install_node_packages, ROOT / "scripts/report_page"))
        # Python 3.14, which compiles the layers; its test needs it.
        tasks.append(partial(_install_node_packages, ROOT / "lambda-layer"))
    if "layers" in parts:
        tasks.append(partial(_build_layers))
    if "second-cloud" in parts and not _is_current(SECOND_CLOUD / ".installed", _digest(MINISTACK)):
        tasks.append(partial(_install_second_cloud))
    with ThreadPoolExecutor(len(tasks)) as pool:
        try:
            for ended in as_completed([pool.submit(task) for task in tasks]):
                ended.result()
        except InstallError:
            _end_all()
            raise


def _install_runtime() -> None:
    if VENV.exists() and (UNFINISHED.exists() or not _works()):
        shutil.rmtree(VENV)
    is_first = not VENV.exists()
    try:
        if is_first:
            VENV.mkdir()
            UNFINISHED.touch()
        with Step("the virtual environment"):
            if not (VENV / "bin/pip").exists():
                # sys.executable may be the .venv that was just removed.
                python = (
                    getattr(sys, "_base_executable", sys.executable) if is_first else str(VENV / "bin/python")
                )
                _run([python, "-m", "venv", str(VENV)])
            _run([*_venv_python("pip"), "install", "--require-hashes", "-r", "requirements-uv.txt"])
        with Step("Python packages"):
            _uv("install", "--require-hashes", "-r", "requirements.txt")
            _uv("install", "--no-deps", "--no-build-isolation", "--editable", ".")
    except (InstallError, OSError):
        if is_first:
            shutil.rmtree(VENV, ignore_errors=True)
        raise
    (VENV / ".runtime").write_text(_runtime_digest())
    UNFINISHED.unlink(missing_ok=True)


def _install_node_packages(folder: Path) -> None:
    modules, digest = folder / "node_modules", _digest(folder / "package.json", folder / "package-lock.json")
    if _is_current(modules / ".installed", digest):
        return
    try:
        with Step("Node.js packages"):
            npm = [str(VENV / "bin/npm"), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            _run([*npm, "--prefix", str(folder)])
    except (InstallError, OSError):
        shutil.rmtree(modules, ignore_errors=True)
        raise
    (modules / ".installed").write_text(digest)


def _install_dev() -> None:
    with Step("development packages"):
        _uv("install", "--require-hashes", "-r", "requirements-dev.txt")
    (VENV / ".dev").write_text(_digest("requirements-dev.txt"))


def _install_second_cloud() -> None:
    with Step("MiniStack"):
        shutil.rmtree(SECOND_CLOUD, ignore_errors=True)
        _run([*_venv_python("venv"), "--without-pip", str(SECOND_CLOUD)])
        _uv("install", "--python", str(SECOND_CLOUD / "bin/python"), "--require-hashes", "-r", MINISTACK)
    (SECOND_CLOUD / ".installed").write_text(_digest(MINISTACK))


def _build_layers() -> None:
    with Step("Lambda layers"):
        built = _run(["./create_fipe_api_layer.sh"])
    if not VERBOSE:
        print(built, end="")


_processes: list[subprocess.Popen[str]] = []
_ending = threading.Event()
_interrupted = threading.Event()


def _interrupt(*_: object) -> None:
    # Raises nothing, because an exception could hit any line. The steps fail when their commands end.
    _interrupted.set()
    _end_all()


def _end_all() -> None:
    """Ends all commands, also those that start from now on, after a failed step or Ctrl-C."""
    _ending.set()
    for process in list(_processes):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _uv(*arguments: str) -> None:
    # With several indexes take the best match, as pip does. The pinned hashes make that safe.
    options = ["--index-strategy", "unsafe-best-match"]
    _run([str(VENV / "bin/uv"), "pip", arguments[0], *options, *arguments[1:]], _settings_of_pip())


def _venv_python(module: str) -> list[str]:
    return [str(VENV / "bin/python"), "-m", module]


def _run(command: list[str], defaults: dict[str, str] | None = None) -> str:
    """Runs a command and returns what it prints.

    Args:
        command: the command.
        defaults: environment variables for it; the user's own take precedence.

    Raises:
        InstallError: it failed; the text gives the reason.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(defaults or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that its whole process group can be ended
    )
    _processes.append(process)
    if _ending.is_set():
        _end_all()
    output = process.communicate()[0]
    _processes.remove(process)
    if VERBOSE:
        print(output, end="", file=sys.stderr)
    if process.returncode:
        raise InstallError(_reason(command, output))
    return output


def _environment(defaults: dict[str, str]) -> dict[str, str]:
    """The user's environment, changed so that all tools trust the same certificates and write only here."""
    variables = {**defaults, **os.environ}
    given = next((variables[name] for name in CERTIFICATE_VARIABLES if variables.get(name)), None)
    if given:
        variables |= {name: variables.get(name) or given for name in CERTIFICATE_VARIABLES}
    binaries = [str(VENV / "bin"), variables.get("PATH", os.defpath)]
    return {
        # Trust what the system trusts, as pip does.
        "UV_SYSTEM_CERTS": "true",
        "NODE_USE_SYSTEM_CA": "1",
        **variables,
        "PATH": os.pathsep.join(binaries),
        "PYTHON": str(VENV / "bin/python"),
        "VIRTUAL_ENV": str(VENV),
        "UV_CACHE_DIR": str(CACHE / "uv"),
        "npm_config_cache": str(CACHE / "npm"),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def _settings_of_pip() -> dict[str, str]:
    """pip's index and certificate as variables of uv, which does not read pip's settings."""
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}
    command = [*_venv_python("pip"), "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^[^=]*\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    return {names[name]: value for name, value in found if name in names}


def _reason(command: list[str], output: str) -> str:
    words = " ".join([Path(command[0]).name, *command[1:3]])
    for pattern, cause in CAUSES.items():
        if re.search(pattern, output):
            return f"`{words}` failed: {cause}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return (
        f"`{words}` failed: {lines[-1] if lines else 'it printed nothing'} (VERBOSE=1 shows all its output)"
    )


def _works() -> bool:
    """Whether the Python behind .venv still exists, and the folder has not moved."""
    with contextlib.suppress(OSError):
        return (VENV / "bin/python").exists() and str(VENV) in (VENV / "bin/activate").read_text()
    return False


def _runtime_digest() -> str:
    return _digest("requirements-uv.txt", "requirements.txt", "pyproject.toml") + f" {VENV}"


def _digest(*names: str | Path) -> str:
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names)).hexdigest()


def _is_current(stamp: Path, digest: str) -> bool:
    with contextlib.suppress(OSError):
        return stamp.read_text() == digest
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
