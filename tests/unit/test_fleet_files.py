"""A fleet's file: its columns are found, and its rows are written again as they were, with more cells."""

import codecs
import csv
import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from fipe_cli.errors import CliError
from fipe_cli.file_columns import read_mapping
from fipe_cli.fleet.columns import FIELDS, FleetColumns, find_columns
from fipe_cli.fleet.files import opened_fleet
from fipe_cli.fleet.writing import check_ending, writer_of

MORE = {"fipe_month": "date", "fipe_price": "decimal", "fipe_model": "string"}
VALUES = (date(2026, 6, 1), Decimal("1234.50"), 'Strada, "Volcano"; 1.3')


def written_again(
    file: Path,
    output: str = "out.csv",
    values: Sequence[Any] = VALUES,
    decimal_comma: bool | None = None,
) -> bytes:
    """The bytes of the file with the same more cells in each row that is not blank."""
    target = io.BytesIO()
    with opened_fleet(file) as fleet:
        writer = writer_of(fleet, Path(output), target, MORE, decimal_comma=decimal_comma)
        for row in fleet.rows():
            writer.write(row, [None] * len(values) if row.blank else values)
        writer.close()
    return target.getvalue()


def fleet_file(folder: Path, content: bytes) -> Path:
    file = folder / "fleet.csv"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["fipe_code", "model_year", "fuel"], (0, 1, 2)),
        (["Placa", "Código FIPE", "Ano Modelo", "Combustível"], (1, 2, 3)),
        (["COD_FIPE", "ano"], (0, 1, None)),
        (["code", "FIPE", "year", "Ano/Modelo"], (1, 3, None)),
        (["Ano Fab./Modelo", "Cód. FIPE", "Comb."], (1, 0, 2)),
        (["fipe code", "fipe code", "year"], (0, 2, None)),
    ],
)
def test_columns_are_found_by_their_usual_names(columns: list[str], found: tuple[Any, ...]) -> None:
    assert find_columns("fleet.csv", columns, {}) == FleetColumns(*found)


def test_columns_can_be_told() -> None:
    told = read_mapping("code=A,fuel=B", FIELDS)
    assert find_columns("fleet.csv", ["A", "B", "ano"], told) == FleetColumns(0, 2, 1)


@pytest.mark.parametrize(
    ("columns", "told", "words"),
    [
        (["a", "year"], "", "codes: its heading is a, year; name it, such as with --columns code=year"),
        (["fipe", "plate"], "", "no column of model years"),
        (["Our fleet", "", " "], "", "is Our fleet; name it, such as with --columns code=Our fleet"),
        (["fipe", "year"], "year=ano", "no column ano: its columns are fipe, year"),
        (["fipe", "year"], "price=x", "invalid --columns 'price=x'"),
        (["fipe", "year"], "year", "invalid --columns 'year'"),
    ],
)  # fmt: skip
def test_a_column_that_is_missing_is_named(columns: list[str], told: str, words: str) -> None:
    with pytest.raises(CliError) as error:
        find_columns("fleet.csv", columns, read_mapping(told, FIELDS))
    assert words in str(error.value)


ADDED = '2026-06{0}1234{1}50{0}"Strada, ""Volcano""; 1.3"'


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b""), ("utf-8-sig", codecs.BOM_UTF8), ("latin-1", b""), ("utf-16", b"")]
)
@pytest.mark.parametrize(("delimiter", "point"), [(",", "."), (";", ","), ("\t", ".")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_rows_stay_as_they_are_written(
    tmp_path: Path, encoding: str, mark: bytes, delimiter: str, point: str, line_end: str
) -> None:
    rows = [["Código", '"ano"', "Observação"], ["380032", "2020.0", '"a, ""b"";\nc"'], ["x", "", "  ç "]]
    text = line_end.join(delimiter.join(row) for row in rows) + line_end
    output = written_again(fleet_file(tmp_path, text.encode(encoding))).decode(encoding)
    added = ADDED.format(delimiter, point)
    heading, first, second = (delimiter.join(row) for row in rows)
    assert output == "".join(
        f"{written}{delimiter}{more}{line_end}"
        for written, more in (
            (heading, delimiter.join(MORE)), (first, added), (second, added),
        )
    )  # fmt: skip
    assert written_again(fleet_file(tmp_path, text.encode(encoding))).startswith(mark)


def test_what_excel_leaves_is_kept(tmp_path: Path) -> None:
    content = b"sep=;\r\n\r\nfipe;year;note\r\n1;2020\r\n\r\n;;\r\n2;2021;last, without an end"
    lines = written_again(fleet_file(tmp_path, content), decimal_comma=False).decode().split("\r\n")
    assert lines == [
        "sep=;", "", "fipe;year;note;fipe_month;fipe_price;fipe_model",
        '1;2020;;2026-06;1234.50;"Strada, ""Volcano""; 1.3"', "", ";;;;;",
        '2;2021;last, without an end;2026-06;1234.50;"Strada, ""Volcano""; 1.3"', "",
    ]  # fmt: skip


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@given(
    table=st.integers(2, 5).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=6)
    ),
    delimiter=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_any_table_comes_out_with_more_cells(
    table: list[list[str]], delimiter: str, line_end: str, quoting: Any
) -> None:
    heading = [f"c{place}" for place in range(len(table[0]))]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(
        [heading, *table]
    )
    with TemporaryDirectory() as folder:
        output = written_again(fleet_file(Path(folder), text.getvalue().encode()), decimal_comma=False)
    found = list(csv.reader(io.StringIO(output.decode(), newline=""), delimiter=delimiter))
    more = ["2026-06", "1234.50", VALUES[2]]
    expected = [
        [*heading, *MORE],
        *([*row, *(more if any(map(str.strip, row)) else ["", "", ""])] for row in table),
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PK\x03\x04...", "is a spreadsheet or a ZIP archive: save it as CSV"),
        (b"\xd0\xcf\x11\xe0", "is a spreadsheet"),
        (b"\x1f\x8b", "is compressed"),
        (b"PAR1....PAR1", "is damaged Parquet"),
        (b"a\0b,c\n", "NUL bytes"),
        (b"fipe,year\n1,2,3\n", "line 2: 3 cells under 2 columns: quote a cell that holds ','"),
        (b'fipe,year\n1,"2\n3,4\n', "is not CSV"),
    ],
)
def test_what_is_no_fleet_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(CliError) as error:
        written_again(fleet_file(tmp_path, content))
    assert words in str(error.value)


def test_parquet_keeps_its_types_and_comes_out_as_any_format(tmp_path: Path) -> None:
    file = tmp_path / "fleet.parquet"
    table = arrow.table(
        {"fipe": ["038003-2", None], "year": [2020.0, None], "tags": [["a"], None], "on": [True, None]}
    )
    parquet.write_table(table, file)
    again = parquet.read_table(io.BytesIO(written_again(file, "out.parquet")))
    assert again.select(table.column_names).equals(table)
    assert again.to_pylist()[0]["fipe_price"] == Decimal("1234.50")
    assert again.schema.field("fipe_month").type == arrow.date32()
    assert written_again(file, "out.csv").decode().splitlines()[1] == (
        '038003-2,2020.0,[\'a\'],true,2026-06,1234.50,"Strada, ""Volcano""; 1.3"'
    )
    assert written_again(file, "out.tsv").decode().splitlines()[0] == "\t".join([*table.column_names, *MORE])
    assert written_again(file, "out.xlsx").startswith(b"PK")


def test_text_becomes_text_in_parquet(tmp_path: Path) -> None:
    content = written_again(fleet_file(tmp_path, b"fipe;year\n0380032;0km\n"), "out.parquet")
    assert parquet.read_table(io.BytesIO(content)).to_pylist() == [
        {"fipe": "0380032", "year": "0km", **dict(zip(MORE, VALUES, strict=True))}
    ]


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="unknown format of"):
        check_ending(Path("fleet.ods"))
    with pytest.raises(CliError, match="no decimal commas"):
        written_again(fleet_file(tmp_path, b"fipe,year\n"), "out.xlsx", decimal_comma=True)
