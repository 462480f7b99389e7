"""Months: as people write them, and those that the database has."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from fipe_cli.errors import USAGE, CliError
from fipe_words import _

if TYPE_CHECKING:
    from psycopg2.extensions import connection


def check_month(option: str, month: str) -> None:
    """Raises CliError when this is neither a month, like 2026-06, nor "latest", nor empty."""
    if month not in ("", "latest") and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise CliError(
            _("invalid {option} {month}: use a month like 2026-06, or latest", option=option, month=month),
            USAGE,
        )


def months_with_prices(session: "connection") -> list[date]:
    """The months that have prices, the oldest first; at least one.

    Raises:
        CliError: the database has no prices.
    """
    with session.cursor() as cursor:
        cursor.execute(
            "select month from fipe.reference_month"
            " where exists (select from fipe.price where price.reference_month = month) order by month"
        )
        months = [month for (month,) in cursor.fetchall()]
    if not months:
        raise CliError(_("the database has no prices yet: start a load with `fipe load`"), USAGE)
    return months


def find_month(session: "connection", month: str, option: str = "--month") -> date:
    """The first day of a month, as 2026-06 or latest, that has prices.

    Raises:
        CliError: the database has no prices of this month, which `option` gave.
    """
    known = {f"{each:%Y-%m}": each for each in months_with_prices(session)}
    found = known.get(max(known) if month == "latest" else month)
    if found is None:
        raise no_prices_for(f"{option} {month}", known)
    return found


def no_prices_for(asked: str, known: Iterable[str]) -> CliError:
    """The error of months that have no prices; `known` are those that have, as 2026-06."""
    return CliError(
        _(
            "the database has no prices for {asked}: it has {months}",
            asked=asked,
            months=", ".join("..".join(dict.fromkeys((run[0], run[-1]))) for run in runs(sorted(known))),
        ),
        USAGE,
    )


def runs(months: Sequence[str]) -> list[list[str]]:
    """Months, as 2026-06, in their order, up or down; those that follow each other without a gap together."""
    found: list[list[str]] = []
    for month in months:
        if found and abs(month_number(month) - month_number(found[-1][-1])) == 1:
            found[-1].append(month)
        else:
            found.append([month])
    return found


def month_number(month: str) -> int:
    """The number of a month, as 2026-06, counted from January of the year 0; neighbours differ by one."""
    year, of_year = month.split("-")
    return 12 * int(year) + int(of_year) - 1
