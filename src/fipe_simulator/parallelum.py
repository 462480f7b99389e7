"""Parallelum v2, the mirror of FIPE: from paths to the JSON value that it would answer.

Shapes follow what its documentation and public clients show: FIPE's codes, months without the trailing space.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

from fipe_simulator.answers import FUEL_ACRONYMS, OfficialApi, brazilian, year_label
from fipe_simulator.catalogue import Catalogue
from fipe_simulator.months import Reference

_TYPES = {"cars": 1, "motorcycles": 2, "trucks": 3}
_PATH = re.compile(
    r"(?P<type>cars|motorcycles|trucks)/brands"
    r"(?:/(?P<brand>[0-9]{1,9})/models"
    r"(?:/(?P<model>[0-9]{1,9})/years"
    r"(?:/(?P<year>[0-9]{1,5})-(?P<fuel>[0-9]{1,5}))?)?)?"
)


class MirrorAnswer(NamedTuple):
    """HTTP status and JSON value."""

    status: int
    value: Any


class Parallelum:
    """Answers from the same months as the official API.

    Args:
        official: the API that it mirrors.
    """

    def __init__(self, official: OfficialApi) -> None:
        self._official = official

    def answer(self, path: str, parameters: Mapping[str, str]) -> MirrorAnswer:
        """The answer to a GET of a path below the base URL, with the query's parameters."""
        if path == "references":
            references = self._official.references
            return MirrorAnswer(
                200, [{"code": str(each.code), "month": each.priced.strip()} for each in references]
            )
        match = _PATH.fullmatch(path)
        code = parameters.get("reference", "")
        found = (
            match and (not code or re.fullmatch("[0-9]{1,9}", code)) and self._official.month_of_code(code)
        )
        if not match or not found:
            return _not_located("reference" if match else "path")
        reference, catalogue = found
        return self._listed(match, reference, catalogue)

    def _listed(self, match: re.Match[str], reference: Reference, catalogue: Catalogue) -> MirrorAnswer:
        kind = _TYPES[match["type"]]
        if match["brand"] is None:
            return _items("brands", catalogue.brands(kind))
        brand = int(match["brand"])
        if match["model"] is None:
            return _items("brand", catalogue.models(kind, brand))
        model = int(match["model"])
        if match["year"] is None:
            years = catalogue.model_years_of_model(kind, brand, model)
            return _items(
                "model", [(f"{each.model_year}-{each.fuel_code}", year_label(kind, each)) for each in years]
            )
        row = catalogue.price(kind, brand, model, int(match["year"]), int(match["fuel"]))
        if row is None:
            return _not_located("year")
        return MirrorAnswer(
            200,
            {
                "vehicleType": kind,
                "price": brazilian(row.price_brl),
                "brand": row.brand,
                "model": row.model,
                "modelYear": row.model_year,
                "fuel": row.fuel,
                "codeFipe": row.fipe_code,
                "referenceMonth": reference.priced.strip(),
                "fuelAcronym": FUEL_ACRONYMS.get(row.fuel_code, row.fuel[:1].upper()),
            },
        )


class DailyLimit:
    """How many calls the mirror takes per day; None for any number.

    Args:
        calls: the limit.
    """

    def __init__(self, calls: int | None) -> None:
        self.calls = calls
        self._day = date.min
        self._made = 0

    def takes_one_more(self) -> bool:
        """Count a call; whether it is within the day's limit."""
        if self._day != date.today():
            self._day, self._made = date.today(), 0
        self._made += 1
        return self.calls is None or self._made <= self.calls


def _items(what: str, items: list[tuple[Any, str]]) -> MirrorAnswer:
    if not items:
        return _not_located(what)
    return MirrorAnswer(200, [{"code": str(code), "name": name} for code, name in items])


def _not_located(what: str) -> MirrorAnswer:
    return MirrorAnswer(404, {"error": f"failed to locate {what}"})
