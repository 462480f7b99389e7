"""FipeLakeWriter: writes months as Parquet files into a bucket, when they are complete and when they change.

It runs beside the database, from where it reaches S3 through a gateway endpoint, and nothing else.
"""

from contextlib import closing
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, to_builtins
from msgspec.json import Decoder
from msgspec.structs import replace
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from fipe_api.aws.batch import process_batch
from fipe_api.aws.bucket import Bucket
from fipe_api.aws.clients import client
from fipe_api.aws.connections import connections_closed
from fipe_api.aws.observability import logger, metrics
from fipe_api.aws.self_check import answers_checks
from fipe_api.database.connection import connect
from fipe_api.database.partitions import export_month, prices_of
from fipe_api.database.self_check import look_at_database
from fipe_api.environment import LakeEnvironment, read_environment

if TYPE_CHECKING:
    from psycopg2.extensions import connection

APPLICATION = "FipeLakeWriter"
ANY_MONTH = "2001-01"
ROUNDS = 5
"""How often a month is written that changes while it is being written."""


class LakeError(Exception):
    """A month cannot be written; says why."""


class NoMonthError(LakeError):
    """What was asked for is not a month."""


class _Asked(Struct):
    """An announcement, or what a person invokes the function with: the month, as YYYY-MM."""

    reference_month: str


class Written(Struct):
    """What became of a month.

    Attributes:
        reference_month: YYYY-MM.
        prices: how many it has; without any, there is no file.
        loaded: how far it is loaded, as fipe.loaded says.
        is_written: whether its file was written; not if it was up to date.
        place: where its files are.
    """

    reference_month: str
    prices: int
    loaded: str
    is_written: bool
    place: str


_ASKED = Decoder(_Asked)


def _look(_: LambdaContext) -> dict[str, Any]:
    facts = look_at_database(APPLICATION, lambda session: _newest_month(session) or "")
    if facts.error:
        return {"database": facts}
    try:
        done = _compare_with_bucket(facts.done)
    except (BotoCoreError, ClientError) as error:
        return {"database": replace(facts, error=f"s3://{_bucket_name()}: {error}")}
    return {"database": replace(facts, done=done)}


@answers_checks(_look)
@logger.inject_lambda_context
@metrics.log_metrics
@connections_closed()
def handler(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ARG001
    """Writes the months of announcements that SQS brings, or `{"reference_month": "2026-06"}`.

    What a person asks for that is not a month is not a failure of the function: no alarm goes off.

    Returns:
        To SQS, which messages failed; to a person, what became of the month, or `errorType` and
        `errorMessage`.

    Raises:
        LakeError: the month that a person asked for could not be written.
    """
    if "Records" in event:
        return process_batch(event, lambda body: write(_ASKED.decode(body).reference_month), lambda _: {})
    try:
        return to_builtins(write(str(event.get("reference_month"))))
    except NoMonthError as error:
        logger.warning("not a month", reason=str(error))
        return {"errorType": type(error).__name__, "errorMessage": str(error)}


def write(name: str) -> Written:
    """Writes a month, until its file has what the database has.

    Two of these may run at once for one month, and the slower one may have read it before it changed. So each
    looks again after it has written.

    Raises:
        NoMonthError: the name is not a month.
        LakeError: it changes all the time.
        psycopg2.Error, ClientError, BotoCoreError: the database or S3 cannot be reached, or refuses.
    """
    month = _month(name)
    bucket = _bucket()
    written = False
    with closing(connect(APPLICATION)) as session:
        session.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        for _ in range(ROUNDS):
            with session:
                found = export_month(session, month, prices_of(month), bucket)
            if not found.is_written:
                break
            written = True
        else:
            raise LakeError(
                f"{name} was written {ROUNDS} times, and its file still is not as the database: may the"
                f" function read {bucket.place_of(name)}?"
            )
    logger.info("month written" if written else "month unchanged", month=name, prices=found.prices)
    metrics.add_metric("MonthsWritten", "Count", int(written))
    return Written(name, found.prices, found.state, is_written=written, place=bucket.place_of(name))


def _month(name: str) -> date:
    try:
        return datetime.strptime(name, "%Y-%m").date()
    except ValueError:
        raise NoMonthError(f'invalid reference_month {name!r}: use a month like "2026-06"') from None


def _bucket_name() -> str:
    return read_environment(LakeEnvironment).export_bucket


def _bucket() -> Bucket:
    return Bucket(client("s3"), _bucket_name())


def _newest_month(session: "connection") -> str | None:
    with session.cursor() as cursor:
        cursor.execute("select to_char(fipe.newest_month(), 'YYYY-MM')")
        ((month,),) = cursor.fetchall()
    name: str | None = month
    return name


def _compare_with_bucket(month: str) -> str:
    """Asks S3 for the file of the newest month, and says whether it is there."""
    bucket = _bucket()
    has_file = bucket.note(month or ANY_MONTH) is not None
    if not month:
        return f"reached {bucket}; there is no month to write"
    return f"reached {bucket}, which has {month}" if has_file else f"reached {bucket}, which lacks {month}"
