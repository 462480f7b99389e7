"""What a random sample says of a month, in words."""

import math

from fipe_api.load.sample import CONFIDENCE, right_share
from fipe_words import _


def confidence(answered: int, wrong: int) -> str:
    """What a sample says of the whole, in words."""
    if not answered:
        return _("nothing was answered, so nothing is known of the month")
    return _(
        "with {confidence:.0%} confidence at least {right:.2f}% of the month is right",
        confidence=CONFIDENCE,
        right=percent(right_share(answered, wrong)),
    )


def percent(share: float) -> float:
    """A share in percent, rounded down to two decimals."""
    return math.floor(1e4 * share) / 100
