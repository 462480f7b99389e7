"""The prices of one model: a call for each of its year-fuel pairs."""

from fipe_api.fipe_api_service import FipeApi, NoDataError, NotNowError
from fipe_api.messages import (
    EmptyBrandMessage,
    ModelMessage,
    ModelQueueMessage,
    PricedVehicle,
    PriceMessage,
    PriceQueueMessage,
    Unfinished,
    YearFuel,
)


def collect_prices(message: ModelQueueMessage, api: FipeApi) -> list[PriceQueueMessage] | Unfinished:
    """The message with all prices of the model, or the model with those found so far when time ran out.

    A pair that the source lists but has no price for is reported as unpriced. An empty brand is passed on.

    Raises:
        FipeError: the source gives no usable answer.
    """
    if isinstance(message, EmptyBrandMessage):
        return [message]
    prices = list(message.prices)
    unpriced = list(message.unpriced)
    for position, year in enumerate(message.years_to_ask):
        try:
            prices.append(
                api.price(
                    message.reference, message.vehicle_type, message.brand.code, message.model.code, year
                )
            )
        except NoDataError:
            unpriced.append(year)
        except NotNowError as not_now:
            progress = {
                "years_to_ask": message.years_to_ask[position:],
                "prices": tuple(prices),
                "unpriced": tuple(unpriced),
            }
            return Unfinished(message.model_copy(update=progress), not_now.retry_in)
    return [_price_message(message, prices, unpriced)]


def _price_message(
    message: ModelMessage, prices: list[PricedVehicle], unpriced: list[YearFuel]
) -> PriceMessage:
    return PriceMessage(
        run_id=message.run_id,
        reference=message.reference,
        vehicle_type=message.vehicle_type,
        brand=message.brand,
        brands_in_run=message.brands_in_run,
        models_in_brand=message.models_in_brand,
        model=message.model,
        prices=tuple(prices),
        unpriced=tuple(unpriced),
    )
