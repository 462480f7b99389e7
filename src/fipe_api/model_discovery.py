"""Which year-fuel pairs each model of a brand has, found by the cheaper of two roads.

One call answers either the pairs of one model or the models of one pair, so a brand with fewer pairs than
models is asked pair by pair. For a full month this takes 1.088 calls a price instead of 1.228.
"""

from fipe_api.fipe_api_service import FipeApi, NoDataError, NotNowError
from fipe_api.load_request import is_wanted
from fipe_api.messages import (
    BrandMessage,
    Discovery,
    EmptyBrandMessage,
    ModelMessage,
    ModelQueueMessage,
    Unfinished,
    YearFuel,
)


def find_model_years(message: BrandMessage, api: FipeApi) -> list[ModelQueueMessage] | Unfinished:
    """The messages that name each model's year-fuel pairs, or the brand with its progress when time ran out.

    A brand's messages go out together, since each tells how many there are. A brand without models gives one
    message that says so; a model without years is passed on, so that the ledger can close it.

    Raises:
        FipeError: the source gives no usable answer.
    """
    search: _Search | None = None
    try:
        search = _Search.resumed(message) if message.discovery else _Search.started(message, api)
        search.finish(api)
    except NotNowError as not_now:
        progress = search.progress() if search else None
        return Unfinished(message.model_copy(update={"discovery": progress}), not_now.retry_in)
    except NoDataError:
        return [_empty_brand(message)]
    return search.model_messages() or [_empty_brand(message)]


class _Search:
    def __init__(self, message: BrandMessage, discovery: Discovery) -> None:
        self._message = message
        self._models = discovery.models
        self._years_to_ask = list(discovery.years_to_ask)
        self._models_to_ask = list(discovery.models_to_ask)
        self._found = {code: list(years) for code, years in discovery.found.items()}

    @classmethod
    def resumed(cls, message: BrandMessage) -> "_Search":
        assert message.discovery is not None
        return cls(message, message.discovery)

    @classmethod
    def started(cls, message: BrandMessage, api: FipeApi) -> "_Search":
        answer = api.models(message.reference, message.vehicle_type, message.brand.code)
        wanted = message.wanted_models
        models = tuple(model for model in answer.models if not wanted or is_wanted(model, wanted))
        if len(answer.years) < len(models):
            return cls(message, Discovery(models=models, years_to_ask=answer.years))
        return cls(message, Discovery(models=models, models_to_ask=tuple(model.code for model in models)))

    def finish(self, api: FipeApi) -> None:
        while self._years_to_ask:
            self._ask_models_of(self._years_to_ask[-1], api)
        while self._models_to_ask:
            self._ask_years_of(self._models_to_ask[-1], api)

    def progress(self) -> Discovery:
        return Discovery(
            models=self._models,
            years_to_ask=tuple(self._years_to_ask),
            models_to_ask=tuple(self._models_to_ask),
            found={code: tuple(years) for code, years in self._found.items()},
        )

    def model_messages(self) -> list[ModelQueueMessage]:
        return [
            ModelMessage(
                run_id=self._message.run_id,
                reference=self._message.reference,
                vehicle_type=self._message.vehicle_type,
                brand=self._message.brand,
                brands_in_run=self._message.brands_in_run,
                models_in_brand=len(self._models),
                model=model,
                years_to_ask=tuple(self._found.get(model.code, ())),
            )
            for model in self._models
        ]

    def _ask_models_of(self, year: YearFuel, api: FipeApi) -> None:
        message = self._message
        try:
            codes = api.models_of_year(message.reference, message.vehicle_type, message.brand.code, year)
        except NoDataError:
            codes = frozenset()
        self._years_to_ask.pop()
        if not codes:
            # The brand's list says that at least one model has this pair: its years cannot be trusted.
            self._ask_every_model_instead()
            return
        for code in codes:
            self._found.setdefault(code, []).append(year)
        if not self._years_to_ask:
            # A model that no year has named contradicts the brand's list: it is asked by itself.
            self._models_to_ask = [model.code for model in self._models if model.code not in self._found]

    def _ask_every_model_instead(self) -> None:
        self._years_to_ask = []
        self._found = {}
        self._models_to_ask = [model.code for model in self._models]

    def _ask_years_of(self, model_code: int, api: FipeApi) -> None:
        message = self._message
        try:
            years = api.years_of_model(
                message.reference, message.vehicle_type, message.brand.code, model_code
            )
        except NoDataError:
            years = ()
        self._models_to_ask.pop()
        self._found[model_code] = list(years)


def _empty_brand(message: BrandMessage) -> EmptyBrandMessage:
    return EmptyBrandMessage(
        run_id=message.run_id,
        reference=message.reference,
        vehicle_type=message.vehicle_type,
        brand=message.brand,
        brands_in_run=message.brands_in_run,
    )
