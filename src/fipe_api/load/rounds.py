"""When to accept that the source has nothing: after several rounds of calls, minutes apart.

Sources sometimes answer "nothing found" for data they have, at times to one call in ten. So a question
without a usable answer is asked again in a later round. Meanwhile the message waits in the queue, which costs
nothing.
"""

from typing import NamedTuple

ROUNDS = 3
FIRST_DELAY_SECONDS = 60.0
DELAY_FACTOR = 3


class NextRound(NamedTuple):
    """When to ask again.

    Attributes:
        rounds: rounds in a row without an answer so far.
        retry_in: seconds until the next round.
        last_in: seconds until the last round, if all until then are without an answer.
    """

    rounds: int
    retry_in: float
    last_in: float


def next_round(rounds: int, *, made_progress: bool) -> NextRound | None:
    """The next round; None if it is time to accept the answers.

    Args:
        rounds: how many rounds in a row, before this one, brought no answer.
        made_progress: whether this round brought one.
    """
    fruitless = 1 if made_progress else rounds + 1
    if fruitless >= ROUNDS:
        return None
    delays = [FIRST_DELAY_SECONDS * DELAY_FACTOR ** (each - 1) for each in range(fruitless, ROUNDS)]
    return NextRound(fruitless, delays[0], sum(delays))
