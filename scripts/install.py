"""Installs what make's targets need: Python packages, Node.js packages, and the Lambda layers.

    python3 scripts/install.py [dev] [layers] [second-cloud] [dbt]

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

from plain_words import say

ROOT = Path(__file__).resolve().parent.parent
VENV = (ROOT / ".venv").resolve()
CACHE = VENV / ".cache"
"""On the same disk as the packages, so that uv can link their files instead of copying them."""

OWN_VENVS = {
    "second-cloud": ("MiniStack", "tests/second_cloud/requirements.txt"),
    "dbt": ("dbt", "tests/dbt/requirements.txt"),
}
"""Parts that need other versions: each has a venv of its own in .venv. Its name, and what goes into it."""

UNFINISHED = VENV / ".unfinished"
"""Exists while the first install runs. If it exists at the start, an earlier install was killed."""

TERMINAL = sys.stderr.isatty()
VERBOSE = bool(os.environ.get("VERBOSE"))

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")

CAUSES = {
    r"No module named '?(venv|ensurepip)|ensurepip is not\s+available|No module named pip": say(
        "this Python cannot make virtual environments: install the package python3-venv (Debian, Ubuntu), or"
        " use another Python: make PYTHON=python3.12 ...",
        "este Python não cria ambientes virtuais: instale o pacote python3-venv (Debian, Ubuntu), ou use"
        " outro Python: make PYTHON=python3.12 ...",
    ),
    r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate|SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER"
    r"|UNABLE_TO_VERIFY|unable to get local issuer|self[- ]signed certificate": say(
        "the certificate of the package index is not trusted; behind a proxy that decrypts TLS, set"
        " SSL_CERT_FILE to a PEM file with the proxy's certificate (PIP_CERT, REQUESTS_CA_BUNDLE and"
        " NODE_EXTRA_CA_CERTS are set to the same file unless you set them)",
        "o certificado do índice de pacotes não é confiável; atrás de um proxy que abre o TLS, defina"
        " SSL_CERT_FILE com um arquivo PEM que tenha o certificado do proxy (PIP_CERT, REQUESTS_CA_BUNDLE e"
        " NODE_EXTRA_CA_CERTS recebem o mesmo arquivo, a não ser que você os defina)",
    ),
    r"No space left on device|ENOSPC": say(
        "the disk is full: the project needs 1.3 GB", "o disco está cheio: o projeto precisa de 1,3 GB"
    ),
    r"Permission denied|EACCES|Read-only file system|EROFS": say(
        "cannot write to the project's folder: use a folder that you may write to",
        "não dá para gravar na pasta do projeto: use uma pasta em que você possa gravar",
    ),
    r"hash(es)? mismatch|DO NOT MATCH THE HASHES|EINTEGRITY": say(
        "a package differs from the one that the project pins: ask who runs the package index or proxy why",
        "um pacote é diferente do que o projeto fixa: pergunte por quê a quem cuida do índice de pacotes ou"
        " do proxy",
    ),
    r"name resolution|dns error|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|[Cc]onnection refused"
    r"|[Nn]etwork is unreachable|timed? ?out|ConnectionError|error sending request|[Ff]ailed to fetch": say(
        "the package index cannot be reached: check the network; behind a proxy set HTTPS_PROXY",
        "o índice de pacotes não responde: confira a rede; atrás de um proxy, defina HTTPS_PROXY",
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
            words = say("Installing {} ...", "Instalando {} ...").format(", ".join(_running))
            print(CLEAR_LINE + (words if _running else ""), end="", file=sys.stderr, flush=True)


CLEAR_LINE = "\r\033[K" if TERMINAL else ""
INTERRUPTED = say("interrupted", "interrompido")


def main(parts: list[str]) -> None:
    """Installs the runtime and `parts`, or ends with one line that says why not."""
    if sys.version_info < (3, 11):  # noqa: UP036 - nothing has checked it yet
        sys.exit(
            say(
                "error: this Python is too old: use 3.11 or newer, for example make PYTHON=python3.12 ...",
                "erro: este Python é antigo demais: use o 3.11 ou mais novo, por exemplo make"
                " PYTHON=python3.12 ...",
            )
        )
    try:
        # One at a time: a second make waits for the first, and then finds everything done.
        with (ROOT / "Makefile").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, _interrupt)
            _install(parts)
    except (InstallError, OSError) as error:
        failed = say("error: {}", "erro: {}").format(error)
        sys.exit(CLEAR_LINE + (INTERRUPTED if _interrupted.is_set() else failed))
    except KeyboardInterrupt:  # while it waits for another make
        sys.exit(INTERRUPTED)


def _install(parts: list[str]) -> None:
    if not (_is_current(VENV / ".runtime", _runtime_digest()) and _works()):
        if not TERMINAL:
            print(
                say(
                    "Installing into .venv and node_modules (about half a minute)",
                    "Instalando em .venv e node_modules (cerca de meio minuto)",
                ),
                flush=True,
            )
        _install_runtime()
    tasks = [partial(_install_node_packages, ROOT)]
    if "dev" in parts and not _is_current(VENV / ".dev", _digest("requirements-dev.txt")):
        tasks.append(partial(_install_dev))
    if "dev" in parts:
        # PostgreSQL 17, Aurora's default, which the tests use in addition to the embedded version.
        tasks.append(partial(_install_node_packages, ROOT / "tests/postgres17"))
        # What the pages are made and checked with.
        tasks.append(partial(_install_node_packages, ROOT / "scripts/pages"))
        # Python 3.14, which compiles the layers; its test needs it.
        tasks.append(partial(_install_node_packages, ROOT / "lambda-layer"))
    if "layers" in parts:
        tasks.append(partial(_build_layers))
    for part, (_, requirements) in OWN_VENVS.items():
        if part in parts and not _is_current(VENV / part / ".installed", _digest(requirements)):
            tasks.append(partial(_install_own_venv, part))
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
        with Step(say("the virtual environment", "o ambiente virtual")):
            if not (VENV / "bin/pip").exists():
                # sys.executable may be the .venv that was just removed.
                python = (
                    getattr(sys, "_base_executable", sys.executable) if is_first else str(VENV / "bin/python")
                )
                _run([python, "-m", "venv", str(VENV)])
            _run([*_venv_python("pip"), "install", "--require-hashes", "-r", "requirements-uv.txt"])
        with Step(say("Python packages", "os pacotes do Python")):
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
        with Step(say("Node.js packages", "os pacotes do Node.js")):
            npm = [str(VENV / "bin/npm"), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            _run([*npm, "--prefix", str(folder)])
    except (InstallError, OSError):
        shutil.rmtree(modules, ignore_errors=True)
        raise
    (modules / ".installed").write_text(digest)


def _install_dev() -> None:
    with Step(say("development packages", "os pacotes de desenvolvimento")):
        _uv("install", "--require-hashes", "-r", "requirements-dev.txt")
    (VENV / ".dev").write_text(_digest("requirements-dev.txt"))


def _install_own_venv(part: str) -> None:
    folder, (name, requirements) = VENV / part, OWN_VENVS[part]
    with Step(name):
        shutil.rmtree(folder, ignore_errors=True)
        _run([*_venv_python("venv"), "--without-pip", str(folder)])
        _uv("install", "--python", str(folder / "bin/python"), "--require-hashes", "-r", requirements)
    (folder / ".installed").write_text(_digest(requirements))


def _build_layers() -> None:
    with Step(say("Lambda layers", "as layers do Lambda")):
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
            return say("`{}` failed: {}", "`{}` falhou: {}").format(words, cause)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1] if lines else say("it printed nothing", "não mostrou nada")
    return say(
        f"`{words}` failed: {last} (VERBOSE=1 shows all its output)",
        f"`{words}` falhou: {last} (VERBOSE=1 mostra toda a saída)",
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
