"""The ingestor without AWS: writes JSON Lines into any PostgreSQL that has the schema.

A line is a message of the price queue (to replay it) or a row of fipe.vehicle_price (to import it):

    python -m fipe_api.fipe_soma_ingestor_adapted --dsn "$DSN" prices.jsonl
    psql "$DSN" -Atc 'select to_json(p) from fipe.vehicle_price p' | python -m ... --dsn "$OTHER" -
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from typing import IO, NamedTuple

import psycopg2
from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import asdict

from fipe_api.database.writer import PriceRow, write_messages, write_rows
from fipe_api.messages import (
    EmptyBrandMessage,
    PositiveInt,
    PriceMessage,
    RejectedAnswerMessage,
    Text,
    VehicleType,
    check_month,
    check_price,
)

LINES_PER_TRANSACTION = 5_000


class VehiclePrice(Struct):
    """A row of fipe.vehicle_price; zero_km is ignored, because it follows from the model year."""

    reference_month: date
    reference_code: PositiveInt
    vehicle_type: VehicleType
    brand_code: int
    brand: Text
    model_code: int
    model: Text
    model_year: PositiveInt
    fuel_code: int
    fuel: Text
    fipe_code: Text
    price_brl: Decimal

    def __post_init__(self) -> None:
        check_month(self.reference_month)
        check_price(self.price_brl)


class _Kind(Struct):
    """A message says its kind; a row of the view has none."""

    kind: str | None = None


LoadMessage = PriceMessage | EmptyBrandMessage | RejectedAnswerMessage
Line = LoadMessage | VehiclePrice
_KIND, _ROW = Decoder(_Kind), Decoder(VehiclePrice)
_MESSAGE: Decoder[LoadMessage] = Decoder(LoadMessage)


class Totals(NamedTuple):
    """How many lines were read and how many of them refused, and how many prices were new or changed."""

    lines: int = 0
    refused: int = 0
    changed: int = 0


def ingest(lines: Iterable[str], dsn: str, report: IO[str] = sys.stderr) -> Totals:
    """Writes JSON Lines into the database at the DSN, 5,000 lines per transaction.

    A line that cannot be read is reported with its number and skipped; the others are written.

    Raises:
        psycopg2.Error, ReferenceMismatchError: these 5,000 lines were not written; those before them were.
    """
    totals = Totals()
    with closing(psycopg2.connect(dsn)) as connection:
        numbered = enumerate(lines, start=1)
        while chunk := list(itertools.islice(numbered, LINES_PER_TRANSACTION)):
            parsed = list(_parse(chunk, report))
            messages = [line for line in parsed if not isinstance(line, VehiclePrice)]
            rows = [PriceRow(**asdict(line)) for line in parsed if isinstance(line, VehiclePrice)]
            changed = write_messages(connection, messages).changed if messages else 0
            changed += write_rows(connection, rows).changed if rows else 0
            totals = Totals(
                totals.lines + len(chunk), totals.refused + len(chunk) - len(parsed), totals.changed + changed
            )
            print(f"{totals.lines} lines, {totals.changed} prices new or changed", file=report)
    return totals


def _parse(numbered: Iterable[tuple[int, str]], report: IO[str]) -> Iterator[Line]:
    for number, text in numbered:
        try:
            yield (_ROW if _KIND.decode(text).kind is None else _MESSAGE).decode(text)
        except (ValueError, RecursionError) as error:
            print(f"line {number} refused: {error}", file=report)


def main() -> int:
    """The command; exits with 1 when a line was refused or the database failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=argparse.FileType(encoding="utf-8"), help="JSON Lines, or - for stdin")
    parser.add_argument("--dsn", required=True, help="postgresql://user:password@host:port/database")
    arguments = parser.parse_args()
    try:
        totals = ingest(arguments.file, arguments.dsn)
    except (psycopg2.Error, ValueError) as error:
        print("stopped:", *str(error).split(), file=sys.stderr)
        return 1
    print(f"done: {totals.lines - totals.refused} of {totals.lines} lines written", file=sys.stderr)
    return 1 if totals.refused else 0


if __name__ == "__main__":
    sys.exit(main())
