"""The plans: they tell the ledger what to expect, before any results, so that it can name what is missing."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from fipe_api.messages import (
    BrandMessage,
    BrandPlanMessage,
    ModelMessage,
    ModelQueueMessage,
    PlannedBrand,
    PlannedModel,
    Reference,
    RunPlanMessage,
)

if TYPE_CHECKING:
    from fipe_api.load.request import LoadRequest

BRANDS_PER_PLAN = 500
"""About 40 KB, well within what SQS takes; a month has 236 brands."""
MODELS_PER_PLAN = 5_000
"""About 60 KB; the largest brand has about 800 models."""

Item = TypeVar("Item")


def run_plans(
    request: "LoadRequest", messages: Iterable[BrandMessage], listed_at: datetime
) -> list[RunPlanMessage]:
    """The brands that a run will load, per reference month, split into messages.

    Args:
        request: what was asked for.
        messages: those of all brands.
        listed_at: when the source was asked for the brands.
    """
    by_reference: dict[Reference, list[BrandMessage]] = {}
    for message in messages:
        by_reference.setdefault(message.reference, []).append(message)
    return [
        RunPlanMessage(
            run_id=part[0].run_id,
            reference=reference,
            brands_in_run=part[0].brands_in_run,
            listed_at=listed_at,
            brands=tuple(PlannedBrand(vehicle_type=each.vehicle_type, brand=each.brand) for each in part),
            vehicle_types=tuple(sorted(request.vehicle_types)),
            wanted_brands=request.wanted_brands,
            wanted_models=request.wanted_models,
            whole_month=request.whole_month,
        )
        for reference, brands in by_reference.items()
        for part in _parts(brands, BRANDS_PER_PLAN)
    ]


def brand_plans(messages: Iterable[ModelQueueMessage]) -> list[BrandPlanMessage]:
    """The models that a run will load of a brand, split into messages.

    Args:
        messages: the messages of all models of the brand; of some of them, there is no plan.
    """
    models = [message for message in messages if isinstance(message, ModelMessage)]
    if any(len(models) < message.models_in_brand for message in models):
        return []
    return [
        BrandPlanMessage(
            run_id=part[0].run_id,
            reference=part[0].reference,
            vehicle_type=part[0].vehicle_type,
            brand=part[0].brand,
            brands_in_run=part[0].brands_in_run,
            models_in_brand=part[0].models_in_brand,
            searched_at=part[0].searched_at,
            part=number,
            models=tuple(PlannedModel(each.model.code, len(each.years_to_ask)) for each in part),
        )
        for number, part in enumerate(_parts(models, MODELS_PER_PLAN))
    ]


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
