"""What the commands say, in the language of the person: English, or Portuguese where the catalogue has it.

Messages stand in the code in English, whole sentences with their values by name:
`_("no prices for {month}", month=month)`. messages.po has their translations. It is compiled on first use.
`make words` brings it up to date with the code.
"""

import gettext
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

FOLDER = Path(__file__).parent
DOMAIN = "messages"
"""gettext's own default: typer looks up its words there, too."""
ENGLISH, PORTUGUESE = "en", "pt"
CATALOGUE = FOLDER / PORTUGUESE / "LC_MESSAGES" / f"{DOMAIN}.po"
COMPILED = CATALOGUE.with_suffix(".mo")

_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""Where gettext looks for the language; the first that is set counts."""
_SWAPPED = str.maketrans(",.", ".,")

_spoken: gettext.NullTranslations = gettext.NullTranslations()


def language() -> str:
    """The language that the commands speak: en or pt."""
    return ENGLISH if type(_spoken) is gettext.NullTranslations else PORTUGUESE


def language_of(environment: Mapping[str, str]) -> str:
    """The language that a person's environment asks for; English where it asks for another."""
    asked = next((environment[name] for name in _VARIABLES if environment.get(name)), "")
    for each in asked.split(":"):
        known = understood(each)
        if known or each in ("C", "POSIX"):
            return known or ENGLISH
    return ENGLISH


def understood(name: str) -> str | None:
    """The language that a name means, as `pt`, `pt-BR` or `pt_BR.UTF-8`; None if it is no known one."""
    plain = name.lower().replace("-", "_").partition("_")[0].partition(".")[0]
    return plain if plain in (ENGLISH, PORTUGUESE) else None


def speak(chosen: str) -> None:
    """From now on, messages are in this language; typer's, too."""
    global _spoken
    os.environ["LANGUAGE"] = chosen
    gettext.bindtextdomain(DOMAIN, str(FOLDER))
    _spoken = gettext.NullTranslations()
    if chosen == PORTUGUESE and _compile():
        _spoken = gettext.translation(DOMAIN, str(FOLDER), [PORTUGUESE])


@contextmanager
def in_english() -> Iterator[None]:
    """Messages made meanwhile are in English, for what programs read."""
    global _spoken
    before, _spoken = _spoken, gettext.NullTranslations()
    try:
        yield
    finally:
        _spoken = before


def _(message: str, /, **values: object) -> str:
    """The message in the person's language, with its values in it; numbers as people write them there."""
    said = _spoken.gettext(message)
    return _formatter().vformat(said, (), values) if values else said


def plural(one: str, many: str, number: int, /, **values: object) -> str:
    """One of two messages, depending on a number, which stands in them as {number}."""
    return _formatter().vformat(_spoken.ngettext(one, many, number), (), {"number": number, **values})


def counted(number: int, what: str) -> str:
    """`1 brand`, `2 brands`; in Portuguese `1 marca`, `2 marcas`."""
    return plural(f"{{number:,}} {what}", f"{{number:,}} {what}s", number)


def marked(message: str) -> str:
    """A message that is looked up later, when the language is known: the catalogue has it."""
    return message


def understood_as(text: str, templates: Iterable[str]) -> str:
    """A finished English text, in the person's language; as it is if it fits none of the templates.

    Args:
        text: what a library or a function said.
        templates: messages of the catalogue. The first that fits counts, for what stands in it, too.
    """
    if language() == ENGLISH:
        return text
    for template in templates:
        found = _as_pattern(template).fullmatch(text)
        if found:
            values = {name: understood_as(value, templates) for name, value in found.groupdict().items()}
            return _(template, **values)
    return text


@cache
def _as_pattern(template: str) -> re.Pattern[str]:
    """Matches what the template becomes; its values may be any text."""
    parts = []
    known: set[str] = set()
    for literal, name, _spec, _conversion in Formatter().parse(template):
        parts.append(re.escape(literal))
        if name:
            parts.append(f"(?P={name})" if name in known else f"(?P<{name}>.+?)")
            known.add(name)
    return re.compile("".join(parts), re.DOTALL)


class _PortugueseFormatter(Formatter):
    """Numbers with a decimal comma, and dots between thousands: 1.234,56."""

    def format_field(self, value: Any, format_spec: str) -> str:
        text: str = super().format_field(value, format_spec)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return text.translate(_SWAPPED) if is_number and format_spec else text


_ENGLISH_FORMATTER, _PORTUGUESE_FORMATTER = Formatter(), _PortugueseFormatter()


def _formatter() -> Formatter:
    return _ENGLISH_FORMATTER if language() == ENGLISH else _PORTUGUESE_FORMATTER


def _compile() -> bool:
    """Makes the file that gettext reads, if it is older than the catalogue; whether it is there."""
    try:
        if not COMPILED.exists() or COMPILED.stat().st_mtime < CATALOGUE.stat().st_mtime:
            from fipe_words.compiling import compile_catalogue

            compile_catalogue(CATALOGUE, COMPILED)
    except OSError:  # a folder that only another user may write to
        return COMPILED.exists()
    return True
