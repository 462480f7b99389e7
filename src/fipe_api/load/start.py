"""The start of a load: from what was asked for to the messages in the queues.

A start is work like any other. Short waits for the source are spent in the invocation. For longer ones the
start is sent to the manufacturer queue with its progress, and FipeModelLoader goes on with it.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from fipe_api.aws.clients import client
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.queue_publisher import Outgoing, SendError
from fipe_api.environment import LoaderEnvironment, loader_environment
from fipe_api.load.discovery import empty_brand
from fipe_api.load.outbox import handed_back, publish
from fipe_api.load.plan import run_plans
from fipe_api.load.request import (
    LoadRequestError,
    NothingListedError,
    choose_references,
    list_brands,
    messages_of,
    parse_request,
    refuse_nothing,
    refuse_unknown_brands,
    wanted_brands,
)
from fipe_api.load.rounds import next_round
from fipe_api.load.size import refuse_what_expires, size_of
from fipe_api.load.stability import reason_to_wait
from fipe_api.messages import (
    BrandMessage,
    CancellationMessage,
    ConfirmationMessage,
    EmptyBrandMessage,
    ListedBrands,
    ListEndedMessage,
    LookMessage,
    Named,
    Reference,
    RunPlanMessage,
    StartMessage,
    Unfinished,
    to_json,
)
from fipe_api.source.http_source import (
    LONGEST_WAIT_SECONDS,
    FipeError,
    NoDataError,
    NotNowError,
    UnusableAnswerError,
)
from fipe_api.source.price_source import PriceSource

Answer = TypeVar("Answer")
StartedMessage = (
    RunPlanMessage
    | BrandMessage
    | EmptyBrandMessage
    | StartMessage
    | CancellationMessage
    | LookMessage
    | ListEndedMessage
    | ConfirmationMessage
)


class Started(NamedTuple):
    """What a start has come to.

    Attributes:
        messages: to be sent: brands and starts to the manufacturer queue, what is to be told to the
            announcement queue, the others to the ledger.
        answer: what FipeManufacturerLoader answers.
        unfinished: what goes on with it: the start itself, if the source did not answer in time, or the next
            look at a list of months.
    """

    messages: Sequence[StartedMessage]
    answer: dict[str, Any]
    unfinished: Unfinished | None = None


def start_load(message: StartMessage, source: PriceSource, environment: LoaderEnvironment) -> Started:
    """Finds the brands of a load of one month.

    Returns:
        What to send, and the answer: `run_id`; `references`, with the month's code, the month and its number
        of brands; and `brands_sent`. If something is left, `waiting` says why. When until_stable leaves
        nothing to load, `run_id` is null and `nothing_to_load` gives the reason.

    Raises:
        LoadRequestError: the source does not have what was asked for, or the load would take longer than the
            queues keep a message. Nothing was started.
    """
    start = _Start(message, source, environment)
    try:
        reason = start.go_on()
    except NotNowError as refused:
        return start.waiting(refused, message.rounds, refused.retry_in)
    except (NoDataError, UnusableAnswerError) as error:
        again = next_round(message.rounds, made_progress=start.made_progress)
        if again is None:
            raise LoadRequestError("nothing was started: {error}", error=error) from error
        return start.waiting(error, *again)
    except FipeError as error:
        raise LoadRequestError("nothing was started: {error}", error=error) from error
    return Started(start.messages, nothing_to_load(reason) if reason else start.answer())


def outgoing_of(started: Started, manufacturer_queue: str) -> list[Outgoing]:
    """What to send after the work on a start."""
    environment = loader_environment()

    def queue_of(message: StartedMessage) -> str:
        if isinstance(message, BrandMessage | StartMessage):
            return manufacturer_queue
        if isinstance(message, LookMessage | ListEndedMessage):
            return environment.sqs_announcement_url
        return environment.sqs_ledger_url

    addressed = [(queue_of(message), message) for message in started.messages]
    # A stage may have nobody who tells what happened.
    sent = [Outgoing(queue, to_json(message)) for queue, message in addressed if queue]
    if started.answer.get("brands_sent"):
        logger.info("load started", **started.answer)
        metrics.add_metric("BrandsSent", "Count", started.answer["brands_sent"])
    return [*sent, handed_back(started.unfinished, manufacturer_queue)] if started.unfinished else sent


def send(started: Started, manufacturer_queue: str) -> None:
    """Sends the messages of a start.

    Raises:
        SendError: SQS did not accept all messages.
    """
    messages = outgoing_of(started, manufacturer_queue)
    failed = publish([[message] for message in messages])
    if failed:
        lost = f"{len(failed)} of {len(messages)} messages were not sent; start the load again"
        raise SendError(lost) from next(iter(failed.values()))


def tell_ledger(message: CancellationMessage) -> None:
    """Sends a message to the ledger.

    Raises:
        SendError: SQS did not accept it.
    """
    failed = publish([[Outgoing(loader_environment().sqs_ledger_url, to_json(message))]])
    if failed:
        raise SendError("the ledger was not told; try again") from failed[0]


def ask_patiently(ask: Callable[[], Answer]) -> Answer:
    """Asks the source, and spends short waits in this invocation.

    Raises:
        NotNowError: the wait is long, or this invocation has no time left.
    """
    while True:
        try:
            return ask()
        except NotNowError as refused:
            # The next call waits for its turn. A wait of 0 s means that this invocation has no time left.
            if not 0 < refused.retry_in <= LONGEST_WAIT_SECONDS:
                raise


def month_in_answer(reference: Reference, brands: int) -> dict[str, Any]:
    """A month in the answer of a start."""
    return {"code": reference.code, "month": f"{reference.month:%Y-%m}", "brands": brands}


def nothing_to_load(why: str) -> dict[str, Any]:
    """The answer when there is nothing to load, and why; also logged."""
    logger.info("nothing to load", reason=why)
    return {"run_id": None, "references": [], "brands_sent": 0, "nothing_to_load": why}


class _Start:
    def __init__(self, message: StartMessage, source: PriceSource, environment: LoaderEnvironment) -> None:
        self._message = message
        self._request = parse_request(message.request)
        self._source = source
        self._environment = environment
        self._reference = message.reference
        self._listed = list(message.listed)
        self._seen: list[Named] = []
        self._brands: int | None = None
        self.messages: list[StartedMessage] = []
        self.made_progress = False

    @property
    def _is_resumed(self) -> bool:
        return self._request.run_id is not None

    def go_on(self) -> str | None:
        """Starts the month. Returns why there is nothing to load, if so."""
        if self._reference is None:
            (reference,) = choose_references(self._request, self._ask(self._source.references))
            if self._request.until_stable:
                function = self._environment.load_status_function
                reason = reason_to_wait(client("lambda"), function, reference)
                if reason is not None:
                    return reason
            self._reference = reference
        self._list_brands(self._reference)
        if self._request.brands is not None and not self._message.among_others:
            self._refuse_unknown_brands()
        self._start()
        if not self.messages and self._request.brands is not None and self._seen:
            raise NothingListedError("the source lists none of the wanted brands")
        refuse_nothing(self.messages)
        self.messages.append(
            LookMessage(run_id=self._message.run_id, reference=self._reference, began_at=datetime.now(UTC))
        )
        return None

    def waiting(
        self, reason: FipeError, rounds: int, retry_in: float, denied_until: float | None = None
    ) -> Started:
        """What was found, and what is left for later."""
        left = replace(self._message, reference=self._reference, listed=tuple(self._listed), rounds=rounds)
        return Started(
            self.messages,
            {**self.answer(), "waiting": str(reason)},
            Unfinished(left, retry_in, denied_until),
        )

    def answer(self) -> dict[str, Any]:
        """What was started so far."""
        started = [] if self._reference is None or self._brands is None else [(self._reference, self._brands)]
        return {
            "run_id": str(self._message.run_id),
            "references": [month_in_answer(*month) for month in started],
            "brands_sent": sum(isinstance(message, BrandMessage) for message in self.messages),
        }

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        answer = ask_patiently(ask)
        self.made_progress = True
        return answer

    def _list_brands(self, reference: Reference) -> None:
        known = {each.vehicle_type for each in self._listed}
        for vehicle_type in sorted(self._request.vehicle_types - known):
            found = self._ask(partial(list_brands, reference, vehicle_type, self._source))
            self._seen += found
            listed = wanted_brands(self._request, reference, vehicle_type, found)
            self._listed.append(listed)
            if self._is_resumed and self._request.known_brands is None and found:
                self._close_brands_that_are_gone(listed)

    def _start(self) -> None:
        """Makes the messages, now that all brands are known."""
        brands = messages_of(self._message.run_id, self._request, self._listed)
        known = set(self._request.known_brands or ())
        if not self._is_resumed:
            refuse_what_expires(
                size_of(brands), self._environment.calls_per_minute, self._environment.retention_days
            )
        unknown = self._request.unknown_brands
        if unknown and len(brands) > unknown + len(known):
            raise LoadRequestError(
                "the plan of run {run} is lost, and it was for {known} of {total} brands: start"
                " the load again",
                run=self._message.run_id,
                known=unknown + len(known),
                total=len(brands),
            )
        # The ledger has the plan of a resumed run, unless the plan is what is missing.
        if not self._is_resumed or self._request.known_brands is not None:
            self.messages += run_plans(self._request, brands, datetime.now(UTC))
        self.messages += [brand for brand in brands if (brand.vehicle_type, brand.brand.code) not in known]
        self._brands = len(brands)

    def _refuse_unknown_brands(self) -> None:
        wanted = self._request.brands or ()
        if self._is_resumed:
            # A code was listed once, and is closed if it is no longer.
            wanted = tuple(want for want in wanted if isinstance(want, str))
        refuse_unknown_brands(wanted, self._listed, self._seen)

    def _close_brands_that_are_gone(self, listed: ListedBrands) -> None:
        """Tells the ledger which brands of a resumed run the source no longer lists."""
        # `fipe resume` asks for the brands of one vehicle type.
        found = {brand.code for brand in listed.brands}
        gone = [want for want in self._request.brands or () if isinstance(want, int) and want not in found]
        self.messages += [
            empty_brand(
                BrandMessage(
                    run_id=self._message.run_id,
                    reference=listed.reference,
                    vehicle_type=listed.vehicle_type,
                    brand=Named(code=code, name=str(code)),
                    brands_in_run=1,
                )
            )
            for code in gone
        ]
