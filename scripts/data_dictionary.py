"""Writes the data dictionary, docs/data.md and docs/data.pt-BR.md, from the comments in the schema.

The English is that of create_fipe_db.sql; the Portuguese and the examples are in docs/data.toml. What has a
comment that begins with "Internal:" is left out.

python -m scripts.data_dictionary
"""

import re
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2
from psycopg2.extensions import connection, make_dsn

from local_cloud.postgres import PostgresCluster

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "create_fipe_db.sql"
WORDS = ROOT / "docs/data.toml"
BEGIN = "<!-- begin: written by `make docs` from create_fipe_db.sql and docs/data.toml -->\n"
END = "<!-- end -->\n"
INTERNAL = "Internal: "


@dataclass(frozen=True)
class Language:
    """A page of the dictionary, and its own words."""

    page: Path
    code: str
    views: str
    tables: str
    functions: str
    key: str
    headings: tuple[str, ...]
    never: str


LANGUAGES = (
    Language(
        ROOT / "docs/data.md", "english", "Views", "Tables", "Functions", "Key",
        ("column", "type", "meaning", "null means", "example"), "never null",
    ),
    Language(
        ROOT / "docs/data.pt-BR.md", "portuguese", "Views", "Tabelas", "Funções", "Chave",
        ("coluna", "tipo", "significado", "nulo quer dizer", "exemplo"), "nunca nulo",
    ),
)  # fmt: skip

RELATIONS = """
select class.relname, class.relkind, obj_description(class.oid, 'pg_class'),
       (
           select array_agg(attname order by place)
           from pg_index
           cross join unnest(indkey) with ordinality as key (attnum, place)
           join pg_attribute as attribute on attribute.attrelid = indrelid and attribute.attnum = key.attnum
           where indrelid = class.oid and indisprimary
       ),
       array_agg(attribute.attname order by attribute.attnum),
       array_agg(format_type(atttypid, atttypmod) order by attribute.attnum),
       array_agg(col_description(class.oid, attribute.attnum) order by attribute.attnum)
from pg_class as class
join pg_attribute as attribute on attribute.attrelid = class.oid and attnum > 0 and not attisdropped
where relnamespace = 'fipe'::regnamespace and relkind in ('r', 'v')
group by class.oid
order by class.oid
"""

FUNCTIONS = """
select proname, obj_description(pg_proc.oid, 'pg_proc'), pg_get_function_arguments(pg_proc.oid),
       pg_get_function_result(pg_proc.oid),
       array(
           select name from unnest(proargnames, proargmodes) as output (name, mode) where mode = 't'
       ),
       array(
           select format_type(type, null)
           from unnest(proallargtypes, proargmodes) as output (type, mode)
           where mode = 't'
       )
from pg_proc
where pronamespace = 'fipe'::regnamespace
order by pg_proc.oid
"""


@dataclass(frozen=True)
class Column:
    """A column as the schema explains it."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Thing:
    """A table, a view or a function that people may use."""

    kind: str
    name: str
    comment: str
    key: Sequence[str]
    signature: str
    columns: Sequence[Column]


def things(database: connection) -> list[Thing]:
    """All that the schema has for people, in the order in which it is made."""
    with database, database.cursor() as cursor:
        cursor.execute("select name, meaning from fipe.column_words()")
        words: dict[str, str] = dict(cursor.fetchall())
        cursor.execute(RELATIONS)
        relations = [
            Thing(
                "view" if kind == "v" else "table", name, comment, key or (), "",
                [Column(*each) for each in zip(names, types, comments, strict=True)],
            )
            for name, kind, comment, key, names, types, comments in cursor.fetchall()
        ]  # fmt: skip
        cursor.execute(FUNCTIONS)
        functions = [
            Thing(
                "function", name, comment, (), _signature(name, arguments, result),
                [
                    Column(column, type_, words.get(f"{name}.{column}", words.get(column, "")))
                    for column, type_ in zip(names, types, strict=True)
                ],
            )
            for name, comment, arguments, result, names, types in cursor.fetchall()
        ]  # fmt: skip
    return [thing for thing in (*relations, *functions) if not thing.comment.startswith(INTERNAL)]


def _signature(name: str, arguments: str, result: str) -> str:
    given = re.sub(r"\s*DEFAULT NULL::\w+", " = null", re.sub(r"DEFAULT (\w+)", r"= \1", arguments))
    given = given.replace("= NULL::text", "= null").replace("= NULL::integer", "= null")
    return f"fipe.{name}({given})" + ("" if result.startswith("TABLE") else f" → {result}")


def parts(comment: str) -> tuple[str, str]:
    """A column's meaning, and what null means, which stands after "; null"."""
    meaning, _, null = comment.partition("; null")
    return meaning, re.sub(r"^ (means that |means )?", "", null)


class Words:
    """The other language and the examples, by object and column."""

    def __init__(self, written: Mapping[str, Any]) -> None:
        self._written = written

    def of_thing(self, thing: Thing) -> Mapping[str, str]:
        """What is written about a table, a view or a function."""
        found: Mapping[str, str] = self._written["objects"].get(thing.name, {})
        return found

    def of_column(self, thing: Thing, column: Column) -> Mapping[str, str]:
        """What is written about a column: for this object, or for all that have one of this name."""
        columns = self._written["columns"]
        own: Mapping[str, str] = columns.get(f"{thing.name}.{column.name}", {})
        return {**columns.get(column.name, {}), **own}

    def missing(self, found: Sequence[Thing]) -> Iterator[str]:
        """What has no translation or no example, and what was translated from another English."""
        for thing in found:
            if self.of_thing(thing).get("english") != thing.comment:
                yield f"objects.{thing.name}: {thing.comment}"
            for column in thing.columns:
                written = self.of_column(thing, column)
                if written.get("english") != column.comment:
                    yield f'columns."{thing.name}.{column.name}": {column.comment}'
                elif not written.get("portuguese"):
                    yield f"columns.{column.name}: no Portuguese"
                elif "example" not in written:
                    yield f"columns.{column.name}: no example"

    def unused(self, found: Sequence[Thing]) -> set[str]:
        """What is written about objects and columns that are gone."""
        names = {f"objects.{thing.name}" for thing in found}
        for thing in found:
            for column in thing.columns:
                own = f"{thing.name}.{column.name}"
                names.add(f"columns.{own if own in self._written['columns'] else column.name}")
        return {f"{kind}.{name}" for kind, all_ in self._written.items() for name in all_} - names


def read_words() -> Words:
    """docs/data.toml."""
    return Words(tomllib.loads(WORDS.read_text(encoding="utf-8")))


def dictionary(found: Sequence[Thing], words: Words, language: Language) -> str:
    """The part of a page that the schema gives."""
    titles = {"view": language.views, "table": language.tables, "function": language.functions}
    lines: list[str] = []
    for kind, title in titles.items():
        lines += [f"## {title}", ""]
        for thing in found:
            if thing.kind == kind:
                lines += _section(thing, words, language)
    return "\n".join(lines)


def _section(thing: Thing, words: Words, language: Language) -> Iterator[str]:
    comment = thing.comment if language.code == "english" else words.of_thing(thing).get("portuguese", "")
    comment, _, key = comment.partition(f" {language.key}: ")
    key = ", ".join(thing.key) or key.removesuffix(".")
    yield from (f"### `fipe.{thing.name}`", "")
    if thing.signature:
        yield from ("```sql", thing.signature, "```", "")
    yield _code(comment)
    if key:
        yield f"{language.key}: {_key(key)}."
    yield ""
    if thing.columns:
        yield f"| {' | '.join(language.headings)} |"
        yield "| --- | --- | --- | --- | --- |"
        yield from (_row(thing, column, words, language) for column in thing.columns)
        yield ""


def _key(key: str) -> str:
    """The names of columns as code; a sentence instead of them stays as it is."""
    names = key.split(", ")
    return ", ".join(f"`{name}`" for name in names) if all(map(str.isidentifier, names)) else key


def _row(thing: Thing, column: Column, words: Words, language: Language) -> str:
    written = words.of_column(thing, column)
    meaning, null = parts(column.comment)
    if language.code == "portuguese":
        meaning, _, null = written.get("portuguese", "").partition("; nulo: ")
    example = f"`{written['example']}`" if written.get("example") else ""
    cells = (f"`{column.name}`", column.type, _code(meaning), _code(null) or language.never, example)
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Names of the schema as code."""
    return re.sub(r"(?<!`)\bfipe\.\w+(\.\w+)?\b", r"`\g<0>`", text)


def with_dictionary(page: str, text: str) -> str:
    """The page with a fresh dictionary between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    """Makes the schema in a database of its own, and writes both pages."""
    with TemporaryDirectory(prefix="fipe-dictionary-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL's own user has to get through
        server = PostgresCluster(Path(folder) / "postgres")
        server.start()
        try:
            place = server.set_up(user="postgres", password=uuid.uuid4().hex, database="fipedata")
            dsn = make_dsn(
                host=place.host, port=place.port, user=place.user, password=place.password, dbname="fipedata"
            )
            with closing(psycopg2.connect(dsn)) as database:
                with database, database.cursor() as cursor:
                    cursor.execute(SCHEMA.read_text(encoding="utf-8"))
                found = things(database)
        finally:
            server.stop()
    for language in LANGUAGES:
        page = language.page.read_text(encoding="utf-8")
        fresh = dictionary(found, read_words(), language)
        language.page.write_text(with_dictionary(page, fresh), encoding="utf-8")


if __name__ == "__main__":
    main()
