"""The emulator has one seam: nothing outside it knows how it is made."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import local_cloud

EMULATOR = Path(local_cloud.__file__).parent / "aws"
SOURCES = EMULATOR.parents[1]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_nothing_outside_the_emulator_imports_it_or_moto() -> None:
    outside = [path for path in SOURCES.rglob("*.py") if not path.is_relative_to(EMULATOR)]
    imports = {(path.name, module) for path in outside for module in imported_modules(path)}
    assert len(imports) > 100
    forbidden = ("moto", "werkzeug", "local_cloud.aws")
    assert [
        each for each in imports if f"{each[1]}.".startswith(tuple(f"{name}." for name in forbidden))
    ] == []


def test_the_emulator_imports_the_local_cloud_alone() -> None:
    imports = {module for path in EMULATOR.rglob("*.py") for module in imported_modules(path)}
    packages = {module.split(".")[0] for module in imports}
    assert packages.isdisjoint({"fipe_api", "fipe_cli", "fipe_simulator", "infrastructure"})


def test_the_server_does_not_read_the_same_file_again_and_again_while_it_starts() -> None:
    """moto reads EC2's model of 3 MB per question about regions, and the instance types of all regions."""
    script = (
        "import sys\n"
        "sys.addaudithook(lambda event, given: event == 'open' and print(given[0]))\n"
        "import local_cloud.aws.server"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    opened = ended.stdout.splitlines()
    assert len([path for path in opened if "/ec2/" in path and "service-2.json" in path]) == 1
    offerings = [path for path in opened if "instance_type_offerings" in path]
    assert {Path(path).name for path in offerings} == {"us-east-1.json.gz"}
