"""Where `fipe` begins: Ctrl-C ends it in one line, also while its modules are imported."""

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Run the command. Exits with its code; 130 when it is interrupted."""
    if sys.stdout is None:  # closed, as by `>&-` in a shell; rich and csv need one
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  it stays open to the end
    if sys.stdin is None:  # closed, as by `<&-`; then there is nothing to read
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    try:
        from fipe_cli.__main__ import app

        app(prog_name="fipe")
    except KeyboardInterrupt:
        from fipe_words import _

        print(_("interrupted"), file=sys.stderr)
        sys.exit(130)
    finally:
        # All is done, but Python cleans up for a while: a Ctrl-C now is not to change how it ended.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
