"""The emulator has one seam: nothing outside it knows how it is made."""

import ast
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
