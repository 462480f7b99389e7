from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from fipe_simulator import BrandQuirk, Ceiling, Fault, Faults, Quirks
from fipe_simulator.faults import Gate

README = Path(__file__).parents[2] / "src" / "fipe_simulator" / "README.md"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drawn(faults: Faults, count: int = 5_000) -> Counter[Fault | None]:
    return Counter(faults.draw(b"question %d" % number, 1) for number in range(count))


def test_each_fault_occurs_at_its_rate() -> None:
    counts = drawn(Faults(rates={Fault.CLOUDFLARE_PAGE: 0.3, Fault.TIMEOUT: 0.1}))
    assert counts.keys() == {Fault.CLOUDFLARE_PAGE, Fault.TIMEOUT, None}
    assert counts[Fault.CLOUDFLARE_PAGE] == pytest.approx(1_500, abs=150)
    assert counts[Fault.TIMEOUT] == pytest.approx(500, abs=100)


def test_all_faults_at_once_each_occur() -> None:
    assert drawn(Faults.of(rate=0.05)).keys() == {*Fault, None}


def test_a_rate_of_one_always_occurs_and_no_rate_never() -> None:
    assert drawn(Faults.of(Fault.EMPTY_BODY, rate=1)).keys() == {Fault.EMPTY_BODY}
    assert drawn(Faults()).keys() == {None}


def test_seed_question_and_attempt_alone_decide_the_fault() -> None:
    faults, other_seed = Faults.of(rate=0.05, seed=1), Faults.of(rate=0.05, seed=2)
    tries = [(b"question %d" % number, attempt) for number in range(50) for attempt in (1, 2, 3)]
    fates = [faults.draw(*each) for each in tries]
    assert fates == [faults.draw(*each) for each in tries]
    assert fates != [other_seed.draw(*each) for each in tries]
    assert len({faults.draw(b"question", attempt) for attempt in range(1, 30)}) > 1


@pytest.mark.parametrize(
    "rates", [{"rain": 0.1}, {"timeout": 0}, {"timeout": 1.1}, {"timeout": 0.6, "forbidden": 0.5}]
)
def test_refuses_invalid_rates(rates: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Faults.model_validate({"rates": rates})


def test_without_a_ceiling_every_call_passes() -> None:
    gate = Gate(None)
    assert [gate.refuse() for _ in range(1_000)] == [None] * 1_000


def passed(gate: Gate, calls: int) -> int:
    return sum(gate.refuse() is None for _ in range(calls))


def test_the_call_above_the_ceiling_blocks_all_until_the_block_ends() -> None:
    clock = Clock()
    gate = Gate(Ceiling(calls=50, per_seconds=60, block_seconds=60), clock)
    assert passed(gate, 50) == 50
    refusal = gate.refuse()
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (429, (("Retry-After", "60"),))
    clock.now += 59.5
    refusal = gate.refuse()
    assert refusal is not None
    assert refusal.headers == (("Retry-After", "1"),)
    clock.now += 0.5
    assert passed(gate, 51) == 50


def test_a_steady_pace_below_the_ceiling_is_never_refused() -> None:
    clock = Clock()
    gate = Gate(Ceiling(calls=50, per_seconds=60), clock)
    for _ in range(500):
        clock.now += 60 / 49
        assert gate.refuse() is None


def test_without_a_block_a_call_passes_as_soon_as_there_is_a_token() -> None:
    clock = Clock()
    gate = Gate(Ceiling(calls=5, per_seconds=1, block_seconds=0), clock)
    assert passed(gate, 10) == 5
    clock.now += 0.25
    assert passed(gate, 10) == 1


def test_a_refusal_may_lack_retry_after() -> None:
    gate = Gate(Ceiling(calls=1, retry_after=False), Clock())
    gate.refuse()
    refusal = gate.refuse()
    assert refusal is not None
    assert refusal.headers == ()


def test_another_ceiling_ends_the_block() -> None:
    gate = Gate(Ceiling(calls=1), Clock())
    assert passed(gate, 3) == 1
    gate.set(Ceiling(calls=2))
    assert passed(gate, 3) == 2


def test_the_readme_lists_every_fault_and_quirk() -> None:
    readme = README.read_text(encoding="utf-8")
    named = (*Fault, *Quirks.model_fields, *BrandQuirk)
    assert [name for name in named if f"`{name}`" not in readme] == []
