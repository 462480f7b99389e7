"""Watch rules: which prices to be told of when a month is complete. They are in fipe.watch_rule."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from fipe_cli.errors import USAGE, CliError
from fipe_cli.month import check_month, find_month
from fipe_cli.price import read_model_year
from fipe_cli.table import shown
from fipe_words import _, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg2.extensions import connection

HIGHEST = 10**10
"""The first price, and the first percentage, that the table has no room for."""
HIGHEST_PERCENT = 10**5
LONGEST_NOTE = 200
"""In letters, as the table allows: many notes have to fit into one announcement."""

_BRAZILIAN = re.compile(r"\d{1,3}(\.\d{3})+(,\d{1,2})?", re.ASCII)
_PLAIN = re.compile(r"(\d+|\d{1,3}(,\d{3})+)(\.\d{1,2})?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"\d+,\d{1,2}", re.ASCII)

RULES = """
select rule.id as rule, rule.fipe_code, named.brand, named.model, rule.model_year,
       fipe.fuel_name(rule.fuel_code) as fuel, rule.below_brl, rule.above_brl, rule.changes_by_percent,
       rule.note, hit.reference_month as last_hit, hit.vehicles as last_hit_vehicles,
       hit.price_brl as last_hit_brl
from fipe.watch_rule as rule
left join lateral (
    select model.brand, model.model
    from fipe.vehicle
    join fipe.model on model.id = vehicle.model_id
    where vehicle.fipe_code = rule.fipe_code and vehicle.last_month is not null
    order by vehicle.last_month desc, vehicle.id desc
    limit 1
) as named on true
left join lateral (
    -- The price only of one vehicle: of several, `fipe watch check` shows each.
    select watch_hit.reference_month, count(*) as vehicles,
           case when count(*) = 1 then min(watch_hit.price_brl) end as price_brl
    from fipe.watch_hit
    where watch_hit.rule_id = rule.id
    group by watch_hit.reference_month
    order by watch_hit.reference_month desc
    limit 1
) as hit on true
order by rule.id
"""

HOLDING = sql.SQL("""
select rule_id as rule, month_before, reference_month, brand, model, model_year, fuel, fipe_code,
       price_before, price_brl, change_percent, array_to_string(because, ', ') as because, note
from fipe.watched({})
""")

_ADD = """
insert into fipe.watch_rule (fipe_code, model_year, fuel_code, below_brl, above_brl, changes_by_percent, note)
values (%(fipe_code)s, %(model_year)s, %(fuel_code)s, %(below_brl)s, %(above_brl)s, %(changes_by_percent)s,
        %(note)s)
returning id
"""
_SAME = """
select id from fipe.watch_rule
where (fipe_code, model_year, fuel_code, below_brl, above_brl, changes_by_percent) is not distinct from
      (%(fipe_code)s, %(model_year)s::smallint, %(fuel_code)s::smallint, %(below_brl)s::numeric,
       %(above_brl)s::numeric, %(changes_by_percent)s::numeric)
"""
_CODE = "select code, left(code, 7) || fipe.check_digit(code) from fipe.fleet_code(%s) as code"
_VEHICLES = """
select vehicle.model_year, vehicle.fuel_code, vehicle.fuel, model.brand, model.model
from fipe.vehicle
join fipe.model on model.id = vehicle.model_id
where vehicle.fipe_code = %s and vehicle.last_month is not null
order by vehicle.last_month desc, vehicle.id desc
"""


@dataclass(frozen=True)
class Limits:
    """The prices to be told of; at least one of them is there.

    Attributes:
        below: below so many reais.
        above: above so many reais.
        change: changed by at least so many percent.
    """

    below: Decimal | None
    above: Decimal | None
    change: Decimal | None

    def words(self) -> str:
        """The same for people."""
        said = []
        if self.below is not None:
            said.append(_("below R$ {price:,.2f}", price=float(self.below)))
        if self.above is not None:
            said.append(_("above R$ {price:,.2f}", price=float(self.above)))
        if self.change is not None:
            said.append(_("changed by {percent:g}% or more", percent=float(self.change)))
        return _(" or ").join(said)


@dataclass(frozen=True)
class Added:
    """A rule that is in the database now.

    Attributes:
        values: its columns.
        vehicle: what it watches, for people.
        limits: its limits.
        is_new: whether it was not there before.
        warnings: why it cannot hold for now.
    """

    values: dict[str, Any]
    vehicle: str
    limits: Limits
    is_new: bool
    warnings: list[str]

    def document(self) -> dict[str, Any]:
        """For scripts."""
        numbers = {
            name: float(value) if isinstance(value, Decimal) else value for name, value in self.values.items()
        }
        return {**numbers, "is_new": self.is_new, "warnings": self.warnings}

    def words(self) -> list[str]:
        """For people."""
        told = {"rule": self.values["id"], "vehicle": self.vehicle, "limits": self.limits.words()}
        sentence = (
            _("rule {rule}: {vehicle}: {limits}", **told)
            if self.is_new
            else _("rule {rule} was there already: {vehicle}: {limits}", **told)
        )
        return [sentence, *(_("warning: {text}", text=warning) for warning in self.warnings)]


def read_limits(below: str, above: str, change: str) -> Limits:
    """The limits as people write them; empty means none.

    Raises:
        CliError: one is not a price or a percentage, there is none, or together they hold for every price.
    """
    limits = Limits(
        _read_price("--below", below) if below else None,
        _read_price("--above", above) if above else None,
        _read_percent(change) if change else None,
    )
    if not (below or above or change):
        raise CliError(_("no limit: use --below, --above or --change, or several of them"), USAGE)
    if limits.below is not None and limits.above is not None and limits.above < limits.below:
        raise CliError(
            _("invalid --above {above}: every price is above it or below {below}", above=above, below=below),
            USAGE,
        )
    return limits


def _read_price(option: str, written: str) -> Decimal:
    number = _number(written.strip().upper().removeprefix("R$").strip())
    if number is None or not 0 < number < HIGHEST:
        raise CliError(
            _(
                "invalid {option} {written}: use a price in reais, like 10000, 10000.50 or 10.000,50",
                option=option,
                written=written,
            ),
            USAGE,
        )
    return number


def _read_percent(written: str) -> Decimal:
    number = _number(written.strip().removesuffix("%").strip())
    if number is None or not 0 < number < HIGHEST_PERCENT:
        raise CliError(
            _(
                "invalid --change {written}: use percent, like 5% or 2.5%; it holds for rises and falls",
                written=written,
            ),
            USAGE,
        )
    return number


def _number(text: str) -> Decimal | None:
    """A number with up to two decimals, in Brazilian or English spelling; None if it is none."""
    if _BRAZILIAN.fullmatch(text) or _DECIMAL_COMMA.fullmatch(text):
        return Decimal(text.replace(".", "").replace(",", "."))
    return Decimal(text.replace(",", "")) if _PLAIN.fullmatch(text) else None


def add_rule(
    session: "connection", code: str, limits: Limits, *, year: str = "", fuel: str = "", note: str = ""
) -> Added:
    """Adds a rule, unless the same one is there.

    Args:
        session: a connection of fipe_watcher, in no transaction.
        code: a FIPE code as people write it.
        limits: the prices to be told of.
        year: a model year, or empty for all.
        fuel: a fuel as people write it, or empty for all.
        note: what to remember.

    Raises:
        CliError: code, year, fuel or note are invalid.
    """
    if len(note) > LONGEST_NOTE:
        raise CliError(_("invalid --note: use at most {letters} letters", letters=LONGEST_NOTE), USAGE)
    model_year = read_model_year(year)
    with session, session.cursor() as cursor:
        cursor.execute(_CODE, (code,))
        ((read, right),) = cursor.fetchall()
        if read is None:
            raise CliError(_("invalid CODE {code}: use a FIPE code like 005340-6", code=code), USAGE)
        cursor.execute(_VEHICLES, (read,))
        known = cursor.fetchall()
        if not known and read != right:
            raise CliError(
                _(
                    "wrong check digit in {search}: the first six digits belong to {known}",
                    search=code,
                    known=right,
                ),
                USAGE,
            )
        fuel_code = _read_fuel(cursor, fuel) if fuel else None
        values = {
            "fipe_code": read, "model_year": model_year, "fuel_code": fuel_code, "below_brl": limits.below,
            "above_brl": limits.above, "changes_by_percent": limits.change, "note": note,
        }  # fmt: skip
        cursor.execute(_SAME, values)
        same = cursor.fetchall()
        if not same:
            cursor.execute(_ADD, values)
        ((number,),) = same or cursor.fetchall()
    watched = [row for row in known if model_year in (None, row[0]) and fuel_code in (None, row[1])]
    warnings = [] if watched else [_no_vehicle(read, known, model_year)]
    vehicle = _vehicle(read, model_year, fuel, known)
    return Added({"id": number, **values}, vehicle, limits, not same, warnings)


def _read_fuel(cursor: Any, written: str) -> int:
    cursor.execute("select code, fipe.fuel_name(code) from unnest(fipe.fleet_fuels(%s)) as code", (written,))
    found = cursor.fetchall()
    if not found:
        raise CliError(
            _("invalid --fuel {written}: use a fuel like gasolina, flex or diesel", written=written), USAGE
        )
    if len(found) > 1:
        choices = ", ".join(name for _code, name in found)
        raise CliError(
            _("invalid --fuel {written}: use one of {choices}", written=written, choices=choices), USAGE
        )
    return int(found[0][0])


def _no_vehicle(code: str, known: "Sequence[Any]", model_year: int | None) -> str:
    years = sorted({row[0] for row in known})
    if not years:
        return _("no loaded month has the FIPE code {code}: the rule waits for one that has", code=code)
    if model_year not in (None, *years):
        return _(
            "{code} has no model year {model_year} so far: it has {years}",
            code=code,
            model_year=shown("model_year", model_year),
            years=", ".join(shown("model_year", year) for year in years),
        )
    fuels = dict.fromkeys(row[2] for row in known if model_year in (None, row[0]))
    return _("{code} does not have this fuel so far: it has {fuels}", code=code, fuels=", ".join(fuels))


def _vehicle(code: str, model_year: int | None, fuel: str, known: "Sequence[Any]") -> str:
    names = " ".join(known[0][3:]) if known else ""
    year = shown("model_year", model_year) if model_year else ""
    said = " ".join(filter(None, (names, year, fuel)))
    return f"{said} ({code})" if said else code


def remove_rules(session: "connection", numbers: "Sequence[int]") -> None:
    """Removes rules.

    Raises:
        CliError: one is not there; then all stay.
    """
    with session, session.cursor() as cursor:
        cursor.execute("delete from fipe.watch_rule where id = any(%s) returning id", (list(numbers),))
        missing = set(numbers) - {number for (number,) in cursor.fetchall()}
        if missing:
            raise CliError(
                _(
                    "there is no rule {numbers}: `fipe watch list` shows what there is",
                    numbers=", ".join(map(str, sorted(missing))),
                ),
                USAGE,
            )


def removed_words(numbers: "Sequence[int]") -> str:
    """What was done, for people."""
    return plural("{number:,} rule removed", "{number:,} rules removed", len(set(numbers)))


def holding(session: "connection", month: str) -> str:
    """The query for the rules that hold in a month; empty means the newest.

    Raises:
        CliError: the month is none, or has no prices.
    """
    check_month("--month", month)
    if month:
        find_month(session, month)
    return HOLDING.format(sql.Literal(month or None)).as_string(session)
