"""How commands print: words for people, documents for programs."""

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fipe_cli.errors import USAGE, CliError
from fipe_words import _

if TYPE_CHECKING:
    from fipe_cli.query import Form

plain_console = partial(Console, highlight=False, markup=False, emoji=False)
console = plain_console()


def progress_console(as_json: bool) -> Console:
    """Where progress goes: with --json, standard output holds nothing else."""
    return plain_console(stderr=True) if as_json else console


def form_of(as_json: bool, as_csv: bool) -> "Form":
    """How to print rows. Raises CliError when both are asked for."""
    if as_json and as_csv:
        raise CliError(_("invalid options: use --json or --csv, not both"), USAGE)
    return "json" if as_json else "csv" if as_csv or not console.is_terminal else "table"


def say(console: Console, sentence: str) -> None:
    """Prints whole words on a terminal, and whole lines anywhere else."""
    console.print(sentence, soft_wrap=not console.is_terminal)


def print_answer(document: dict[str, Any], words: list[str], as_json: bool) -> None:
    """Prints the document as JSON, or else the words."""
    if as_json:
        print(json.dumps(document))
    else:
        for text in words:
            say(console, text)
