"""Makes the source that a loader asks: the official API, with the mirror behind it if that is configured."""

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import requests
from aws_lambda_powertools.utilities.typing import LambdaContext
from requests.utils import get_environ_proxies

from fipe_api.aws.clients import client
from fipe_api.aws.connections import closed_after_invocation
from fipe_api.aws.observability import logger
from fipe_api.environment import loader_environment
from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import Reference, Source
from fipe_api.source.fallback import DailyPace, WithFallback
from fipe_api.source.http_source import HttpSource, Observer
from fipe_api.source.pace import Pace, SharedPace, Unpaced
from fipe_api.source.parallelum import ParallelumApi
from fipe_api.source.price_source import PriceSource
from fipe_api.source.reporter import Reporter
from fipe_api.source.tolerant_pace import TolerantPace

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

PARALLELUM: Literal["parallelum"] = "parallelum"
TOKEN_SECONDS = 300
"""How long to keep the mirror's token before reading it again: a new token takes effect within 5 minutes."""
RESERVED_SECONDS = 10.0
"""Time to keep at the end of an invocation, for sending the results."""


def price_source(context: LambdaContext, run_id: UUID, reference: Reference | None = None) -> PriceSource:
    """The source for the work on one message.

    Args:
        context: tells how much time the invocation has left.
        run_id: the run that the calls belong to.
        reference: the reference month that they ask for; None for the call that lists the months.
    """

    environment = loader_environment()
    found = sources(context, Reporter(run_id, reference, environment.rejected_answers_url))
    official, *mirrors = (source for _, source in found.values())
    return WithFallback(official, mirrors[0]) if mirrors else official


def official_source(context: LambdaContext, run_id: UUID, reference: Reference | None) -> FipeApi:
    """The official API alone, which can be asked by FIPE code; the arguments as those of price_source."""
    observer = Reporter(run_id, reference, loader_environment().rejected_answers_url)
    return _official(context, observer)


def sources(context: LambdaContext, observer: Observer) -> dict[Source, tuple[str, PriceSource]]:
    """The official API, and the mirror if it is configured: each with its URL.

    Args:
        context: tells how much time the invocation has left.
        observer: receives what happens to the calls.
    """

    environment = loader_environment()
    official = _official(context, observer)
    found: dict[Source, tuple[str, PriceSource]] = {"fipe": (environment.fipe_api_url, official)}
    if environment.parallelum_calls_per_day:
        url, pace = environment.parallelum_url, _mirror_pace()
        left, blocked = _seconds_left(context), environment.blocked_rest_seconds
        mirror = HttpSource(PARALLELUM, _session(url), pace, left, observer, blocked)
        found[PARALLELUM] = url, ParallelumApi(mirror, url, _mirror_token)
    return found


def _official(context: LambdaContext, observer: Observer) -> FipeApi:
    url, blocked = loader_environment().fipe_api_url, loader_environment().blocked_rest_seconds
    return FipeApi(HttpSource("fipe", _session(url), _pace(), _seconds_left(context), observer, blocked), url)


def _seconds_left(context: LambdaContext) -> Callable[[], float]:
    return lambda: context.get_remaining_time_in_millis() / 1000 - RESERVED_SECONDS


@cache
def _session(url: str) -> requests.Session:
    session = closed_after_invocation(requests.Session())
    # Otherwise requests reads these variables again for each call, a tenth of the call's work.
    session.proxies = get_environ_proxies(url)
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    session.trust_env = False
    return session


@cache
def _pace() -> Pace:
    table = loader_environment().pace_table
    if not table:
        return Unpaced()
    return TolerantPace(SharedPace(client("dynamodb"), table, loader_environment().calls_per_minute))


@cache
def _mirror_pace() -> Pace:
    dynamodb, table = client("dynamodb"), loader_environment().pace_table
    pace = SharedPace(dynamodb, table, None, PARALLELUM)
    budget = loader_environment().parallelum_calls_per_day
    return TolerantPace(DailyPace(pace, dynamodb, table, f"{PARALLELUM}-day", budget))


def _mirror_token() -> str:
    """The mirror's token; empty when no secret is configured or the secret cannot be read."""
    arn = loader_environment().parallelum_token_secret_arn
    if not arn:
        return ""
    # Imported here to keep cold starts short: most loads never ask the mirror.
    from aws_lambda_powertools.utilities.parameters import GetParameterError

    try:
        return str(_secrets().get(arn, max_age=TOKEN_SECONDS)).strip()
    except GetParameterError:
        logger.exception("cannot read the mirror's token; asking the mirror without one")
        return ""


@cache
def _secrets() -> "SecretsProvider":
    from aws_lambda_powertools.utilities.parameters import SecretsProvider

    return SecretsProvider(boto3_client=client("secretsmanager"))
