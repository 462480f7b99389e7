"""Writes batches of imported prices, one transaction each: all of a batch is in the database, or nothing."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as arrow
import pyarrow.compute as compute
from psycopg2.extras import execute_values
from pyarrow import csv

from fipe_api.database.staging import copy_rows
from fipe_api.database.statements import (
    CREATE_RARE_STAGING,
    SELECT_VEHICLES_TO_RENEW,
    SELECT_VEHICLES_WITH_GAPS,
    UPDATE_SPANS,
)
from fipe_cli.errors import USAGE, CliError
from fipe_cli.imports import statements
from fipe_cli.imports.rows import DENIED, OTHER_PRICE, KeptApart, Prices
from fipe_words import _

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor


class ImportFile(NamedTuple):
    """A file in the ledger of imports: its row, its source, and where to go on."""

    id: int
    source: int
    position: int


class Written(NamedTuple):
    """What became of the rows of a batch, or of several."""

    added: int = 0
    known: int = 0
    copies: int = 0
    apart: int = 0
    replaced: int = 0

    @property
    def rows(self) -> int:
        """How many rows these were."""
        return sum(self)

    def plus(self, other: "Written") -> "Written":
        """The sums."""
        return Written(*(one + another for one, another in zip(self, other, strict=True)))


def begin_file(session: "connection", source: str, file: str, fingerprint: str | None) -> ImportFile:
    """Enters a file into the ledger, or finds it there.

    Args:
        session: of the importer, in no transaction.
        source: the name that its prices say they came from.
        file: its name.
        fingerprint: of its content; None if it cannot be read twice.

    Raises:
        CliError: the name is that of a mirror.
    """
    with session, session.cursor() as cursor:
        cursor.execute(statements.FIND_SOURCE, {"name": source})
        found = cursor.fetchone()
        if found is None:
            raise CliError(_("invalid --name {name}: a mirror has that name", name=source), USAGE)
        known = {"source": found[0], "file": file, "fingerprint": fingerprint}
        cursor.execute(statements.BEGIN_FILE, known)
        ((key, position),) = cursor.fetchall()
        cursor.execute(f"{statements.CREATE_STAGING}; {CREATE_RARE_STAGING}")
    return ImportFile(key, found[0], position)


def end_file(session: "connection", file: ImportFile) -> None:
    """Says in the ledger that the file was read to its end."""
    with session, session.cursor() as cursor:
        cursor.execute(statements.END_FILE, (file.id,))


def write_batch(
    session: "connection", file: ImportFile, prices: Prices, *, over_official: bool = False
) -> Written:
    """Writes the prices that the database lacks, and keeps apart what contradicts it.

    Args:
        session: of the importer, in no transaction.
        file: the file in the ledger.
        prices: the batch.
        over_official: whether other prices take the place of those that loads have brought.

    Raises:
        psycopg2.Error: nothing was written.
    """
    with session, session.cursor() as cursor:
        cursor.execute(statements.TAKE_TURN)
        months = {each.month: each.code for each in prices.months}
        execute_values(cursor, statements.INSERT_MONTHS, sorted(months.items()), "(%s::date, %s::integer)")
        vehicles = _find_vehicles(cursor, prices)
        cursor.execute(statements.SELECT_EMPTY_MONTHS, (list(months),))
        empty = cursor.fetchall()
        untouched = [month for month, has_load, _between in empty if not has_load]
        table = _with_ids(prices, vehicles)
        is_new = compute.is_in(table["month"], arrow.array(untouched, arrow.date32()))
        added = _write_untouched(cursor, file.source, table.filter(is_new))
        rest = table.filter(compute.invert(is_new))
        apart: list[KeptApart] = []
        replaced = 0
        if rest.num_rows:
            _stage_compared(cursor, rest)
            replaced = _replace(cursor, file) if over_official else 0
            more, apart = _write_compared(cursor, file.source, prices)
            added |= more
        _renew(cursor, [month for month, _loads, is_between in empty if is_between and month in added])
        if added:
            rows = [(month, file.source, count) for month, count in sorted(added.items())]
            execute_values(cursor, statements.ADD_TO_MONTHS, rows)
        all_apart = [*prices.apart, *apart]
        _keep_apart(cursor, file, all_apart)
        new = sum(added.values())
        known = table.num_rows - new - replaced - len(apart)
        written = Written(new, known, prices.copies, len(all_apart), replaced)
        cursor.execute(
            statements.ADVANCE_FILE, {**written._asdict(), "file": file.id, "position": prices.position}
        )
    return written


def _find_vehicles(cursor: "cursor", prices: Prices) -> list[int]:
    """The ids of the batch's vehicles, in their order; new ones are made."""
    names: dict[tuple[Any, ...], int] = {}
    for vehicle in prices.vehicles:
        names.setdefault((vehicle.identity, vehicle.names), len(names))
    copy_rows(
        cursor,
        "import_name",
        ("vehicle_type", "fipe_code", "brand", "model", "brand_code", "model_code", "place"),
        ((*identity, *name, place) for (identity, name), place in names.items()),
    )
    copy_rows(
        cursor,
        "import_vehicle",
        ("place", "name", "model_year", "fuel_code", "fuel"),
        (
            (place, names[each.identity, each.names], each.model_year, *each.fuel)
            for place, each in enumerate(prices.vehicles)
        ),
    )
    cursor.execute("analyze import_name; analyze import_vehicle")
    for statement in (statements.FIND_MODELS, statements.FIND_CODES, statements.MAKE_CODES):
        cursor.execute(statement)
    for identity, groups in prices.beside.items():
        for group in groups:
            _set_apart(cursor, [names[identity, name] for name in group])
    cursor.execute(statements.INSERT_MODELS)
    cursor.execute(statements.INSERT_VEHICLES)
    cursor.execute(statements.SELECT_VEHICLES)
    found = dict(cursor.fetchall())
    return [found[place] for place in range(len(prices.vehicles))]


def _set_apart(cursor: "cursor", places: Sequence[int]) -> None:
    """Gives codes of their own to names that bear one FIPE code at once: they are different models."""
    cursor.execute(statements.SELECT_NAMES_BESIDE, (list(places),))
    taken: set[int] = set()
    for place, model_code, own_codes in cursor.fetchall():
        if model_code in taken:
            own = next(code for code in own_codes if code not in taken)
            cursor.execute(statements.GIVE_OWN_CODE, (own, place))
            taken.add(own)
        taken.add(model_code)


def _with_ids(prices: Prices, vehicles: Sequence[int]) -> Any:
    """The table with the database's vehicles, months as dates, and prices in reais, by month and vehicle."""
    months = arrow.array([each.month for each in prices.months], arrow.date32())
    cents = prices.table["cents"].cast(arrow.decimal128(20, 0))
    table = arrow.table({
        "vehicle": arrow.array(vehicles, arrow.int32()).take(prices.table["vehicle"].combine_chunks()),
        "month": months.take(prices.table["month"].combine_chunks()),
        "price": compute.multiply(cents, arrow.scalar(Decimal("0.01"), arrow.decimal128(3, 2))),
        "line": prices.table["line"],
    })  # fmt: skip
    return table.sort_by([("month", "ascending"), ("vehicle", "ascending")])


def _write_untouched(cursor: "cursor", source: int, table: Any) -> dict[date, int]:
    """Copies prices of months that have none; returns how many each month got."""
    if not table.num_rows:
        return {}
    columns = table.select(["vehicle", "month", "price"])
    columns = columns.append_column("source", arrow.repeat(arrow.scalar(source), table.num_rows))
    _copy(cursor, "fipe.price", ("vehicle_id", "reference_month", "price_brl", "source"), columns)
    spans = table.group_by("vehicle").aggregate([("month", "min"), ("month", "max")])
    _copy(cursor, "import_span", ("vehicle_id", "first_month", "last_month"), spans)
    counted = table["month"].value_counts()
    return {each["values"]: each["counts"] for each in counted.to_pylist()}


def _stage_compared(cursor: "cursor", table: Any) -> None:
    """Finds what of a batch the database does not have just so."""
    _copy(
        cursor,
        "import_price",
        ("line", "vehicle_id", "reference_month", "price_brl"),
        table.select(["line", "vehicle", "month", "price"]),
    )
    cursor.execute("analyze import_price")
    cursor.execute(statements.STAGE_LEFT)
    if not cursor.rowcount:
        return
    cursor.execute("analyze import_left")
    for statement in (statements.FIND_OTHER_NAMES, statements.FIND_ANSWERED, statements.FIND_WITHDRAWN):
        cursor.execute(statement)


def _replace(cursor: "cursor", file: ImportFile) -> int:
    """Lets prices take the place of those that loads have brought; returns of how many rows."""
    cursor.execute(statements.REPLACE_PRICES, {"file": file.id})
    cursor.execute(statements.DELETE_REPLACED)
    return cursor.rowcount


def _write_compared(cursor: "cursor", source: int, prices: Prices) -> tuple[dict[date, int], list[KeptApart]]:
    """Adds prices that their months lack; returns how many each month got, and what contradicts it."""
    cursor.execute(statements.INSERT_PRICES, (source,))
    added: dict[date, int] = dict(cursor.fetchall())
    cursor.execute(statements.SELECT_APART)
    found = cursor.fetchall()
    content = prices.content(line for line, *_ in found)
    return added, [
        KeptApart(
            line,
            DENIED if is_answered else OTHER_PRICE.format(there=there, source=said_by),
            content[line],
        )
        for line, _price, there, said_by, is_answered in found
    ]


def _copy(cursor: "cursor", target: str, columns: Sequence[str], table: Any) -> None:
    text = BytesIO()
    csv.write_csv(table, text, csv.WriteOptions(include_header=False, quoting_style="none"))
    text.seek(0)
    with _nothing_printed():
        cursor.copy_expert(f"copy {target} ({', '.join(columns)}) from stdin (format csv)", text)


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """When the connection is lost during COPY, psycopg2 prints a traceback besides raising the error."""
    before = sys.excepthook
    sys.excepthook = lambda *_: None
    try:
        yield
    finally:
        sys.excepthook = before


def _renew(cursor: "cursor", between: Sequence[date]) -> None:
    """Brings the first and last months and the series of the written vehicles up to date.

    Args:
        cursor: of the transaction.
        between: months that had no prices, before others that had.
    """
    cursor.execute(statements.STAGE_SPANS)
    if not cursor.rowcount:
        return
    cursor.execute("analyze staged_span")
    cursor.execute(UPDATE_SPANS)
    cursor.execute(SELECT_VEHICLES_TO_RENEW)
    vehicles = {vehicle for (vehicle,) in cursor.fetchall()}
    if between:
        cursor.execute(SELECT_VEHICLES_WITH_GAPS, (list(between),))
        vehicles |= {vehicle for (vehicle,) in cursor.fetchall()}
    if vehicles:
        cursor.execute("select fipe.renew_series(%s)", (sorted(vehicles),))


def _keep_apart(cursor: "cursor", file: ImportFile, rows: Sequence[KeptApart]) -> None:
    values = [(file.id, row.line, row.reason, _json(row.content)) for row in rows]
    if values:
        execute_values(cursor, statements.KEEP_APART, values, "(%s, %s, %s, %s::jsonb)", page_size=1000)


def _json(content: Mapping[str, str]) -> str:
    return json.dumps(content).replace("\\u0000", "")
