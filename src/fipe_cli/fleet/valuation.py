"""What the vehicles of a fleet are worth: each row's price, or why it has none, and totals by brand."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from fipe_cli.errors import USAGE, CliError
from fipe_cli.file_columns import text_of
from fipe_cli.fleet.columns import FleetColumns
from fipe_cli.fleet.files import ROWS_AT_A_TIME, FleetFile, Row
from fipe_cli.fleet.writing import FleetWriter
from fipe_cli.table import shown
from fipe_words import _, marked, plural

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LINES_NAMED = 5
"""So many lines are named of those that have no price for the same reason."""

Key = tuple[str, str, str]
"""A FIPE code, a model year and a fuel, as a file has them."""

_TYPES = {1: marked("car"), 2: marked("motorcycle"), 3: marked("truck"), None: ""}
_UNKNOWN, _ALL = marked("unknown"), marked("all")


_SENTENCES = {
    "other_code": marked("FIPE lists it as {code}"),
    "other_fuel": marked("FIPE lists it as {fuel}"),
    "no_code": marked("no FIPE code"),
    "not_a_code": marked("not a FIPE code: it has six digits, a hyphen and a check digit, like 005340-6"),
    "wrong_check_digit": marked("wrong check digit: the first six digits belong to {choices}"),
    "not_a_year": marked("not a model year: use a year like 2020, or 0km"),
    "no_year": marked("no model year: FIPE lists {choices}"),
    "no_such_year": marked("FIPE lists no model year {year}: it lists {choices}"),
    "several_fuels": marked("several fuels: say which of {choices}"),
    "no_such_fuel": marked("FIPE lists another fuel: {choices}"),
    "several_prices": marked("FIPE lists several prices for it"),
    "not_in_month": marked("not in {month}: last seen in {seen}"),
    "month_loading": marked("{month} is still being loaded, and has no price of it yet"),
    "month_part": marked("only a part of {month} was loaded, and has no price of it"),
    "month_not_loaded": marked("{month} is not loaded"),
    "unknown_code": marked("unknown FIPE code"),
}
"""What is said of a row, by the note of fipe.value_fleet."""


class Valued(NamedTuple):
    """A row of fipe.value_fleet."""

    place: int
    note: str | None
    choices: str | None
    last_month: date | None
    month_before: date | None
    reference_month: date
    vehicle_type: int | None
    brand: str | None
    model: str | None
    model_year: int | None
    zero_km: bool | None
    fuel: str | None
    fipe_code: str | None
    price_before: Decimal | None
    price_brl: Decimal | None
    change_brl: Decimal | None
    change_percent: Decimal | None
    zero_km_brl: Decimal | None
    percent_of_zero_km: Decimal | None

    def words(self) -> str | None:
        """What is to be said of the row: why it has no price, or that FIPE names the vehicle otherwise."""
        sentence = _SENTENCES.get(self.note or "")
        if sentence is None:
            return self.note
        values = {
            "code": self.fipe_code,
            "fuel": self.fuel,
            "choices": self.choices,
            "year": shown("model_year", self.model_year),
            "month": f"{self.reference_month:%Y-%m}",
            "seen": self.last_month and f"{self.last_month:%Y-%m}",
        }
        return _(sentence, **values)


_BRIEF = {
    "no_code": marked("no FIPE code: {lines}"),
    "not_a_code": marked("not a FIPE code: {lines}"),
    "wrong_check_digit": marked("wrong check digit: {lines}"),
    "not_a_year": marked("not a model year: {lines}"),
    "no_year": marked("no model year: {lines}"),
    "no_such_year": marked("no such model year: {lines}"),
    "several_fuels": marked("several fuels: {lines}"),
    "no_such_fuel": marked("no such fuel: {lines}"),
    "several_prices": marked("several prices: {lines}"),
    "not_in_month": marked("not in this month: {lines}"),
    "month_loading": marked("the month is still being loaded: {lines}"),
    "month_part": marked("only a part of the month was loaded: {lines}"),
    "month_not_loaded": marked("the month is not loaded: {lines}"),
    "unknown_code": marked("unknown FIPE code: {lines}"),
}


class Column(NamedTuple):
    """A column that a valued fleet has more than the fleet.

    Attributes:
        name: the column's.
        kind: date, decimal or string.
        source: what of a `Valued` it holds.
        compared: whether it is there only beside an earlier month.
    """

    name: str
    kind: str
    source: str
    compared: bool = False


COLUMNS = (
    Column("fipe_month", "date", "reference_month"),
    Column("fipe_price", "decimal", "price_brl"),
    Column("fipe_month_before", "date", "month_before", compared=True),
    Column("fipe_price_before", "decimal", "price_before", compared=True),
    Column("fipe_change", "decimal", "change_brl", compared=True),
    Column("fipe_change_percent", "decimal", "change_percent", compared=True),
    Column("fipe_percent_of_zero_km", "decimal", "percent_of_zero_km"),
    Column("fipe_brand", "string", "brand"),
    Column("fipe_model", "string", "model"),
    Column("fipe_fuel", "string", "fuel"),
    Column("fipe_note", "string", "note"),
)


def new_columns(fleet: FleetFile, since: date | None) -> list[Column]:
    """What a valued fleet has more.

    Raises:
        CliError: the file has such a column already.
    """
    columns = [column for column in COLUMNS if since or not column.compared]
    twice = [column.name for column in columns if column.name in fleet.columns]
    if twice:
        raise CliError(
            _(
                "{file} has a column {column} already: rename it, or value the file without it",
                file=fleet.name,
                column=twice[0],
            ),
            USAGE,
        )
    return columns


@dataclass
class Total:
    """The vehicles of a brand, or of all."""

    vehicles: int = 0
    without_price: int = 0
    value: Decimal = Decimal("0.00")
    value_before: Decimal = Decimal("0.00")
    change: Decimal = Decimal("0.00")

    def add(self, valued: Valued) -> None:
        """Counts a vehicle."""
        self.vehicles += 1
        if valued.price_brl is None:
            self.without_price += 1
        else:
            self.value += valued.price_brl
        if valued.price_before is not None and valued.change_brl is not None:
            self.value_before += valued.price_before
            self.change += valued.change_brl

    @property
    def change_percent(self) -> Decimal | None:
        """The change of those that had a price before, too."""
        return round(100 * self.change / self.value_before, 2) if self.value_before else None


@dataclass
class Totals:
    """What a fleet adds up to.

    Attributes:
        month: the month of the prices.
        since: the month that they are compared with.
        everything: all vehicles.
        by_brand: by vehicle type and brand; ("", "") has those that FIPE does not know.
        lines: the lines without a price, by the reason.
    """

    month: date
    since: date | None
    everything: Total = field(default_factory=Total)
    by_brand: dict[tuple[str, str], Total] = field(default_factory=lambda: defaultdict(Total))
    lines: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, line: int, valued: Valued) -> None:
        """Counts a vehicle."""
        self.everything.add(valued)
        self.by_brand[_TYPES[valued.vehicle_type], valued.brand or ""].add(valued)
        if valued.price_brl is None:
            self.lines[valued.note or ""].append(line)

    def table(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, and the rows: by type and brand, and all."""
        names = ["type", "brand", "vehicles", "without_price", "value_brl"]
        if self.since:
            names += ["change_brl", "change_percent"]
        rows = []
        unknown = ("", "")
        for kind, brand in sorted(self.by_brand, key=lambda each: (each == unknown, *each)):
            total = self.by_brand[kind, brand]
            rows.append((*((kind, brand) if brand else (_UNKNOWN, "")), *self._figures(total)))
        rows.append((_ALL, "", *self._figures(self.everything)))
        return names, rows

    def table_to_read(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The table, with its types in the person's language."""
        names, rows = self.table()
        return names, [(_(kind), *others) for kind, *others in rows]

    def _figures(self, total: Total) -> tuple[Any, ...]:
        figures = (total.vehicles, total.without_price, total.value)
        return (*figures, total.change, total.change_percent) if self.since else figures

    def words(self) -> list[str]:
        """How many have no price, and why."""
        everything, month = self.everything, f"{self.month:%Y-%m}"
        if not everything.without_price:
            return [
                plural(
                    "{number:,} vehicle has a price in {month}",
                    "all {number:,} vehicles have a price in {month}",
                    everything.vehicles,
                    month=month,
                )
            ]
        said = [
            _(
                "{number:,} of {all:,} vehicles without a price in {month}:",
                number=everything.without_price,
                all=everything.vehicles,
                month=month,
            )
        ]
        for note, lines in sorted(self.lines.items(), key=lambda each: -len(each[1])):
            said.append(f"- {_(_BRIEF[note], lines=_named(lines))}")
        return said

    def document(self) -> dict[str, Any]:
        """All of it, for programs."""
        names, rows = self.table()
        return {
            "month": f"{self.month:%Y-%m}",
            "since": self.since and f"{self.since:%Y-%m}",
            "totals": [dict(zip(names, row, strict=True)) for row in rows[:-1]],
            "all": dict(zip(names[2:], rows[-1][2:], strict=True)),
            "without_price": {note: len(lines) for note, lines in self.lines.items()},
        }


def _named(lines: Sequence[int]) -> str:
    """The first lines, and how many more there are."""
    named = ", ".join(map(str, lines[:LINES_NAMED]))
    more = len(lines) - LINES_NAMED
    if more > 0:
        return plural(
            "lines {lines} and {number:,} more", "lines {lines} and {number:,} more", more, lines=named
        )
    return plural("line {lines}", "lines {lines}", len(lines), lines=named)


def value_fleet(
    session: "connection",
    fleet: FleetFile,
    columns: FleetColumns,
    totals: Totals,
    more: Sequence[Column],
    writer: FleetWriter | None,
) -> None:
    """Asks for the price of each row, and writes the rows with what the answers say.

    Raises:
        CliError: the file cannot be read to its end, or holds no vehicle.
    """
    rows = fleet.rows()
    while batch := list(islice(rows, ROWS_AT_A_TIME)):
        keys = [None if row.blank else _key(row, columns) for row in batch]
        answers = _ask(session, list(dict.fromkeys(key for key in keys if key)), totals)
        for row, key in zip(batch, keys, strict=True):
            valued = answers[key] if key else None
            if valued:
                totals.add(row.line, valued)
            if writer:
                cells = [_cell(column, valued) if valued else None for column in more]
                writer.write(row, cells)
    if not totals.everything.vehicles:
        raise CliError(_("{file} has no rows below its heading", file=fleet.name), USAGE)
    if writer:
        writer.close()


def _cell(column: Column, valued: Valued) -> Any:
    return valued.words() if column.source == "note" else getattr(valued, column.source)


def _key(row: Row, columns: FleetColumns) -> Key:
    """The row's FIPE code, model year and fuel as they are written. PostgreSQL's text holds no NUL."""
    code, year, fuel = (
        "" if place is None else text_of(row.cells[place]).replace("\0", "") for place in columns
    )
    return code, year, fuel


def _ask(session: "connection", vehicles: Sequence[Key], totals: Totals) -> dict[Key, Valued]:
    """The answers about vehicles, each of which is asked for once."""
    months = [totals.month, totals.since]
    with session.cursor() as cursor:
        cursor.execute(
            "select * from fipe.value_fleet(%s::text[], %s::text[], %s::text[], %s::text, %s::text)",
            (
                *([vehicle[place] for vehicle in vehicles] for place in range(3)),
                *(month and f"{month:%Y-%m}" for month in months),
            ),
        )
        return {vehicles[row[0] - 1]: Valued._make(row) for row in cursor.fetchall()}
