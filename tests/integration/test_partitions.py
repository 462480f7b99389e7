"""`fipe export --partitioned`: a folder that DuckDB and Arrow read in place, and that keeps up."""

from contextlib import closing
from datetime import date
from pathlib import Path
from threading import Event, Thread
from typing import Any

import duckdb
import psycopg2
import pytest
from psycopg2.extensions import connection
from pyarrow import dataset, parquet

from fipe_api.database.writer import write_messages, write_rows
from fipe_cli.errors import CliError
from fipe_cli.export import Selection
from fipe_cli.partitions import ExportedMonths, Folder, export_months
from tests.builders import JUNE_2026, MAY_2026, any_run_plan
from tests.months import QUESTIONS, SAMPLE, answer, answer_of_files, correct_june, priced


@pytest.fixture
def two_months(database: connection) -> connection:
    """The sample as June, and as a May that was cheaper and lacked some."""
    write_rows(database, priced(MAY_2026.month, MAY_2026.code, "0.987")[:-30])
    write_rows(database, priced(JUNE_2026.month, JUNE_2026.code))
    return database


def export(database: connection, folder: Path, **chosen: str) -> ExportedMonths:
    return export_months(database, Selection(**chosen), Folder(folder))


def ask(database: connection, folder: Path, question: str) -> tuple[list[Any], list[Any]]:
    """The database's answer, and that of DuckDB over the folder."""
    with duckdb.connect() as duck:
        return answer(database, question), answer_of_files(duck, f"'{folder}/*/*.parquet'", question)


def test_duckdb_answers_as_the_database_does_after_a_correction_too(
    two_months: connection, tmp_path: Path
) -> None:
    export(two_months, tmp_path)
    before = {}
    for name, question in QUESTIONS.items():
        before[name], duck = ask(two_months, tmp_path, question)
        assert duck == before[name] != [], name
    correct_june(two_months)
    assert export(two_months, tmp_path).written.keys() == {"2026-06"}
    for name, question in QUESTIONS.items():
        known, duck = ask(two_months, tmp_path, question)
        assert duck == known, name
        assert known != before[name], name


def test_a_file_has_the_columns_of_the_view_with_their_types(two_months: connection, tmp_path: Path) -> None:
    export(two_months, tmp_path)
    file = tmp_path / "reference_month=2026-06" / "prices.parquet"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {
        file, tmp_path / "reference_month=2026-05" / "prices.parquet"
    }  # fmt: skip
    assert {field.name: str(field.type) for field in parquet.read_schema(file)} == {
        "month": "date32[day]", "reference_code": "int32", "vehicle_type": "int8", "brand_code": "int32",
        "brand": "string", "model_code": "int32", "model": "string", "model_year": "int16", "zero_km": "bool",
        "fuel_code": "int16", "fuel": "string", "fipe_code": "string", "price_brl": "decimal128(12, 2)",
    }  # fmt: skip
    with duckdb.connect() as duck:
        partition = duck.sql(
            f"select distinct reference_month, typeof(reference_month), month from '{tmp_path}/**/*.parquet'"
        )
        assert sorted(partition.fetchall()) == [
            ("2026-05", "VARCHAR", date(2026, 5, 1)), ("2026-06", "VARCHAR", date(2026, 6, 1)),
        ]  # fmt: skip


def test_a_month_is_one_row_group_with_statistics_in_the_order_of_names(
    two_months: connection, tmp_path: Path
) -> None:
    export(two_months, tmp_path)
    file = parquet.ParquetFile(tmp_path / "reference_month=2026-06" / "prices.parquet")
    assert file.metadata.num_row_groups == 1
    statistics = file.metadata.row_group(0).column(file.schema.names.index("price_brl")).statistics
    prices = [row.price_brl for row in SAMPLE]
    assert (statistics.min, statistics.max, statistics.null_count) == (min(prices), max(prices), 0)
    names = file.read(["vehicle_type", "brand", "model"]).to_pylist()
    assert names == sorted(names, key=lambda row: tuple(row.values()))


def test_only_what_changed_is_written_again(two_months: connection, tmp_path: Path) -> None:
    def files() -> dict[str, tuple[int, int]]:
        return {
            path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in tmp_path.glob("*/prices.parquet")
        }

    first = export(two_months, tmp_path)
    assert first.written == {"2026-05": len(SAMPLE) - 30, "2026-06": len(SAMPLE)}
    before = files()
    second = export(two_months, tmp_path)
    assert (second.written, second.unchanged) == ({}, first.written)
    assert files() == before
    correct_june(two_months)
    third = export(two_months, tmp_path)
    assert third.written == {"2026-06": len(SAMPLE) - 1}
    after = files()
    assert after["reference_month=2026-05"] == before["reference_month=2026-05"]
    assert after["reference_month=2026-06"] != before["reference_month=2026-06"]


def test_what_another_database_or_another_choice_wrote_is_told_by_its_prices(
    two_months: connection, dsn: str, tmp_path: Path
) -> None:
    export(two_months, tmp_path)
    with closing(psycopg2.connect(dsn)) as same, same.cursor() as cursor:
        # The same prices under other numbers, as after a load into a new database.
        cursor.execute(
            "truncate fipe.model, fipe.vehicle, fipe.price, fipe.price_revision restart identity cascade"
        )
        cursor.execute("select setval('fipe.vehicle_id_seq', 5000)")
        same.commit()
        write_rows(same, priced(JUNE_2026.month, JUNE_2026.code))
        assert export(same, tmp_path, month="2026-06").unchanged == {"2026-06": len(SAMPLE)}
        assert export(same, tmp_path, month="2026-06", types="truck").written.keys() == {"2026-06"}
        assert export(same, tmp_path, month="2026-06").written == {"2026-06": len(SAMPLE)}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"cut while it was copied" * 100])
def test_a_damaged_file_is_written_again(two_months: connection, tmp_path: Path, content: bytes) -> None:
    export(two_months, tmp_path)
    file = tmp_path / "reference_month=2026-05" / "prices.parquet"
    file.write_bytes(content)
    assert export(two_months, tmp_path).written.keys() == {"2026-05"}
    assert parquet.read_metadata(file).num_rows == len(SAMPLE) - 30


def test_months_that_are_gone_or_unfinished_are_said(two_months: connection, tmp_path: Path) -> None:
    export(two_months, tmp_path)
    with two_months, two_months.cursor() as cursor:
        cursor.execute("delete from fipe.price where reference_month = '2026-05-01'")
    write_messages(two_months, [any_run_plan(brands_in_run=2)])
    again = export(two_months, tmp_path)
    assert (again.gone, again.unfinished) == (["2026-05"], {"2026-06": "loading"})
    assert again.words()[1:] == [
        "1 month unchanged since the last export",
        "2026-06 is still loading: export again when it is complete",
        "2026-05 has no such prices in the database any more, and its file was left: delete"
        f" {tmp_path}/reference_month=2026-05 if you do not need it",
    ]
    assert (tmp_path / "reference_month=2026-05" / "prices.parquet").exists()
    assert export(two_months, tmp_path, first="2026-06").gone == []


def test_a_failure_leaves_the_month_as_it_was(
    two_months: connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(two_months, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    correct_june(two_months)

    def full(target: Any, *_: Any) -> int:
        target.write(b"PAR1 half a month")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fipe_api.database.parquet.write_months", full)
    with pytest.raises(CliError, match=r"prices.parquet cannot be written: No space left on device"):
        export(two_months, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_readers_pass_over_what_a_killed_export_left(two_months: connection, tmp_path: Path) -> None:
    export(two_months, tmp_path)
    (tmp_path / "reference_month=2026-06" / ".prices.parquet.1.part").write_bytes(b"PAR1 half a month")
    everything = 2 * len(SAMPLE) - 30
    assert dataset.dataset(tmp_path, partitioning="hive").count_rows() == everything
    with duckdb.connect() as duck:
        assert duck.sql(f"select count(*) from '{tmp_path}/*/*.parquet'").fetchall() == [(everything,)]


def test_a_reader_sees_a_whole_month_at_any_moment(two_months: connection, tmp_path: Path) -> None:
    export(two_months, tmp_path)
    wholes, seen, ended = set(), set(), Event()
    question = f"select count(*), sum(price_brl) from '{tmp_path}/*/*.parquet'"

    def read() -> None:
        with duckdb.connect() as duck:
            while not ended.is_set():
                seen.update(duck.sql(question).fetchall())

    reader = Thread(target=read)
    reader.start()
    try:
        for factor in ("1.01", "1.02", "1.03", "1.04", "1.05"):
            write_rows(two_months, priced(JUNE_2026.month, JUNE_2026.code, factor))
            export(two_months, tmp_path)
            with two_months, two_months.cursor() as cursor:
                cursor.execute("select count(*), sum(price_brl) from fipe.vehicle_price")
                wholes.add(cursor.fetchone())
    finally:
        ended.set()
        reader.join()
    assert seen & wholes
    assert len(seen - wholes) <= 1  # the months as they were first


def test_nothing_to_write_and_nowhere_to_write_are_said(two_months: connection, tmp_path: Path) -> None:
    with pytest.raises(CliError, match="no prices for --from 2027-01: it has "):
        export(two_months, tmp_path / "lake", first="2027-01")
    assert not (tmp_path / "lake").exists()
    (tmp_path / "file").touch()
    with pytest.raises(CliError, match=r"prices.parquet cannot be written: Not a directory"):
        export(two_months, tmp_path / "file")
