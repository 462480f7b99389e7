"""`fipe load --codes`: loads only the vehicles of a list, and says before what that takes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from fipe_api.environment import OFFICIAL_URL
from fipe_api.load.request import MOST_FIPE_CODES, choose_references, parse_request
from fipe_api.load.size import Size, brand_sizes, typical_size
from fipe_api.messages import check_fipe_code
from fipe_cli.cloud import Cloud
from fipe_cli.database import open_database
from fipe_cli.errors import USAGE, CliError
from fipe_cli.file_columns import text_of
from fipe_cli.fleet.columns import find_column
from fipe_cli.fleet.files import opened_fleet
from fipe_cli.loads import STARTER, Plan, calls_per_minute, source_at
from fipe_words import _, plural

CODES_NAMED = 5
CALLS_TO_LOOK_UP = 2
"""The model years of a FIPE code, and the price of one, which names the brand and the model."""

# How many brands, models and prices the codes have in the nearest month that the database holds.
SELECT_KNOWN = """
select count(distinct known.fipe_code), count(distinct (known.vehicle_type, known.brand_code)),
       count(distinct (known.vehicle_type, known.brand_code, known.model_code)),
       (
           select count(*)
           from fipe.vehicle_price
           where fipe_code = any(%(codes)s) and reference_month = (
               select month from fipe.reference_month
               where exists (select from fipe.price where price.reference_month = reference_month.month)
               order by abs(month - %(month)s) limit 1
           )
       )
from fipe.model_of_code as known
where known.fipe_code = any(%(codes)s)
"""


class FleetCodes(NamedTuple):
    """The FIPE codes of a list.

    Attributes:
        codes: each once.
        refused: what is not a FIPE code, by line.
    """

    codes: list[str]
    refused: dict[int, str]

    def words(self) -> list[str]:
        """What is to be said of the list."""
        if not self.refused:
            return []
        named = [
            _("line {line}: {text!r}", line=line, text=text)
            for line, text in list(self.refused.items())[:CODES_NAMED]
        ]
        named += ["..."] if len(self.refused) > CODES_NAMED else []
        return [_("not FIPE codes, and left out: {named}", named=", ".join(named))]


def read_code(written: str) -> str | None:
    """The FIPE code that is meant, by the rule of the SQL function fipe.fleet_code; None if none is.

    Its check digit is right.
    """
    plain = re.sub("[\\u2010-\\u2015\\u2212]", "-", re.sub("[\\s\\u00a0=\"']", "", written))
    plain = re.sub("[.,]0+$", "", plain)
    if not re.fullmatch("(?:[0-9]{6}|[1-9][0-9]{0,4})-?[0-9]", plain):
        return None
    digits = plain.replace("-", "").zfill(7)
    code = f"{digits[:6]}-{digits[6]}"
    try:
        check_fipe_code(code)
    except ValueError:
        return None
    return code


def read_codes(file: Path) -> FleetCodes:
    """The FIPE codes of a fleet's file, or of a list with one code a line and no heading.

    Raises:
        CliError: the file cannot be read, or holds no FIPE code.
    """
    codes: dict[str, None] = {}
    refused = {}
    with opened_fleet(file) as fleet:
        if first := read_code(fleet.columns[0]):
            codes[first], place = None, 0
        else:
            place = find_column(fleet.name, fleet.columns, {}, "code")
        for row in fleet.rows():
            if row.blank:
                continue
            text = text_of(row.cells[place])
            if code := read_code(text):
                codes[code] = None
            else:
                refused[row.line] = text
    if not codes:
        raise CliError(_("{file} holds no FIPE code, such as 005340-6", file=file), USAGE)
    return FleetCodes(list(codes), refused)


def payloads_of(payload: Mapping[str, Any], codes: Sequence[str]) -> list[dict[str, Any]]:
    """The payloads of a load of these codes: as many codes in each as a run takes.

    Raises:
        CliError: the payload names brands or models.
    """
    if "brands" in payload or "models" in payload:
        raise CliError(_("invalid options: use --codes without --brands and --models"), USAGE)
    return [
        {**payload, "fipe_codes": list(codes[first : first + MOST_FIPE_CODES])}
        for first in range(0, len(codes), MOST_FIPE_CODES)
    ]


class CodesPlan(NamedTuple):
    """What a load of FIPE codes would do.

    Attributes:
        codes: how many.
        unknown: how many of them the database does not have: these are looked up first.
        plan: the whole load.
    """

    codes: int
    unknown: int
    plan: Plan

    def words(self) -> list[str]:
        """For people."""
        looked_up = plural(
            "{unknown:,} of {number:,} FIPE code to look up first",
            "{unknown:,} of {number:,} FIPE codes to look up first",
            self.codes,
            unknown=self.unknown,
        )
        return [looked_up, *self.plan.words()]

    def document(self) -> dict[str, Any]:
        """For scripts."""
        return {"fipe_codes": self.codes, "unknown_fipe_codes": self.unknown, **self.plan.document()}


def plan_of_codes(cloud: Cloud, payload: Mapping[str, Any], codes: Sequence[str]) -> CodesPlan:
    """What the load would do. Asks the source for its months, and the database for what it has of the codes.

    Raises:
        LoadRequestError: the source does not have the month.
        CliError: the stage is not deployed, or the source does not answer.
    """
    environment = cloud.environment_of(STARTER)
    with source_at(environment.get("FIPE_API_URL", OFFICIAL_URL)) as api:
        references = choose_references(parse_request(payload), api.references())
    try:
        with open_database(cloud) as database, database.session() as session, session.cursor() as cursor:
            cursor.execute(SELECT_KNOWN, {"codes": list(codes), "month": references[-1].month})
            ((known, brands, models, prices),) = cursor.fetchall()
    except (psycopg2.Error, CliError):
        known = brands = models = prices = 0  # the database may be unreachable from here, or empty
    unknown, typical = len(codes) - known, typical_size()
    brands += min(unknown, len(brand_sizes()) - brands)
    looked_up = unknown * CALLS_TO_LOOK_UP + min(unknown, brands)
    month = Size(
        models + unknown,
        # The list of brands, the models of each brand, the model years of each model.
        3 + brands + models + unknown,
        prices + unknown * typical.prices / typical.models,
    )
    size = month.times(len(references))
    return CodesPlan(
        len(codes),
        unknown,
        Plan(
            months=[f"{reference.month:%Y-%m}" for reference in references],
            brands=brands * len(references),
            size=Size(size.models, size.discovery_calls + looked_up + 1, size.prices),
            calls_per_minute=calls_per_minute(environment),
        ),
    )
