"""Who may import whom: an arrow never runs back. All imports are read, those inside functions too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CDK = {"infrastructure", "stage_settings", "fipe_api_stack", "fipe_data_stack", "app"}
MAY_IMPORT = {
    "src/fipe_api": set(),
    "src/fipe_mcp": {"fipe_query"},
    "src/fipe_query": {"fipe_api", "fipe_page"},
    "src/fipe_simulator": set(),
    "src/fipe_words": set(),
    "src/fipe_page": set(),
    "src/local_cloud": {"fipe_simulator", "fipe_words"},
    # It shares the names and settings of a stage with the CDK application.
    "src/fipe_cli": {
        "fipe_api",
        "fipe_mcp",
        "fipe_page",
        "fipe_query",
        "fipe_words",
        "local_cloud",
        "infrastructure",
        "stage_settings",
    },
    "infrastructure": CDK,
    "scripts": {"fipe_cli", "fipe_words", "infrastructure", "local_cloud", "stage_settings"},
    "benchmarks": {*CDK, "fipe_api", "fipe_query", "fipe_simulator", "local_cloud"},
    "lambda": set(),
    "app.py": CDK,
    "fipe_api_stack.py": CDK,
    "fipe_data_stack.py": CDK,
    "stage_settings.py": {*CDK, "fipe_words"},
}
OURS = {Path(name).stem for name in MAY_IMPORT}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_imports_only_what_it_may_know(name: str) -> None:
    allowed = MAY_IMPORT[name] | {Path(name).stem}
    files = sorted((ROOT / name).rglob("*.py")) if (ROOT / name).is_dir() else [ROOT / name]
    forbidden = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file in files
        for module, line in imports(file)
        if module in OURS - allowed
    ]
    assert not forbidden, "\n".join(forbidden)


def test_every_package_has_its_rule() -> None:
    assert {path.parent.name for path in (ROOT / "src").glob("*/__init__.py")} <= OURS


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """The first name of each module that the file imports, and the line."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0], node.lineno
