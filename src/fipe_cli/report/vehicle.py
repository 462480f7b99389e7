"""A vehicle in depth: the prices of a FIPE code, by model year and through all months."""

from datetime import date
from typing import TYPE_CHECKING, Any

from fipe_cli.errors import USAGE, CliError
from fipe_cli.report.rows import Rows, ask
from fipe_words import _

if TYPE_CHECKING:
    from psycopg2.extensions import connection


def read_vehicle(session: "connection", month: date, before: date | None, fipe_code: str) -> dict[str, Any]:
    """Reads a FIPE code's history, and its prices by age in the month beside those of earlier months.

    Args:
        session: a session of the stage's database.
        month: the month that the report shows.
        before: the month that it is compared with.
        fipe_code: the code; empty for an example that is sold new, of a large brand, with many years.

    Raises:
        CliError: the month has no prices, or the code is unknown.
    """
    is_example = not fipe_code
    fipe_code = fipe_code or _with_many_years(session, month)
    history = ask(
        session,
        """
        select reference_month, brand, model, model_year, zero_km, fuel, published_fuel,
               price_brl::float as price
        from fipe.price_history(%s)
        where reference_month <= %s
        """,
        (fipe_code, month),
    )
    if not history:
        raise _unknown(session, fipe_code, month)
    newest = max(history, key=lambda row: row["reference_month"])
    series = _series(history)
    return {
        "fipe_code": fipe_code,
        "is_example": is_example,
        "brand": newest["brand"],
        "model": newest["model"],
        "last_month": newest["reference_month"],
        "year_ago": month.replace(year=month.year - 1),
        "series": [
            {name: rows[-1][name] for name in ("model", "model_year", "zero_km", "fuel")}
            | {"points": [[f"{row['reference_month']:%Y-%m}", row["price"]] for row in rows]}
            for rows in series
        ],
        "by_age": [_aged(row, series, month, before) for row in _by_age(session, fipe_code, month)],
    }


def _by_age(session: "connection", fipe_code: str, month: date) -> Rows:
    return ask(
        session,
        """
        select brand, model, model_year, zero_km, age_years as age, fuel, price_brl::float as price,
               percent_of_newest::float as percent
        from fipe.depreciation(%s, %s)
        """,
        (fipe_code, f"{month:%Y-%m}"),
    )


def _aged(row: dict[str, Any], series: list[Rows], month: date, before: date | None) -> dict[str, Any]:
    """A price by age, with the prices of its series in the month before and a year ago."""
    prices: dict[date, float] = {}
    for rows in series:
        names = [(each["brand"], each["model"], each["model_year"], each["published_fuel"])
                 for each in rows if each["reference_month"] == month]  # fmt: skip
        if (row["brand"], row["model"], row["model_year"], row["fuel"]) in names:
            prices = {each["reference_month"]: each["price"] for each in rows}
    year_ago = month.replace(year=month.year - 1)
    return row | {"before": prices.get(before) if before else None, "year_ago": prices.get(year_ago)}


def _series(history: Rows) -> list[Rows]:
    """The history's rows by series. Those of a series follow one another, by month."""
    found: list[Rows] = []
    for row in history:
        last = found[-1][-1] if found else None
        if (
            last
            and (row["model_year"], row["fuel"]) == (last["model_year"], last["fuel"])
            and row["reference_month"] > last["reference_month"]
        ):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _with_many_years(session: "connection", month: date) -> str:
    found = ask(
        session,
        """
        with price as (
            select fipe_code, zero_km, count(*) over (partition by vehicle_type, brand_code) as of_brand
            from fipe.vehicle_price
            where reference_month = %s
        )
        select fipe_code
        from price
        group by fipe_code, of_brand
        order by bool_or(zero_km) desc, of_brand desc, count(*) desc, fipe_code
        limit 1
        """,
        (month,),
    )
    if not found:
        raise CliError(
            _(
                "{month:%Y-%m} has no prices yet: `fipe status` shows how far its load is; or choose --run",
                month=month,
            ),
            USAGE,
        )
    return str(found[0]["fipe_code"])


def _unknown(session: "connection", fipe_code: str, month: date) -> CliError:
    later = ask(session, "select min(reference_month) as first from fipe.price_history(%s)", (fipe_code,))
    if first := later[0]["first"]:
        return CliError(
            _(
                "FIPE code {fipe_code} has no prices up to {month:%Y-%m}: its first month is {first:%Y-%m}",
                fipe_code=fipe_code,
                month=month,
                first=first,
            ),
            USAGE,
        )
    return CliError(
        _(
            "unknown FIPE code {fipe_code}: find it with `fipe price` and words of its name",
            fipe_code=fipe_code,
        ),
        USAGE,
    )
