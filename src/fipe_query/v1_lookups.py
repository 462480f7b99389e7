"""What the paths under /v1 and the tools of assistants look up in the same way."""

from collections.abc import Sequence
from datetime import date

from fipe_query import v1_answers as answers
from fipe_query import v1_questions as questions
from fipe_query.connections import Pool, Row


def is_known(pool: Pool, fipe_code: str) -> bool:
    """Whether any vehicle has ever had this FIPE code."""
    return bool(pool.rows(questions.IS_KNOWN, fipe_code=fipe_code)[0].is_known)


def month_state(row: Row) -> answers.MonthState:
    """A month, from a row of questions.MONTHS."""
    return answers.MonthState(**row._asdict(), complete=row.loaded in ("whole", "imported"))


def valuation(
    pool: Pool, vehicles: Sequence[answers.FleetVehicle], month: date, since: date | None
) -> answers.Valuation:
    """What vehicles are worth in a month, each in its place, beside an earlier month if one is given."""
    found = pool.rows(
        questions.VALUE,
        codes=[each.code for each in vehicles],
        years=[each.year for each in vehicles],
        fuels=[each.fuel for each in vehicles],
        month=month,
        since=since,
    )
    return answers.Valuation(
        month=month,
        month_before=since,
        value_brl=sum(row.price_brl for row in found if row.price_brl is not None),
        without_price=sum(row.price_brl is None for row in found),
        vehicles=[answers.Valued(**row._asdict()) for row in found],
    )


def one_more(limit: int, offset: int) -> dict[str, int]:
    """One row more than asked for tells whether there is another page."""
    return {"limit": limit + 1, "offset": offset}


def next_offset(found: Sequence[Row], limit: int, offset: int) -> int | None:
    """Where the next page begins; None after the last one."""
    following = offset + limit
    return following if len(found) > limit and following <= answers.LARGEST_OFFSET else None
