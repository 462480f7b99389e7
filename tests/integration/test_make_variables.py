"""A variable that make does not know is refused before anything starts, with the one that may be meant."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["local", "BRAND=Fiat"], "BRAND: `make local` has no such variable; did you mean BRANDS?"),
        (["local", "RATES=max"], "did you mean RATE?"),
        (["local", "brands=Fiat"], "did you mean BRANDS?"),
        (["local", "REFERENC=2026-06"], "did you mean REFERENCE?"),
        (["local", "BRAND=Fiat Uno", "TYPES=car"], "did you mean BRANDS?"),
        (["local", "ZZZ=1"], "it takes SOURCE, CATALOGUE, REFERENCE, TYPES, BRANDS, RATE, WEBHOOK_URL, JSON"),
        (["local", "PORT=8000"], "PORT: `make local` has no such variable"),
        (["local-up", "PROT=8000"], "did you mean PORT?"),
        (["local-psql", "ARG=-l"], "did you mean ARGS?"),
        (["local-down", "ALL=1"], "it takes none"),
        (["bench", "BENCHES=scale"], "did you mean BENCH?"),
        (["load-dev", "BRAND=Fiat"], "BRAND: `make load-dev` has no such variable; did you mean BRANDS?"),
        (["destroy-prd", "FORCE=1"], "it takes CONFIRM, YES"),
        (["redrive-stg", "RATES=1"], "did you mean RATE?"),
        (["bootstrap", "FORCE=1"], "it takes none"),
        (["audit", "LOCK=requirements.txt"], "it takes none"),
        (["BRANDS=Fiat"], "BRANDS: `make help` has no such variable"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_variable_is_refused_in_one_line(arguments: list[str], words: str) -> None:
    ended = _make(*arguments)
    assert ended.returncode != 0
    (line,) = ended.stderr.splitlines()
    assert words in line
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["local", "BRAND=Fiat"], "BRAND: o `make local` não tem essa variável; você quis dizer BRANDS?"),
        (["local-up", "MARCAS=Fiat"], "essa variável; ele aceita PORT, SOURCE, CATALOGUE, RATE"),
        (["local-down", "ALL=1"], "ALL: o `make local-down` não tem essa variável, nem outra"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("language", ["pt", "pt_BR", "fr:pt_BR"])
def test_and_in_portuguese_where_the_environment_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, language: str, arguments: list[str], words: str
) -> None:
    monkeypatch.setenv("LANGUAGE", language)
    assert words in _make(*arguments).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["local", "BRANDS=Fiat", "RATE=max", "VERBOSE=1", "PYTHON=python3"],
        ["local-up", "PORT=0", "FIPE_API_URL=http://localhost:1"],
        ["local-psql", "ARGS=-Atc 'select 1, $$1'"],
        ["local-up", "local-status", "PORT=8000"],
        ["load-dev", "status-dev", "BRANDS=Fiat", "RUN=7", "AWS_PROFILE=me"],
        ["deploy-dev", "VPC_ID=vpc-1", "LAMBDA_TIMEOUT_MINUTES=3"],
    ],
    ids=" ".join,
)
def test_a_known_variable_is_not(arguments: list[str]) -> None:
    ended = _make("--dry-run", *arguments)
    assert ended.returncode == 0, ended.stderr


def test_python_keeps_what_it_compiles_even_where_a_container_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in _make("--eval=show: ; @env", "show").stdout


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=False, timeout=60
    )
