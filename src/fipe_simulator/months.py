"""The months: FIPE's code for each, and their spellings."""

from dataclasses import dataclass
from datetime import date

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
    months = (add_months(newest, -back) for back in range(months_between(FIRST_MONTH, newest) + 1))
    return tuple(Reference(_code(month), month) for month in months)


def _code(month: date) -> int:
    if month.year in _CODES:
        return _CODES[month.year][month.month - 1]
    return _CODES[_LAST_LISTED.year][-1] + months_between(_LAST_LISTED, month)


def months_between(earlier: date, later: date) -> int:
    """How many months the second is after the first; negative when it is before."""
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def add_months(month: date, count: int) -> date:
    """The month that is so many months later; earlier if `count` is negative."""
    years, month_index = divmod(month.year * 12 + month.month - 1 + count, 12)
    return date(years, month_index + 1, 1)
