import gzip
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from fipe_simulator import (
    SAMPLE_CATALOGUE,
    Catalogue,
    CatalogueError,
    CatalogueRow,
    read_catalogue,
    write_catalogue,
)
from fipe_simulator.catalogue import ZERO_KM, ModelYear

JUNE = date(2026, 6, 1)
HEADER = "\t".join(CatalogueRow._fields)
LINE = "1\t1\tAcura\t1\tIntegra GS 1.8\t1992\t1\tGasolina\t038003-2\t10816.00"
# Without the time of now, which would name the test differently in each test process.
PACKED = gzip.compress(f"{HEADER}\n{LINE}\n".encode(), mtime=0)


def any_file(folder: Path, *lines: str) -> Path:
    path = folder / "catalogue.tsv"
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    return path


def changed(field: str, value: str) -> str:
    fields = LINE.split("\t")
    fields[CatalogueRow._fields.index(field)] = value
    return "\t".join(fields)


@pytest.fixture(scope="module")
def sample() -> Catalogue:
    return read_catalogue(SAMPLE_CATALOGUE)


def test_reads_a_line_into_a_typed_row(tmp_path: Path) -> None:
    assert read_catalogue(any_file(tmp_path, LINE)).rows == (
        CatalogueRow(
            1, 1, "Acura", 1, "Integra GS 1.8", 1992, 1, "Gasolina", "038003-2", Decimal("10816.00")
        ),
    )


@pytest.mark.parametrize("name", ["copy.tsv", "copy.tsv.gz"])
def test_writes_what_it_reads_and_the_same_bytes_each_time(
    tmp_path: Path, sample: Catalogue, name: str
) -> None:
    path = tmp_path / name
    write_catalogue(path, sample.rows)
    first = path.read_bytes()
    write_catalogue(path, sample.rows)
    assert path.read_bytes() == first
    assert read_catalogue(path).rows == sample.rows


def test_keeps_every_character_of_a_name(tmp_path: Path) -> None:
    name = " a\x85b\x0bc  d´\u2028e\r "
    path = any_file(tmp_path, changed("model", name))
    assert read_catalogue(path).rows[0].model == name


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (changed("vehicle_type", "4"), "vehicle_type must be 1, 2 or 3, not '4'"),
        (changed("brand_code", ""), "brand_code must be a whole number, not ''"),
        (changed("model_code", "-1"), "model_code must be a whole number, not '-1'"),
        (changed("model_year", "1992a"), "model_year must be a whole number"),
        (changed("fuel_code", "²"), "fuel_code must be a whole number"),
        (changed("price_brl", "10816"), "price_brl must be an amount like 10816.00, not '10816'"),
        (changed("price_brl", "-1.00"), "price_brl must be an amount"),
        (changed("price_brl", "10816.00\r"), "price_brl must be an amount"),
        (changed("model", ""), "must not be empty"),
        (LINE + "\t", "expected 10 fields separated by tabs, found 11"),
        ("", "expected 10 fields separated by tabs, found 1"),
        (changed("brand", "Honda"), "brand 1 is 'Honda' here but 'Acura' before"),
        (changed("model", "Legend"), "model 1 is 'Legend' here but 'Integra GS 1.8' before"),
        (changed("price_brl", "1.00"), "the same vehicle as in line 2"),
    ],
)
def test_names_the_line_that_is_wrong(tmp_path: Path, line: str, problem: str) -> None:
    path = any_file(tmp_path, LINE, line)
    with pytest.raises(CatalogueError) as raised:
        read_catalogue(path)
    assert str(raised.value).startswith(f"{path}, line 3: ")
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("c.tsv", b"", "line 1: the header must be"),
        ("c.tsv", HEADER.replace("\t", ",").encode(), "line 1: the header must be"),
        ("c.tsv", HEADER.encode(), "has no prices"),
        ("c.tsv", HEADER.encode() + b"\n\xff", "not UTF-8"),
        ("c.tsv.gz", LINE.encode(), "cannot be read"),
        ("c.tsv.gz", PACKED[:-9], "cannot be read"),
        ("c.tsv.gz", PACKED[:10] + b"\xff" * 20, "cannot be read"),
    ],
)
def test_refuses_a_file_that_is_not_a_catalogue(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogueError, match=problem):
        read_catalogue(tmp_path / name)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read: No such file or directory"):
        read_catalogue(tmp_path / "none.tsv")


def test_lists_brands_by_name_without_regard_to_case(sample: Catalogue) -> None:
    assert [name for _, name in sample.brands(1)] == [
        "Acura",
        "Agrale",
        "BYD",
        "Fiat",
        "Suzuki",
        "VW - VolksWagen",
    ]


def test_a_brand_has_its_own_code_in_each_vehicle_type(sample: Catalogue) -> None:
    assert (391, "Suzuki") in sample.brands(1)
    assert (387, "SUZUKI") in sample.brands(2)
    assert 391 not in dict(sample.brands(2))


def test_the_model_years_of_a_brand_are_the_union_over_its_models_newest_first(sample: Catalogue) -> None:
    of_brand = sample.model_years_of_brand(1, 329)
    models = [code for code, _ in sample.models(1, 329)]
    of_models = {each for code in models for each in sample.model_years_of_model(1, 329, code)}
    assert len(of_brand) == len(of_models) == len(set(of_brand))
    assert set(of_brand) == of_models
    assert of_brand[:2] == [ModelYear(ZERO_KM, 3, "Diesel"), ModelYear(ZERO_KM, 4, "Elétrico")]
    assert of_brand == sorted(of_brand, key=lambda each: (-each.model_year, each.fuel_code))


def test_finds_every_row_by_every_call(sample: Catalogue) -> None:
    for row in sample.rows:
        brand = row.vehicle_type, row.brand_code
        assert (row.brand_code, row.brand) in sample.brands(row.vehicle_type)
        assert (row.model_code, row.model) in sample.models(*brand)
        assert row.model_year_with_fuel in sample.model_years_of_model(*brand, row.model_code)
        assert (row.model_code, row.model) in sample.models_of_model_year(
            *brand, row.model_year, row.fuel_code
        )
        assert sample.price(*brand, row.model_code, row.model_year, row.fuel_code) is row


def test_answers_with_nothing_for_unknown_codes(sample: Catalogue) -> None:
    assert sample.models(1, 99) == []
    assert sample.model_years_of_brand(1, 99) == []
    assert sample.model_years_of_model(1, 1, 99) == []
    assert sample.models_of_model_year(1, 1, 1992, 3) == []
    assert sample.price(1, 1, 1, 1993, 1) is None


def test_the_sample_has_the_oddities_of_the_real_prices(sample: Catalogue) -> None:
    rows = sample.rows
    assert 400 <= len(rows) <= 700
    assert {row.vehicle_type for row in rows} == {1, 2, 3}
    assert len({(row.vehicle_type, row.brand_code) for row in rows}) == 12
    assert {row.fuel_code for row in rows} == {1, 2, 3, 4, 5, 6, 7}
    assert any(row.model_year == ZERO_KM for row in rows)
    names = {row.model for row in rows}
    assert "M´BOY 90cc" in names
    assert any("MARRUÁ" in name for name in names)
    assert any("  " in name for name in names)
    assert any(name.endswith(" ") for name in names)
    brands = {(row.vehicle_type, row.brand_code) for row in rows}
    by_year_is_cheaper = {
        len(sample.model_years_of_brand(*brand)) < len(sample.models(*brand)) for brand in brands
    }
    assert by_year_is_cheaper == {True, False}


def test_the_fipe_codes_of_the_sample_have_right_check_digits(sample: Catalogue) -> None:
    for row in sample.rows:
        digits, check = row.fipe_code.split("-")
        total = sum(weight * int(digit) for weight, digit in zip(range(7, 1, -1), digits, strict=True))
        assert (11 - total % 11) % 11 % 10 == int(check)
