"""Says that a make target has no such variable, and suggests the one that may be meant.

    python3 scripts/unknown_variable.py BRAND local SOURCE BRANDS

Runs before anything is installed, so it uses only Python's standard library.
"""

import sys
from difflib import get_close_matches

from plain_words import say


def message(given: str, target: str, known: list[str]) -> str:
    """One line about the variable `given`, which `make target` does not have; it takes those in `known`."""
    close = get_close_matches(given.upper(), known, n=1)
    if close:
        return say(
            f"{given}: `make {target}` has no such variable; did you mean {close[0]}?",
            f"{given}: o `make {target}` não tem essa variável; você quis dizer {close[0]}?",
        )
    names = ", ".join(known)
    if known:
        return say(
            f"{given}: `make {target}` has no such variable; it takes {names}",
            f"{given}: o `make {target}` não tem essa variável; ele aceita {names}",
        )
    return say(
        f"{given}: `make {target}` has no such variable; it takes none",
        f"{given}: o `make {target}` não tem essa variável, nem outra",
    )


if __name__ == "__main__":
    print(message(sys.argv[1], sys.argv[2], sys.argv[3:]))
