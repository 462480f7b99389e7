"""Whether fipe_dashboard, the role of create_fipe_db.sql for programs that keep a password, may sign in.

PostgreSQL gets a SCRAM-SHA-256 verifier, from which nobody can compute the password. So neither a statement
nor the server's log ever holds the password itself (PostgreSQL manual, "CREATE ROLE").
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg2.extensions import connection

ROLE = "fipe_dashboard"


def allow(database: "connection", password: str) -> None:
    """Lets the role sign in with this password. Raises psycopg2.Error."""
    from psycopg2.extensions import encrypt_password

    verifier = encrypt_password(password, ROLE, scope=database, algorithm="scram-sha-256")
    with database, database.cursor() as cursor:
        cursor.execute(f"alter role {ROLE} login password %s", (verifier,))


def forbid(database: "connection") -> None:
    """Takes the right to sign in and the password away. Raises psycopg2.Error."""
    with database, database.cursor() as cursor:
        cursor.execute(f"alter role {ROLE} nologin password null")


def is_allowed(database: "connection") -> bool:
    """Whether the role may sign in. Raises psycopg2.Error."""
    with database, database.cursor() as cursor:
        cursor.execute("select exists (select from pg_roles where rolname = %s and rolcanlogin)", (ROLE,))
        ((found,),) = cursor.fetchall()
    return bool(found)
