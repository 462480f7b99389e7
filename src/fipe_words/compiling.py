"""Compiles the catalogue of translations for gettext."""

import os
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po


def compile_catalogue(catalogue: Path, compiled: Path) -> None:
    """Writes the compiled file whole, even if several commands do it at the same time. Raises OSError."""
    draft = compiled.with_name(f"{compiled.name}.{os.getpid()}")
    try:
        with catalogue.open("rb") as source, draft.open("wb") as target:
            write_mo(target, read_po(source))
        draft.replace(compiled)
    finally:
        draft.unlink(missing_ok=True)
