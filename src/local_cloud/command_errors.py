"""Ends a command early with one line that says why, and an exit code for the kind of error."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from fipe_words import _, marked
from local_cloud.command_language import choose_language, translate_help, usage_errors

USAGE = 2
"""The command, its options, a setting or the load that was asked for are invalid; nothing was done."""
UNREACHABLE = 3
"""The cloud, the database or the source cannot be reached, or refuses; or the output cannot be written."""
INTERRUPTED = 130

SYSTEM_REASONS = (
    marked("Address already in use"),
    marked("File exists"),
    marked("Is a directory"),
    marked("No such file or directory"),
    marked("No space left on device"),
    marked("Not a directory"),
    marked("Permission denied"),
    marked("Read-only file system"),
)
"""What the system says of files and ports; in English, whatever the language."""


class CommandError(Exception):
    """A command cannot do its work.

    Attributes:
        exit_code: what the command ends with.
        problems: what is wrong, a line each.
    """

    def __init__(self, *problems: str, exit_code: int = UNREACHABLE) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.exit_code = exit_code


class CommandGroup(TyperGroup):
    """The commands of a program, which end with one line for every error, expected or not."""

    def one_line_errors(self) -> AbstractContextManager[None]:
        """Turns the expected errors of these commands into one line."""
        return one_line_errors()

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> Any:
        """Read the arguments. Before that the language is chosen: help and errors are in it."""
        with self.one_line_errors(), usage_errors():
            choose_language(args)
            translate_help(self)
            return super().make_context(info_name, args, *more, **options)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program: its help, too, may be impossible to write."""
        try:
            with one_line_errors():
                return super().main(*args, **options)
        except Exception as error:
            if os.environ.get("VERBOSE"):
                raise
            _end(
                _(
                    "unexpected {kind}: {error} (VERBOSE=1 shows where)",
                    kind=type(error).__name__,
                    error=error,
                )
            )

    def invoke(self, ctx: Any) -> Any:
        """Run the command, before typer ends it for Ctrl-C or a closed pipe in its own way."""
        with self.one_line_errors(), usage_errors():
            return super().invoke(ctx)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns every expected error into one line on stderr and the right exit code."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where an error of it can still be reported
    except CommandError as error:
        _end(*error.problems, exit_code=error.exit_code)
    except BrokenPipeError:
        # The reader of the pipe has ended, as `head` does. Drop what Python would still write.
        sys.stdout = None
        raise SystemExit(0) from None
    except OSError as error:
        sys.stdout = None  # it may be what cannot be written
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{reason_of(error)}")
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        _end(
            _(
                "the output's encoding {encoding} has no {character!r}: set PYTHONIOENCODING=utf-8",
                encoding=error.encoding,
                character=character,
            )
        )
    except (KeyboardInterrupt, typer.Abort):  # Abort: Ctrl-C or Ctrl-D at a question
        print(_("interrupted"), file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def reason_of(error: OSError) -> str:
    """Why the system refuses a file or a port, in the person's language."""
    return _(error.strerror) if error.strerror in SYSTEM_REASONS else error.strerror or str(error)


def _end(*messages: str, exit_code: int = UNREACHABLE) -> NoReturn:
    for message in messages:
        print(_("error: {text}", text=" ".join(message.split())), file=sys.stderr)
    raise SystemExit(exit_code) from None
