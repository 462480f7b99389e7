"""The prices of one model: one call per vehicle."""

from datetime import UTC, datetime

from msgspec.structs import replace

from fipe_api.load.rounds import next_round
from fipe_api.messages import (
    EmptyBrandMessage,
    ModelQueueMessage,
    ModelYearFuel,
    PriceMessage,
    PriceQueueMessage,
    Unfinished,
)
from fipe_api.source.http_source import NoDataError, NotNowError, UnusableAnswerError
from fipe_api.source.price_source import PriceSource


def collect_prices(message: ModelQueueMessage, source: PriceSource) -> list[PriceQueueMessage] | Unfinished:
    """Gets the prices of all vehicles of a model.

    A vehicle without a price or without a usable answer is tried again in later rounds. After the last round
    it is reported as unpriced or rejected. An empty brand is passed on.

    Returns:
        One message with all prices; or the unfinished model, if it has to wait.
    """
    if isinstance(message, EmptyBrandMessage):
        return [message]
    prices = list(message.prices)
    unpriced: list[ModelYearFuel] = []
    rejected: list[ModelYearFuel] = []

    def unfinished(left: tuple[ModelYearFuel, ...], rounds: int, retry_in: float) -> Unfinished:
        rest = replace(message, years_to_ask=left, prices=tuple(prices), rounds=rounds)
        return Unfinished(rest, retry_in)

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
            model=message.model,
            asked_at=datetime.now(UTC),
            prices=tuple(prices),
            unpriced=tuple(unpriced),
            rejected=tuple(rejected),
        )
    ]
