"""Looks up every pinned package in the database of known vulnerabilities, with pip-audit."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements-uv.txt",
    "requirements.txt",
    "requirements-dev.txt",
    "lambda-layer/requirements-api.txt",
    "lambda-layer/requirements-psycopg2.txt",
)


def audit(lock: str) -> list[str]:
    """Prints one line about a lock file; returns one line per known vulnerability of its packages."""
    options = ["--progress-spinner", "off", "--require-hashes", "--disable-pip", "--format", "json"]
    ended = subprocess.run(
        ["pip-audit", *options, "-r", str(ROOT / lock)], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        print(f"{lock}: not audited: {(ended.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return []
    skipped = sum("skip_reason" in package for package in packages)
    unknown = f", {skipped} unknown to the database, or it cannot be reached" if skipped else ""
    print(f"{lock}: {len(packages) - skipped} of {len(packages)} packages audited{unknown}")
    return [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions'])}"
        for package in packages
        for found in package.get("vulns", ())
    ]


def main() -> int:
    """The command; exits with 1 if a pinned package has a known vulnerability."""
    found = [line for lock in LOCKS for line in audit(lock)]
    print(*dict.fromkeys(found), sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
