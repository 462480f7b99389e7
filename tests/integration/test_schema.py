"""create_fipe_db.sql: what it makes explains itself, has a version, and is made once."""

from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection, make_dsn

from fipe_api.database.statements import BEGIN_WRITING
from fipe_api.database.writer import write_messages
from stage_settings import RESERVED_WORDS
from tests.builders import ROOT_SQL, any_price_message
from tests.databases import as_role
from tests.integration.test_price_writer import row_versions


def select(database: connection, query: str) -> list[tuple[Any, ...]]:
    with database, database.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def run_script(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(ROOT_SQL.read_text())


def test_every_table_view_column_and_function_has_a_comment(database: connection) -> None:
    """So that `\\d+` and `\\df+` of psql explain the schema."""
    uncommented = """
        select relname::text from pg_class
        where relnamespace = 'fipe'::regnamespace and relkind in ('r', 'v')
          and obj_description(oid, 'pg_class') is null
        union all
        select relname || '.' || attname from pg_class join pg_attribute on attrelid = pg_class.oid
        where relnamespace = 'fipe'::regnamespace and relkind in ('r', 'v')
          and attnum > 0 and not attisdropped and col_description(attrelid, attnum) is null
        union all
        select oid::regprocedure::text from pg_proc
        where pronamespace = 'fipe'::regnamespace and obj_description(oid, 'pg_proc') is null
        union all
        select nspname from pg_namespace
        where nspname = 'fipe' and obj_description(oid, 'pg_namespace') is null
    """
    assert select(database, uncommented) == []


def test_a_column_of_one_name_means_the_same_everywhere_unless_a_comment_says_otherwise(
    database: connection,
) -> None:
    comment = (
        "select col_description('{}'::regclass, attnum) from pg_attribute where attrelid = '{}'::regclass"
    )
    of_view, of_models, of_months = (
        select(database, f"{comment.format(table, table)} and attname = '{column}'")
        for table, column in (
            ("fipe.vehicle_price", "brand"), ("fipe.model", "brand"), ("fipe.reference_month", "code")
        )
    )  # fmt: skip
    assert of_view == of_models == [("the name of the brand",)]
    assert of_months == [("FIPE's code of the reference month; null when only imports know the month",)]


VERSION = "select version from fipe.schema_version"


def test_the_schema_has_a_version_that_every_role_can_read(database: connection) -> None:
    ((version,),) = select(database, VERSION)
    assert version >= 1
    for role in ("fipe_ingestor", "fipe_importer", "fipe_status", "fipe_reader", "fipe_watcher"):
        with closing(psycopg2.connect(as_role(database.dsn, role))) as own:
            assert select(own, VERSION) == [(version,)]


def test_the_script_brings_an_older_database_to_its_version(database: connection) -> None:
    current = select(database, VERSION)
    with database, database.cursor() as cursor:
        cursor.execute("update fipe.schema_version set version = 0, upgraded_at = '2020-01-01'")
    run_script(database)
    assert select(database, VERSION) == current
    assert select(database, "select upgraded_at > '2026-01-01' from fipe.schema_version") == [(True,)]


def test_an_older_script_leaves_a_newer_database_alone(database: connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("update fipe.schema_version set version = 999")
        cursor.execute("drop view fipe.flagged_price")
    with pytest.raises(psycopg2.Error, match="has version 999 of the schema") as refused:
        run_script(database)
    assert refused.value.pgcode == "FIPE1"
    assert select(database, VERSION) == [(999,)]
    assert select(database, "select to_regclass('fipe.flagged_price')") == [(None,)]


def test_the_script_run_again_changes_nothing(database: connection) -> None:
    write_messages(database, [any_price_message()])
    catalogue = """
        select 'class', oid::text, relname::text, relacl::text
        from pg_class where relnamespace = 'fipe'::regnamespace
        union all
        select 'constraint', oid::text, conname::text, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = 'fipe'::regnamespace
        union all
        select 'column', attrelid::text, attname::text, atttypid::text
        from pg_attribute join pg_class on attrelid = pg_class.oid where relnamespace = 'fipe'::regnamespace
        order by 1, 2, 3
    """
    before = select(database, catalogue), row_versions(database)
    run_script(database)
    assert (select(database, catalogue), row_versions(database)) == before


def test_the_script_waits_for_the_turn_of_a_writer(database: connection, dsn: str) -> None:
    """It locks tables in another order than a writer: without it, a deploy during a load could deadlock."""
    with database, database.cursor() as writer, closing(psycopg2.connect(dsn)) as deploy:
        writer.execute(BEGIN_WRITING)
        cursor = deploy.cursor()
        cursor.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cursor.execute(ROOT_SQL.read_text())
        deploy.rollback()
    with closing(psycopg2.connect(dsn)) as deploy:
        deploy.cursor().execute(ROOT_SQL.read_text())


def test_the_script_refuses_a_database_that_is_not_in_utf8(postgres_dsn: str) -> None:
    name = f"test_{uuid4().hex}"
    with closing(psycopg2.connect(postgres_dsn)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"create database {name} template template0 encoding latin1 locale 'C'")
        try:
            with (
                closing(psycopg2.connect(make_dsn(postgres_dsn, dbname=name))) as opened,
                pytest.raises(psycopg2.errors.RaiseException, match="this one is in LATIN1"),
            ):
                opened.cursor().execute(ROOT_SQL.read_text())
        finally:
            admin.cursor().execute(f"drop database {name}")


def test_the_reserved_words_that_no_master_user_may_have_are_postgresqls(database: connection) -> None:
    reserved = select(database, "select word from pg_get_keywords() where catcode = 'R'")
    assert {word for (word,) in reserved} == RESERVED_WORDS
