"""What a check finds out: one line per part of the stage."""

from enum import StrEnum
from typing import Any, NamedTuple

from fipe_words import _, marked


class Level(StrEnum):
    """How good a finding is, the best first."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_LEVELS = {Level.OK: marked("ok"), Level.WARNING: marked("warning"), Level.FAILED: marked("failed")}


class Finding(NamedTuple):
    """One part of a stage: how it is.

    Attributes:
        level: ok, warning or failed.
        part: which part.
        seen: what was seen.
        to_do: what to do about it; empty if nothing.
    """

    level: Level
    part: str
    seen: str
    to_do: str = ""

    def line(self) -> str:
        """For people."""
        level = f"{_(_LEVELS[self.level]):8}"
        if not self.to_do:
            return f"{level} {self.part}: {self.seen}"
        found = {"part": self.part, "seen": self.seen, "to_do": self.to_do}
        return f"{level} {_('{part}: {seen}. To do: {to_do}', **found)}"

    def document(self) -> dict[str, Any]:
        """For scripts."""
        return self._asdict()


def worst(findings: list[Finding]) -> Level:
    """The level of all findings together."""
    levels = list(Level)
    return max((finding.level for finding in findings), key=levels.index, default=Level.OK)
