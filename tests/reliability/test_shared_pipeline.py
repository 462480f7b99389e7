"""Tests that share a pipeline: one that fails, or leaves something changed, does not spoil the next."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TESTS = """
from tests.aws import make_pace_table
from tests.reliability.test_faults import load_and_end_equal

STARTED = []


def test_1_leaves_the_database_down(pipeline):
    STARTED.append(pipeline)
    pipeline.postgres.stop()
    raise ValueError("a fault of this test")


def test_2_finds_a_new_pipeline(pipeline):
    assert pipeline not in STARTED
    STARTED.append(pipeline)
    load_and_end_equal(pipeline)


def test_3_shares_it_and_leaves_a_table(pipeline):
    assert pipeline is STARTED[-1]
    make_pace_table(pipeline.cloud.client("dynamodb"), "left")


def test_4_finds_a_new_pipeline(pipeline):
    assert pipeline not in STARTED
    load_and_end_equal(pipeline)
"""


@pytest.mark.faults
def test_what_a_test_breaks_stays_with_it(tmp_path: Path) -> None:
    (tmp_path / "test_spoilt.py").write_text(TESTS)
    options = ("-q", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider")
    fixtures = ("-p", "tests.conftest", "-p", "tests.reliability.conftest")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *fixtures, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR "))]
    assert {(line.split()[0], line.split("::")[1].split()[0]) for line in lines} == {
        ("FAILED", "test_1_leaves_the_database_down"),
        ("ERROR", "test_3_shares_it_and_leaves_a_table"),
    }, ended.stdout
    assert "{'tables': ['left']} != {'tables': []}" in ended.stdout
