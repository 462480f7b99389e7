"""Has a command's help and usage errors in the person's language: typer's own words are English."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import typer
from typer._click.exceptions import UsageError
from typer._click.formatting import HelpFormatter

from fipe_words import ENGLISH, _, language, language_of, marked, speak, understood, understood_as

HELP = marked("Show this message and exit.")
USAGE = (marked("[OPTIONS]"), marked("COMMAND [ARGS]..."))
"""What typer writes in a command's usage."""

USAGE_ERRORS = (
    marked("{message}. Did you mean {names}?"),
    marked("No such command {name}"),
    marked("No such option: {name} (Possible options: {names})"),
    marked("No such option: {name}"),
    marked("Missing argument '{name}'."),
    marked("Missing option '{name}'."),
    marked("Got unexpected extra argument(s) ({arguments})"),
    marked("Option '{name}' requires an argument."),
    marked("Option '{name}' does not take a value."),
    marked("Invalid value for '{name}': {message}"),
    marked("Value error, {message}"),
    marked("{value} is not one of {known}."),
    marked("Input should be a valid integer, unable to parse string as an integer"),
    marked("Input should be greater than or equal to {least}"),
    marked("Input should be less than or equal to {most}"),
)
"""What typer, and pydantic for it, say of wrong arguments; the first that fits counts."""


class _Formatter(HelpFormatter):
    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        for word in USAGE:
            args = args.replace(word, _(word))
        super().write_usage(prog, args, _("Usage: ") if prefix is None else prefix)

    def write_dl(self, rows: Sequence[tuple[str, str]], *more: Any, **options: Any) -> None:
        spoken = [(term, _(HELP) if text == HELP else text) for term, text in rows]
        super().write_dl(spoken, *more, **options)


class _Context(typer.Context):
    formatter_class = _Formatter


def choose_language(args: Sequence[str]) -> None:
    """Speak the language that --lang names among the arguments, or else the environment."""
    speak(_asked_for(args) or language_of(os.environ))


def translate_help(command: Any) -> None:
    """Put the help of a program, and of all its commands, into the language that is spoken."""
    for holder, attribute in help_texts(command):
        setattr(holder, attribute, _(getattr(holder, attribute)))
    command.context_class = _Context
    for each in _commands_in(command):
        each.context_class = _Context
        # The whole first sentence; typer would cut it off at the end of the line.
        each.short_help = re.split(r"(?<=\.)\s", each.help or "", maxsplit=1)[0]


def _commands_in(command: Any) -> Iterator[Any]:
    """The commands of a program, and those of its groups of commands."""
    for each in getattr(command, "commands", {}).values():
        yield each
        yield from _commands_in(each)


def help_texts(command: Any) -> Iterator[tuple[Any, str]]:
    """Where a command, its parameters and the commands in it keep their help; at first it is English."""
    for attribute in ("help", "epilog"):
        if getattr(command, attribute):
            yield command, attribute
    yield from ((parameter, "help") for parameter in command.params if getattr(parameter, "help", None))
    for each in getattr(command, "commands", {}).values():
        yield from help_texts(each)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Says wrong arguments in the language that is spoken; English is left to typer."""
    try:
        yield
    except UsageError as error:
        if language() == ENGLISH:
            raise
        if error.ctx:
            print(error.ctx.get_usage(), file=sys.stderr)
            print(_("Try '{command} --help' for help.", command=error.ctx.command_path), file=sys.stderr)
            print(file=sys.stderr)
        text = understood_as(error.format_message(), USAGE_ERRORS)
        print(_("Error: {text}", text=text), file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def _asked_for(args: Sequence[str]) -> str | None:
    """The language that --lang names, which counts for errors in the other arguments, too."""
    for name, value in pairwise([*args, ""]):
        if name == "--lang" or name.startswith("--lang="):
            return understood(value if name == "--lang" else name.partition("=")[2])
    return None
