"""When to believe a source that denies what it listed: not before it has done so for some minutes.

Sources were seen to answer "nothing found" for what they have, one call in ten at times. What had no usable
answer is asked again in a later round, from the queue, where waiting costs nothing.
"""

ROUNDS = 3
FIRST_DELAY_SECONDS = 60.0
DELAY_FACTOR = 3


def next_round(rounds: int, *, made_progress: bool) -> tuple[int, float] | None:
    """The number of the next round and the seconds until it, or None when what is left has to be believed.

    Args:
        rounds: how many rounds in a row before this one brought nothing.
        made_progress: whether this one did.
    """
    fruitless = 1 if made_progress else rounds + 1
    if fruitless >= ROUNDS:
        return None
    return fruitless, FIRST_DELAY_SECONDS * DELAY_FACTOR ** (fruitless - 1)
