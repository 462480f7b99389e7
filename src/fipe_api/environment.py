"""The functions' configuration: environment variables, checked when a function first works."""

import os
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

OFFICIAL_URL = "https://veiculos.fipe.org.br/api/veiculos"

Environment = TypeVar("Environment", bound=BaseModel)


class _FromVariables(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=str.upper)


class LoaderEnvironment(_FromVariables):
    """What the functions that call the source need."""

    sqs_output_url: str
    sqs_ledger_url: str
    fipe_api_url: str = OFFICIAL_URL
    fipe_calls_per_minute: Literal["max"] | Annotated[float, Field(gt=0)] = 40
    pace_table: str = ""
    rejected_answers_url: str = ""
    blocked_rest_seconds: Annotated[float, Field(gt=0, le=1800)] = 120
    parallelum_url: str = ""
    parallelum_calls_per_day: Annotated[int, Field(ge=0)] = 0
    parallelum_token_secret_arn: str = ""
    load_status_function: str = ""


class ConsumerEnvironment(_FromVariables):
    """What the loaders that are fed from a queue need."""

    sqs_input_url: str
    retry_delay_seconds: Annotated[int, Field(ge=0, le=900)] = 30


class DatabaseEnvironment(_FromVariables):
    """Where the database is; TLS is configured by libpq's own PGSSLMODE and PGSSLROOTCERT."""

    rds_host: str
    rds_port: int = 5432
    rds_database: str = "fipedata"
    rds_user: str = "fipe_ingestor"
    db_secret_arn: str = ""


def read_environment(shape: type[Environment]) -> Environment:
    """The variables of one shape.

    Raises:
        RuntimeError: variables that are missing or wrong, named in one line.
    """
    try:
        return shape.model_validate(dict(os.environ))
    except ValidationError as error:
        problems = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        raise RuntimeError(f"environment variables: {problems}") from error
