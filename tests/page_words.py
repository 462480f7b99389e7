"""The texts of a page, which are the same in both of its languages."""

import re
from collections.abc import Mapping
from typing import Any


def texts(words: Mapping[str, Any]) -> dict[str, list[str]]:
    """All wordings of each text of a language, by its key."""
    return {key: _wordings(value) for key, value in words.items()}


def assert_both_languages_say_the_same(words: Mapping[str, Mapping[str, Any]]) -> None:
    """English and Portuguese have the same texts in the same order, with the same values in each wording."""
    english, portuguese = texts(words["en"]), texts(words["pt"])
    assert list(english) == list(portuguese)
    for key, wordings in english.items():
        assert [_values(text) for text in wordings] == [_values(text) for text in portuguese[key]], key


def _wordings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return list(value.values() if isinstance(value, dict) else value)


def _values(text: str) -> list[str]:
    return sorted(set(re.findall(r"{(\w+)}", text)))
