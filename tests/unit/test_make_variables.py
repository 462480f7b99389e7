"""make's command line as options of a command, with any characters."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from fipe_cli.__main__ import app
from fipe_cli.make_variables import as_arguments, given_to_make, names
from tests.conftest import ROOT

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def arguments(command: str, **given: str) -> list[str]:
    return as_arguments(COMMANDS[command].params, given)


@pytest.mark.parametrize(
    "value",
    [
        "Fiat", "Rolls-Royce,Land Rover", "two  spaces", "tab\there", "it's", '"double"', "a$b", "$HOME",
        "$(shell id)", "back\\slash", "a -- B=c", "a=b", "é ü", "`id`; id & | > <", "#no comment",
        "two\nlines", " around ", "*",
    ],
)  # fmt: skip
def test_values_survive_make(tmp_path: Path, value: str) -> None:
    recipe = f'@"{sys.executable}" -c \'import os; print(os.environ["MAKEFLAGS"], end="")\''
    (tmp_path / "Makefile").write_text(f"all:\n\t{recipe}\n")
    command = ["make", "--no-print-directory", "-s", f"VALUE={value}", "OTHER=1"]
    makeflags = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    # make itself takes the spaces in front of a value away.
    assert given_to_make(makeflags) == {"VALUE": value.lstrip(" "), "OTHER": "1"}


def test_a_dollar_may_also_be_written_as_make_wants_it() -> None:
    assert given_to_make(" -- X=a$$$$b") == {"X": "a$b"}


@pytest.mark.parametrize("makeflags", ["", "s", "-j2 --jobserver-auth=3,4", "ks -j2"])
def test_without_variables_nothing_is_given(makeflags: str) -> None:
    assert given_to_make(makeflags) == {}


def test_variables_are_options_and_arguments() -> None:
    assert arguments("load", BRANDS="Land Rover", DRY_RUN="1") == ["--brands=Land Rover", "--dry-run", "--"]
    assert arguments("load", DRY_RUN="0", BRANDS="") == ["--"]
    assert arguments("redrive", QUEUE="price", RATE="20") == ["--rate=20", "--", "price"]
    assert arguments("status", RUN="7") == ["--", "7"]
    assert arguments("destroy", CONFIRM="1") == ["--confirm", "--"]
    assert arguments("logs", SINCE="2h", FOLLOW="1") == ["--since=2h", "--follow", "--"]


def test_a_deploy_takes_every_variable_as_a_setting_but_those_that_are_read_elsewhere() -> None:
    given = {"VPC_ID": "vpc-1", "COST_CENTRE": "a b", "FIPE_API_URL": "http://x", "BATCHSIZE": "5"}
    elsewhere = {"AWS_PROFILE": "me", "HTTPS_PROXY": "http://proxy", "PYTHON": "python3.12", "STAGE": "dev"}
    assert arguments("deploy", **given, **elsewhere) == [f"{name}={value}" for name, value in given.items()]


@pytest.mark.parametrize(
    "target",
    ["local", "bootstrap", "destroy-dev", "load-dev", "status-stg", "resume-prd", "redrive-dev", "logs-dev"],
)
def test_make_knows_the_variables_of_each_command(target: str) -> None:
    known = subprocess.run(
        ["make", "-s", f"--eval=shown: ; @echo $(KNOWN.$(or $(call action,{target}),{target}))", "shown"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(known) == {
        name for parameter in COMMANDS[target.partition("-")[0]].params for name in names(parameter)
    }
