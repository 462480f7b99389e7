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
    "tests/second_cloud/requirements.txt",
    "tests/dbt/requirements.txt",
    "lambda-layer/requirements-api.txt",
    "lambda-layer/requirements-psycopg2.txt",
    "lambda-layer/requirements-query.txt",
)


class NotAuditedError(Exception):
    """The database gave no answer; one line says why."""


def audit(lock: str) -> list[str]:
    """Prints one line about a lock file; returns one line per known vulnerability of its packages.

    Raises:
        NotAuditedError: nothing is known about any of them.
    """
    options = ["--progress-spinner", "off", "--require-hashes", "--disable-pip", "--format", "json"]
    ended = subprocess.run(
        ["pip-audit", *options, "-r", str(ROOT / lock)], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        reason = (ended.stderr.strip().splitlines() or ["no answer"])[-1]
        raise NotAuditedError(f"{lock}: not audited: {reason}") from None
    skipped = sum("skip_reason" in package for package in packages)
    if packages and skipped == len(packages):
        raise NotAuditedError(f"{lock}: not audited: {packages[0]['skip_reason']}")
    unknown = f", {skipped} unknown to the database" if skipped else ""
    print(f"{lock}: {len(packages) - skipped} of {len(packages)} packages audited{unknown}")
    return [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions'])}"
        for package in packages
        for found in package.get("vulns", ())
    ]


def main() -> int:
    """The command; exits with 1 if a pinned package has a known vulnerability, 3 if the database gives no
    answer.
    """
    try:
        found = [line for lock in LOCKS for line in audit(lock)]
    except NotAuditedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(*dict.fromkeys(found), sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
