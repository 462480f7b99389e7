"""When to accept that the source has nothing: after several rounds of calls, minutes apart.

Sources sometimes answer "nothing found" for data they have, at times to one call in ten. So a question
without a usable answer is asked again in a later round. Meanwhile the message waits in the queue, which costs
nothing.
"""

ROUNDS = 3
FIRST_DELAY_SECONDS = 60.0
DELAY_FACTOR = 3


def next_round(rounds: int, *, made_progress: bool) -> tuple[int, float] | None:
    """The number of the next round and the seconds until it; None if it is time to accept the answers.

    Args:
        rounds: how many rounds in a row, before this one, brought no answer.
        made_progress: whether this round brought one.
    """
    fruitless = 1 if made_progress else rounds + 1
    if fruitless >= ROUNDS:
        return None
    return fruitless, FIRST_DELAY_SECONDS * DELAY_FACTOR ** (fruitless - 1)
