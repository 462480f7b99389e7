"""Says in English or Portuguese what is said before anything is installed.

It uses only Python's standard library, and runs on versions of Python that are too old for the project.
"""

import os

_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""Where gettext looks for the language; the first that is set counts."""


def say(english: str, portuguese: str) -> str:
    """The text in the language that the environment asks for, as `fipe` understands it."""
    asked = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "")
    for each in asked.lower().split(":"):
        name = each.replace("-", "_").partition("_")[0].partition(".")[0]
        if name in ("pt", "en", "c", "posix"):
            return portuguese if name == "pt" else english
    return english
