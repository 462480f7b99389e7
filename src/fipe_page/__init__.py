"""The page on which people look prices up, and what it shares with the page of `fipe report`."""

import json
from pathlib import Path
from typing import Any

START = Path(__file__).with_name("index.html")
"""The page before its scripts run."""
FILES = Path(__file__).parent / "files"
"""What the page is made of; a server hands them out under /page, as they are."""
SHARED = FILES / "shared"
"""The charts, colours, elements and words that the report has, too."""


def read_words(*files: Path) -> dict[str, dict[str, Any]]:
    """The texts of several files together, by language and key."""
    words: dict[str, dict[str, Any]] = {}
    for file in files:
        for language, texts in json.loads(file.read_text(encoding="utf-8")).items():
            words.setdefault(language, {}).update(texts)
    return words
