"""Which column of a file holds what: FIPEX's and this project's own are known, others are told."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fipe_cli.errors import USAGE, CliError

FIELDS = {
    "code": "FIPE code, such as 005340-6",
    "type": "car, motorcycle or truck; without it, the FIPE code tells",
    "brand": "name of the brand",
    "model": "name of the model",
    "year": "model year; 32000 or empty means zero km",
    "zero_km": "whether it is a new car",
    "fuel": "name or letter of the fuel",
    "fuel_code": "FIPE's code of the fuel",
    "price": "price in reais",
    "cents": "price in cents",
    "month": "reference month, such as 2026-06 or junho/2026",
    "month_number": "1 to 12, with month_year",
    "month_year": "the year of the reference month",
    "brand_code": "FIPE's code of the brand",
    "model_code": "FIPE's code of the model",
    "reference_code": "FIPE's code of the reference month",
}
"""What a column can hold."""

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


def read_mapping(text: str) -> dict[str, str]:
    """The columns by field, from `code=codigo_fipe,price=valor`.

    Raises:
        CliError: it has another form, or a field is unknown.
    """
    mapping = {}
    for pair in filter(None, text.split(",")):
        field, equals, column = pair.partition("=")
        if not equals or field not in FIELDS or not column:
            raise CliError(
                f"invalid --columns {pair!r}: use FIELD=COLUMN with the fields {', '.join(FIELDS)}", USAGE
            )
        mapping[field] = column
    return mapping


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
        raise CliError(f"{file} has no column {', '.join(absent)}: its columns are {has}", USAGE)
    for layout in _KNOWN:
        if not told and set(layout.columns.values()) <= set(columns):
            return layout
    lacking = [
        " or ".join(fields)
        for fields in _NEEDED
        if not told.keys() & set(fields) and not (has_month and "month" in fields)
    ]
    if told and lacking:
        raise CliError(f"--columns lacks {', '.join(lacking)}: the columns of {file} are {has}", USAGE)
    if not told:
        raise CliError(
            f"{file} has the columns of neither FIPEX nor `fipe export`, but {has}: name them, such as with"
            " --columns code=codigo_fipe,brand=marca,model=modelo,year=ano,fuel=combustivel,price=valor"
            ",month=mes",
            USAGE,
        )
    return Layout("", told)
