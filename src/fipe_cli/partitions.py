"""`fipe export --partitioned`: prices as Parquet files, one per month, in a folder or in a bucket of S3.

A file has a name that begins with a dot until it is whole, which readers pass over.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from fipe_api.database.partitions import FILE, FINGERPRINT, KEY, Store, export_month, file_of, folder_of
from fipe_cli.errors import USAGE, CliError
from fipe_cli.export import Selection, opened
from fipe_words import _, counted, plural
from local_cloud.command_errors import reason_of

if TYPE_CHECKING:
    from psycopg2.extensions import connection

    from fipe_cli.cloud import Cloud

S3 = "s3:"


class Place(Store, Protocol):
    """Where the files are, for people."""

    def months(self) -> list[str]:
        """The months that have files."""

    def place_of(self, month: str) -> str:
        """Where those of a month are."""


class Folder:
    """A folder of this machine. Raises CliError when something in it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def note(self, month: str) -> str | None:
        """See Store."""
        from fipe_api.database.parquet import read_note

        file = self._path / file_of(month)
        with _explained(file):
            return read_note(file, FINGERPRINT) if file.exists() else None

    @contextmanager
    def replaced(self, month: str, note: str) -> Iterator[IO[bytes]]:  # noqa: ARG002  (the file has it)
        """See Store."""
        file = self._path / file_of(month)
        with _explained(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        # With the process's id, so that two exports into one folder do not write into one file.
        with opened(file, file.with_name(f".{FILE}.{os.getpid()}.part")) as target:
            yield target

    def months(self) -> list[str]:
        """See Place."""
        return sorted(file.parent.name.removeprefix(f"{KEY}=") for file in self._path.glob(f"{KEY}=*/{FILE}"))

    def place_of(self, month: str) -> str:
        """See Place."""
        return str(self._path / folder_of(month))


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CliError(_("{file} cannot be written: {reason}", file=file, reason=reason_of(error))) from error


def find_place(cloud: "Cloud", named: Path) -> Place:
    """A folder, or the bucket that s3://bucket/prefix names, on the stage's cloud.

    Raises:
        CliError: no bucket is named, or the stage's cloud does not run.
    """
    first, *rest = named.parts or ("",)
    if first != S3:
        return Folder(named)
    if not rest:
        raise CliError(
            _("invalid FILE s3://: name a bucket, as s3://my-bucket or s3://my-bucket/fipe"), USAGE
        )
    from fipe_api.aws.bucket import Bucket

    return Bucket(cloud.client("s3"), rest[0], "/".join(rest[1:]))


@dataclass(frozen=True)
class ExportedMonths:
    """What became of the months that were asked for, each as YYYY-MM.

    Attributes:
        written: with how many prices; new or changed since the last time.
        unchanged: with how many prices.
        unfinished: those among them that are not whole in the database: loading, or part of a month.
        gone: those that the folder or bucket has, and the database no longer.
    """

    place: Place
    written: dict[str, int] = field(default_factory=dict)
    unchanged: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "folder": str(self.place), "written": self.written, "unchanged": self.unchanged,
            "unfinished": self.unfinished, "gone": self.gone,
        }  # fmt: skip

    def words(self) -> list[str]:
        """The same in sentences."""
        told = [
            _(
                "{folder}: wrote {months} with {prices}",
                folder=self.place,
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
                folder=self.place.place_of(month),
            )
            for month in self.gone
        ]
        return told


def export_months(session: "connection", selection: Selection, place: Place) -> ExportedMonths:
    """Write the file of each month that is new, or whose prices are others than those of its file.

    A reader sees each month as it was before or as it is now, never half of it.

    Raises:
        CliError: there is nothing to write, or it cannot be written.
        ClientError: S3 refuses.
    """
    parts = selection.parts(session)
    found = ExportedMonths(place)
    session.rollback()
    # A month and its fingerprint are read from one snapshot.
    session.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
    for day, part in parts.items():
        month = f"{day:%Y-%m}"
        with session:
            exported = export_month(session, day, part, place)
        if not exported.prices:
            continue
        if exported.state not in ("whole", "imported"):
            found.unfinished[month] = exported.state
        (found.written if exported.is_written else found.unchanged)[month] = exported.prices
    newest = f"{max(parts):%Y-%m}"
    there = {*found.written, *found.unchanged}
    found.gone.extend(
        month for month in place.months() if month not in there and selection.covers(month, newest)
    )
    return found
