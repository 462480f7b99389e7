"""create_fipe_api_layer.sh and RDS's certificates: fetched into the layer, or missed in one line."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CERTIFICATE = Path("lambda-layer/build/psycopg2/rds-certificates.pem")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As much of the project as the script needs, with layers that are up to date."""
    script = "create_fipe_api_layer.sh"
    for name in (script, "create_fipe_db.sql"):
        shutil.copy2(ROOT / name, tmp_path)
    for layer in ("api", "psycopg2", "query"):
        (tmp_path / "lambda-layer/build" / layer / "python").mkdir(parents=True)
        requirements = tmp_path / f"lambda-layer/requirements-{layer}.txt"
        requirements.write_text(layer)
        digest = hashlib.sha256(requirements.read_bytes() + (tmp_path / script).read_bytes()).hexdigest()
        (tmp_path / f"lambda-layer/build/{layer}.sha256").write_text(digest + "\n")
    return tmp_path


def build(project: Path, source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./create_fipe_api_layer.sh"],
        cwd=project,
        env={**os.environ, "PYTHON": sys.executable, "RDS_CERTIFICATES": source, "COMPILE_LAYERS": "no"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bundle() -> Path:
    """Real certificates: those that requests trusts."""
    import certifi

    return Path(certifi.where())


def test_puts_the_certificates_into_the_layer_once(project: Path, bundle: Path):
    built = build(project, bundle.as_uri())
    assert built.returncode == 0, built.stderr
    assert "sslmode=verify-full" in built.stdout
    assert (project / CERTIFICATE).read_bytes() == bundle.read_bytes()
    again = build(project, "file:///nowhere")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.parametrize("source", ["http://localhost:1/bundle.pem", "file:///nowhere/bundle.pem"])
def test_says_in_one_line_that_they_are_not_there_and_goes_on(project: Path, source: str):
    built = build(project, source)
    assert built.returncode == 0
    (line,) = built.stderr.splitlines()
    assert line.startswith(f"RDS's certificates are not at {source}")
    assert line.endswith("(sslmode=require)")
    assert not (project / CERTIFICATE).exists()
    assert (project / "lambda/assets/create_fipe_db.sql").exists()


def test_takes_nothing_that_holds_no_certificate(project: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("<html>Sign in to this hotel's network</html>")
    built = build(project, page.as_uri())
    assert "RDS's certificates are not at" in built.stderr
    assert not (project / CERTIFICATE).exists()


def test_does_not_ask_when_confirmed(project: Path):
    built = build(project, "none")
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    assert not (project / CERTIFICATE).exists()
