"""What ends a command early: one line that says why, and an exit code for the kind of trouble."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import typer

from fipe_api.load.request import LoadRequestError
from fipe_cli.aws_session import AwsError, aws_errors
from local_cloud.lifecycle import LocalCloudError
from local_cloud.postgres import PostgresError

INCOMPLETE = 1
"""There is no load, or it is not complete: something is missing, or in a dead letter queue."""
USAGE = 2
"""The command, its options or the load that was asked for make no sense; nothing was done."""
UNREACHABLE = 3
"""The cloud, the database or the source cannot be reached, or refuses."""
INTERRUPTED = 130


class CliError(Exception):
    """A command cannot do its work.

    Attributes:
        exit_code: what the command ends with.
    """

    def __init__(self, message: str, exit_code: int = UNREACHABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what may go wrong into one line on stderr and the exit code that fits."""
    try:
        with aws_errors():
            try:
                yield
            finally:
                sys.stdout.flush()  # here, where what goes wrong with it can be said
    except CliError as error:
        _end(str(error), error.exit_code)
    except LoadRequestError as error:
        _end(str(error), USAGE)
    except (AwsError, LocalCloudError, PostgresError) as error:
        _end(str(error), UNREACHABLE)
    except psycopg2.OperationalError as error:
        _end(f"the database cannot be reached: {error}", UNREACHABLE)
    except psycopg2.Error as error:
        _end(f"the database refuses: {error.diag.message_primary or error}", USAGE)
    except BrokenPipeError:
        # The reader of a pipe has had enough, as `head` has; what Python would still flush goes nowhere.
        sys.stdout = None
        raise typer.Exit(0) from None
    except OSError as error:
        sys.stdout = None  # which may be what cannot be written
        _end(str(error), UNREACHABLE)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)


def _end(message: str, exit_code: int) -> None:
    print("error:", " ".join(message.split()), file=sys.stderr)
    raise typer.Exit(exit_code) from None
