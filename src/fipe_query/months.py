"""Which month a question is about."""

from datetime import date
from typing import NamedTuple

from fipe_query.cached_route import FOR_AN_HOUR, REVALIDATE
from fipe_query.connections import Pool, Row

NEWEST_COMPLETE = """
select month, fipe.loaded(month) as loaded
from fipe.reference_month
where exists (select from fipe.price where price.reference_month = month)
  and fipe.loaded(month) in ('whole', 'imported')
order by month desc
limit 1
"""
NEWEST = """
select month, fipe.loaded(month) as loaded from fipe.newest_month() as month where month is not null
"""
NAMED = """
select month, fipe.loaded(month) as loaded
from fipe.reference_month
where month = %(month)s and exists (select from fipe.price where price.reference_month = month)
"""
OF_CODE = """
select month, fipe.loaded(month) as loaded
from fipe.reference_month
where code = %(code)s and exists (select from fipe.price where price.reference_month = month)
"""


class Month(NamedTuple):
    """A month that has prices.

    Attributes:
        loaded: how far it is loaded: whole, imported, part or loading, as fipe.loaded says.
        named: whether the client named it; otherwise it asks for whichever month is the newest.
    """

    month: date
    loaded: str
    named: bool

    @property
    def complete(self) -> bool:
        """Whether nothing of it is still to come."""
        return self.loaded in ("whole", "imported")

    @property
    def cache_control(self) -> str:
        """How long a client may keep what the month says."""
        return FOR_AN_HOUR if self.named and self.loaded == "whole" else REVALIDATE


def newest_month(pool: Pool) -> Month | None:
    """The newest complete month; the newest of all if none is complete; None if there are no prices.

    While a month is being loaded, it lacks most of its vehicles, and clients would take them for gone.
    """
    found = pool.rows(NEWEST_COMPLETE) or pool.rows(NEWEST)
    return _month(found, named=False)


def month_named(pool: Pool, month: date) -> Month | None:
    """A month, if it has prices."""
    found = pool.rows(NAMED, month=month)
    return _month(found, named=True)


def month_asked(pool: Pool, written: str) -> Month | None:
    """The month that is written as 2026-06, or latest, if it has prices."""
    return newest_month(pool) if written == "latest" else month_named(pool, first_day(written))


def first_day(written: str) -> date:
    """The first day of a month like 2026-06."""
    return date.fromisoformat(f"{written}-01")


def month_of_code(pool: Pool, code: int) -> Month | None:
    """The month with this reference code of FIPE's, or with this own code: 202404 is April 2024."""
    if code >= 190001:
        year, month_of_year = divmod(code, 100)
        is_month = year <= 9999 and 1 <= month_of_year <= 12
        return month_named(pool, date(year, month_of_year, 1)) if is_month else None
    found = pool.rows(OF_CODE, code=code)
    return _month(found, named=True)


def _month(found: list[Row], *, named: bool) -> Month | None:
    return Month(found[0].month, found[0].loaded, named) if found else None
