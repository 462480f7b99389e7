"""Months: as people write them, and those that the database has."""

import re
from collections.abc import Iterable
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


def find_month(session: "connection", month: str) -> date:
    """The first day of a month, as 2026-06 or latest, that has prices.

    Raises:
        CliError: the database has no prices of this month.
    """
    known = {f"{each:%Y-%m}": each for each in months_with_prices(session)}
    found = known.get(max(known) if month == "latest" else month)
    if found is None:
        raise no_prices_for(f"--month {month}", known)
    return found


def no_prices_for(asked: str, known: Iterable[str]) -> CliError:
    """The error of months that have no prices; `known` are those that have."""
    months = list(known)
    return CliError(
        _(
            "the database has no prices for {asked}: choose a month from {first} to {last}",
            asked=asked,
            first=min(months),
            last=max(months),
        ),
        USAGE,
    )
