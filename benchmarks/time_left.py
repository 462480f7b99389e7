"""Time left: what a load says of it while it runs, against the truth.

Three loads: the whole month as fast as this machine can; its trucks at 3,000 calls per minute; and the same
with a source that begins to throttle when a quarter is loaded. Each is `fipe local` in a pipe, which says a
line every ten seconds. Shares are of the time from the first line to the last.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from benchmarks.cloud import cloud_folder, environment_of
from benchmarks.month import REPOSITORY, month
from benchmarks.rows import Baseline, Row, at_most
from fipe_simulator import Ceiling, write_catalogue
from local_cloud.lifecycle import status
from local_cloud.state import LocalState

SHARES = (0.1, 0.25, 0.5, 0.75)
EARLY, LATE_FROM, LATE = 0.25, 0.5, 0.1
"""How far it may be off, as a share of the truth: at first, and from half of the time on."""
LONGER = 1.1
"""A time left that is longer by more than this factor than was said before needs a word that says why."""
SHORT_SECONDS = 10.0
"""No word is needed about less than this."""
REASONS = re.compile("throttled|blocked|down|slower|more is left|denied|nothing has come")
LEFT = re.compile(r"about (?:(\d+) h )?(?:(\d+) min ?)?(?:(\d+) s )?left")
PRICES = re.compile(r"prices loaded ([\d,]+) of (?:about )?([\d,]+)")
THROTTLED_FROM = 0.25
CEILING = Ceiling(calls=50, per_seconds=3, block_seconds=5)
"""1,000 calls per minute. FIPE allows 50 per 60 s, and blocks for 60 s; here all is shorter."""


@dataclass(frozen=True)
class Scenario:
    """A load to watch: its name, its options, and the share of its prices at which the source throttles."""

    name: str
    options: tuple[str, ...] = ()
    throttled_from: float | None = None


PACED = ("--rate", "3000", "--types", "truck")
SCENARIOS = (
    Scenario("fast"),
    Scenario("at 3,000 calls per minute", PACED),
    Scenario("throttled midway", PACED, THROTTLED_FROM),
)


@dataclass(frozen=True)
class Said:
    """A line, and when it was said: in seconds of some clock."""

    at: float
    line: str

    @property
    def left(self) -> float | None:
        """Seconds left, as it says."""
        found = LEFT.search(self.line)
        if found is None:
            return None
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return 3600.0 * hours + 60 * minutes + seconds

    @property
    def share(self) -> float:
        """The share of the prices that are loaded."""
        found = PRICES.search(self.line)
        done, total = (int(part.replace(",", "")) for part in found.groups()) if found else (0, 0)
        return done / total if total else 0.0


def run() -> Sequence[Row]:
    with TemporaryDirectory() as folder:
        catalogue = Path(folder) / "month.tsv.gz"
        write_catalogue(catalogue, month().rows)
        return [row for scenario in SCENARIOS for row in rows(scenario, list(watched(scenario, catalogue)))]


def watched(scenario: Scenario, catalogue: Path) -> Iterator[Said]:
    """Loads, and gives each line about its progress."""
    throttled_from = scenario.throttled_from
    with cloud_folder() as folder:
        command = [sys.executable, "-m", "fipe_cli", "local", "--catalogue", str(catalogue)]
        with subprocess.Popen(
            [*command, *scenario.options],
            env=environment_of(folder),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if not PRICES.search(line):
                    continue
                said = Said(time.monotonic(), line.strip())
                yield said
                if throttled_from and said.share > throttled_from:
                    _throttle(LocalState(folder))
                    throttled_from = None


def _throttle(state: LocalState) -> None:
    endpoint = state.endpoint()
    assert endpoint is not None
    simulator = status(endpoint)["simulator"].removesuffix("/api/veiculos")
    answer = requests.put(f"{simulator}/_simulator/ceiling", data=CEILING.model_dump_json(), timeout=10)
    answer.raise_for_status()


def rows(scenario: Scenario, said: Sequence[Said]) -> list[Row]:
    """What was said at each share of the time, and how far it was off."""
    began, ended = said[0].at, said[-1].at
    found = []
    for share in SHARES:
        before = [each for each in said if each.at <= began + share * (ended - began)]
        at = next(each for each in said[len(before) - 1 :] if each.left is not None)
        left, truth = at.left or 0.0, ended - at.at
        what = f"{scenario.name}, {ended - began:.0f} s: left at {share:.0%}"
        found.append(Row(what, left, "s", Baseline("truth", truth)))
        if scenario.throttled_from and at.share <= scenario.throttled_from:
            continue  # nothing could know that the source would throttle
        within = EARLY if share < LATE_FROM else LATE
        found.append(Row("the same: off by", abs(left / truth - 1), "", target=at_most(within)))
    return [*found, Row("the same: longer without a word", _unexplained(said), "times", target=at_most(0))]


def _unexplained(said: Sequence[Said]) -> int:
    """How often the time left got longer by more than a tenth, and the line does not say why."""
    count = 0
    for before, after in pairwise(said):
        if before.left is not None and after.left is not None:
            expected = max(0.0, before.left - (after.at - before.at))
            is_longer = after.left > LONGER * expected + SHORT_SECONDS
            count += is_longer and not REASONS.search(after.line)
    return count
