"""Writes prices as a folder of Parquet files, one per month, which DuckDB, Athena and Spark read in place.

    FOLDER/reference_month=2026-06/prices.parquet

These programs take the month from the folder's name, as a text, and pass over names that begin with a dot, as
a file has until it is whole. Each file has the month as a date, too, named `month`: if it were named like the
folder, they would hide it, or refuse it.
"""

import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from fipe_api.database.prices import COLUMNS, fingerprint, read_batches
from fipe_cli.errors import CliError
from fipe_cli.export import Selection, opened
from fipe_words import _, counted, plural
from local_cloud.command_errors import reason_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection

KEY = "reference_month"
FILE = "prices.parquet"
FILE_COLUMNS = ("month", *COLUMNS[1:])
"""The columns of fipe.vehicle_price, where the month has another name than in the folder's."""

FINGERPRINT = "fipe.fingerprint"
"""The name of a file's note, which says what is in it: it tells whether the month has changed since."""
LAYOUT = 1
"""Raise it when files of the same prices are to look different: then all are written anew."""


@dataclass(frozen=True)
class ExportedMonths:
    """What became of the months that were asked for, each as YYYY-MM.

    Attributes:
        written: with how many prices; new or changed since the last time.
        unchanged: with how many prices.
        unfinished: those among them that are not whole in the database: loading, or part of a month.
        gone: those that the folder has, and the database no longer.
    """

    folder: Path
    written: dict[str, int] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "folder": str(self.folder), "written": self.written, "unchanged": self.unchanged,
            "unfinished": self.unfinished, "gone": self.gone,
        }  # fmt: skip

    def words(self) -> list[str]:
        """The same in sentences."""
        told = [
            _(
                "{folder}: wrote {months} with {prices}",
                folder=self.folder,
                months=counted(len(self.written), "month"),
                prices=counted(sum(self.written.values()), "price"),
            )
        ]
        if self.unchanged:
            told.append(
                plural(
                    "{number:,} month unchanged since the last export",
                    "{number:,} months unchanged since the last export",
                    len(self.unchanged),
                )
            )
        told += [
            _("{month} is still loading: export again when it is complete", month=month)
            if state == "loading"
            else _("{month} has only the types, brands or models that were loaded", month=month)
            for month, state in self.unfinished.items()
        ]
        told += [
            _(
                "{month} has no such prices in the database any more, and its file was left: delete {folder}"
                " if you do not need it",
                month=month,
                folder=_folder_of(self.folder, month),
            )
            for month in self.gone
        ]
        return told


def export_months(session: "connection", selection: Selection, folder: Path) -> ExportedMonths:
    """Write the file of each month that is new, or whose prices are others than those of its file.

    A reader of the folder sees each month as it was before or as it is now, never half of it.

    Raises:
        CliError: there is nothing to write, or it cannot be written.
    """
    parts = selection.parts(session)
    found = ExportedMonths(folder)
    session.rollback()
    # A month and its fingerprint are read from one snapshot.
    session.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
    for day, part in parts.items():
        with session:
            _export_month(session, day, part, found)
    newest = f"{max(parts):%Y-%m}"
    there = {*found.written, *found.unchanged}
    found.gone.extend(
        month for month in _months_in(folder) if month not in there and selection.covers(month, newest)
    )
    return found


def _export_month(session: "connection", day: date, part: sql.Composed, found: ExportedMonths) -> None:
    from fipe_api.database.parquet import read_note, write_months

    month = f"{day:%Y-%m}"
    with session.cursor() as cursor:
        prices, content = fingerprint(cursor, part)
        cursor.execute("select fipe.loaded(%s)", (day,))
        ((state,),) = cursor.fetchall()
    if not prices:
        return
    if state not in ("whole", "imported"):
        found.unfinished[month] = state
    file = _folder_of(found.folder, month) / FILE
    note = f"{LAYOUT} {content}"
    try:
        if file.exists() and read_note(file, FINGERPRINT) == note:
            found.unchanged[month] = prices
            return
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(_("{file} cannot be written: {reason}", file=file, reason=reason_of(error))) from error
    # With the process's id, so that two exports into one folder do not write into one file.
    with opened(file, file.with_name(f".{FILE}.{os.getpid()}.part")) as target:
        rows = read_batches(session, COLUMNS, part)
        found.written[month] = write_months(target, FILE_COLUMNS, [rows], {FINGERPRINT: note})


def _folder_of(folder: Path, month: str) -> Path:
    return folder / f"{KEY}={month}"


def _months_in(folder: Path) -> list[str]:
    return sorted(file.parent.name.removeprefix(f"{KEY}=") for file in folder.glob(f"{KEY}=*/{FILE}"))
