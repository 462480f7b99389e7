"""Where `fipe` begins: Ctrl-C ends it in one line, also while its modules are imported."""

import sys


def main() -> None:
    """Run the command. Exits with its code; 130 when it is interrupted."""
    try:
        from fipe_cli.__main__ import app

        app(prog_name="fipe")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
