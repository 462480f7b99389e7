"""Ends a command early with one line that says why, and an exit code for the kind of error."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg2
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from psycopg2.errors import InvalidSchemaName, UndefinedColumn, UndefinedFunction, UndefinedTable

from fipe_api.load.request import LoadRequestError
from fipe_cli.function_words import understood_of_database
from fipe_words import _
from local_cloud import command_errors
from local_cloud.command_errors import INTERRUPTED, UNREACHABLE, USAGE, CommandError

__all__ = [
    "INCOMPLETE", "INTERRUPTED", "UNREACHABLE", "USAGE", "CliError", "InvalidInputsError", "aws_errors",
    "one_line_errors",
]  # fmt: skip

INCOMPLETE = 1
"""There is no load, or it is not complete: something is missing, or in a dead letter queue."""


NOT_THERE = (InvalidSchemaName, UndefinedTable, UndefinedColumn, UndefinedFunction)
"""psycopg2's errors for a name that the database does not know."""


class CliError(CommandError):
    """A command of `fipe` cannot do its work."""

    def __init__(self, message: str, exit_code: int = UNREACHABLE) -> None:
        super().__init__(message, exit_code=exit_code)


class InvalidInputsError(CommandError):
    """Several inputs may be wrong at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(*problems, exit_code=USAGE)


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turns an error of botocore's into a CliError that says what to do."""
    try:
        yield
    except NoRegionError as error:
        raise CliError(_("no AWS region: set AWS_REGION, or a region in the profile")) from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise CliError(
            _(
                "no AWS credentials ({error}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY",
                error=error,
            )
        ) from error
    except ClientError as error:
        raise CliError(_("AWS refuses: {error}", error=error)) from error
    except EndpointConnectionError as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        if not endpoint:
            raise CliError(_("AWS does not answer: {error}", error=error)) from error
        raise CliError(
            _(
                "nothing answers at {endpoint}, which AWS_ENDPOINT_URL names: if that was the local cloud,"
                " run `make local-up`, or forget it with `unset AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID"
                " AWS_SECRET_ACCESS_KEY`",
                endpoint=endpoint,
            )
        ) from error
    except BotoCoreError as error:
        raise CliError(_("AWS does not answer: {error}", error=error)) from error


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns every expected error into one line on stderr and the right exit code."""
    with command_errors.one_line_errors(), aws_errors():
        try:
            yield
        except LoadRequestError as error:
            raise CliError(_(error.template, **error.values), USAGE) from error
        except psycopg2.OperationalError as error:
            raise CliError(_("the database cannot be reached: {error}", error=error)) from error
        except NOT_THERE as error:
            raise CliError(
                _(
                    "{problem}: the database's schema is older than this `fipe`, or missing;"
                    " deploy the stage again",
                    problem=understood_of_database(error.diag.message_primary or str(error)),
                )
            ) from error
        except psycopg2.Error as error:
            raise CliError(
                _(
                    "the database refuses: {problem}",
                    problem=understood_of_database(error.diag.message_primary or str(error)),
                ),
                USAGE,
            ) from error
