"""How the functions connect to the database."""

from typing import TYPE_CHECKING

import psycopg2

from fipe_api.environment import DatabaseEnvironment, read_environment
from fipe_api.get_db_password import get_db_password

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECT_TIMEOUT_SECONDS = 40
"""A paused Aurora takes 15 to 30 s to wake."""


def connect(application_name: str) -> "connection":
    """A new connection to the database in the function's environment; libpq's own variables configure TLS.

    Raises:
        psycopg2.OperationalError: the database cannot be reached, or refuses the sign-in.
    """
    environment = read_environment(DatabaseEnvironment)
    return psycopg2.connect(
        host=environment.rds_host,
        port=environment.rds_port,
        dbname=environment.rds_database,
        user=environment.rds_user,
        password=get_db_password(environment),
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        application_name=application_name,
    )
