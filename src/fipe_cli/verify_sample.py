"""Asks the official API for a random sample of a month's prices, by FIPE code."""

import math
import secrets
import time
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import requests
from rich.console import Console

from fipe_api.database.sample import choose
from fipe_api.environment import OFFICIAL_URL
from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import ModelYearFuel, Reference
from fipe_api.source.answers import AskedCode
from fipe_api.source.http_source import HttpSource, NoDataError, NotNowError, UnusableAnswerError
from fipe_api.source.pace import Pace, SharedPace, Unpaced
from fipe_cli.cloud import Cloud
from fipe_cli.errors import CliError
from fipe_cli.loads import STARTER, calls_per_minute
from fipe_cli.verify import Difference, Price, Verification, differences, no_prices_here, no_prices_there
from fipe_cli.words_of_samples import confidence
from fipe_words import _
from infrastructure import names

if TYPE_CHECKING:
    from psycopg2.extensions import connection

USUAL_CALLS_PER_MINUTE = 40.0
REFUSALS_IN_A_ROW = 5
LINE_SECONDS = 10.0


class _Spaced(Unpaced):
    """Calls at a fixed rate, of this process alone."""

    def __init__(self, per_minute: float) -> None:
        super().__init__()
        self._interval = 60 / per_minute
        self._next = 0.0

    def reserve(self, patience: float) -> float:
        """Seconds to wait before the call; it is only reserved within the patience."""
        now = time.monotonic()
        wait = max(super().reserve(patience), self._next - now, 0.0)
        if wait <= patience:
            self._next = now + wait + self._interval
        return wait


def official_api(cloud: Cloud, session: requests.Session) -> FipeApi:
    """The source that the stage's loads call, at the pace that they share on this machine.

    On AWS the loaders have other addresses, so the calls from here have a pace of their own.
    """
    url, pace = OFFICIAL_URL, _Spaced(USUAL_CALLS_PER_MINUTE)
    shared: Pace = pace
    if not cloud.local or cloud.endpoint:
        environment = cloud.environment_of(STARTER)
        url = environment.get("FIPE_API_URL") or OFFICIAL_URL
        if cloud.local:
            table = names.pace_table(cloud.stage)
            shared = SharedPace(cloud.client("dynamodb"), table, calls_per_minute(environment))
    return FipeApi(HttpSource("fipe", session, shared, lambda: math.inf), url)


def verify_sample(
    session: "connection", month: date, sample: int, api: FipeApi, console: Console
) -> tuple[Verification, str]:
    """Compares a sample of a month.

    Returns:
        What differs, and what that says of the whole month, in words.

    Raises:
        CliError: the database or the API does not have the month, or the API serves no calls.
    """
    chosen = choose(session, month, sample, secrets.randbits(63))
    if not chosen:
        raise no_prices_here(month)
    reference = _reference(api, month, console)
    vehicles = [[Price._make(row) for row in rows] for rows in chosen]
    found: list[Difference] = []
    unusable = 0
    next_line = time.monotonic() + LINE_SECONDS
    for done, here in enumerate(vehicles):
        if time.monotonic() >= next_line:
            words = _(
                "{done:,} of {all:,} asked, {differ:,} differ",
                done=done,
                all=len(vehicles),
                differ=len(found),
            )
            console.print(words, soft_wrap=True)
            next_line = time.monotonic() + LINE_SECONDS
        try:
            there = _ask(api, reference, here[0], console)
        except UnusableAnswerError:
            unusable += 1
            continue
        compared = [list(differences([one], there)) for one in here]
        fewest: list[Difference] = min(compared, key=len)
        found += fewest
    asked = len(vehicles)
    verification = Verification(month, _("the official API"), asked, asked - unusable, unusable, found)
    return verification, confidence(asked - unusable, len(found))


def _reference(api: FipeApi, month: date, console: Console) -> Reference:
    references: list[Reference] = _patiently(api.references, console)
    for reference in references:
        if reference.month == month:
            return reference
    raise no_prices_there(_("the official API"), month)


def _ask(api: FipeApi, reference: Reference, here: Price, console: Console) -> list[Price]:
    """The price that the API has, or nothing."""
    year = ModelYearFuel(model_year=here.model_year, fuel_code=here.fuel_code)
    asked = AskedCode(reference, here.vehicle_type, here.fipe_code, year)  # type: ignore[arg-type]
    try:
        brand, model, price = _patiently(lambda: api.price_of_code(asked), console)
    except NoDataError:
        return []
    return [Price(*here[:4], price.fuel, brand, model, price.price_brl)]


def _patiently(call: Callable[[], Any], console: Console) -> Any:
    """Makes a call until it is served."""
    for _try in range(REFUSALS_IN_A_ROW):
        try:
            return call()
        except NotNowError as error:
            refused = error
            console.print(_("the official API: {error}", error=error), soft_wrap=True)
            time.sleep(error.retry_in)
    raise CliError(_("the official API serves no calls: {error}", error=refused))
