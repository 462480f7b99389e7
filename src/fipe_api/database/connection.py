"""How the functions connect to the database."""

import time
from typing import TYPE_CHECKING, Any

import psycopg2

from fipe_api.aws.observability import logger
from fipe_api.environment import DatabaseEnvironment, read_environment
from fipe_api.get_db_password import get_db_password

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECT_SECONDS = 60
"""A paused Aurora takes 15 s to wake, after a day 30 s or more."""
ATTEMPTS = 3
"""Aurora may refuse a valid token while it lacks memory, and a connection while it wakes or fails over."""
PAUSE_SECONDS = 2.0
SILENCE_SECONDS = 12
"""A function may be frozen for minutes, and its connection gone without a word. Within a VPC, no answer for
this long means that. It leaves time for a new connection and the batch."""


def connect(application_name: str) -> "connection":
    """A new connection to the database in the function's environment; libpq's own variables configure TLS.

    All attempts together take about a minute.

    Raises:
        psycopg2.OperationalError: the database cannot be reached, or refuses the sign-in.
    """
    environment = read_environment(DatabaseEnvironment)
    deadline = time.monotonic() + CONNECT_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _connect(environment, application_name, deadline - time.monotonic())
        except psycopg2.OperationalError as error:
            if attempt == ATTEMPTS or time.monotonic() + PAUSE_SECONDS > deadline:
                raise
            logger.warning("no connection to the database: trying again", error=str(error).strip())
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def liveness(silence_seconds: int) -> dict[str, int]:
    """libpq's settings that end a connection whose other end has been silent for this long.

    Keepalives do it while the function waits for an answer, tcp_user_timeout while it sends. By default,
    Linux would take 2 hours and 15 minutes.
    """
    return {
        "keepalives_idle": max(1, silence_seconds // 2),
        "keepalives_interval": max(1, silence_seconds // 6),
        "keepalives_count": 3,
        "tcp_user_timeout": silence_seconds * 1000,
    }


def _connect(environment: DatabaseEnvironment, application_name: str, seconds: float) -> "connection":
    parameters: dict[str, Any] = {
        "host": environment.rds_host,
        "port": environment.rds_port,
        "dbname": environment.rds_database,
        "user": environment.rds_user,
        "password": get_db_password(environment),
        "connect_timeout": max(2, int(seconds)),
        "application_name": application_name,
        **liveness(SILENCE_SECONDS),
    }
    opened: connection = psycopg2.connect(**parameters)
    return opened
