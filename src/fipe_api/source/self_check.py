"""What a loader finds out about its sources for `fipe check`: one call to each, at the shared pace."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from fipe_api.aws.self_check import SourceFacts, SourceState
from fipe_api.source.factory import sources
from fipe_api.source.http_source import (
    BlockedError,
    FipeError,
    NotNowError,
    Observer,
    SourceDownError,
    ThrottledError,
)
from fipe_api.source.price_source import PriceSource
from fipe_api.source.tolerant_pace import PaceTableError, PaceTableMissingError

# The most special first.
_STATES: tuple[tuple[type[Exception], SourceState], ...] = (
    (PaceTableError, "not asked"),
    (PaceTableMissingError, "not asked"),
    (BlockedError, "blocked"),
    (ThrottledError, "throttled"),
    (SourceDownError, "down"),
    (NotNowError, "no turn"),
    (FipeError, "unusable"),
    # The pace asks DynamoDB for each call, and raises what waiting does not mend.
    (ClientError, "not asked"),
    (BotoCoreError, "not asked"),
)


def look_at_sources(context: LambdaContext) -> dict[str, Any]:
    """Asks each source for its months. The call takes its turn, and the pace learns from it, as always.

    Nothing is counted and nothing goes to the quarantine: these belong to a load.
    """
    found = sources(context, Observer())
    return {"sources": [_asked(name, url, source) for name, (url, source) in found.items()]}


def _asked(name: str, url: str, source: PriceSource) -> SourceFacts:
    try:
        newest = max(reference.month for reference in source.references())
    except tuple(kind for kind, _ in _STATES) as error:
        state = next(state for kind, state in _STATES if isinstance(error, kind))
        return SourceFacts(name, url, state, str(error))
    return SourceFacts(name, url, "answered", f"{newest:%Y-%m}")
