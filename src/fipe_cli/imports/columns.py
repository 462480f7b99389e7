"""Which column of a file holds what: FIPEX's and this project's own are known, others are told."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fipe_cli.errors import USAGE, CliError
from fipe_words import _

FIELDS = (
    "code", "type", "brand", "model", "year", "zero_km", "fuel", "fuel_code",
    "price", "cents", "month", "month_number", "month_year", "brand_code", "model_code", "reference_code",
)  # fmt: skip
"""What a column can hold: docs/imports.md says more."""

_NEEDED = (
    ("code",), ("brand",), ("model",), ("year", "zero_km"), ("fuel", "fuel_code"), ("price", "cents"),
    ("month", "month_number"),
)  # fmt: skip
"""Of each of these, one is needed."""


class Layout(NamedTuple):
    """The columns of a file.

    Attributes:
        name: what the files are called that look so; empty for files whose columns were told.
        columns: by field.
    """

    name: str
    columns: Mapping[str, str]


_KNOWN = (
    Layout("fipex", {
        "type": "tipo_veiculo", "code": "codigo_fipe", "model": "nome_modelo", "brand": "nome_marca",
        "fuel": "sigla_combustivel", "year": "ano_modelo", "zero_km": "zero_km", "cents": "valor_centavos",
        "month_number": "mes_referencia", "month_year": "ano_referencia",
    }),
    Layout("fipe-export", {
        "month": "reference_month", "reference_code": "reference_code", "type": "vehicle_type",
        "brand_code": "brand_code", "brand": "brand", "model_code": "model_code", "model": "model",
        "year": "model_year", "fuel_code": "fuel_code", "fuel": "fuel", "code": "fipe_code",
        "price": "price_brl",
    }),
)  # fmt: skip


def find_layout(file: str, columns: Sequence[str], told: Mapping[str, str], *, has_month: bool) -> Layout:
    """Which columns of a file hold what.

    Args:
        file: its name.
        columns: that it has.
        told: columns by field, as the user says; empty for a known layout.
        has_month: whether the month is known without the file.

    Raises:
        CliError: a column is missing.
    """
    has = ", ".join(columns[:20])
    absent = [column for column in told.values() if column not in columns]
    if absent:
        raise CliError(
            _(
                "{file} has no column {absent}: its columns are {columns}",
                file=file,
                absent=", ".join(absent),
                columns=has,
            ),
            USAGE,
        )
    for layout in _KNOWN:
        if not told and set(layout.columns.values()) <= set(columns):
            return layout
    lacking = [
        " / ".join(fields)
        for fields in _NEEDED
        if not told.keys() & set(fields) and not (has_month and "month" in fields)
    ]
    if told and lacking:
        raise CliError(
            _(
                "--columns lacks {fields}: the columns of {file} are {columns}",
                fields=", ".join(lacking),
                file=file,
                columns=has,
            ),
            USAGE,
        )
    if not told:
        raise CliError(
            _(
                "{file} has the columns of neither FIPEX nor `fipe export`, but {columns}: name them, such as"
                " with --columns code=codigo_fipe,brand=marca,model=modelo,year=ano,fuel=combustivel"
                ",price=valor,month=mes",
                file=file,
                columns=has,
            ),
            USAGE,
        )
    return Layout("", told)
