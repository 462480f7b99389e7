"""Ends a command early with one line that says why, and an exit code for the kind of error."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg2
import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from fipe_api.load.request import LoadRequestError
from local_cloud.lifecycle import LocalCloudError
from local_cloud.postgres import PostgresError
from local_cloud.source import SourceError

INCOMPLETE = 1
"""There is no load, or it is not complete: something is missing, or in a dead letter queue."""
USAGE = 2
"""The command, its options or the load that was asked for are invalid; nothing was done."""
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


class InvalidInputsError(CliError):
    """Several inputs may be wrong at once.

    Attributes:
        problems: a line for each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems), USAGE)
        self.problems = problems


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turns an error of botocore's into a CliError that says what to do."""
    try:
        yield
    except NoRegionError as error:
        raise CliError("no AWS region: set AWS_REGION, or a region in the profile") from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise CliError(
            f"no AWS credentials ({error}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except ClientError as error:
        raise CliError(f"AWS refuses: {error}") from error
    except BotoCoreError as error:
        raise CliError(f"AWS does not answer: {error}") from error


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns every expected error into one line on stderr and the right exit code."""
    try:
        with aws_errors():
            try:
                yield
            finally:
                sys.stdout.flush()  # here, where an error of it can still be reported
    except InvalidInputsError as error:
        _end(*error.problems, exit_code=error.exit_code)
    except CliError as error:
        _end(str(error), exit_code=error.exit_code)
    except (LoadRequestError, SourceError) as error:
        _end(str(error), exit_code=USAGE)
    except (LocalCloudError, PostgresError) as error:
        _end(str(error), exit_code=UNREACHABLE)
    except psycopg2.OperationalError as error:
        _end(f"the database cannot be reached: {error}", exit_code=UNREACHABLE)
    except psycopg2.Error as error:
        _end(f"the database refuses: {error.diag.message_primary or error}", exit_code=USAGE)
    except BrokenPipeError:
        # The reader of the pipe has ended, as `head` does. Drop what Python would still write.
        sys.stdout = None
        raise typer.Exit(0) from None
    except OSError as error:
        sys.stdout = None  # it may be what cannot be written
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{error.strerror or error}", exit_code=UNREACHABLE)
    except (KeyboardInterrupt, typer.Abort):  # Abort: Ctrl-C or Ctrl-D at a question
        print("interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _end(*messages: str, exit_code: int) -> None:
    for message in messages:
        print("error:", " ".join(message.split()), file=sys.stderr)
    raise typer.Exit(exit_code) from None
