"""Holds a month of the database against an independent file or another database.

A vehicle is the same in both if its type, FIPE code, model year and fuel are; when only the fuel differs,
that is the difference. If a vehicle stands under several names, the names are compared one by one.
"""

import codecs
import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

from fipe_cli.errors import USAGE, CliError
from fipe_cli.export import opened as opened_for_writing
from fipe_cli.imports.columns import find_layout
from fipe_cli.imports.files import opened
from fipe_cli.imports.rows import RowReader
from fipe_cli.imports.run import MONTH_FIELDS, Options
from fipe_words import _, counted, marked, plural

if TYPE_CHECKING:
    from psycopg2.extensions import connection

SELECT_MONTH = """
select vehicle_type, fipe_code, model_year, fuel_code, fuel, brand, model, price_brl
from fipe.vehicle_price
where reference_month = %s
"""
DSN = ("postgresql://", "postgres://")


class Price(NamedTuple):
    """A price, with what names its vehicle."""

    vehicle_type: int
    fipe_code: str
    model_year: int
    fuel_code: int
    fuel: str
    brand: str
    model: str
    price_brl: Decimal


class Difference(NamedTuple):
    """What is not alike: `here` is the database; None means that the vehicle is missing."""

    what: str
    here: Price | None
    there: Price | None


MISSING_HERE, MISSING_THERE = marked("missing here"), marked("missing there")
OTHER_PRICE, OTHER_NAME, OTHER_FUEL = marked("other price"), marked("other name"), marked("other fuel")
KINDS = (MISSING_HERE, MISSING_THERE, OTHER_PRICE, OTHER_NAME, OTHER_FUEL)


@dataclass(frozen=True)
class Verification:
    """A month against something else.

    Attributes:
        month: that was compared.
        against: what it was compared with.
        here: how many prices the database has.
        there: how many the other has.
        unreadable: rows of the other that are no prices.
        differences: in the order of FIPE codes.
    """

    month: date
    against: str
    here: int
    there: int
    unreadable: int
    differences: list[Difference]

    @property
    def counts(self) -> dict[str, int]:
        """How many differences of each kind; one can be of several."""
        return {kind: sum(kind in each.what.split(", ") for each in self.differences) for kind in KINDS}

    def words(self) -> list[str]:
        """The summary, in lines."""
        found = ", ".join(f"{count:,} {_(kind)}" for kind, count in self.counts.items() if count)
        lines = [
            _(
                "{month:%Y-%m}: {prices} here, {there:,} in {against}: {found}",
                month=self.month,
                prices=counted(self.here, "price"),
                there=self.there,
                against=self.against,
                found=found or _("all alike"),
            )
        ]
        if self.unreadable:
            lines.append(
                plural(
                    "{number:,} row of {against} cannot be read as a price",
                    "{number:,} rows of {against} cannot be read as prices",
                    self.unreadable,
                    against=self.against,
                )
            )
        return lines

    def document(self) -> dict[str, Any]:
        """The summary for JSON."""
        return {
            "month": f"{self.month:%Y-%m}", "against": self.against, "here": self.here, "there": self.there,
            "unreadable": self.unreadable, **{kind.replace(" ", "_"): n for kind, n in self.counts.items()},
        }  # fmt: skip


def verify(session: "connection", month: date, against: str, options: Options) -> Verification:
    """Compares a month.

    Args:
        session: a session of the stage's database.
        month: the reference month.
        against: a file, or the DSN of a database.
        options: how to read the file.

    Raises:
        CliError: the database does not have the month, or the other one cannot be read or does not have it.
    """
    here = _read_database(session, month)
    if not here:
        raise no_prices_here(month)
    unreadable = 0
    if against.startswith(DSN):
        name = _("the other database")
        try:
            with closing(psycopg2.connect(against)) as other:
                other.set_session(readonly=True)
                there = _read_database(other, month)
        except psycopg2.Error as error:
            raise CliError(_("the other database cannot be read: {error}", error=error)) from error
    else:
        name = against
        there, unreadable = _read_file(Path(against), month, options)
    if not there:
        raise no_prices_there(name, month)
    found = sorted(differences(here, there), key=_order)
    return Verification(month, name, len(here), len(there), unreadable, found)


def no_prices_here(month: date) -> CliError:
    """The error of a month that the database does not have."""
    return CliError(
        _("the database has no prices for {month:%Y-%m}: load or import the month first", month=month), USAGE
    )


def no_prices_there(other: str, month: date) -> CliError:
    """The error of a month that what it is to be compared with does not have."""
    return CliError(_("{other} has no prices for {month:%Y-%m}", other=other, month=month), USAGE)


def write_differences(file: Path, differences: Sequence[Difference]) -> None:
    """Writes the differences as CSV; `-` is standard output.

    Raises:
        CliError: the file cannot be written.
    """
    values = ("fuel", "brand", "model", "price_brl")
    with opened_for_writing(file) as target:
        lines = csv.writer(codecs.getwriter("utf-8")(target), lineterminator="\n")
        lines.writerow((
            "difference", "vehicle_type", "fipe_code", "model_year",
            *(f"{name}_{side}" for name in values for side in ("here", "there")),
        ))  # fmt: skip
        for what, here, there in differences:
            one = here or there
            assert one is not None
            sides = (getattr(side, name, None) for name in values for side in (here, there))
            lines.writerow((what, one.vehicle_type, one.fipe_code, one.model_year, *sides))


def _read_database(session: "connection", month: date) -> list[Price]:
    with session.cursor() as cursor:
        cursor.execute(SELECT_MONTH, (month,))
        return [Price._make(row) for row in cursor.fetchall()]


def _read_file(file: Path, month: date, options: Options) -> tuple[list[Price], int]:
    """The file's prices of a month, and how many rows are no prices."""
    found: list[Price] = []
    unreadable = 0
    with opened(file, options.encoding) as rows:
        layout = find_layout(rows.name, rows.columns, options.columns, has_month=options.month is not None)
        reader = RowReader(layout, options.month)
        months = [layout.columns[field] for field in MONTH_FIELDS if field in layout.columns]
        for batch in rows.batches(list(layout.columns.values()), months, 0):
            prices = reader.read(batch)
            unreadable += len(prices.apart)
            wanted = {place for place, each in enumerate(prices.months) if each.month == month}
            for row in prices.table.to_pylist() if wanted else ():
                if row["month"] in wanted:
                    vehicle = prices.vehicles[row["vehicle"]]
                    found.append(
                        Price(
                            vehicle.identity.vehicle_type,
                            vehicle.identity.fipe_code,
                            vehicle.model_year,
                            vehicle.fuel.code,
                            vehicle.fuel.name,
                            vehicle.names.brand,
                            vehicle.names.model,
                            Decimal(row["cents"]) / 100,
                        )
                    )
    return found, unreadable


def differences(here: Iterable[Price], there: Iterable[Price]) -> Iterator[Difference]:
    """What is not alike, in no order."""
    missing_here: list[Price] = []
    missing_there: list[Price] = []
    for ours, theirs in _by_vehicle(here, there, Price._fields[:4]):
        for one, other in _paired(ours, theirs):
            if other is None:
                missing_there.append(one)
            elif one is None:
                missing_here.append(other)
            elif what := _what_differs(one, other):
                yield Difference(what, one, other)
    for ours, theirs in _by_vehicle(missing_there, missing_here, Price._fields[:3]):
        for one, other in _paired(ours, theirs):
            if other is None:
                yield Difference(MISSING_THERE, one, None)
            elif one is None:
                yield Difference(MISSING_HERE, None, other)
            else:
                yield Difference(", ".join(filter(None, (OTHER_FUEL, _what_differs(one, other)))), one, other)


def _by_vehicle(
    here: Iterable[Price], there: Iterable[Price], fields: Sequence[str]
) -> Iterator[tuple[list[Price], list[Price]]]:
    """The prices of both sides that agree in these fields."""
    same: dict[tuple[Any, ...], tuple[list[Price], list[Price]]] = defaultdict(lambda: ([], []))
    for side, prices in enumerate((here, there)):
        for price in prices:
            same[tuple(getattr(price, name) for name in fields)][side].append(price)
    yield from same.values()


def _paired(here: Sequence[Price], there: Sequence[Price]) -> Iterator[tuple[Any, Any]]:
    """Each price with the one it is to be compared with: of the same names first."""
    left = sorted(there)
    rest = []
    for price in sorted(here):
        same = next((each for each in left if (each.brand, each.model) == (price.brand, price.model)), None)
        if same is None:
            rest.append(price)
        else:
            left.remove(same)
            yield price, same
    for place in range(max(len(rest), len(left))):
        yield (rest[place] if place < len(rest) else None, left[place] if place < len(left) else None)


def _what_differs(here: Price, there: Price) -> str:
    found = []
    if here.price_brl != there.price_brl:
        found.append(OTHER_PRICE)
    if (here.brand, here.model, here.fuel) != (there.brand, there.model, there.fuel) and (
        here.fuel_code == there.fuel_code or (here.brand, here.model) != (there.brand, there.model)
    ):
        found.append(OTHER_NAME)
    return ", ".join(found)


def _order(difference: Difference) -> tuple[Any, ...]:
    one = difference.here or difference.there
    assert one is not None
    return (one.vehicle_type, one.fipe_code, one.model_year, one.fuel_code, one.brand, one.model)
