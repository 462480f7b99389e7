"""Time left: what is said of a load while it runs, against the truth.

Three loads of the month's trucks or of all of it: as fast as this machine can; at a limit; and with a source
that begins to throttle when a quarter is loaded. What is said is what `make local` and `fipe status` show.
Shares are of the whole time that a load took.
"""

import itertools
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import requests

from benchmarks.cloud import STAGE, cloud_folder
from benchmarks.month import month
from benchmarks.rows import Baseline, Row, at_most
from fipe_cli.cloud import local_cloud
from fipe_cli.loads import start
from fipe_cli.local_load import LocalLook
from fipe_cli.progress import Snapshot, line
from fipe_cli.watch import LOCAL_PAUSES, Account
from fipe_simulator import Ceiling, write_catalogue
from local_cloud import lifecycle
from local_cloud.deployment import deploy
from local_cloud.source import read_source
from local_cloud.state import LocalState

SHARES = (0.1, 0.25, 0.5, 0.75)
EARLY, LATE_FROM, LATE = 0.25, 0.5, 0.1
"""How far it may be off, as a share of the truth: at first, and from half of the time on."""
LONGER = 1.1
THROTTLED_FROM = 0.25
CEILING = Ceiling(calls=50, per_seconds=3, block_seconds=5)
"""1,000 calls per minute. FIPE allows 50 per 60 s, and blocks for 60 s; here all is shorter."""


@dataclass(frozen=True)
class Scenario:
    """A load to watch: its name, its limit, what it loads, and the share of its prices at which the source
    begins to throttle."""

    name: str
    rate: str
    payload: dict[str, Any]
    throttled_from: float | None = None


SCENARIOS = (
    Scenario("fast", "max", {}),
    Scenario("at 3,000 calls per minute", "3000", {"vehicle_types": ["truck"]}),
    Scenario("throttled midway", "3000", {"vehicle_types": ["truck"]}, THROTTLED_FROM),
)


@dataclass(frozen=True)
class Said:
    """What was said so many seconds after the start."""

    seconds: float
    seen: Snapshot

    @property
    def left(self) -> float | None:
        """Seconds left, as it was said."""
        left = self.seen.time_left
        return None if left is None else left.total_seconds()


def run() -> Sequence[Row]:
    return [row for scenario in SCENARIOS for row in _rows(scenario, watched(scenario))]


def watched(scenario: Scenario) -> list[Said]:
    """Loads, and returns all that was said."""
    with cloud_folder() as folder:
        catalogue = folder / "month.tsv.gz"
        write_catalogue(catalogue, month().rows)
        state = LocalState(folder)
        endpoint = lifecycle.start(state)
        try:
            source = read_source(catalogue=str(catalogue), rate=scenario.rate)
            deploy(state, endpoint, source.context(endpoint))
            cloud = local_cloud(state, STAGE)
            started = start(cloud, scenario.payload)
            with closing(LocalLook.connection(cloud).open()) as session:
                session.autocommit = True
                look = LocalLook(cloud, endpoint, session, started)
                return _all_said(look, scenario, lifecycle.status(endpoint)["simulator"])
        finally:
            lifecycle.stop(state)


def _all_said(look: LocalLook, scenario: Scenario, simulator: str) -> list[Said]:
    account, said = Account(), list[Said]()
    began = time.monotonic()
    throttled_from = scenario.throttled_from
    while not said or not said[-1].seen.complete:
        _, seen = look()
        said.append(Said(time.monotonic() - began, account.next(seen)))
        print(f"{said[-1].seconds:6.1f} s  {line(said[-1].seen)}", flush=True)
        if throttled_from and seen.prices_expected and seen.prices > throttled_from * seen.prices_expected:
            address = f"{simulator.removesuffix('/api/veiculos')}/_simulator/ceiling"
            requests.put(address, data=CEILING.model_dump_json(), timeout=10).raise_for_status()
            throttled_from = None
        time.sleep(LOCAL_PAUSES.after(said[-1].seen))
    return said


def _rows(scenario: Scenario, said: Sequence[Said]) -> list[Row]:
    whole = said[-1].seconds
    rows = []
    for share in SHARES:
        at = next(each for each in said if each.seconds >= share * whole and each.left is not None)
        left, truth = at.left or 0.0, whole - at.seconds
        what = f"{scenario.name}, {whole:.0f} s: left at {share:.0%}"
        rows.append(Row(what, left, "s", Baseline("truth", truth)))
        if scenario.throttled_from and not at.seen.waits.throttled_to:
            continue  # nothing could know that the source would throttle
        within = EARLY if share < LATE_FROM else LATE
        rows.append(Row("the same: off by", abs(left / truth - 1), "", target=at_most(within)))
    return [*rows, Row("the same: longer without a word", _unexplained(said), "times", target=at_most(0))]


def _unexplained(said: Sequence[Said]) -> int:
    """How often the time left got longer by more than a tenth, and nothing said why."""
    count = 0
    for before, after in itertools.pairwise(said):
        if before.left is None or after.left is None:
            continue
        expected = before.left - (after.seconds - before.seconds)
        is_longer = after.left > LONGER * expected + 2
        waits = after.seen.waits
        count += is_longer and not (after.seen.why_longer or waits.refusal or after.seen.denied_for)
    return count
