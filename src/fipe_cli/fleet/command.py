"""`fipe value`: reads a fleet, values it, writes it again, and adds it up."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from fipe_cli.errors import USAGE, CliError
from fipe_cli.export import opened
from fipe_cli.fleet.columns import find_columns
from fipe_cli.fleet.files import opened_fleet
from fipe_cli.fleet.valuation import Totals, new_columns, value_fleet
from fipe_cli.fleet.writing import check_ending, writer_of
from fipe_cli.month import check_month, find_month
from fipe_words import _

if TYPE_CHECKING:
    from psycopg2.extensions import connection


def check_options(file: Path, output: Path | None, month: str, since: str) -> None:
    """Raises CliError when a month is none, no format has the output's ending, or it is the fleet's file."""
    if output:
        check_ending(output)
        if output.exists() and file.exists() and output.samefile(file):
            raise CliError(
                _("invalid --output {output}: it is the list itself; choose another name", output=output),
                USAGE,
            )
    check_month("--month", month)
    check_month("--since", since)


def value(
    session: "connection",
    file: Path,
    output: Path | None,
    *,
    month: str,
    since: str,
    told: Mapping[str, str],
    decimal_comma: bool | None,
) -> Totals:
    """Values a fleet.

    Args:
        session: of fipe_reader, in no transaction. All rows are valued as of one moment.
        file: the fleet; `-` is standard input.
        output: where its rows go with what they are worth; `-` is standard output, None nowhere.
        month: as 2026-06; empty means the newest.
        since: an earlier month to compare with; empty means none.
        told: columns by field, as the user says.
        decimal_comma: whether text has decimal commas; by default as the file's delimiter suggests.

    Raises:
        CliError: the file is no fleet, the database has no such month, or the output cannot be written.
    """
    with ExitStack() as opening:
        fleet = opening.enter_context(opened_fleet(file))
        columns = find_columns(fleet.name, fleet.columns, told)
        session.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
        earlier = find_month(session, since, "--since") if since else None
        totals = Totals(find_month(session, month or "latest"), earlier)
        more = new_columns(fleet, earlier)
        writer = None
        if output:
            target = opening.enter_context(opened(output))
            kinds = {column.name: column.kind for column in more}
            writer = writer_of(fleet, output, target, kinds, decimal_comma=decimal_comma)
        value_fleet(session, fleet, columns, totals, more, writer)
    return totals
