"""The commands in the documents, and which of them can run on a machine without AWS."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READMES = (ROOT / "README.md", ROOT / "README.pt-BR.md")
READMES_SPEAK = tuple(zip(READMES, ("en", "pt"), strict=True))
"""Each with the language that its commands speak, too."""
QUESTIONS = ROOT / "docs/questions.md"
FLEETS = ROOT / "docs/fleets.md"
API = ROOT / "docs/api.md"
WALKED = (ROOT / "README.md", ROOT / "docs/queries.md", ROOT / "docs/bi.md", QUESTIONS, FLEETS, API)
"""Their commands run one by one in a local cloud, in tests/e2e/test_running_cloud.py."""
DEPLOYED = (ROOT / "README.md", ROOT / "docs/deploy.md")
"""Their commands deploy, load, redrive and destroy a stage in tests/e2e/test_deploy.py."""
DEVELOPMENT = (ROOT / "CONTRIBUTING.md", ROOT / "src/fipe_simulator/README.md")
"""Their commands are for people who work on the project; no test runs them."""
DBT = (ROOT / "dbt/README.md",)
"""Its commands run on a database of their own, in tests/dbt/test_dbt.py."""

ELSEWHERE = {
    "make local": "tests/e2e/test_make_local.py",
    "make local-up": "starts the cloud that the others run in",
    "make local-down": "would stop it",
    "make clean": "would remove the .venv that runs the tests",
    "make bootstrap": "needs an account; on the local cloud in tests/e2e/test_deploy.py",
    "make check-dev": "needs an account; on the local cloud in tests/e2e/test_deploy.py",
    "make deploy-dev": "needs an account; on the local cloud in tests/e2e/test_deploy.py",
    "make diff-dev": "needs an account; on the local cloud in tests/e2e/test_deploy.py",
    "make destroy-dev": "needs an account; on the local cloud in tests/e2e/test_deploy.py",
    "fipe serve": "goes on until Ctrl-C: tests/integration/test_serve_command.py",
    "fipe mcp": "goes on until its input ends: tests/integration/test_mcp_command.py",
    "curl": "asks `fipe serve`",
    "export": "is the shell's",
}
"""Commands that do not run as they stand, by their first words, and why."""


def documents() -> list[Path]:
    """All Markdown files of the project."""
    patterns = ("*.md", "docs/*.md", "src/**/*.md", "lambda-layer/*.md", "dbt/*.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def commands(document: Path) -> list[str]:
    """The commands of the shell blocks of a document, in their order; a line that ends in \\ goes on."""
    blocks = re.findall(
        r"^```bash\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines() if line.strip()]


def runs_here(command: str) -> bool:
    """Whether a command can run as it stands in a running local cloud."""
    words = command.split()
    return " ".join(words[:2]) not in ELSEWHERE and words[0] not in ELSEWHERE


def walked_commands() -> list[str]:
    """The commands of the walked documents that run here, each once."""
    return list(dict.fromkeys(line for document in WALKED for line in commands(document) if runs_here(line)))
