"""What a benchmark reports: figures, each with what it is compared with and its target."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A bound for a figure, or for its ratio to the baseline: at least or at most this value."""

    words: Literal["at least", "at most"]
    limit: float

    def is_met_by(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.limit if self.words == "at least" else value <= self.limit


def at_least(limit: float) -> Target:
    """A bound for what should be large."""
    return Target("at least", limit)


def at_most(limit: float) -> Target:
    """A bound for what should be small."""
    return Target("at most", limit)


@dataclass(frozen=True)
class Baseline:
    """What a figure is compared with, measured in the same run and in the same unit."""

    what: str
    value: float


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        what: what was measured.
        value: the figure, in `unit`.
        baseline: what it is compared with; the ratio is value / baseline.
        target: the target for the ratio or, without a baseline, for the figure itself; None for a figure that
            is only informative.
    """

    what: str
    value: float
    unit: str
    baseline: Baseline | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """The figure divided by the baseline; None without one."""
        return self.value / self.baseline.value if self.baseline else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.target.is_met_by(self.value if self.ratio is None else self.ratio)

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of COLUMNS."""
        return (
            self.what,
            f"{number(self.value)} {self.unit}",
            f"{self.baseline.what}: {number(self.baseline.value)} {self.unit}" if self.baseline else "",
            "" if self.ratio is None else number(self.ratio),
            f"{self.target.words} {number(self.target.limit)}" if self.target else "",
            {True: "yes", False: "**no**", None: ""}[self.is_met],
        )


COLUMNS = ("what", "figure", "compared with", "ratio", "target", "met")


def number(value: float) -> str:
    """Formats a number: three significant digits below 100, thousands separated by commas above."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
