"""The audit of dependencies, with a pip-audit that answers what the test says."""

import json
from pathlib import Path

import pytest

from scripts import audit_dependencies


def answering(folder: Path, document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "pip-audit"
    tool.write_text(f"#!/bin/sh\ncat <<'EOF'\n{document}\nEOF\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_fails_on_a_package_that_is_known_to_be_vulnerable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hole = {"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}
    packages = [
        {"name": "safe", "version": "1.0", "vulns": []},
        {"name": "leaky", "version": "2.0", "vulns": [hole]},
        {"name": "unknown", "skip_reason": "not found"},
    ]
    answering(tmp_path, json.dumps({"dependencies": packages}), monkeypatch)
    assert audit_dependencies.main() == 1
    printed = capsys.readouterr().out
    assert "2 of 3 packages audited, 1 unknown" in printed
    assert printed.count("leaky 2.0: PYSEC-2026-1, fixed in 2.1") == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "no answer"),
        ('{"dependencies": [{"name": "any", "skip_reason": "no connection"}]}', "no connection"),
    ],
)
def test_fails_when_nothing_was_audited(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    document: str,
    reason: str,
) -> None:
    answering(tmp_path, document, monkeypatch)
    assert audit_dependencies.main() == 3
    assert capsys.readouterr().err == f"error: requirements-uv.txt: not audited: {reason}\n"
