"""Brings src/fipe_words/…/messages.po up to date with the messages in the code: `make words`.

New messages come in without a translation, those that are gone go. A person translates in the file itself.
"""

import ast
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import typer.core
from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from fipe_words import CATALOGUE
from stage_settings import StageSettings

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("src/fipe_api", "src/fipe_cli", "src/local_cloud", "stage_settings.py")
HEADER = """\
# What the commands say in Portuguese: short, as one says it, "você" in mind, and one word for one thing.
# `make words` adds the messages that are new in the code, and removes those that are gone.
msgid ""
msgstr ""
"Language: pt\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"Content-Type: text/plain; charset=utf-8\\n"

"""
CALLS = {"_": 1, "marked": 1, "LoadRequestError": 1, "plural": 2, "ngettext": 2}
"""What takes messages, and how many of its arguments are some."""
MAKE_HELP = re.compile("(?:^##@|:.*##) (.+)", re.MULTILINE)
"""A heading, or what a target does, in what `make help` shows."""


class Message(NamedTuple):
    """A message in the code, with its plural if it has one, and where it is."""

    text: str
    plural: str | None
    place: str


def messages() -> Iterator[Message]:
    """Every message that a command can say: the project's own, its help, and typer's words."""
    for source in SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield from messages_in(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT)))
    yield from _help()
    for text in MAKE_HELP.findall((ROOT / "Makefile").read_text(encoding="utf-8")):
        yield Message(text, None, "Makefile")
    for setting in StageSettings.model_fields.values():
        yield Message(setting.description or "", None, "stage_settings.py")
    # typer's own words that it looks up with gettext; what else it says is in command_language.
    yield from messages_in(Path(typer.core.__file__).read_text(encoding="utf-8"), "typer/core.py")


def messages_in(source: str, place: str) -> Iterator[Message]:
    """The messages in a module's source."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        texts = [_text(argument) for argument in node.args]
        if node.func.id == "counted" and len(texts) > 1 and texts[1]:
            yield Message(f"{{number:,}} {texts[1]}", f"{{number:,}} {texts[1]}s", place)
        elif CALLS.get(node.func.id) == 1 and texts and texts[0]:
            yield Message(texts[0], None, place)
        elif CALLS.get(node.func.id) == 2 and len(texts) > 1 and texts[0]:
            yield Message(texts[0], texts[1], place)


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _help() -> Iterator[Message]:
    from fipe_cli.__main__ import app as fipe
    from local_cloud.__main__ import app as local_cloud
    from local_cloud.command_language import help_texts

    for app, place in ((fipe, "src/fipe_cli/__main__.py"), (local_cloud, "src/local_cloud/__main__.py")):
        for holder, attribute in help_texts(typer.main.get_command(app)):
            yield Message(getattr(holder, attribute), None, place)


def up_to_date(catalogue: Catalog) -> Catalog:
    """The catalogue with exactly the messages that the code has; new ones are not translated."""
    found: dict[str, Any] = {}
    for message in messages():
        known = found.setdefault(message.text, [message.plural, set()])
        known[0] = known[0] or message.plural
        known[1].add(message.place)
    result = Catalog(fuzzy=False)
    for text, (plural, places) in sorted(found.items(), key=lambda each: (max(each[1][1]), each[0])):
        before = catalogue.get(text)
        said = before.string if before and bool(plural) == bool(before.pluralizable) else ""
        locations = [(place, 0) for place in sorted(places)]
        result.add((text, plural) if plural else text, said, locations)
    return result


def read_catalogue() -> Catalog:
    """The catalogue as it is; empty if there is none yet."""
    if not CATALOGUE.exists():
        return Catalog()
    with CATALOGUE.open("rb") as file:
        return read_po(file)


def as_text(catalogue: Catalog) -> str:
    """The messages as the file has them."""
    text = BytesIO()
    write_po(text, catalogue, width=110, omit_header=True, include_lineno=False)
    return text.getvalue().decode()


def main() -> None:
    """Writes the catalogue, and says what is left to translate."""
    catalogue = up_to_date(read_catalogue())
    CATALOGUE.write_text(HEADER + as_text(catalogue), encoding="utf-8")
    left = [message for message in catalogue if message.id and not _is_translated(message.string)]
    print(f"{CATALOGUE.relative_to(ROOT)}: {len(catalogue)} messages, {len(left)} not translated")


def _is_translated(said: Any) -> bool:
    return all(said) if isinstance(said, tuple | list) else bool(said)


if __name__ == "__main__":
    main()
