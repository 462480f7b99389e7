"""What the files that people give have in common: columns that are told, and cells as text."""

from collections.abc import Collection
from typing import Any

from fipe_cli.errors import USAGE, CliError
from fipe_words import _


def read_mapping(text: str, fields: Collection[str]) -> dict[str, str]:
    """The columns by field, from `code=codigo_fipe,price=valor`.

    Args:
        text: as the option --columns has it.
        fields: those that a column can hold.

    Raises:
        CliError: it has another form, or a field is unknown.
    """
    mapping = {}
    for pair in filter(None, text.split(",")):
        field, equals, column = pair.partition("=")
        if field not in fields or not equals or not column:
            raise CliError(
                _(
                    "invalid --columns {pair!r}: use FIELD=COLUMN with the fields {fields}",
                    pair=pair,
                    fields=", ".join(fields),
                ),
                USAGE,
            )
        mapping[field] = column
    return mapping


def text_of(cell: Any) -> str:
    """A cell as text."""
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
