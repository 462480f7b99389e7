"""Which columns of a fleet's file hold the FIPE code, the model year and the fuel."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fipe_api.messages import folded
from fipe_cli.errors import USAGE, CliError
from fipe_words import _, marked

_NAMES = {
    "code": (
        "codigofipe", "fipecode", "codfipe", "cdfipe", "codigodafipe", "codigotabelafipe", "idfipe", "fipeid",
        "fipe", "codigo", "cod", "code",
    ),
    "year": (
        "anomodelo", "modelyear", "anodomodelo", "anomod", "yearmodel", "anofabricacaomodelo", "anofabmodelo",
        "anofabmod", "ano", "year",
    ),
    "fuel": (
        "combustivel", "fuel", "fueltype", "tipocombustivel", "tipodecombustivel", "siglacombustivel",
        "codigocombustivel", "fuelcode", "comb",
    ),
}  # fmt: skip
"""What columns are called in both languages, in letters and digits only. The first that a file has counts."""

FIELDS = tuple(_NAMES)

_LACKING = {
    "code": marked(
        "{file} has no column of FIPE codes: its heading is {columns};"
        " name it, such as with --columns code={last}"
    ),
    "year": marked(
        "{file} has no column of model years: its heading is {columns};"
        " name it, such as with --columns year={last}"
    ),
}


class FleetColumns(NamedTuple):
    """The places of the columns among those of the file; a fleet may have no column of fuels."""

    code: int
    year: int
    fuel: int | None


def find_columns(file: str, columns: Sequence[str], told: Mapping[str, str]) -> FleetColumns:
    """Which columns of a file hold what.

    Args:
        file: its name.
        columns: that it has.
        told: columns by field, as the user says; the others are recognised by their names.

    Raises:
        CliError: a column is missing.
    """
    code = find_column(file, columns, told, "code")
    year = find_column(file, columns, told, "year")
    return FleetColumns(code, year, _place(file, columns, told, "fuel"))


def find_column(file: str, columns: Sequence[str], told: Mapping[str, str], field: str) -> int:
    """Which column of a file holds a field. Raises CliError when none does; the arguments as above."""
    place = _place(file, columns, told, field)
    if place is None:
        named = [column for column in columns[:20] if column.strip()] or [""]
        raise CliError(_(_LACKING[field], file=file, columns=", ".join(named), last=named[-1]), USAGE)
    return place


def _place(file: str, columns: Sequence[str], told: Mapping[str, str], field: str) -> int | None:
    if field in told:
        if told[field] not in columns:
            has = ", ".join(columns[:20])
            raise CliError(
                _(
                    "{file} has no column {column}: its columns are {columns}",
                    file=file,
                    column=told[field],
                    columns=has,
                ),
                USAGE,
            )
        return columns.index(told[field])
    known: dict[str, int] = {}
    for place, column in reversed(list(enumerate(columns))):
        known[re.sub("[^a-z0-9]", "", folded(column))] = place
    return next((known[name] for name in _NAMES[field] if name in known), None)
