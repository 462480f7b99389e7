"""make's command line as arguments of a command: `make load-dev BRANDS=Fiat DRY_RUN=1`.

make passes its command line on in MAKEFLAGS, with quoting of its own. Values that are read from there do not
pass through a shell, so spaces, quotes and `$` stay as they are.
"""

import re
from collections.abc import Mapping
from typing import Any

from typer.core import TyperOption

_READ_ELSEWHERE = re.compile(
    r"(AWS|NODE|PIP|REQUESTS|SSL|UV)_\w+|\w+_(PROXY|proxy)|HOME|LANG|LANGUAGE|LC_\w+|PYTHON|VENV|STAGE|VERBOSE|RDS_CERTIFICATES"
    r"|COMPILE_LAYERS|FIPE_LOCAL_DIR|FIPE_STAGE|FIPE_API_URL"
)
"""Variables of the Makefile, and of the environment of what it calls."""

_QUOTED_WORD = re.compile(r"(?:\\.|[^\\ ])+", re.DOTALL)
_ASSIGNMENT = re.compile(r"(\w+)\s*[:?+!]*=(.*)", re.DOTALL)


def given_to_make(makeflags: str) -> dict[str, str]:
    """The variables on make's command line.

    Args:
        makeflags: the value of MAKEFLAGS in a recipe.

    Returns:
        The values by name, as they were typed; `$$` counts as one `$`, as it does for make.
    """
    _, _, quoted = f" {makeflags}".partition(" -- ")
    words = (re.sub(r"(?s)\\(.)", r"\1", word) for word in _QUOTED_WORD.findall(quoted))
    found = (assignment.groups() for assignment in map(_ASSIGNMENT.fullmatch, words) if assignment)
    # make itself doubles each `$`.
    return {name: value.replace("$$", "$").replace("$$", "$") for name, value in found}


def as_arguments(parameters: list[Any], given: Mapping[str, str]) -> list[str]:
    """The arguments that stand for make's variables.

    `BRANDS=Fiat` becomes `--brands=Fiat`; `DRY_RUN=1` becomes `--dry-run`, while `DRY_RUN=0` and `DRY_RUN=`
    add nothing; `QUEUE=price` becomes the argument QUEUE. A command that takes settings gets each NAME=VALUE.

    Args:
        parameters: those of the command, as typer has them.
        given: the variables by name; an empty value counts as not given. The Makefile refuses unknown ones.
    """
    takes = {name: parameter for parameter in parameters for name in names(parameter)}
    if "SETTINGS" in takes:
        return [f"{name}={value}" for name, value in given.items() if _may_be_setting(name)]
    options, arguments = [], []
    for name, value in given.items():
        if name in takes and value:
            parameter = takes[name]
            if not isinstance(parameter, TyperOption):
                arguments.append(value)
            elif not parameter.is_flag:
                options.append(f"{_option(name)}={value}")
            elif value != "0":
                options.append(_option(name))
    return [*options, "--", *arguments]


def names(parameter: Any) -> list[str]:
    """What make may call a parameter."""
    if isinstance(parameter, TyperOption):
        return [name.removeprefix("--").replace("-", "_").upper() for name in parameter.opts]
    return [parameter.metavar or parameter.name.upper()]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-').lower()}"


def _may_be_setting(name: str) -> bool:
    return name == "FIPE_API_URL" or not _READ_ELSEWHERE.fullmatch(name)
