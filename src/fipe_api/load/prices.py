"""The prices of one model: one call per vehicle."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from msgspec.structs import replace

from fipe_api.load.rounds import next_round
from fipe_api.messages import (
    EmptyBrandMessage,
    ModelMessage,
    ModelQueueMessage,
    ModelYearFuel,
    PriceMessage,
    PriceQueueMessage,
    Unfinished,
)
from fipe_api.source.http_source import NoDataError, NotNowError, UnusableAnswerError
from fipe_api.source.price_source import PriceSource


def collect_prices(
    message: ModelQueueMessage,
    source: PriceSource,
    denied_before: Callable[[ModelMessage], Collection[ModelYearFuel]] = lambda _: (),
) -> list[PriceQueueMessage] | Unfinished:
    """Gets the prices of all vehicles of a model.

    A vehicle without a price or without a usable answer is tried again in later rounds. After the last round
    it is reported as unpriced or rejected. An empty brand is passed on.

    Args:
        message: the model, or the empty brand.
        source: what to ask.
        denied_before: tells which vehicles of the model were denied by an earlier load; they are believed to
            be unpriced after one round.

    Returns:
        One message with all prices; or the unfinished model, if it has to wait.
    """
    if isinstance(message, EmptyBrandMessage):
        return [message]
    prices = list(message.prices)
    known = list(message.unpriced)
    unpriced: list[ModelYearFuel] = []
    rejected: list[ModelYearFuel] = []

    def unfinished(
        left: tuple[ModelYearFuel, ...], rounds: int, retry_in: float, denied_until: float | None = None
    ) -> Unfinished:
        rest = replace(message, years_to_ask=left, prices=tuple(prices), unpriced=tuple(known), rounds=rounds)
        return Unfinished(rest, retry_in, denied_until)

    for position, year in enumerate(message.years_to_ask):
        try:
            prices.append(
                source.price(message.reference, message.vehicle_type, message.brand, message.model, year)
            )
        except NoDataError:
            unpriced.append(year)
        except UnusableAnswerError:
            rejected.append(year)
        except NotNowError as not_now:
            left = (*message.years_to_ask[position:], *unpriced, *rejected)
            return unfinished(left, message.rounds, not_now.retry_in)
    if unpriced:
        before = denied_before(message)
        known += [year for year in unpriced if year in before]
        unpriced = [year for year in unpriced if year not in before]
    if unpriced or rejected:
        again = next_round(message.rounds, made_progress=len(prices) > len(message.prices))
        if again is not None:
            return unfinished((*unpriced, *rejected), *again)
    return [
        PriceMessage(
            run_id=message.run_id,
            reference=message.reference,
            vehicle_type=message.vehicle_type,
            brand=message.brand,
            brands_in_run=message.brands_in_run,
            models_in_brand=message.models_in_brand,
            searched_at=message.searched_at,
            model=message.model,
            asked_at=datetime.now(UTC),
            prices=tuple(prices),
            unpriced=(*known, *unpriced),
            rejected=tuple(rejected),
        )
    ]
