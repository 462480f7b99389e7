"""scripts/install.py when something goes wrong: one line that says why, and nothing half made left behind.

The tools are real; what fails is a fake on PATH, or an index that cannot be reached.
"""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.terminal import CTRL_C, terminal

ROOT = Path(__file__).resolve().parents[2]
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
"""Not the one of a .venv: what a user has before anything is installed."""

PROJECT = (
    "Makefile",
    "scripts/install.py",
    "scripts/plain_words.py",
    "requirements-uv.txt",
    "requirements.txt",
    "pyproject.toml",
    "package.json",
    "package-lock.json",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As much of the project as an install reads."""
    folder = tmp_path / "a folder é"
    for name in PROJECT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture
def installed(project: Path) -> Path:
    """The project with a .venv that counts as installed, whose npm fails half-way."""
    venv = project / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(sys.executable)
    (venv / "bin/activate").write_text(f"VIRTUAL_ENV={str(venv)!r}")
    digest = subprocess.run(
        [sys.executable, "-c", "import install; print(install._runtime_digest(), end='')"],
        cwd=project / "scripts", capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (venv / ".runtime").write_text(digest)
    return project


def test_a_failed_npm_is_one_line_and_leaves_no_half_of_node_modules(installed: Path) -> None:
    fake(
        installed / ".venv/bin/npm",
        "mkdir -p node_modules/aws-cdk; echo 'npm error code ENOTFOUND' >&2; exit 1",
    )
    assert "cannot be reached: check the network" in only_error(install(installed))
    assert not (installed / "node_modules").exists()
    fake(installed / ".venv/bin/npm", "mkdir -p node_modules/aws-cdk")
    assert install(installed).returncode == 0
    fake(installed / ".venv/bin/npm", "exit 1")
    assert install(installed).returncode == 0, "what is up to date is not installed again"


def test_a_terminal_shows_what_is_being_installed(installed: Path) -> None:
    fake(installed / ".venv/bin/npm", "sleep 0.2; mkdir -p node_modules")
    with terminal(str(installed / "scripts/install.py"), environment=os.environ | {"VERBOSE": "1"}) as shown:
        shown.shows("Installing Node.js packages ...")
        shown.shows(" s  Node.js packages")
        assert shown.ends() == 0


def test_ctrl_c_ends_it_in_one_line_and_leaves_no_half_of_node_modules(installed: Path) -> None:
    fake(installed / ".venv/bin/npm", "mkdir -p node_modules/aws-cdk; sleep 60")
    with terminal(str(installed / "scripts/install.py"), environment=os.environ) as shown:
        shown.shows("Installing Node.js packages ...")
        shown.type(CTRL_C)
        shown.shows("interrupted", 8)
        assert shown.ends() == 1
    assert not (installed / "node_modules").exists()


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("npm error code SELF_SIGNED_CERT_IN_CHAIN", "set SSL_CERT_FILE"),
        ("npm error code ENOSPC", "the disk is full"),
        ("npm error code EINTEGRITY", "differs from the one that the project pins"),
        ("npm error something new", "npm error something new"),
    ],
)
def test_says_what_a_failure_means(installed: Path, printed: str, words: str) -> None:
    fake(installed / ".venv/bin/npm", f"echo noise; echo '{printed}' >&2; exit 1")
    assert words in only_error(install(installed))


def test_says_it_in_portuguese_where_the_environment_asks_for_it(installed: Path) -> None:
    fake(installed / ".venv/bin/npm", "echo 'npm error code ENOSPC' >&2; exit 1")
    ended = install(installed, LANGUAGE="", LC_ALL="pt_BR.UTF-8")
    assert (
        ended.stderr == "erro: `npm ci --no-audit` falhou: o disco está cheio: o projeto precisa de 1,3 GB\n"
    )


def test_all_tools_trust_the_certificate_that_one_variable_names(installed: Path) -> None:
    fake(installed / ".venv/bin/npm", 'mkdir node_modules; echo "$NODE_EXTRA_CA_CERTS" > node_modules/seen')
    install(installed, SSL_CERT_FILE="/proxy.pem", NODE_EXTRA_CA_CERTS="", PIP_CERT="", REQUESTS_CA_BUNDLE="")
    assert (installed / "node_modules/seen").read_text() == "/proxy.pem\n"


def test_a_python_without_ensurepip_is_one_line_and_leaves_no_venv(project: Path, tmp_path: Path) -> None:
    python = fake_python_without_ensurepip(tmp_path)
    error = only_error(install(project, python=python))
    assert "install the package python3-venv" in error
    assert not (project / ".venv").exists()


def test_an_index_that_cannot_be_reached_is_one_line_and_leaves_no_venv(project: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/simple"
    error = only_error(install(project, **index(nowhere)))
    assert "cannot be reached: check the network" in error
    assert not (project / ".venv").exists()


def test_an_index_with_an_unknown_certificate_names_the_variable_to_set(
    project: Path, tls_index: str
) -> None:
    error = only_error(install(project, **index(tls_index)))
    assert "set SSL_CERT_FILE to a PEM file with the proxy's certificate" in error
    assert not (project / ".venv").exists()


def test_a_venv_that_a_killed_install_left_is_made_anew(project: Path, tmp_path: Path) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/.unfinished").touch()
    (project / ".venv/bin/pip").touch()
    error = only_error(install(project, python=fake_python_without_ensurepip(tmp_path)))
    assert "python3-venv" in error, "it got as far as making .venv"
    assert not (project / ".venv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_one_line(project: Path) -> None:
    project.chmod(0o555)
    try:
        assert "Permission denied" in only_error(install(project))
    finally:
        project.chmod(0o755)


@pytest.fixture
def tls_index(tmp_path: Path) -> Iterator[str]:
    """An index behind a self-signed certificate."""
    key, certificate = self_signed()
    pem = tmp_path / "index.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=refuse_all, args=(listening, context), daemon=True).start()
        yield f"https://localhost:{listening.getsockname()[1]}/simple"


def refuse_all(listening: socket.socket, context: ssl.SSLContext) -> None:
    """Answers each TLS handshake, which the client ends when it sees the certificate."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


def self_signed() -> tuple[Any, Any]:
    """A key and its certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def fake(path: Path, script: str) -> Path:
    """A command that does what `script` says."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def fake_python_without_ensurepip(folder: Path) -> Path:
    """A Python as Debian installs it without python3-venv: `-m venv` leaves half of one."""
    modules = folder / "modules"
    modules.mkdir()
    (modules / "venv.py").write_text(
        "import pathlib, sys\n"
        "(pathlib.Path(sys.argv[-1]) / 'bin').mkdir(parents=True, exist_ok=True)\n"
        "print('The virtual environment was not created successfully because ensurepip is not\\n'\n"
        "      'available.  On Debian/Ubuntu systems, you need to install the python3-venv\\npackage.')\n"
        "sys.exit(1)\n"
    )
    return fake(folder / "python3", f'PYTHONPATH="{modules}" exec "{BASE_PYTHON}" "$@"')


def index(url: str) -> dict[str, str]:
    """The variables that make pip use this index alone, and not be patient."""
    return {"PIP_INDEX_URL": url, "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}


def install(
    project: Path, *, python: Path | str = BASE_PYTHON, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the script as make does."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV", "VERBOSE"))
    }
    return subprocess.run(
        [python, project / "scripts/install.py"],
        env=kept | variables, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def only_error(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    return line
