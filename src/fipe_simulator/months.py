"""The months: FIPE's code for each, their spellings, and the rule for months before the catalogue's."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from zlib import crc32

from fipe_simulator.catalogue import ZERO_KM, Catalogue, CatalogueRow

MONTH_NAMES = (
    "janeiro",
    "fevereiro",
    "março",
    "abril",
    "maio",
    "junho",
    "julho",
    "agosto",
    "setembro",
    "outubro",
    "novembro",
    "dezembro",
)

FIRST_MONTH = date(2001, 1, 1)

# FIPE's codes, January to December. A recorded answer gives those up to 248 (November 2019). Between 248 and
# 283 (March 2022) seven codes are unused. Answers that clients published give 249 to 252 (December 2019 to
# March 2020), 263 (December 2020), 266 (March 2021), 270 to 273 (May to August 2021) and 283 to 293 (March
# 2022 to January 2023). Only which codes are unused is assumed: two between April and September 2020, two in
# spring 2021, and three between September 2021 and February 2022.
_CODES = {
    2001: (62, 63, 67, 68, 69, 70, 71, 72, 73, 64, 65, 66),
    2002: (74, 78, 79, 80, 81, 82, 83, 84, 85, 75, 76, 77),
    2003: (86, 90, 91, 92, 93, 94, 95, 96, 97, 87, 88, 89),
    2004: (98, 102, 103, 104, 105, 106, 107, 108, 109, 99, 100, 101),
    2005: (110, 112, 113, 114, 115, 116, 25, 7, 1, 2, 6, 111),
    2006: (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19),
    2007: (20, 21, 23, 24, 26, 27, 28, 29, 30, 31, 32, 33),
    2008: (34, 35, 36, 37, 38, 40, 41, 42, 43, 44, 45, 46),
    2009: (47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58),
    2010: (59, 60, 61, 117, 118, 119, 120, 121, 122, 123, 124, 125),
    2011: (126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137),
    2012: (138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149),
    2013: (150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161),
    2014: (162, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173),
    2015: (174, 175, 176, 178, 179, 180, 181, 182, 183, 184, 185, 186),
    2016: (187, 188, 189, 190, 191, 192, 193, 194, 196, 197, 198, 200),
    2017: (202, 205, 207, 211, 212, 214, 215, 216, 217, 218, 219, 224),
    2018: (225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236),
    2019: (237, 238, 239, 241, 242, 243, 244, 245, 246, 247, 248, 249),
    2020: (250, 251, 252, 253, 254, 255, 256, 259, 260, 261, 262, 263),
    2021: (264, 265, 266, 269, 270, 271, 272, 273, 274, 278, 279, 280),
    2022: (281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292),
}
_LAST_LISTED = date(2022, 12, 1)

_ONLY_THREE_FUELS_BEFORE = date(2023, 1, 1)
_PETROL = (1, "Gasolina")


@dataclass(frozen=True, slots=True)
class Reference:
    """A published month: FIPE's reference code, and the month as its first day."""

    code: int
    month: date

    @property
    def listed(self) -> str:
        """The month as ConsultarTabelaDeReferencia spells it, trailing space included: `junho/2026 `."""
        return f"{MONTH_NAMES[self.month.month - 1]}/{self.month.year} "

    @property
    def priced(self) -> str:
        """The month as a price spells it, trailing space included: `junho de 2026 `."""
        return f"{MONTH_NAMES[self.month.month - 1]} de {self.month.year} "


def published_references(newest: date) -> tuple[Reference, ...]:
    """Every month from January 2001 to the given one, the newest first, as FIPE lists them.

    From 2023 on the codes follow the months (308 is April 2024, 334 June 2026, 338 October 2026).

    Raises:
        ValueError: the month is before January 2001.
    """
    if newest < FIRST_MONTH:
        raise ValueError(f"invalid month {newest:%Y-%m}: FIPE's first month is 2001-01")
    months = (_add_months(newest, -back) for back in range(months_between(FIRST_MONTH, newest) + 1))
    return tuple(Reference(_code(month), month) for month in months)


def _code(month: date) -> int:
    if month.year in _CODES:
        return _CODES[month.year][month.month - 1]
    return _CODES[_LAST_LISTED.year][-1] + months_between(_LAST_LISTED, month)


def months_between(earlier: date, later: date) -> int:
    """How many months the second is after the first; negative when it is before."""
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def _add_months(month: date, count: int) -> date:
    years, month_index = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(years, month_index + 1, 1)


def catalogue_for_month(catalogue: Catalogue, month: date) -> Catalogue:
    """The true prices of a month: the catalogue itself for its own month; for an earlier one by this rule:

    1. A model year exists from January of the year before it; newer ones are left out.
    2. A zero-km row exists once the model's oldest model year does (for a model sold only as zero km: the
       catalogue's year), but in each month one in twenty is not on offer (by a hash of FIPE code and month).
    3. Before January 2023 there are only the fuels 1 to 3: a row of another fuel has fuel 1 (Gasolina),
       unless the model has that model year with fuel 1 already (from the catalogue, or from a row before it);
       then it stays as it is.
    4. A price was higher by 0.3% to 0.8% of today's (by a hash of FIPE code and model year) for each month of
       distance, cut to whole reais, plus one real per month. So the price of a vehicle differs from month to
       month and is never zero.

    Codes, names and the order of rows stay. The same arguments always give the same rows.

    Raises:
        ValueError: the month is later than the catalogue's.
    """
    distance = months_between(month, catalogue.month)
    if distance < 0:
        raise ValueError(
            f"invalid month {month:%Y-%m}: use {catalogue.month:%Y-%m}, as the catalogue, or an earlier one"
        )
    if distance == 0:
        return catalogue
    return Catalogue(
        month,
        (
            row._replace(price_brl=_earlier_price(row, distance))
            for rows in catalogue.by_model()
            for row in _with_fuels_of(month, _existing(rows, month, catalogue.month.year))
        ),
    )


def published_part(catalogue: Catalogue, share: float) -> Catalogue:
    """The part of a month that is published while it fills up; a larger share contains a smaller one."""
    return Catalogue(
        catalogue.month,
        (
            row
            for row in catalogue.rows
            if _hash(f"{row.vehicle_type} {row.brand_code} {row.model_code}") % 10_000 < share * 10_000
        ),
    )


def _existing(rows: list[CatalogueRow], month: date, catalogue_year: int) -> list[CatalogueRow]:
    newest_year = month.year + 1
    oldest_year = min((row.model_year for row in rows if row.model_year != ZERO_KM), default=catalogue_year)
    is_sold_new = oldest_year <= newest_year and _hash(f"{rows[0].fipe_code} {month:%Y-%m}") % 20 > 0
    return [
        row for row in rows if (is_sold_new if row.model_year == ZERO_KM else row.model_year <= newest_year)
    ]


def _with_fuels_of(month: date, rows: list[CatalogueRow]) -> Iterator[CatalogueRow]:
    if month >= _ONLY_THREE_FUELS_BEFORE:
        yield from rows
        return
    years_under_petrol = {row.model_year for row in rows if row.fuel_code == _PETROL[0]}
    for row in rows:
        if row.fuel_code > 3 and row.model_year not in years_under_petrol:
            years_under_petrol.add(row.model_year)
            yield row._replace(fuel_code=_PETROL[0], fuel=_PETROL[1])
        else:
            yield row


def _earlier_price(row: CatalogueRow, distance: int) -> Decimal:
    per_month = 300 + _hash(f"{row.fipe_code} {row.model_year}") % 501  # in 100,000ths
    cents = int(row.price_brl * 100)
    return Decimal(cents * (100_000 + per_month * distance) // 10_000_000 + distance).quantize(
        Decimal("0.00")
    )


def _hash(text: str) -> int:
    """A hash that is the same on every machine and in every run, unlike hash()."""
    return crc32(text.encode())
