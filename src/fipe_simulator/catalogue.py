"""A catalogue: every price of one month, read from a file and indexed for FIPE's calls."""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from sys import intern
from typing import IO, NamedTuple

ZERO_KM = 32000
"""FIPE's own model year for a new vehicle."""

SAMPLE_CATALOGUE = Path(__file__).with_name("sample_catalogue.tsv")
"""579 real prices of June 2026, which come with the project."""

SAMPLE_MONTH = date(2026, 6, 1)

VEHICLE_TYPES = (1, 2, 3)
"""FIPE's codes: 1 car, 2 motorcycle, 3 truck."""


class CatalogueError(ValueError):
    """A catalogue file that cannot be read; the text names the file and the line."""


class CatalogueRow(NamedTuple):
    """One published price: a line of a catalogue file, `price_brl` in reais with two decimals."""

    vehicle_type: int
    brand_code: int
    brand: str
    model_code: int
    model: str
    model_year: int
    fuel_code: int
    fuel: str
    fipe_code: str
    price_brl: Decimal

    @property
    def model_year_with_fuel(self) -> "ModelYear":
        """The model year and fuel of this price."""
        return ModelYear(self.model_year, self.fuel_code, self.fuel)


class ModelYear(NamedTuple):
    """A model year (32000 means zero km) with its fuel."""

    model_year: int
    fuel_code: int
    fuel: str


class _Brand:
    """One brand of one vehicle type, indexed by model and by model year."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.models: dict[int, list[CatalogueRow]] = {}
        self.model_years: dict[tuple[int, int], list[CatalogueRow]] = {}

    def add(self, row: CatalogueRow) -> None:
        self.models.setdefault(row.model_code, []).append(row)
        self.model_years.setdefault((row.model_year, row.fuel_code), []).append(row)


class Catalogue:
    """All prices of one month. A lookup that finds nothing answers with an empty result or None.

    Args:
        month: the reference month, as its first day.
        rows: the prices; (vehicle_type, brand_code, model_code, model_year, fuel_code) is unique among them.
    """

    def __init__(self, month: date, rows: Iterable[CatalogueRow]) -> None:
        self.month = month
        self.rows = tuple(rows)
        self._brands: dict[tuple[int, int], _Brand] = {}
        for row in self.rows:
            key = (row.vehicle_type, row.brand_code)
            if key not in self._brands:
                self._brands[key] = _Brand(row.brand)
            self._brands[key].add(row)

    def brands(self, vehicle_type: int) -> list[tuple[int, str]]:
        """(code, name) of the brands of a type, by name without regard to case, as FIPE lists them."""
        found = [(code, brand.name) for (kind, code), brand in self._brands.items() if kind == vehicle_type]
        return sorted(found, key=lambda brand: (brand[1].casefold(), brand[0]))

    def models(self, vehicle_type: int, brand_code: int) -> list[tuple[int, str]]:
        """(code, name) of the models of a brand, in the order of the file."""
        brand = self._brands.get((vehicle_type, brand_code))
        return [(code, rows[0].model) for code, rows in brand.models.items()] if brand else []

    def model_years_of_brand(self, vehicle_type: int, brand_code: int) -> list[ModelYear]:
        """Every model year that any model of the brand has, the newest first."""
        brand = self._brands.get((vehicle_type, brand_code))
        return (
            _newest_first(rows[0].model_year_with_fuel for rows in brand.model_years.values())
            if brand
            else []
        )

    def models_of_model_year(
        self, vehicle_type: int, brand_code: int, model_year: int, fuel_code: int
    ) -> list[tuple[int, str]]:
        """(code, name) of the brand's models that have this model year with this fuel."""
        brand = self._brands.get((vehicle_type, brand_code))
        rows = brand.model_years.get((model_year, fuel_code), []) if brand else []
        return [(row.model_code, row.model) for row in rows]

    def model_years_of_model(self, vehicle_type: int, brand_code: int, model_code: int) -> list[ModelYear]:
        """The model years of one model, the newest first."""
        return _newest_first(
            row.model_year_with_fuel for row in self.rows_of_model(vehicle_type, brand_code, model_code)
        )

    def rows_of_model(self, vehicle_type: int, brand_code: int, model_code: int) -> list[CatalogueRow]:
        """The prices of one model, in the order of the file."""
        brand = self._brands.get((vehicle_type, brand_code))
        return brand.models.get(model_code, []) if brand else []

    def price(
        self, vehicle_type: int, brand_code: int, model_code: int, model_year: int, fuel_code: int
    ) -> CatalogueRow | None:
        """The one price of a full key."""
        for row in self.rows_of_model(vehicle_type, brand_code, model_code):
            if row.model_year == model_year and row.fuel_code == fuel_code:
                return row
        return None

    def price_of_code(
        self, vehicle_type: int, fipe_code: str, model_year: int, fuel_code: int
    ) -> CatalogueRow | None:
        """The price of a FIPE code's model year and fuel; the first in the file, if it stands twice."""
        return self._by_code.get((vehicle_type, fipe_code, model_year, fuel_code))

    @cached_property
    def _by_code(self) -> dict[tuple[int, str, int, int], CatalogueRow]:
        return {
            (row.vehicle_type, row.fipe_code, row.model_year, row.fuel_code): row
            for row in reversed(self.rows)
        }

    def model_years_of_code(self, vehicle_type: int, fipe_code: str) -> list[ModelYear]:
        """The model years of a FIPE code, the newest first."""
        return _newest_first(
            row.model_year_with_fuel for row in self._of_code.get((vehicle_type, fipe_code), ())
        )

    @cached_property
    def _of_code(self) -> dict[tuple[int, str], list[CatalogueRow]]:
        rows: dict[tuple[int, str], list[CatalogueRow]] = {}
        for row in self.rows:
            rows.setdefault((row.vehicle_type, row.fipe_code), []).append(row)
        return rows

    def by_model(self) -> Iterator[list[CatalogueRow]]:
        """The prices of each model, one model after the other."""
        for brand in self._brands.values():
            yield from brand.models.values()


def _newest_first(model_years: Iterable[ModelYear]) -> list[ModelYear]:
    return sorted(model_years, key=lambda each: (-each.model_year, each.fuel_code))


def read_catalogue(path: Path, month: date = SAMPLE_MONTH) -> Catalogue:
    """Read a catalogue file: UTF-8, tab-separated, a header line with the names of CatalogueRow's fields.

    Args:
        path: the file; one whose name ends in .gz is decompressed.
        month: the month of these prices, as its first day; the file does not say it.

    Raises:
        CatalogueError: the file is missing, unreadable, empty or malformed.
    """
    try:
        with _text(path, "r") as lines:
            rows = list(_rows(path, lines))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise CatalogueError(f"{path}: cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    if not rows:
        raise CatalogueError(f"{path}: has no prices: give it one line per price after the header")
    return Catalogue(month, rows)


def write_catalogue(path: Path, rows: Iterable[CatalogueRow]) -> None:
    """Write prices in the format that read_catalogue reads; the same rows give the same bytes."""
    with _text(path, "w") as file:
        file.write("\t".join(CatalogueRow._fields) + "\n")
        for row in rows:
            file.write("\t".join(str(value) for value in row) + "\n")


@contextmanager
def _text(path: Path, mode: str) -> Iterator[IO[str]]:
    """The file as text. Only "\\n" ends a line: a name may contain any other separator."""
    with path.open(mode + "b") as raw:
        if path.suffix != ".gz":
            with TextIOWrapper(raw, encoding="utf-8", newline="\n") as text:
                yield text
        else:
            # The header has no name and no time, so that the same rows give the same bytes.
            with (
                gzip.GzipFile(filename="", fileobj=raw, mode=mode + "b", mtime=0) as unpacked,
                TextIOWrapper(unpacked, encoding="utf-8", newline="\n") as text,
            ):
                yield text


def _rows(path: Path, lines: IO[str]) -> Iterator[CatalogueRow]:
    header = tuple(next(lines, "").rstrip("\n").split("\t"))
    if header != CatalogueRow._fields:
        raise CatalogueError(f"{path}, line 1: the header must be {' '.join(CatalogueRow._fields)} with tabs")
    first_line_of_key: dict[tuple[int, ...], int] = {}
    names: dict[tuple[int, ...], str] = {}
    for number, line in enumerate(lines, start=2):
        try:
            row = _parse(line.rstrip("\n").split("\t"))
            _check_name(names, (row.vehicle_type, row.brand_code), row.brand)
            _check_name(names, (row.vehicle_type, row.brand_code, row.model_code), row.model)
        except ValueError as error:
            raise CatalogueError(f"{path}, line {number}: {error}") from error
        key = (row.vehicle_type, row.brand_code, row.model_code, row.model_year, row.fuel_code)
        first = first_line_of_key.setdefault(key, number)
        if first != number:
            raise CatalogueError(
                f"{path}, line {number}: the same vehicle as in line {first}: remove one of them"
            )
        yield row


def _check_name(names: dict[tuple[int, ...], str], codes: tuple[int, ...], name: str) -> None:
    """A code has one name in a month: the calls could not answer with two."""
    known = names.setdefault(codes, name)
    if known != name:
        kind = "brand" if len(codes) == 2 else "model"
        raise ValueError(f"{kind} {codes[-1]} is {name!r} here but {known!r} before: give a code one name")


def _parse(fields: list[str]) -> CatalogueRow:
    if len(fields) != len(CatalogueRow._fields):
        raise ValueError(
            f"expected {len(CatalogueRow._fields)} fields separated by tabs, found {len(fields)}"
        )
    kind, brand_code, brand, model_code, model, model_year, fuel_code, fuel, fipe_code, price = fields
    vehicle_type = _code("vehicle_type", kind)
    if vehicle_type not in VEHICLE_TYPES:
        raise ValueError(f"vehicle_type must be 1, 2 or 3, not {kind!r}")
    if not re.fullmatch(r"[0-9]+\.[0-9]{2}", price):
        raise ValueError(f"price_brl must be an amount like 10816.00, not {price!r}")
    if not (brand and model and fuel and fipe_code):
        raise ValueError("brand, model, fuel and fipe_code must not be empty")
    # Interned: the 50,000 rows of a month share some 11,000 models.
    return CatalogueRow(
        vehicle_type,
        _code("brand_code", brand_code),
        intern(brand),
        _code("model_code", model_code),
        intern(model),
        _code("model_year", model_year),
        _code("fuel_code", fuel_code),
        intern(fuel),
        intern(fipe_code),
        Decimal(price),
    )


def _code(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{name} must be a whole number, not {text!r}")
    return int(text)
