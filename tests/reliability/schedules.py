"""Seeded schedules of faults: the same seed plans the same faults in the same order."""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from fipe_simulator import Fault, Faults
from tests.reliability.pipeline import Pipeline

API_FAULTS = [fault for fault in Fault if fault is not Fault.TIMEOUT]
ROUNDS_OF_REDRIVE = 5


def run_schedule(pipeline: Pipeline, older_results: Sequence[str], seed: int) -> list[str]:
    """Runs a load among faults, then without faults, then a redrive: it must end equal to the source.

    Args:
        pipeline: where it runs.
        older_results: what an earlier load of the month sent to the ingestor. Some of it arrives before this
            load, some during it and some after it.
        seed: decides all that happens.

    Returns:
        What was done, in order. If the load does not end equal, it is in the notes of the error.
    """
    chance = random.Random(seed)
    done: list[str] = []

    def note(what: str) -> None:
        done.append(what)

    pipeline.clear()
    before, during, after = _parts(older_results, chance)
    try:
        pipeline.deliver(before)
        pipeline.until_idle()
        note(f"of the older load: {len(before)} before, {len(during)} during, {len(after)} after")
        faults = chance.sample(API_FAULTS, chance.randint(0, 4))
        if faults:
            share = chance.choice([0.05, 0.1, 0.3]) / len(faults)
            pipeline.simulator.faults = Faults.of(*faults, rate=share, seed=seed)
            note(
                f"the source answers {share:.3f} of the calls with each of {[str(fault) for fault in faults]}"
            )
        sqs = {
            "duplicates": chance.choice([0, 0.3, 1]),
            "failed_sends": chance.choice([0, 0.2]),
            "any_order": chance.random() < 0.5,
            "seed": seed,
        }
        pipeline.queue_faults(**sqs)
        note(f"queues: {sqs}")
        run_id = pipeline.start()
        pipeline.deliver(during)
        for _ in range(chance.randint(1, 4)):
            time.sleep(chance.uniform(0, 0.6))
            _strike(pipeline, chance, note)
        time.sleep(chance.uniform(0, 0.5))
        pipeline.calm()
        note("calm")
        pipeline.deliver(after)
        for _ in range(ROUNDS_OF_REDRIVE):
            pipeline.until_idle()
            moved = pipeline.redrive()
            if not moved:
                break
            note(f"redrive of {moved}")
        pipeline.assert_equal_to_the_source(run_id)
    except Exception as error:
        error.add_note(f"replay it: make soak SEED={seed}; what was done: {done}")
        raise
    return done


def _parts(messages: Sequence[str], chance: random.Random) -> list[list[str]]:
    """Three parts of random sizes, in random order."""
    parts: list[list[str]] = [[], [], []]
    weights = [chance.random() for _ in parts]
    for message in chance.sample(messages, len(messages)):
        chance.choices(parts, weights)[0].append(message)
    return parts


def _strike(pipeline: Pipeline, chance: random.Random, note: Callable[[str], None]) -> None:
    kinds = ["kill", "kill", "kill", "sessions", "restart", "connections", "disk"]
    kind = chance.choice(kinds)
    seconds = chance.uniform(0.1, 1.5)
    note(f"{kind} ({seconds:.1f} s)")
    match kind:
        case "kill":
            module = chance.choice(["", "model_loader", "price_loader", "ingestor"])
            pipeline.kill_a_worker(chance, module)
        case "sessions":
            pipeline.end_sessions()
        case _:
            block = {
                "restart": pipeline.stopped_database,
                "connections": pipeline.no_connection_left,
                "disk": pipeline.disk_full,
            }.get(kind, nullcontext)
            with block():
                time.sleep(seconds)
