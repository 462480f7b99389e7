"""Starting a load, or saying before what it would take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import psycopg2
import requests
from pydantic import BaseModel

from fipe_api.environment import OFFICIAL_URL, RETENTION_DAYS
from fipe_api.fipe_api_service import FipeApi
from fipe_api.load.request import (
    VEHICLE_TYPES,
    LoadRequestError,
    brand_messages,
    choose_references,
    parse_request,
    vehicle_type,
)
from fipe_api.load.size import Size, Sizes, refuse_what_expires, size_of
from fipe_api.source.http_source import FipeError, HttpSource, SourceDownError
from fipe_api.source.pace import Unpaced
from fipe_api.source.tolerant_pace import PaceTableMissingError
from fipe_cli.cloud import Cloud
from fipe_cli.database import open_database
from fipe_cli.errors import CliError
from fipe_cli.estimate import sizes_in
from fipe_cli.function_words import understood
from fipe_cli.progress import duration
from fipe_words import _, counted, marked
from infrastructure.names import Function

STARTER = Function.MANUFACTURER_LOADER
_ANY_RUN = UUID(int=0)
_DRY_RUN_SECONDS = 300.0


class StartedReference(BaseModel):
    """A month of a load: FIPE's code, the month as YYYY-MM, and how many brands were sent."""

    code: int
    month: str
    brands: int


class StartedLoad(BaseModel):
    """What FipeManufacturerLoader answers.

    Attributes:
        run_id: the run.
        references: its months. Those of a list are started one at a time.
        brands_sent: brands that were sent.
        waiting: why something was not started yet, if so.
        to_come: how many of the months wait for their turn.
        sample_of: the month, YYYY-MM, that may be confirmed by a sample, if it is the first.
        skipped: months, YYYY-MM, that are complete or confirmed already.
    """

    run_id: UUID
    references: list[StartedReference]
    brands_sent: int
    waiting: str | None = None
    to_come: int = 0
    sample_of: str | None = None
    skipped: list[str] = []

    def words(self) -> str:
        """What was started, and what waits, in a line."""
        if not self.references:
            return _("run {run} waits to start: {why}", run=self.run_id, why=understood(self.waiting or ""))
        months = [reference.month for reference in self.references]
        if self.sample_of:
            return _(
                "run {run} started: {months}, one at a time; asks for a sample of {month} first",
                run=self.run_id,
                months=span(months),
                month=self.sample_of,
            )
        started = _(
            marked("run {run} started: {months}, one at a time; {brands} of the first")
            if len(months) > 1
            else marked("run {run} started: {months}, {brands}"),
            run=self.run_id,
            months=span(months),
            brands=counted(self.brands_sent, "brand"),
        )
        if not self.waiting:
            return started
        return _("{started}; waits: {why}", started=started, why=understood(self.waiting))

    def without(self, codes: set[int]) -> "StartedLoad":
        """The same without some months, by their codes."""
        left = [reference for reference in self.references if reference.code not in codes]
        return self.model_copy(update={"references": left})


@dataclass(frozen=True)
class Plan:
    """What a load would do.

    Attributes:
        months: the reference months, YYYY-MM, the oldest first.
        brands: brand messages that would be sent, for all months together.
        size: what it takes, if brands are as large as in the nearest month that the database holds.
        calls_per_minute: the stage's limit, or None without one.
    """

    months: list[str]
    brands: int
    size: Size
    calls_per_minute: float | None

    @property
    def minutes(self) -> float | None:
        """How long the calls take, or None without a limit."""
        return self.size.minutes(self.calls_per_minute)

    def words(self) -> list[str]:
        """For people."""
        limit, minutes = self.calls_per_minute, self.minutes
        calls = counted(round(self.size.calls), "call")
        return [
            _(
                "{months}: {brands}, about {models} and {prices}",
                months=span(self.months),
                brands=counted(self.brands, "brand"),
                models=counted(round(self.size.models), "model"),
                prices=counted(round(self.size.prices), "price"),
            ),
            _(
                "about {calls}, {duration} at {limit:g} calls per minute",
                calls=calls,
                duration=duration(minutes * 60),
                limit=limit,
            )
            if minutes and limit
            else _("about {calls}, no limit is set", calls=calls),
            _("nothing was started"),
        ]

    def document(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "months": self.months,
            "brands": self.brands,
            "models": round(self.size.models),
            "prices": round(self.size.prices),
            "calls": round(self.size.calls),
            "calls_per_minute": self.calls_per_minute,
            "minutes": None if self.minutes is None else round(self.minutes, 1),
        }


def payload_of(reference: str, types: str, brands: str, models: str) -> dict[str, Any]:
    """The payload of FipeManufacturerLoader from texts: an empty one means all, commas separate a list.

    Raises:
        LoadRequestError: a part is invalid.
    """
    given = {"reference": code_or_text(reference)} if reference else {}
    texts = {"vehicle_types": types, "brands": brands, "models": models}
    lists = {
        key: [code_or_text(item.strip()) for item in text.split(",")] for key, text in texts.items() if text
    }
    for name in lists.get("vehicle_types", ()):
        if vehicle_type(name) not in VEHICLE_TYPES.values():
            raise LoadRequestError("unknown vehicle type {name!r}: use car, motorcycle, truck", name=name)
    payload = {**given, **lists}
    parse_request(payload)
    return payload


def code_or_text(text: str) -> int | str:
    """A code when it is all digits, otherwise the text."""
    return int(text) if text.isascii() and text.isdigit() else text


def start(cloud: Cloud, payload: dict[str, Any]) -> StartedLoad:
    """Start the load, now or when the source answers. Raises CliError with the reason if it cannot start."""
    return StartedLoad.model_validate(invoke_starter(cloud, payload))


def cancel(cloud: Cloud, run_id: UUID) -> None:
    """Cancel a run. Raises CliError with the reason if it cannot be cancelled."""
    invoke_starter(cloud, {"run_id": str(run_id), "cancel": True})


def invoke_starter(cloud: Cloud, payload: dict[str, Any]) -> Any:
    """What FipeManufacturerLoader answers. Raises CliError with the reason if it refuses."""
    try:
        return cloud.invoke(STARTER, payload)
    except CliError as error:
        if str(error) == understood(str(PaceTableMissingError())):
            raise CliError(
                _("{problem}; `{command}` says what to do", problem=error, command=cloud.check_command)
            ) from error
        raise


def plan(cloud: Cloud, payload: dict[str, Any]) -> Plan:
    """What the load would do. Asks the source for its months, and for its brands once per vehicle type.

    Raises:
        LoadRequestError: the source does not have what was asked for, or the load is too long.
        CliError: the stage is not deployed, or the source does not answer.
    """
    environment = cloud.environment_of(STARTER)
    limit = calls_per_minute(environment)
    url = environment.get("FIPE_API_URL", OFFICIAL_URL)
    request = parse_request(payload)
    with source_at(url) as api:
        references = choose_references(request, api.references())
        # Only for the newest month: a long range would take hundreds of calls.
        messages = brand_messages(_ANY_RUN, request, references[-1:], api)
    month = size_of(messages, _sizes_known(cloud, references[-1].month))
    count = len(references)
    size = month.times(count)
    # The months of a list are loaded one at a time.
    refuse_what_expires(month, limit, int(environment.get("RETENTION_DAYS", RETENTION_DAYS)))
    return Plan(
        months=[f"{reference.month:%Y-%m}" for reference in references],
        brands=len(messages) * count,
        size=size,
        calls_per_minute=limit,
    )


def refuse_what_the_source_lacks(url: str, payload: dict[str, Any]) -> None:
    """Asks the source for its months and, if brands are named, for those of the month that is meant.

    A source that answers something else, or throttles, refuses nothing: the load waits for it.

    Raises:
        LoadRequestError: it does not have a month or a brand.
        CliError: it cannot be reached.
    """
    request = parse_request(payload)
    with source_at(url) as api:
        try:
            references = choose_references(request, api.references())
            # In a range, another month may have the brand: asking for all would take hundreds of calls.
            if request.brands is not None and len(references) == 1:
                brand_messages(_ANY_RUN, request, references, api)
        except SourceDownError:
            raise
        except FipeError:
            return


@contextmanager
def source_at(url: str) -> Iterator[FipeApi]:
    """The source of a stage, for some calls beside its loads. Raises CliError when it does not answer."""
    with requests.Session() as session:
        try:
            yield FipeApi(HttpSource("fipe", session, Unpaced(), lambda: _DRY_RUN_SECONDS), url)
        except SourceDownError as error:
            raise CliError(
                _(
                    "the source at {url} does not answer: check the connection to the internet, and"
                    " HTTPS_PROXY if there is a proxy",
                    url=url,
                )
            ) from error
        except FipeError as error:
            raise CliError(_("the source at {url} does not answer: {error}", url=url, error=error)) from error


def _sizes_known(cloud: Cloud, month: date) -> Sizes:
    try:
        with open_database(cloud) as database, database.session() as session:
            return sizes_in(session, month)
    except (psycopg2.Error, CliError):
        return {}  # the database may be unreachable from here, or empty


def calls_per_minute(environment: dict[str, str]) -> float | None:
    """The limit that a loader keeps to, or None without one."""
    rate = environment.get("FIPE_CALLS_PER_MINUTE", "max")
    return None if rate == "max" else float(rate)


def span(months: list[str]) -> str:
    """Months in a few words."""
    if len(months) == 1:
        return months[0]
    return _("{first} to {last} ({count} months)", first=months[0], last=months[-1], count=len(months))
