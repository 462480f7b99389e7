"""Asks the official API for a random sample of a month's prices, by FIPE code."""

import math
import time
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import requests
from rich.console import Console

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
from fipe_words import _
from infrastructure import names

if TYPE_CHECKING:
    from psycopg2.extensions import connection

USUAL_CALLS_PER_MINUTE = 40.0
CONFIDENCE = 0.95
REFUSALS_IN_A_ROW = 5
LINE_SECONDS = 10.0

# All names under which a chosen vehicle stands: FIPE answers with one of them.
SELECT_SAMPLE = """
with chosen as (
    select vehicle_type, fipe_code, model_year, fuel_code
    from (
        select distinct vehicle_type, fipe_code, model_year, fuel_code
        from fipe.vehicle_price
        where reference_month = %(month)s
    ) as vehicle
    order by random()
    limit %(sample)s
)
select vehicle_type, fipe_code, model_year, fuel_code, fuel, brand, model, price_brl
from fipe.vehicle_price
join chosen using (vehicle_type, fipe_code, model_year, fuel_code)
where reference_month = %(month)s
order by 1, 2, 3, 4
"""


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
    with session.cursor() as cursor:
        cursor.execute(SELECT_SAMPLE, {"month": month, "sample": sample})
        rows = [Price._make(row) for row in cursor.fetchall()]
    if not rows:
        raise no_prices_here(month)
    reference = _reference(api, month, console)
    vehicles: dict[tuple[Any, ...], list[Price]] = {}
    for row in rows:
        vehicles.setdefault(row[:4], []).append(row)
    found: list[Difference] = []
    unusable = 0
    next_line = time.monotonic() + LINE_SECONDS
    for done, here in enumerate(vehicles.values()):
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


def confidence(answered: int, wrong: int) -> str:
    """What a sample says of the whole: the bound by Clopper and Pearson, at 95%."""
    if not answered:
        return _("nothing was answered, so nothing is known of the month")
    low, high = wrong / answered, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if _at_most(wrong, answered, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    share = 100 * (1 - high)
    return _(
        "with {confidence:.0%} confidence at least {right:.2f}% of the month is right",
        confidence=CONFIDENCE,
        right=math.floor(100 * share) / 100,
    )


def _at_most(wrong: int, answered: int, share: float) -> float:
    """How likely a sample has no more wrong prices, if this share of all is wrong."""
    if not 0 < share < 1:
        return float(share <= 0 or wrong == answered)
    one, other = math.log(share), math.log1p(-share)
    ways = math.lgamma(answered + 1)
    return math.fsum(
        math.exp(
            ways
            - math.lgamma(count + 1)
            - math.lgamma(answered - count + 1)
            + count * one
            + (answered - count) * other
        )
        for count in range(wrong + 1)
    )
