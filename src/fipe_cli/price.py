"""Finds the prices of what a person describes: words of brand and model, or a FIPE code."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg2 import sql

from fipe_cli.errors import USAGE, CliError
from fipe_cli.month import check_month, find_month
from fipe_cli.table import ZERO_KM
from fipe_words import _

if TYPE_CHECKING:
    from psycopg2.extensions import connection

COLUMNS = (
    "reference_month", "brand", "model", "model_year", "zero_km", "fuel", "fipe_code", "price_brl",
)  # fmt: skip
COMPARED = ("month_before", *COLUMNS[:-1], "price_before", "price_brl", "change_brl", "change_percent")
_PRICES = sql.SQL("select {} from fipe.price_of({})")


@dataclass(frozen=True)
class Wanted:
    """Which prices.

    Attributes:
        search: words of brand and model, or a FIPE code, with or without its hyphen.
        model_year: 32000 means zero km; None means all.
        month: YYYY-MM, or empty for the newest.
        since: an earlier month to compare with, or empty.
    """

    search: str
    model_year: int | None
    month: str
    since: str

    def __post_init__(self) -> None:
        """Raises CliError when a month is none."""
        check_month("--month", self.month)
        check_month("--since", self.since)

    def statement(self, session: "connection") -> str:
        """The query that answers it."""
        columns = map(sql.Identifier, COMPARED if self.since else COLUMNS)
        arguments = (self.search, self.model_year, self.month or None, self.since or None)
        return _PRICES.format(
            sql.SQL(", ").join(columns), sql.SQL(", ").join(map(sql.Literal, arguments))
        ).as_string(session)


def read_model_year(written: str) -> int | None:
    """A model year as people write it: 2020, or zero, 0km or 32000 for zero km; empty means all.

    Raises:
        CliError: it is something else.
    """
    plain = written.lower().replace(" ", "")
    if plain in ("zero", "0km", "zerokm", str(ZERO_KM)):
        return ZERO_KM
    if plain and not (plain.isdecimal() and 1900 <= int(plain) <= 2100):
        raise CliError(_("invalid YEAR {year}: use a model year like 2020, or 0km", year=written), USAGE)
    return int(plain) if plain else None


def refuse_nothing_found(session: "connection", wanted: Wanted) -> None:
    """Raises CliError when there is no such price; it says which part of the question finds nothing."""
    if wanted.month:
        find_month(session, wanted.month)
    if wanted.since:
        find_month(session, wanted.since, "--since")
    with session.cursor() as cursor:
        cursor.execute(f"{wanted.statement(session)} limit 1")
        if cursor.fetchall():
            return
        cursor.execute(
            "select vehicle.model_year, max(vehicle.last_month)"
            " from fipe.models_named(%s) as named"
            " join fipe.model using (vehicle_type, brand_code, model_code)"
            " join fipe.vehicle on vehicle.model_id = model.id"
            " where vehicle.last_month is not null group by 1 order by 1",
            (wanted.search,),
        )
        newest = dict(cursor.fetchall())
    if not newest:
        if known := _with_right_check_digit(session, wanted.search):
            raise CliError(
                _(
                    "wrong check digit in {search}: the first six digits belong to {known}",
                    search=wanted.search,
                    known=known,
                ),
                USAGE,
            )
        raise CliError(
            _(
                "nothing is called {search}: use words of its brand and model, or its FIPE code",
                search=wanted.search,
            ),
            USAGE,
        )
    if wanted.model_year and wanted.model_year not in newest:
        years = ", ".join("0km" if year == ZERO_KM else str(year) for year in newest)
        raise CliError(
            _(
                "{search} has no model year {model_year}: it has {years}",
                search=wanted.search,
                model_year=wanted.model_year,
                years=years,
            ),
            USAGE,
        )
    last = max(month for year, month in newest.items() if wanted.model_year in (None, year))
    if wanted.month:
        raise CliError(
            _(
                "{search} has no price in {month}: its last one is of --month {last:%Y-%m}",
                search=wanted.search,
                month=wanted.month,
                last=last,
            ),
            USAGE,
        )
    raise CliError(
        _(
            "{search} has no price in the newest month: its last one is of --month {last:%Y-%m}",
            search=wanted.search,
            last=last,
        ),
        USAGE,
    )


def _with_right_check_digit(session: "connection", search: str) -> str | None:
    """The FIPE code with the same first six digits, if one is known; the last digit is computed from them."""
    with session.cursor() as cursor:
        cursor.execute(
            "select note, choices from fipe.value_fleet(array[%s], array[null]::text[])", (search,)
        )
        ((note, choices),) = cursor.fetchall()
    return choices if note == "wrong_check_digit" else None
