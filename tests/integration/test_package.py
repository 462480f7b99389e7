"""The installed package: `fipe` runs its own clone's code on its own clone's database, in any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.postgres import PostgresCluster

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ("src", "infrastructure", "stage_settings.py", "pyproject.toml", "README.md")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with a `fipe` and a database of its own."""
    folder = _copy(tmp_path_factory.mktemp("first clone é") / "fipe")
    before = _files(folder)
    _install(folder)
    assert _files(folder) == before, "the install leaves nothing in the folder but .venv"
    cluster = PostgresCluster(folder / ".local/postgres/FipeDataStack-dev-cluster")
    cluster.start()
    try:
        cluster.set_up(user="postgres", password="secret", database="fipedata")
        yield folder
    finally:
        cluster.stop()


@pytest.fixture
def other_clone(tmp_path: Path) -> Path:
    """Another clone, whose code only says whose it is, with a database that does not run."""
    folder = _copy(tmp_path / "other")
    for package in ("fipe_cli", "fipe_api", "local_cloud", "infrastructure"):
        (_package(folder, package) / "__init__.py").write_text("raise SystemExit('the other clone')")
    (folder / "stage_settings.py").write_text("raise SystemExit('the other clone')")
    database = folder / ".local/postgres/FipeDataStack-dev-cluster"
    database.mkdir(parents=True)
    (database / "connection.json").write_text("{}")
    return folder


def test_fipe_does_not_import_from_the_folder_it_runs_in(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "csv.py").write_text("raise SystemExit('the csv.py of this folder')")
    assert _data_directory(clone, tmp_path) == str(_database(clone))


@pytest.mark.parametrize("folder", ["", "src", "src/fipe_cli"])
def test_fipe_inside_another_clone_uses_its_own_code_and_database(
    clone: Path, other_clone: Path, folder: str
) -> None:
    assert _data_directory(clone, other_clone / folder) == str(_database(clone))


@pytest.mark.parametrize("module", ["infrastructure", "stage_settings"])
def test_what_the_command_shares_with_the_cdk_can_be_imported_anywhere(
    clone: Path, other_clone: Path, module: str
) -> None:
    code = f"import {module}; print({module}.__file__)"
    ended = _run([clone / ".venv/bin/python", "-P", "-c", code], other_clone)
    assert Path(ended.stdout.strip()).is_relative_to(clone), ended.stderr


def _copy(folder: Path) -> Path:
    """Copies the packages, without what other tests are compiling at this moment."""
    folder.mkdir()
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def _package(clone: Path, name: str) -> Path:
    return clone / name if (clone / name).is_dir() else clone / "src" / name


def _install(clone: Path) -> None:
    """Installs the project as make does, in addition to the packages of this test's Python."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "`make setup` installs uv"
    environment = {**os.environ, "VIRTUAL_ENV": str(clone / ".venv")}
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(clone / ".venv")],
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation", "-e", str(clone)],
    ):
        if "pip" in command:
            _borrow_packages(clone)
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr


def _borrow_packages(clone: Path) -> None:
    (site_packages,) = (clone / ".venv/lib").glob("python*/site-packages")
    # Its own .pth files do not count in there: this clone's code does not come along.
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))


def _data_directory(clone: Path, folder: Path) -> str:
    ended = _run([clone / ".venv/bin/fipe", "psql", "-XAtc", "show data_directory"], folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.strip()


def _database(clone: Path) -> Path:
    return clone / ".local/postgres/FipeDataStack-dev-cluster/data"


def _run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "FIPE_", "PYTHON", "VIRTUAL_ENV"))
    }
    return subprocess.run(
        command, cwd=folder, env=kept, capture_output=True, text=True, check=False, timeout=60
    )


def _files(folder: Path) -> set[Path]:
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if ".venv" not in path.parts and "__pycache__" not in path.parts
    }
