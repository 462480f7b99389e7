"""The commands in the READMEs, and which of them can run on a machine without AWS."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READMES = (ROOT / "README.md", ROOT / "README.pt-BR.md")

ELSEWHERE = {
    "make local": "tests/e2e/test_make_local.py",
    "make local-up": "starts the cloud that the others run in",
    "make local-down": "would stop it",
    "make clean": "would remove the .venv that runs the tests",
    "make bootstrap": "needs an account; on the local cloud in tests/e2e",
    "make deploy-dev": "needs an account; on the local cloud in tests/e2e",
    "make diff-dev": "needs an account; on the local cloud in tests/e2e",
    "make destroy-dev": "needs an account; on the local cloud in tests/e2e",
    "export": "is the shell's",
}
"""What is not run as it stands, by its first words, and why."""


def commands(readme: Path) -> list[str]:
    """The lines of the shell blocks of a README, in their order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def runs_here(command: str) -> bool:
    """Whether a command can run as it stands in a running local cloud."""
    words = command.split()
    return " ".join(words[:2]) not in ELSEWHERE and words[0] not in ELSEWHERE
