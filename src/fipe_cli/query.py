"""Ask the database one question, and print its answer as a table, CSV or JSON Lines."""

import csv
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import psycopg2
from msgspec.json import Encoder
from psycopg2 import sql
from psycopg2.errors import (
    DatetimeFieldOverflow,
    InvalidCursorDefinition,
    InvalidDatetimeFormat,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from psycopg2.extensions import PYDATE, PYDATETIME, PYDATETIMETZ, new_array_type, new_type, register_type
from rich.console import Console

from fipe_cli.errors import NOT_THERE, USAGE, CliError
from fipe_cli.function_words import understood_of_database
from fipe_cli.table import Row, print_table, spelled
from fipe_words import _
from local_cloud.sentences import console_of_sentences

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Form = Literal["table", "csv", "json"]

Cast = Callable[[str | None, Any], Any]
"""Makes a Python value of the text that PostgreSQL sent; its second argument is psycopg2's cursor."""

ROWS_OF_A_TABLE = 1_000
"""A table's widths depend on all its rows, so it shows no more than this; CSV and JSON give all rows."""
ROWS_AT_A_TIME = 10_000

CURSOR = "fipe_query"
OPEN_CURSOR = sql.SQL("declare answer refcursor := {}; begin open answer for execute {}; end")

TEXT = {"bytea": (17, 1001), "interval": (1186, 1187)}
"""Types that are printed as PostgreSQL writes them, with its numbers of each type and of its arrays."""
TIMES = {
    "date": (1082, 1182, PYDATE),
    "timestamp": (1114, 1115, PYDATETIME),
    "timestamptz": (1184, 1185, PYDATETIMETZ),
}

NAMES: dict[type[psycopg2.Error], str] = {
    UndefinedTable: "select relname from pg_class where relnamespace = to_regnamespace('fipe')"
    " and relkind in ('r', 'v')",
    UndefinedColumn: "select distinct attname from pg_attribute join pg_class on pg_class.oid = attrelid"
    " where relnamespace = to_regnamespace('fipe') and relkind in ('r', 'v')"
    r" and %(statement)s ~ ('\m' || relname || '\M')",
    UndefinedFunction: "select distinct proname from pg_proc where pronamespace = to_regnamespace('fipe')",
}
"""How to list what a query may have meant, by what it named wrong; columns are those of what it reads."""

_ENCODER = Encoder(decimal_format="number", enc_hook=str)


def read_statement(sql: str) -> str:
    """The statement; `-` stands for standard input.

    Raises:
        CliError: it holds what PostgreSQL does not take as text.
    """
    try:
        statement = sys.stdin.read() if sql == "-" else sql
        statement.encode()
    except UnicodeError as error:
        raise CliError(_("invalid query: it is not text in UTF-8"), USAGE) from error
    if "\0" in statement:
        raise CliError(_("invalid query: it holds a NUL character"), USAGE)
    return statement


def answer(
    session: "connection", statement: str, form: Form, console: Console, *, wide: bool = False
) -> None:
    """Print the rows that the database returns; JSON is one object per line.

    Args:
        session: a connection that is in no transaction.
        statement: one statement that returns rows.
        form: how to print the rows.
        console: where a table goes.
        wide: print all columns of a table, however wide it is.

    Raises:
        CliError: this is not one statement that returns rows, or JSON cannot hold two columns of one name.
        psycopg2.Error: the database refuses it.
    """
    _read_every_value(session)
    session.notices.clear()
    _open_cursor(session, statement)
    with session.cursor(CURSOR) as cursor:
        rows = cursor.fetchmany(ROWS_AT_A_TIME)
        columns = [column.name for column in cursor.description or ()]
        if form == "table":
            _print_table(session, console, columns, rows, wide)
        else:
            _print_lines(cursor, form, columns, rows)
    # What the questions say of their months. PostgreSQL repeats it for each place of a query.
    for notice in dict.fromkeys(session.notices):
        console_of_sentences(stderr=True).print(
            understood_of_database(notice.removeprefix("NOTICE:").strip()), markup=False
        )


def _print_lines(cursor: Any, form: Form, columns: list[str], rows: list[Row]) -> None:
    write = _csv_writer(columns) if form == "csv" else _json_writer(columns)
    while rows:
        for row in rows:
            write(row)
        rows = cursor.fetchmany(ROWS_AT_A_TIME)


def _read_every_value(session: "connection") -> None:
    """Have psycopg2 also read what Python cannot hold, such as '4713-01-01 BC', 'infinity' or '1 month'."""
    casts = [(name, *numbers, lambda value, _: value) for name, numbers in TEXT.items()]
    casts += [(name, number, of_array, _or_text(cast)) for name, (number, of_array, cast) in TIMES.items()]
    for name, number, number_of_array, cast in casts:
        one = new_type((number,), name, cast)
        register_type(one, session)
        register_type(new_array_type((number_of_array,), f"{name}[]", one), session)


def _or_text(cast: Cast) -> Cast:
    """The value, or PostgreSQL's text when Python has no such time."""

    def read(value: str | None, cursor: Any) -> Any:
        if value in (None, "infinity", "-infinity"):
            return value
        try:
            return cast(value, cursor)
        except ValueError:
            return value

    return read


def _open_cursor(session: "connection", statement: str) -> None:
    """Have the server open a cursor for the statement.

    `open ... for execute` takes one statement that returns rows, and nothing else; the server checks it.
    With a cursor, memory stays flat however many rows there are.
    """
    block = OPEN_CURSOR.format(sql.Literal(CURSOR), sql.Literal(statement)).as_string(session)
    with session.cursor() as cursor:
        try:
            cursor.execute("do %s", (block,))
        except NOT_THERE as error:
            raise _explained(session, statement, error) from error
        except (InvalidDatetimeFormat, DatetimeFieldOverflow) as error:
            said = error.diag.message_primary
            raise CliError(
                _("{problem}: a date is written as 2026-06-01, a month's is its first day", problem=said),
                USAGE,
            ) from error
        except InvalidCursorDefinition as error:
            raise CliError(
                _(
                    "`fipe query` takes one statement that returns rows, such as select or explain;"
                    " for anything else use `fipe psql`"
                ),
                USAGE,
            ) from error


def _explained(session: "connection", statement: str, error: psycopg2.Error) -> CliError:
    """What of the statement does not exist, and what is called something like it."""
    session.rollback()
    with session.cursor() as cursor:
        cursor.execute("select to_regnamespace('fipe') is not null")
        ((has_schema,),) = cursor.fetchall()
        cursor.execute(NAMES.get(type(error), "select null where false"), {"statement": statement})
        names = [name for (name,) in cursor.fetchall()]
    if not has_schema:
        return CliError(_("the database has no schema fipe: deploy the stage (again)"))
    said = (error.diag.message_primary or str(error)).splitlines()[0]
    asked = re.search(r"\b(fipe\.)?(\w+)(?=\W*(?:\(.*\))? does not exist)", said)
    schema, name = asked.groups() if asked else (None, "")
    return CliError(f"{understood_of_database(said)}: {_hint(error, statement, schema, name, names)}", USAGE)


def _hint(error: psycopg2.Error, statement: str, schema: str | None, name: str, names: Sequence[str]) -> str:
    """What may have been meant by a name that does not exist, with its schema if it had one."""
    if schema and name in names:
        return _(
            "look at its arguments with `fipe psql -c '\\df fipe.{name}'`; months are text, as '2026-06'",
            name=name,
        )
    of_column = isinstance(error, UndefinedColumn)
    if of_column and f'"{name}"' in statement and name.lower() not in names:
        return _("text stands in single quotes, as in 'Fiat'; what double quotes hold is a column")
    if of_column:
        meant = difflib.get_close_matches(name, [each for each in names if each != name], n=3)
    else:
        close = [name] if name in names else difflib.get_close_matches(name, names, n=3)
        meant = [f"fipe.{each}" for each in close]
    if meant:
        return _("did you mean {names}?", names=", ".join(meant))
    return _("`fipe psql -c '\\dv fipe.*'` lists what there is")


def _csv_writer(columns: list[str]) -> Callable[[Row], object]:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    return lambda row: writer.writerow([_in_csv(cell) for cell in row])


def _in_csv(cell: Any) -> Any:
    if isinstance(cell, bool):
        return spelled(cell)
    return as_json(cell) if isinstance(cell, list | dict) else cell


def _json_writer(columns: list[str]) -> Callable[[Row], object]:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise CliError(
            _(
                "JSON cannot hold two columns of the same name: rename {names} with `as`",
                names=", ".join(twice),
            ),
            USAGE,
        )
    return lambda row: print(as_json(dict(zip(columns, row, strict=True))))


def _print_table(
    session: "connection", console: Console, columns: list[str], rows: list[Row], wide: bool
) -> None:
    shown = rows[:ROWS_OF_A_TABLE]
    print_table(console, columns, shown, wide=wide)
    if len(rows) > len(shown):
        with session.cursor() as cursor:
            cursor.execute(sql.SQL("move all in {}").format(sql.Identifier(CURSOR)))
            total = len(rows) + cursor.rowcount
        console.print(
            _("the first {shown:,} of {total:,} rows; --csv gives all", shown=len(shown), total=total)
        )


def as_json(value: Any) -> str:
    """A value of the database as JSON: numbers with all their decimals, dates and times as ISO 8601.

    NaN and infinity, which JSON does not have, become null.
    """
    return _ENCODER.encode(_finite(value)).decode()


def _finite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value
