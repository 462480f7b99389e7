"""The layers are compiled for the functions' Python, on any machine; without that a deploy goes on."""

import hashlib
import marshal
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.functions import RUNTIME
from tests.conftest import ROOT

MAGIC_OF_3_14 = 3627
UNCHECKED = 0b01
"""PEP 552: a hash stands in the file, and Python does not compare it with the source."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As much of the project as the script needs, with layers that are up to date but not compiled."""
    script = "create_fipe_api_layer.sh"
    for name in (script, "create_fipe_db.sql"):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / "lambda-layer").mkdir()
    for name in ("compile.mjs", "package.json", "package-lock.json"):
        shutil.copy2(ROOT / "lambda-layer" / name, tmp_path / "lambda-layer")
    for layer in ("api", "psycopg2", "query"):
        package = tmp_path / "lambda-layer/build" / layer / "python" / layer
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("WORDS = frozenset({'a', 'b', 'c'})\nfrom . import other\n")
        (package / "other.py").write_text("def f(x):\n    return [y for y in x if y in {'p', 'q', 'r'}]\n")
        requirements = tmp_path / f"lambda-layer/requirements-{layer}.txt"
        requirements.write_text(layer)
        digest = hashlib.sha256(requirements.read_bytes() + (tmp_path / script).read_bytes()).hexdigest()
        (tmp_path / f"lambda-layer/build/{layer}.sha256").write_text(digest + "\n")
    return tmp_path


@pytest.fixture
def installed(project: Path) -> Path:
    """The same, with what compiles: an npm that installs nothing, because it is there already."""
    (project / "lambda-layer/node_modules").symlink_to(ROOT / "lambda-layer/node_modules")
    return project


def build(project: Path, npm: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with an npm that ends with an exit code."""
    tools = project / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "npm").write_text(f"#!/bin/sh\nexit {npm}\n")
    (tools / "npm").chmod(0o755)
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python").chmod(0o755)
    return subprocess.run(
        ["./create_fipe_api_layer.sh"],
        cwd=project,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHON": str(tools / "python"),
            "RDS_CERTIFICATES": "none",
            "COMPILE_LAYERS": "yes",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def compiled(project: Path) -> dict[str, bytes]:
    build = project / "lambda-layer/build"
    return {path.relative_to(build).as_posix(): path.read_bytes() for path in build.rglob("*.pyc")}


def test_compiles_for_the_functions_python_which_looks_at_no_source(installed: Path):
    built = build(installed, npm="0")
    assert (built.returncode, built.stderr) == (0, "")
    assert built.stdout == "layers: compiled for Python 3.14\n"
    assert RUNTIME.name == "python3.14"
    files = compiled(installed)
    assert set(files) == {
        f"{layer}/python/{layer}/__pycache__/{module}.cpython-314.pyc"
        for layer in ("api", "psycopg2", "query")
        for module in ("__init__", "other")
    }
    for content in files.values():
        assert struct.unpack("<HxxI", content[:8]) == (MAGIC_OF_3_14, UNCHECKED)
        assert b"/opt/python/" in content, "where Lambda unpacks a layer"
    if sys.version_info[:2] == (3, 14):
        marshal.loads(next(iter(files.values()))[16:])


def test_compiles_once_and_the_same_each_time(installed: Path):
    build(installed, npm="0")
    first = compiled(installed)
    again = build(installed, npm="1")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    for folder in (installed / "lambda-layer/build").rglob("__pycache__"):
        shutil.rmtree(folder)
    build(installed, npm="0")
    assert compiled(installed) == first


def test_says_that_it_could_not_compile_and_leaves_the_layers_as_they_were(project: Path):
    built = build(project, npm="1")
    assert built.returncode == 0
    assert built.stderr == "the layers could not be compiled: each cold start will take some seconds more\n"
    assert compiled(project) == {}


def test_compiles_nothing_for_the_local_cloud(project: Path):
    built = build(project, npm="1", COMPILE_LAYERS="no")
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
