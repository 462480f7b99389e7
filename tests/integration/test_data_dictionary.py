"""docs/data.md and docs/data.pt-BR.md: fresh, complete in both languages, and true."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import date

import psycopg2
import pytest
from psycopg2.extensions import connection

from fipe_api.database.writer import PriceRow, write_messages, write_rows
from fipe_simulator import SAMPLE_CATALOGUE, catalogue_for_month, published_references, read_catalogue
from scripts.data_dictionary import (
    INTERNAL,
    LANGUAGES,
    Language,
    Thing,
    dictionary,
    parts,
    read_words,
    things,
    with_dictionary,
)
from tests.builders import JUNE_2026, any_price_message
from tests.databases import as_role, database_with_schema

pytestmark = pytest.mark.both_postgres

MONTHS = (date(2022, 12, 1), date(2023, 1, 1), JUNE_2026.month)
BLOCK = re.compile(r"```sql\n(select.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> Iterator[str]:
    with database_with_schema(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def sample(dsn: str) -> Iterator[connection]:
    """Three months of the sample, and a load."""
    with closing(psycopg2.connect(dsn)) as database:
        catalogue = read_catalogue(SAMPLE_CATALOGUE)
        codes = {each.month: each.code for each in published_references(max(MONTHS))}
        for month in MONTHS:
            rows = catalogue_for_month(catalogue, month).rows
            write_rows(database, [PriceRow(month, codes[month], *row) for row in rows])
        write_messages(database, [any_price_message()])
        yield database


@pytest.fixture(scope="module")
def found(sample: connection) -> list[Thing]:
    return things(sample)


def by_page(language: Language) -> str:
    return language.page.name


@pytest.mark.parametrize("language", LANGUAGES, ids=by_page)
def test_the_pages_are_what_the_schema_says(found: list[Thing], language: Language) -> None:
    page = language.page.read_text(encoding="utf-8")
    fresh = with_dictionary(page, dictionary(found, read_words(), language))
    assert page == fresh, f"{language.page.name} is out of date: run `make docs`"


def test_everything_is_in_portuguese_as_the_english_stands_now_and_has_an_example(found: list[Thing]) -> None:
    assert list(read_words().missing(found)) == [], "docs/data.toml: translate these, then run `make docs`"
    assert read_words().unused(found) == set(), "docs/data.toml: these are no more"


def test_what_is_only_for_the_schema_itself_says_so_and_is_left_out(found: list[Thing]) -> None:
    names = {thing.name for thing in found}
    assert {"vehicle_price", "price", "search_models", "load_status"} <= names
    assert not {"writers_turn", "series_of", "column_words"} & names
    assert not any(INTERNAL.strip() in language.page.read_text("utf-8") for language in LANGUAGES)


def test_every_output_of_a_function_is_explained(found: list[Thing]) -> None:
    unexplained = [
        f"{thing.name}.{column.name}" for thing in found for column in thing.columns if not column.comment
    ]
    assert unexplained == [], "add them to fipe.column_words()"


def test_a_column_of_a_table_says_what_null_means_if_it_can_be_null(
    sample: connection, found: list[Thing]
) -> None:
    with sample, sample.cursor() as cursor:
        cursor.execute(
            "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid"
            " where relnamespace = 'fipe'::regnamespace and not attnotnull and attnum > 0"
        )
        nullable = set(cursor.fetchall())
    for thing in found:
        if thing.kind == "table":
            for column in thing.columns:
                explained = bool(parts(column.comment)[1])
                assert explained == ((thing.name, column.name) in nullable), f"{thing.name}.{column.name}"


def test_a_view_has_one_row_per_key_and_no_null_that_is_not_explained(
    sample: connection, found: list[Thing]
) -> None:
    for view in (thing for thing in found if thing.kind == "view"):
        key = view.comment.partition(" Key: ")[2].removesuffix(".")
        assert key, view.name
        with sample, sample.cursor() as cursor:
            cursor.execute(f"select * from fipe.{view.name}")
            rows = cursor.fetchall()
            names = [column.name for column in cursor.description or ()]
        for name, column in zip(names, view.columns, strict=True):
            has_null = any(row[names.index(name)] is None for row in rows)
            assert not has_null or parts(column.comment)[1], f"{view.name}.{name}"
        if not key.startswith("none"):
            places = [names.index(name) for name in key.split(", ")]
            assert len({tuple(str(row[place]) for place in places) for row in rows}) == len(rows), view.name


def test_every_example_is_a_value_of_its_column(sample: connection, found: list[Thing]) -> None:
    words = read_words()
    with sample, sample.cursor() as cursor:
        for thing in found:
            for column in thing.columns:
                example = words.of_column(thing, column)["example"]
                cursor.execute(f"select (%s::{column.type})::text", (example,))
                assert cursor.fetchone() is not None, f"{thing.name}.{column.name}"


@pytest.mark.usefixtures("sample")
@pytest.mark.parametrize("number", range(5))
def test_the_queries_of_the_pages_run_for_a_reader(dsn: str, number: int) -> None:
    english, portuguese = (BLOCK.findall(language.page.read_text("utf-8")) for language in LANGUAGES)
    assert english == portuguese
    assert len(english) == 5
    with closing(psycopg2.connect(as_role(dsn, "fipe_reader"))) as reader, reader.cursor() as cursor:
        cursor.execute(english[number])
        assert cursor.description


def test_both_pages_have_the_same_sections() -> None:
    english, portuguese = (
        re.findall(r"^#+|^### `.*", language.page.read_text("utf-8"), re.MULTILINE) for language in LANGUAGES
    )
    assert english == portuguese
