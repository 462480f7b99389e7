"""FipeQuery: the API on Lambda, behind a function URL."""

from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from mangum import Mangum

from fipe_api.aws.observability import logger
from fipe_api.aws.self_check import answers_checks
from fipe_api.database.connection import connect
from fipe_api.database.self_check import look_at_database
from fipe_query.application import create_application
from fipe_query.connections import Pool

if TYPE_CHECKING:
    from psycopg2.extensions import connection

NAME = "FipeQuery"
TEXTS = ["text/", "application/json", "application/problem+json"]
"""Types that are sent as they are; Lambda takes others in base64."""

# An execution environment answers one request at a time.
_answer = Mangum(
    create_application(Pool(partial(connect, NAME), size=1)), lifespan="off", text_mime_types=TEXTS
)


def _count_months(opened: "connection") -> str:
    with opened.cursor() as cursor:
        cursor.execute("select count(*) from fipe.reference_month")
        ((months,),) = cursor.fetchall()
    opened.rollback()
    return f"counted {months} months"


@answers_checks(lambda _: {"database": look_at_database(NAME, _count_months)})
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers a request of a function URL."""
    return _answer(event, context)  # type: ignore[arg-type]  # Mangum wants attributes that can be set
