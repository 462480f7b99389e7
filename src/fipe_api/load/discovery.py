"""Finds the model years and fuels of a brand's models, in the cheaper of two ways.

One call gives either the model years and fuels of one model, or the models of one model year and fuel. A
brand with fewer model years and fuels than models is searched in the second way. For a whole month, prices
included, this takes 1.088 calls per price instead of 1.228.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from msgspec.structs import replace

from fipe_api.load.rounds import next_round
from fipe_api.messages import (
    BrandMessage,
    Discovery,
    EmptyBrandMessage,
    ModelMessage,
    ModelQueueMessage,
    ModelYearFuel,
    Unfinished,
)
from fipe_api.source.http_source import FipeError, NoDataError, NotNowError, UnusableAnswerError
from fipe_api.source.price_source import PriceSource

Question = TypeVar("Question", ModelYearFuel, int)


def find_model_years(message: BrandMessage, source: PriceSource) -> list[ModelQueueMessage] | Unfinished:
    """Finds the model years and fuels of all models of a brand.

    All messages of a brand are sent together, because each says how many there are. A brand without models
    gives one message that says so. A model without model years also gets a message, so that the ledger can
    complete it. If the source answers "nothing found" for something that it listed, it is asked again in
    later rounds.

    A resumed load asks for the missing models only; for all, if the source no longer lists one of them: then
    its list is another one than the load's plan.

    Returns:
        One message per model; or the unfinished brand, if it has to wait.

    Raises:
        UnusableAnswerError: the source keeps giving unusable answers to a question that has to be answered.
    """
    search: _Search | None = None

    def unfinished(rounds: int, retry_in: float, denied_until: float | None = None) -> Unfinished:
        progress = search.progress() if search else None
        return Unfinished(replace(message, discovery=progress, rounds=rounds), retry_in, denied_until)

    try:
        search = _Search.resumed(message) if message.discovery else _Search.started(message, source)
        search.ask_what_is_left(source)
        if search.is_in_doubt:
            again = next_round(message.rounds, made_progress=search.made_progress)
            if again:
                return unfinished(*again)
            if search.doubts_a_year:
                search.ask_each_model_instead()
                return unfinished(0, 0)
            search.accept()
    except NotNowError as not_now:
        return unfinished(message.rounds, not_now.retry_in)
    except NoDataError:
        again = next_round(message.rounds, made_progress=False)
        return unfinished(*again) if again else [empty_brand(message)]
    return search.model_messages() or [empty_brand(message)]


class _Search:
    def __init__(self, message: BrandMessage, discovery: Discovery) -> None:
        self._message = message
        self._searched_at = discovery.searched_at
        self._models_in_brand = discovery.models_in_brand
        self._models = discovery.models
        self._years_to_ask = list(discovery.years_to_ask)
        self._models_to_ask = list(discovery.models_to_ask)
        self._found = {code: list(years) for code, years in discovery.found.items()}
        self._doubts: dict[ModelYearFuel | int, FipeError] = {}
        self.made_progress = False

    @classmethod
    def resumed(cls, message: BrandMessage) -> "_Search":
        assert message.discovery is not None
        return cls(message, message.discovery)

    @classmethod
    def started(cls, message: BrandMessage, source: PriceSource) -> "_Search":
        searched_at = datetime.now(UTC)
        answer = source.models(message.reference, message.vehicle_type, message.brand.code)
        wanted = message.wanted_models
        listed = tuple(model for model in answer.models if not wanted or model.is_among(wanted))
        missing = tuple(model for model in listed if model.code in message.missing_models)
        models = missing if missing and len(missing) == len(message.missing_models) else listed
        started = Discovery(searched_at=searched_at, models_in_brand=len(listed), models=models)
        if answer.years and len(answer.years) < len(models):
            return cls(message, replace(started, years_to_ask=answer.years))
        return cls(message, replace(started, models_to_ask=tuple(model.code for model in models)))

    @property
    def is_in_doubt(self) -> bool:
        """Whether some questions had no usable answer."""
        return bool(self._years_to_ask or self._models_to_ask)

    def ask_what_is_left(self, source: PriceSource) -> None:
        """Asks each open question once. Those without a usable answer stay open."""
        if self._years_to_ask:
            self._ask_each(self._years_to_ask, lambda year: self._ask_models_of(year, source))
            if not self._years_to_ask:
                # No model year has brought some of the listed models: ask for each of these separately.
                self._models_to_ask = [model.code for model in self._models if model.code not in self._found]
        if not self._years_to_ask:
            self._ask_each(self._models_to_ask, lambda code: self._ask_years_of(code, source))

    @property
    def doubts_a_year(self) -> bool:
        """Whether the source gives no models for a model year and fuel that the brand lists."""
        return bool(self._years_to_ask)

    def ask_each_model_instead(self) -> None:
        """Starts again the other way, because the answers by model year are unreliable."""
        self._years_to_ask, self._found = [], {}
        self._models_to_ask = [model.code for model in self._models]

    def accept(self) -> None:
        """Accepts that the remaining models have no model years.

        Raises:
            UnusableAnswerError: the last answer for one of them was not "nothing found".
        """
        for code in self._models_to_ask:
            if not isinstance(self._doubts[code], NoDataError):
                raise self._doubts[code]
            self._found[code] = []

    def progress(self) -> Discovery:
        return Discovery(
            searched_at=self._searched_at,
            models_in_brand=self._models_in_brand,
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
                models_in_brand=self._models_in_brand,
                searched_at=self._searched_at,
                model=model,
                years_to_ask=tuple(self._found.get(model.code, ())),
            )
            for model in self._models
        ]

    def _ask_each(self, questions: list[Question], ask: Callable[[Question], None]) -> None:
        for question in tuple(questions):
            # Move it to the end, so that the next invocation starts with the others if time runs out.
            questions.remove(question)
            questions.append(question)
            try:
                ask(question)
            except (NoDataError, UnusableAnswerError) as error:
                self._doubts[question] = error
            else:
                questions.remove(question)
                self.made_progress = True

    def _ask_models_of(self, year: ModelYearFuel, source: PriceSource) -> None:
        message = self._message
        for code in source.models_of_year(message.reference, message.vehicle_type, message.brand.code, year):
            self._found.setdefault(code, []).append(year)

    def _ask_years_of(self, model_code: int, source: PriceSource) -> None:
        message = self._message
        self._found[model_code] = list(
            source.years_of_model(message.reference, message.vehicle_type, message.brand.code, model_code)
        )


def empty_brand(message: BrandMessage) -> EmptyBrandMessage:
    """What tells the ledger that the source lists no models of a brand."""
    return EmptyBrandMessage(
        run_id=message.run_id,
        reference=message.reference,
        vehicle_type=message.vehicle_type,
        brand=message.brand,
        brands_in_run=message.brands_in_run,
        searched_at=datetime.now(UTC),
    )
