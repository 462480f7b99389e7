"""Fresh databases with the schema, on a test process's PostgreSQL."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import make_dsn

TEMPLATE = "fipe_template"

SETTINGS_OF_TEMPLATE = f"""
select unnest(setconfig)
from pg_db_role_setting
join pg_database on pg_database.oid = setdatabase
where datname = '{TEMPLATE}' and setrole = 0
"""


@contextmanager
def database_with_schema(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a new database, which is dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    with closing(psycopg2.connect(postgres_dsn)) as admin:
        admin.autocommit = True
        cursor = admin.cursor()
        cursor.execute(f"create database {name} template {TEMPLATE}")
        cursor.execute(SETTINGS_OF_TEMPLATE)  # which no database takes over from its template
        for (setting,) in cursor.fetchall():
            cursor.execute(f"alter database {name} set {setting}")
        yield make_dsn(postgres_dsn, dbname=name)
        cursor.execute(f"drop database {name} with (force)")
