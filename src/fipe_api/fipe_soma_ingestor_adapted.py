"""The ingestor without AWS: writes JSON Lines into any PostgreSQL that has the schema.

A line is a message of the price queue (to replay it) or a row of fipe.vehicle_price (to import it):

    python -m fipe_api.fipe_soma_ingestor_adapted --dsn "$DSN" prices.jsonl
    psql "$DSN" -Atc 'select to_json(p) from fipe.vehicle_price p' | python -m ... --dsn "$OTHER" -
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from typing import IO, TYPE_CHECKING, NamedTuple

import psycopg2
from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import asdict
from psycopg2.errors import InvalidSchemaName, UndefinedColumn, UndefinedFunction, UndefinedTable

from fipe_api.database.writer import PriceRow, ReferenceMismatchError, write_messages, write_rows
from fipe_api.messages import (
    PRICE_QUEUE,
    Code,
    ModelYear,
    PriceQueueMessage,
    SmallCode,
    Text,
    VehicleType,
    check_fipe_code,
    check_month,
    check_price,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection

NO_SCHEMA = (InvalidSchemaName, UndefinedColumn, UndefinedFunction, UndefinedTable)
LINES_PER_TRANSACTION = 5_000
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""


class NotJsonLinesError(ValueError):
    """The file is something else, such as CSV."""


class VehiclePrice(Struct):
    """A row of fipe.vehicle_price; zero_km is ignored, because it follows from the model year."""

    reference_month: date
    reference_code: Code
    vehicle_type: VehicleType
    brand_code: Code
    brand: Text
    model_code: Code
    model: Text
    model_year: ModelYear
    fuel_code: SmallCode
    fuel: Text
    fipe_code: str
    price_brl: Decimal

    def __post_init__(self) -> None:
        self.fipe_code = self.fipe_code.strip()
        check_month(self.reference_month)
        check_fipe_code(self.fipe_code)
        check_price(self.price_brl)


class _Kind(Struct):
    """A message says its kind; a row of the view has none."""

    kind: str | None = None


class Line(NamedTuple):
    """A line that could be read, with its number in the file."""

    number: int
    content: PriceQueueMessage | VehiclePrice


_KIND, _ROW = Decoder(_Kind), Decoder(VehiclePrice)


class Totals(NamedTuple):
    """How many lines were read and how many of them refused, and how many prices were new or changed."""

    lines: int = 0
    refused: int = 0
    changed: int = 0


def ingest(lines: Iterable[str | bytes], dsn: str, report: IO[str] = sys.stderr) -> Totals:
    """Writes JSON Lines into the database at the DSN, 5,000 lines per transaction.

    A line that cannot be read or written is reported with its number; the others are written. Empty lines do
    not count.

    Raises:
        NotJsonLinesError: none of the first lines is a JSON object; nothing was written.
        psycopg2.Error: the database failed; the lines before these 5,000 were written.
    """
    totals = Totals()
    with closing(psycopg2.connect(dsn)) as connection:
        numbered = _numbered(lines)
        while chunk := list(itertools.islice(numbered, LINES_PER_TRANSACTION)):
            if not totals.lines and not any(text.lstrip().startswith(b"{") for _, text in chunk):
                begins = chunk[0][1][:40].decode(errors="replace").strip()
                raise NotJsonLinesError(f"this is not JSON Lines, it begins with {begins!r}")
            parsed = list(_parse(chunk, report))
            changed, refused = _write(connection, parsed, report)
            totals = Totals(
                totals.lines + len(chunk),
                totals.refused + len(chunk) - len(parsed) + refused,
                totals.changed + changed,
            )
            print(f"{totals.lines} lines, {totals.changed} prices new or changed", file=report)
    return totals


def _numbered(lines: Iterable[str | bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, as bytes and with their numbers; a byte order mark is left out."""
    for number, line in enumerate(lines, start=1):
        text = line.encode(errors="surrogatepass") if isinstance(line, str) else line
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if text.strip():
            yield number, text


def _parse(numbered: Iterable[tuple[int, bytes]], report: IO[str]) -> Iterator[Line]:
    for number, text in numbered:
        try:
            decoder = _ROW if _KIND.decode(text).kind is None else PRICE_QUEUE
            yield Line(number, decoder.decode(text))
        except (ValueError, RecursionError) as error:
            _refuse(number, error, report)


def _write(connection: "connection", lines: Sequence[Line], report: IO[str]) -> tuple[int, int]:
    """Writes lines, in halves if the database refuses one; returns prices changed and lines refused."""
    messages = [line.content for line in lines if not isinstance(line.content, VehiclePrice)]
    rows = [PriceRow(**asdict(line.content)) for line in lines if isinstance(line.content, VehiclePrice)]
    try:
        changed = write_messages(connection, messages).changed if messages else 0
        return changed + (write_rows(connection, rows).changed if rows else 0), 0
    except (psycopg2.DataError, psycopg2.IntegrityError, ReferenceMismatchError) as error:
        if len(lines) == 1:
            _refuse(lines[0].number, error, report)
            return 0, 1
    middle = len(lines) // 2
    halves = [_write(connection, half, report) for half in (lines[:middle], lines[middle:])]
    return sum(changed for changed, _ in halves), sum(refused for _, refused in halves)


def _refuse(number: int, error: Exception, report: IO[str]) -> None:
    print(f"line {number} refused:", *str(error).split(), file=report)


def main() -> int:
    """The command; exits with 1 when a line was refused or the database failed, with 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=argparse.FileType("rb"), help="JSON Lines, or - for stdin")
    parser.add_argument("--dsn", required=True, help="postgresql://user:password@host:port/database")
    arguments = parser.parse_args()
    try:
        totals = ingest(arguments.file, arguments.dsn)
    except NotJsonLinesError as error:
        print(f"stopped: {error}; `fipe export prices.jsonl` writes JSON Lines", file=sys.stderr)
        return 1
    except NO_SCHEMA as error:
        reason = str(error).splitlines()[0]
        print(f"stopped: {reason}: run create_fipe_db.sql in this database first", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print("stopped:", *str(error).split(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the lines counted above are written; run it again to go on", file=sys.stderr)
        return INTERRUPTED
    print(f"done: {totals.lines - totals.refused} of {totals.lines} lines written", file=sys.stderr)
    return 1 if totals.refused else 0


if __name__ == "__main__":
    sys.exit(main())
