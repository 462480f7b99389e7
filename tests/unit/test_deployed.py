"""What a deploy depends on: a change of any of it is noticed, and nothing else is."""

import shutil
from pathlib import Path

import pytest

from local_cloud.deployed import INPUTS, fingerprint
from tests.conftest import ROOT

SETTINGS = {"stage": "dev", "calls_per_minute": "max"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what a deploy depends on."""
    layers = "lambda-layer/build"  # one file of each is enough
    for name in INPUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.startswith(layers):
            (tmp_path / name / "python").mkdir(parents=True)
            (tmp_path / name / "python/layer.py").touch()
        elif (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "app.py",
        "fipe_data_stack.py",
        "fipe_api_stack.py",
        "stage_settings.py",
        "infrastructure/queues.py",
        "src/fipe_api/fipe_price_loader.py",
        "src/fipe_api/database/writer.py",
        "lambda/index.py",
        "lambda-layer/build/api/python/layer.py",
        "lambda-layer/build/psycopg2/python/layer.py",
        "create_fipe_db.sql",
        "cdk.json",
        "package-lock.json",
        "requirements.txt",
    ],
)
def test_a_changed_file_is_noticed(repository: Path, name: str) -> None:
    before = fingerprint(SETTINGS, repository)
    with (repository / name).open("a") as file:
        file.write("\n")
    assert fingerprint(SETTINGS, repository) != before


def test_a_new_a_renamed_and_a_removed_file_are_noticed(repository: Path) -> None:
    seen = [fingerprint(SETTINGS, repository)]
    new = repository / "src/fipe_api/new.py"
    new.write_text("x = 1\n")
    seen.append(fingerprint(SETTINGS, repository))
    new.rename(new.with_name("newer.py"))
    seen.append(fingerprint(SETTINGS, repository))
    new.with_name("newer.py").unlink()
    assert fingerprint(SETTINGS, repository) == seen[0]
    assert len(set(seen)) == 3


@pytest.mark.parametrize("settings", [{"stage": "dev", "calls_per_minute": "40"}, {"stage": "dev"}])
def test_a_changed_setting_is_noticed(repository: Path, settings: dict[str, str]) -> None:
    assert fingerprint(settings, repository) != fingerprint(SETTINGS, repository)


def test_what_python_writes_next_to_the_code_changes_nothing(repository: Path) -> None:
    before = fingerprint(SETTINGS, repository)
    cache = repository / "src/fipe_api/__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "writer.cpython-311.pyc").write_bytes(b"compiled")
    assert fingerprint(dict(reversed(SETTINGS.items())), repository) == before


def test_what_another_make_is_building_changes_nothing(repository: Path) -> None:
    before = fingerprint(SETTINGS, repository)
    draft = repository / "lambda-layer/build/draft.Xy12ab/api/python"
    draft.mkdir(parents=True)
    (draft / "layer.py").touch()
    assert fingerprint(SETTINGS, repository) == before
