"""A fleet in depth: what a list of vehicles is worth in the month, beside the month before."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fipe_cli.fleet.columns import find_columns
from fipe_cli.fleet.files import opened_fleet
from fipe_cli.fleet.valuation import Totals, value_fleet

if TYPE_CHECKING:
    from psycopg2.extensions import connection


def read_fleet(session: "connection", file: Path, month: date, before: date | None) -> dict[str, Any]:
    """Values a fleet as `fipe value` does, and returns its totals by type and brand.

    Raises:
        CliError: the file cannot be read, or is no fleet.
    """
    totals = Totals(month, before)
    with opened_fleet(file) as fleet:
        columns = find_columns(fleet.name, fleet.columns, {})
        value_fleet(session, fleet, columns, totals, more=[], writer=None)
        return {"name": Path(fleet.name).name, **totals.document()}
