"""The files of `fipe import`: what is read from them, and one line about each that is no table."""

import csv
import os
import threading
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from fipe_api.database.writer import PriceRow
from fipe_api.messages import check_fipe_code
from fipe_cli.errors import CliError
from fipe_cli.export import COLUMNS as EXPORTED
from fipe_cli.file_columns import read_mapping
from fipe_cli.imports import files
from fipe_cli.imports.columns import FIELDS, find_layout
from fipe_cli.imports.files import opened
from fipe_cli.imports.rows import Prices, RowReader, ends_look_merged, looks_merged
from fipe_cli.imports.run import MONTH_FIELDS
from tests.fipex import COLUMNS, fipex_row, write_csv, write_parquet

JUNE = date(2026, 6, 1)


def any_row(**given: Any) -> PriceRow:
    defaults = {
        "reference_month": JUNE, "reference_code": 334, "vehicle_type": 1, "brand_code": 59,
        "brand": "VW - VolksWagen", "model_code": 5940, "model": "AMAROK High.CD", "model_year": 2014,
        "fuel_code": 3, "fuel": "Diesel", "fipe_code": "005340-6", "price_brl": Decimal("125318.00"),
    }  # fmt: skip
    return PriceRow(**{**defaults, **given})


def read(file: Path, mapping: str = "", month: date | None = None, encoding: str = "utf-8") -> list[Prices]:
    with opened(file, encoding) as rows:
        layout = find_layout(
            rows.name, rows.columns, read_mapping(mapping, FIELDS), has_month=month is not None
        )
        months = [layout.columns[each] for each in MONTH_FIELDS if each in layout.columns]
        reader = RowReader(layout, month)
        return [reader.read(batch) for batch in rows.batches(list(layout.columns.values()), months, 0)]


def prices(batches: list[Prices]) -> list[tuple[Any, ...]]:
    """Line, FIPE code, brand, model, model year, fuel, month and cents of each price."""
    found = []
    for batch in batches:
        for row in batch.table.to_pylist():
            vehicle, month = batch.vehicles[row["vehicle"]], batch.months[row["month"]]
            found.append((
                row["line"], vehicle.identity.fipe_code, vehicle.names.brand, vehicle.names.model,
                vehicle.model_year, vehicle.fuel.name, month.month, row["cents"],
            ))  # fmt: skip
    return sorted(found)


def apart(batches: list[Prices]) -> list[tuple[int, str]]:
    return sorted((row.line, row.reason) for batch in batches for row in batch.apart)


AMAROK = ("005340-6", "VW - VolksWagen", "AMAROK High.CD", 2014, "Diesel", JUNE, 12531800)
ROWS = [any_row(), any_row(model_year=32000, fuel_code=5, fuel="Flex", price_brl=Decimal("0.00"))]
BOTH = [(2, *AMAROK), (3, *AMAROK[:3], 32000, "Flex", JUNE, 0)]


def test_fipex_comes_as_csv_and_as_parquet(tmp_path: Path) -> None:
    assert prices(read(write_csv(tmp_path / "prices.csv", ROWS))) == BOTH
    from_parquet = prices(read(write_parquet(tmp_path / "prices.parquet", ROWS)))
    assert from_parquet == [(line - 1, *rest) for line, *rest in BOTH], "a Parquet file has no header"


VALUES = ("2026-06-01", "334", "1", "59", "VW - VolksWagen", "5940", '"AMAROK, ""High"""', "2014")
OWN = f"{','.join(EXPORTED)}\n{','.join(VALUES)},f,3,Diesel,005340-6,125318.00\n"
EXCEL = f"\ufeff{';'.join(EXPORTED)}\n{';'.join(VALUES)};não;3;Diesel;005340-6;125318,00\n"
LINES = (
    '{"reference_month":"2026-06-01","reference_code":334,"vehicle_type":1,"brand_code":59,'
    '"brand":"VW - VolksWagen","model_code":5940,"model":"AMAROK, \\"High\\"","model_year":2014,'
    '"zero_km":false,"fuel_code":3,"fuel":"Diesel","fipe_code":"005340-6","price_brl":125318.00}\n'
)


@pytest.mark.parametrize("text", [OWN, EXCEL, LINES, OWN.replace("\n", "\r\n"), OWN.rstrip("\n")])
def test_own_exports_bring_their_codes(tmp_path: Path, text: str) -> None:
    file = tmp_path / "export"
    file.write_text(text, newline="")
    (batch,) = read(file)
    assert [each[1:] for each in prices([batch])] == [(*AMAROK[:2], 'AMAROK, "High"', *AMAROK[3:])]
    assert (batch.vehicles[0].names.brand_code, batch.vehicles[0].names.model_code) == (59, 5940)
    assert batch.months[0].code == 334


MAPPING = "code=codigo_fipe,brand=marca,model=modelo,year=ano,fuel=combustivel,price=valor,month=mes"


@pytest.mark.parametrize("month", ["2026-06", "06/2026", "junho/2026", "Junho de 2026 ", "2026-06-01"])
@pytest.mark.parametrize("price", ["125318", "125318.00", "125.318,00", "R$ 125.318,00", "125318,0"])
def test_other_files_are_told_which_column_holds_what(tmp_path: Path, month: str, price: str) -> None:
    file = tmp_path / "others.csv"
    file.write_text(
        "id;codigo_fipe;marca;modelo;ano;combustivel;valor;mes\n"
        f"7;005340-6;VW - VolksWagen;AMAROK High.CD;2014;diesel;{price};{month}\n"
    )
    assert prices(read(file, MAPPING)) == [(2, *AMAROK)]


def test_a_file_of_one_month_may_leave_the_month_out(tmp_path: Path) -> None:
    file = tmp_path / "june.csv"
    file.write_text("c;b;m;y;f;p\n005340-6;VW - VolksWagen;AMAROK High.CD;2014;Diesel;125.318,00\n")
    assert prices(read(file, "code=c,brand=b,model=m,year=y,fuel=f,price=p", JUNE)) == [(2, *AMAROK)]


def test_latin_1_is_read_when_told(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "prices.csv", [any_row(brand="Citroën", vehicle_type=3)])
    file.write_bytes(file.read_bytes().decode().encode("latin-1"))
    assert prices(read(file, encoding="latin-1"))[0][2] == "Citroën"
    with pytest.raises(CliError, match=r"line 2: not text in utf-8.*--encoding latin-1"):
        read(file)


WRONG = {
    "a wrong check digit": ({"codigo_fipe": "005340-7"}, "FIPE code with a wrong check digit: 005340-7"),
    "no FIPE code": ({"codigo_fipe": "AMAROK"}, "not a FIPE code: 'AMAROK'"),
    "a month to come": ({"ano_referencia": "2199"}, "FIPE has published no table for 2199-6"),
    "a month that is none": ({"mes_referencia": "13"}, "month must be in 1..12"),
    "a negative price": ({"valor_centavos": "-100"}, "not a price in cents: '-100'"),
    "no price": ({"valor_centavos": ""}, "not a price in cents: ''"),
    "a price beyond numeric(12,2)": ({"valor_centavos": "1" + 12 * "0"}, "not a price in reais: 10000000000"),
    "no model year": ({"ano_modelo": "", "zero_km": "false"}, "not a model year: ''"),
    "an unknown fuel": ({"sigla_combustivel": "x"}, "unknown fuel 'x'"),
    "an unknown type": ({"tipo_veiculo": "barco"}, "unknown vehicle type 'barco'"),
    "no brand": ({"nome_marca": " "}, "no name of the brand"),
}


@pytest.mark.parametrize(("given", "reason"), WRONG.values(), ids=WRONG)
def test_a_row_that_breaks_the_rules_is_kept_apart(
    tmp_path: Path, given: dict[str, str], reason: str
) -> None:
    file = write_csv(tmp_path / "prices.csv", [any_row(), any_row(model_year=2015)])
    with file.open("a") as more:
        row = {**fipex_row(any_row()), "zero_km": "false", **given}
        csv.DictWriter(more, COLUMNS, delimiter="\t").writerow(row)
    batches = read(file)
    assert [line for line, *_ in prices(batches)] == [2, 3]
    (found,) = apart(batches)
    assert found[0] == 4
    assert reason in found[1]
    (content,) = (row.content for batch in batches for row in batch.apart)
    assert {name: content[name] for name in given} == given


def test_two_prices_for_one_vehicle_are_both_kept_apart_and_exact_copies_count_once(tmp_path: Path) -> None:
    other_name = any_row(model_year=2016, model="AMAROK", price_brl=Decimal(7))
    rows = [
        any_row(), any_row(price_brl=Decimal("125319.00")),
        any_row(model_year=2015), any_row(model_year=2015), any_row(model_year=2015),
        any_row(model_year=2016, price_brl=Decimal(7)), other_name, any_row(model_year=2017),
    ]  # fmt: skip
    (batch,) = read(write_csv(tmp_path / "prices.csv", rows))
    reason = "one vehicle with 2 prices: 125318 and 125319"
    assert apart([batch]) == [(2, reason), (3, reason)]
    assert [line for line, *_ in prices([batch])] == [4, 7, 8, 9]
    assert batch.copies == 2
    ((names,),) = batch.beside.values()
    assert {each.model for each in names} == {"AMAROK", "AMAROK High.CD"}, "both names count, at one price"


def test_lines_that_are_no_rows_are_kept_apart_with_their_line(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "prices.csv", ROWS)
    header, first, second = file.read_text().splitlines()
    file.write_text("\n".join([header, first, "cut\tshort", "", second, f"{second}\tmore"]))
    batches = read(file)
    assert [line for line, *_ in prices(batches)] == [2, 5]
    assert apart(batches) == [(line, "another number of columns than the first line") for line in (3, 6)]


def test_batches_end_with_their_months_and_say_where_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    months = [date(2026, month, 1) for month in range(1, 7)]
    rows = [any_row(reference_month=month, model_year=year) for month in months for year in range(2000, 2020)]
    monkeypatch.setattr(files, "BYTES_PER_BATCH", 4_000)
    monkeypatch.setattr(files, "ROWS_PER_BATCH", 30)
    for write, name in ((write_csv, "prices.csv"), (write_parquet, "prices.parquet")):
        file = write(tmp_path / name, rows)
        batches = read(file)
        assert len(batches) >= 3
        assert sum(len(batch.months) for batch in batches) == 6, "no month is in two batches"
        lines = [line for line, *_ in prices(batches)]
        assert lines == list(range(lines[0], lines[0] + 120))
        with opened(file, "utf-8") as again:
            assert again.size == batches[-1].position
            rest = list(again.batches(list(COLUMNS), COLUMNS[-2:], batches[0].position))
        assert [line for batch in rest for line in batch.table[files.LINE].to_pylist()] == lines[
            batches[0].table.num_rows :
        ]


def test_old_months_with_new_fuels_are_recognised_as_merged(tmp_path: Path) -> None:
    may_2022 = [
        any_row(reference_month=date(2022, 5, 1), model_year=year, fuel_code=5, fuel="Flex")
        for year in range(2000, 2015)
    ]
    (merged,) = read(write_csv(tmp_path / "merged.csv", may_2022))
    assert looks_merged(merged)
    as_published = [row._replace(fuel_code=1) for row in may_2022]
    in_june = [row._replace(reference_month=JUNE) for row in may_2022]
    published = read(write_csv(tmp_path / "published.csv", [*as_published, *in_june]))
    assert not any(map(looks_merged, published))


def ends_of(file: Path) -> list[Prices]:
    with opened(file, "utf-8") as rows:
        layout = find_layout(rows.name, rows.columns, {}, has_month=False)
        parts = rows.ends(list(layout.columns.values()))
        return [RowReader(layout, None).read(part) for part in parts]


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_that_names_years_alike_is_recognised_as_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, list[PriceRow]], Path]
) -> None:
    """Whatever its fuels: FIPE renames models all the time."""
    monkeypatch.setattr(files, "BYTES_OF_AN_END", 54_000)
    monkeypatch.setattr(files, "ROWS_OF_AN_END", 600)
    codes = [with_check_digit(number) for number in range(600)]

    def month(year: int, renamed: int = 0) -> list[PriceRow]:
        first = date(year, 6, 1)
        return [
            any_row(
                reference_month=first,
                fipe_code=code,
                model=f"{code} {300 <= number < 300 + renamed}",
                fuel_code=1,
            )
            for number, code in enumerate(codes)
        ]

    def looks(*rows: PriceRow) -> bool:
        return ends_look_merged(*ends_of(write(tmp_path / "prices", list(rows))))

    assert looks(*month(2010), *month(2020))
    assert not looks(*month(2010), *month(2020, renamed=1)), "as published"
    assert not looks(*month(2018), *month(2020)), "too short a time"
    assert not looks(*month(2010)[:90], *month(2020)[:90]), "too few codes"


def with_check_digit(number: int) -> str:
    for digit in range(10):
        code = f"{number:06}-{digit}"
        try:
            check_fipe_code(code)
        except ValueError:
            continue
        return code
    raise AssertionError(number)


def pipe_that_brings(text: bytes) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        os.mkfifo(file)
        threading.Thread(target=file.write_bytes, args=(text,), daemon=True).start()

    return make


def parquet_bytes() -> bytes:
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_pylist([fipex_row(any_row())] * 1000), sink)
    return bytes(sink.getvalue().to_pybytes())


BAD: dict[str, tuple[bytes | Callable[[Path], None], str]] = {
    "empty": (b"", "is empty"),
    "only blank": (b"\n  \n", "is empty"),
    "a text": (b"Prezados,\nsegue a tabela\n", "has the columns of neither"),
    "one word": (b"FIPE\n1\n", "is not a table: its first line, 'FIPE'"),
    "a page": (b"<!doctype html>\n<html>", "is not a table"),
    "other columns": (b"a;b;c\n1;2;3\n", r"neither FIPEX nor `fipe export`, but a, b, c.*--columns"),
    "a spreadsheet": (b"PK\x03\x04rest", "save it as CSV"),
    "compressed": (b"\x1f\x8brest", "is compressed"),
    "UTF-16": ("a;b\n1;2\n".encode("utf-16-le"), "holds NUL bytes"),
    "Parquet cut short": (parquet_bytes()[:-500], "is damaged Parquet, perhaps cut short"),
    "Parquet of other columns": (b"PAR1", "is damaged Parquet"),
    "a pipe of 10 GB that brings nothing": (pipe_that_brings(b""), "is empty"),
    "Parquet from a pipe": (pipe_that_brings(parquet_bytes()), "Parquet from a pipe.*give the file's path"),
    "JSON that is cut": (b'{"a": ', "is not JSON Lines"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_what_is_no_table_is_refused_in_one_line(
    tmp_path: Path, content: bytes | Callable[[Path], None], words: str
) -> None:
    file = tmp_path / "prices-10GB"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        content(file)
    with pytest.raises(CliError, match=words) as refused:
        read(file)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(CliError, match="cannot be read"):
            read(file)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("code", "invalid --columns 'code': use FIELD=COLUMN"),
        ("kode=a", "invalid --columns 'kode=a'"),
        ("code=x", "has no column x: its columns are a, b"),
        ("code=a,brand=b", "--columns lacks model, year / zero_km, fuel / fuel_code, price / cents"),
    ],
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, mapping: str, words: str) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("a;b\n1;2\n")
    with pytest.raises(CliError, match=words):
        read(file, mapping)
