"""The functions' configuration: environment variables, checked when a function first needs them."""

import os
from functools import cache
from typing import Annotated, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert

OFFICIAL_URL = "https://veiculos.fipe.org.br/api/veiculos"
RETENTION_DAYS = 4
"""For how many days the queues keep a message, by default."""

Environment = TypeVar("Environment", bound=Struct)


class LoaderEnvironment(Struct, frozen=True, rename="upper"):
    """The variables of the functions that call the source."""

    sqs_output_url: str
    sqs_ledger_url: str
    sqs_announcement_url: str = ""
    fipe_api_url: str = OFFICIAL_URL
    fipe_calls_per_minute: Literal["max"] | Annotated[float, Meta(gt=0)] = 40
    pace_table: str = ""
    rejected_answers_url: str = ""
    blocked_rest_seconds: Annotated[float, Meta(gt=0, le=1800)] = 120
    parallelum_url: str = ""
    parallelum_calls_per_day: Annotated[int, Meta(ge=0)] = 0
    parallelum_token_secret_arn: str = ""
    load_status_function: str = ""
    ingestor_function: str = ""
    retention_days: Annotated[int, Meta(ge=1)] = RETENTION_DAYS

    @property
    def calls_per_minute(self) -> float | None:
        """The limit for all functions together; None without one."""
        return None if self.fipe_calls_per_minute == "max" else self.fipe_calls_per_minute


class ConsumerEnvironment(Struct, frozen=True, rename="upper"):
    """The variables of the loaders that a queue feeds."""

    sqs_input_url: str
    retry_delay_seconds: Annotated[int, Meta(ge=0, le=900)] = 30


class AnnouncerEnvironment(Struct, frozen=True, rename="upper"):
    """The variables of the function that tells what happened."""

    sqs_input_url: str
    load_status_function: str
    announcement_topic_arn: str
    stage: str
    stalled_hours: Annotated[float, Meta(gt=0)] = 3


class WebhookEnvironment(Struct, frozen=True, rename="upper"):
    """The variables of the function that posts announcements.

    Attributes:
        webhook_url: where to, or the ARN of a secret that holds it.
    """

    sqs_input_url: str
    webhook_url: str
    webhook_dlq_url: str
    webhook_secret_arn: str = ""
    webhook_format: Literal["json", "slack", "teams"] = "json"
    retry_delay_seconds: Annotated[int, Meta(ge=0, le=900)] = 30


class DatabaseEnvironment(Struct, frozen=True, rename="upper"):
    """Where the database is. TLS is set by libpq's own variables, PGSSLMODE and PGSSLROOTCERT."""

    rds_host: str
    rds_port: int = 5432
    rds_database: str = "fipedata"
    rds_user: str = "fipe_ingestor"
    db_secret_arn: str = ""


class LakeEnvironment(Struct, frozen=True, rename="upper"):
    """The variables of the function that writes months into a bucket, besides those of the database."""

    export_bucket: str


def read_environment(shape: type[Environment]) -> Environment:
    """Reads the variables of one shape.

    Raises:
        RuntimeError: a variable is missing or wrong; the message names it.
    """
    try:
        # Not strict: numbers are text in the environment.
        return convert(dict(os.environ), shape, strict=False)
    except ValidationError as error:
        raise RuntimeError(f"environment variables: {error}") from error


@cache
def loader_environment() -> LoaderEnvironment:
    """The variables of a function that calls the source, read once per execution environment."""
    return read_environment(LoaderEnvironment)


@cache
def announcer_environment() -> AnnouncerEnvironment:
    """The variables of the function that tells what happened, read once per execution environment."""
    return read_environment(AnnouncerEnvironment)


@cache
def webhook_environment() -> WebhookEnvironment:
    """The variables of the function that posts announcements, read once per execution environment."""
    return read_environment(WebhookEnvironment)


@cache
def consumer_environment() -> ConsumerEnvironment:
    """The variables of a loader that a queue feeds, read once per execution environment."""
    return read_environment(ConsumerEnvironment)
