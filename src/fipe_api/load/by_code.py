"""A load of FIPE codes: finds the brand and model of each, and then starts a load of these models.

A load asks by FIPE's codes of brands and models. The database knows them for the FIPE codes that it has. For
the others the official API is asked: two calls give the names that a FIPE code has, and one call per brand
the codes of its models. That takes long for many, so the manufacturer queue has it, and each message goes on
where the last one ended.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from msgspec.structs import replace

from fipe_api.aws.clients import client, invoke
from fipe_api.aws.observability import logger
from fipe_api.environment import LoaderEnvironment
from fipe_api.load import backfill
from fipe_api.load.request import LoadRequestError, choose_references, list_brands, parse_request
from fipe_api.load.rounds import ROUNDS, next_round
from fipe_api.load.start import Started
from fipe_api.messages import (
    CodesMessage,
    ModelsOfBrand,
    Named,
    NamedCode,
    Reference,
    StartMessage,
    Unfinished,
    VehicleType,
    folded,
)
from fipe_api.source.answers import AskedCode, is_same_name
from fipe_api.source.http_source import FipeError, NoDataError, NotNowError, UnusableAnswerError
from fipe_api.source.price_source import CodeSource, PriceSource

_TYPES_BY_DIGIT: dict[str, VehicleType] = {"5": 3, "7": 2, "8": 2}
"""FIPE codes of trucks begin with 5, those of motorcycles with 7 or 8, and those of cars with 0 or 3."""


class _Answer(Struct):
    models: list[tuple[str, VehicleType, int, int]]


_ANSWER = Decoder(_Answer)


def begin(message: StartMessage, source: PriceSource, environment: LoaderEnvironment) -> Started:
    """Starts a load of FIPE codes, if the database knows their brands and models; else has them found first.

    Returns:
        What backfill.begin returns. If codes are to be found first, the answer's `waiting` says how many.

    Raises:
        LoadRequestError: as backfill.begin; or the payload has brands or models beside the codes.
    """
    request = parse_request(message.request)
    codes = tuple(dict.fromkeys(request.fipe_codes or ()))
    if request.brands is not None or request.models is not None:
        raise LoadRequestError("invalid fipe_codes: use them without brands and models")
    known = _known_models(codes, environment.load_status_function)
    named = {code for code, *_ in known}
    left = tuple(code for code in codes if code not in named)
    found = _by_brand((kind, brand, model) for _, kind, brand, model in known)
    search = CodesMessage(run_id=message.run_id, request=message.request, left=left, found=found)
    if not left:
        return backfill.begin(_start_of(search), source, environment)
    answer = {"run_id": str(message.run_id), "references": [], "brands_sent": 0}
    why = f"{len(left)} of {len(codes)} FIPE codes are not in the database, and are looked up first"
    return Started([], answer | {"waiting": why}, Unfinished(search, 0))


def find_models(message: CodesMessage, source: CodeSource) -> Unfinished:
    """Finds the brands and models of FIPE codes, as far as the source answers in time.

    Returns:
        The message with its progress; at the end, the start of the load of these models.

    Raises:
        LoadRequestError: FIPE knows none of the codes in this month.
    """
    search = _Search(message, source)
    try:
        doubts = search.look_up_codes() or search.look_up_brands()
    except NotNowError as refused:
        return Unfinished(search.progress(message.rounds), refused.retry_in)
    if doubts:
        again = next_round(message.rounds, made_progress=search.made_progress)
        if again:
            return Unfinished(search.progress(again.rounds), again.retry_in, again.last_in)
        search.accept(doubts)
        return Unfinished(search.progress(0), 0)
    return Unfinished(_start_of(search.progress(0)), 0)


class _Search:
    def __init__(self, message: CodesMessage, source: CodeSource) -> None:
        self._message = message
        self._source = source
        self._reference = message.reference
        self._left = list(message.left)
        self._named = list(message.named)
        self._found = list(message.found)
        self._is_last_round = message.rounds == ROUNDS - 1
        self.made_progress = False

    def progress(self, rounds: int) -> CodesMessage:
        return replace(
            self._message,
            reference=self._reference,
            left=tuple(self._left),
            named=tuple(self._named),
            found=_by_brand((kind, brand, code) for kind, brand, codes in self._found for code in codes),
            rounds=rounds,
        )

    def look_up_codes(self) -> dict[str, FipeError]:
        """Asks for the names of each code once; returns those without a usable answer."""
        doubts: dict[str, FipeError] = {}
        for code in tuple(self._left):
            # Move it to the end, so that the next invocation starts with the others if time runs out.
            self._left.remove(code)
            self._left.append(code)
            try:
                self._named.append(self._look_up(code))
            except (NoDataError, UnusableAnswerError) as error:
                doubts[code] = error
            else:
                self._left.remove(code)
                self.made_progress = True
        return doubts

    def look_up_brands(self) -> dict[str, FipeError]:
        """Finds the codes of the brands and models that are known by name; asks for each brand once."""
        doubts: dict[str, FipeError] = {}
        for kind in sorted({each.vehicle_type for each in self._named}):
            brands = list_brands(self._month(), kind, self._source)
            for name in sorted({each.brand for each in self._named if each.vehicle_type == kind}):
                of_brand = [each for each in self._named if each[1:3] == (kind, name)]
                try:
                    listed = [
                        (brand.code, self._source.models(self._month(), kind, brand.code).models)
                        for brand in _named(brands, name)
                    ]
                except (NoDataError, UnusableAnswerError) as error:
                    doubts |= dict.fromkeys((each.fipe_code for each in of_brand), error)
                    continue
                self.made_progress = True
                for each in of_brand:
                    try:
                        self._found += [
                            ModelsOfBrand(
                                kind, code, tuple(model.code for model in _named(models, each.model))
                            )
                            for code, models in listed
                        ]
                    except NoDataError as error:
                        doubts[each.fipe_code] = error
                    else:
                        self._named.remove(each)
        return doubts

    def accept(self, doubts: dict[str, FipeError]) -> None:
        """Goes on without these codes.

        Raises:
            UnusableAnswerError: the last answer for one of them was not "nothing found".
        """
        for error in doubts.values():
            if not isinstance(error, NoDataError):
                raise error
        logger.warning("unknown FIPE codes", run_id=str(self._message.run_id), fipe_codes=sorted(doubts))
        self._left = [code for code in self._left if code not in doubts]
        self._named = [each for each in self._named if each.fipe_code not in doubts]

    def _month(self) -> Reference:
        if self._reference is None:
            request = parse_request(self._message.request)
            self._reference = choose_references(request, self._source.references())[-1]
        return self._reference

    def _look_up(self, code: str) -> NamedCode:
        """Asks for the likely vehicle type; for the others only before the code is believed to be unknown."""
        likely = _TYPES_BY_DIGIT.get(code[0], 1)
        others: list[VehicleType] = [kind for kind in (1, 2, 3) if kind != likely and self._is_last_round]
        for kind in (likely, *others):
            try:
                years = self._source.years_of_code(self._month(), kind, code)
            except NoDataError as error:
                denied = error
                continue
            for year in years:  # FIPE lists some without a price
                try:
                    brand, model, _ = self._source.price_of_code(AskedCode(self._month(), kind, code, year))
                except NoDataError as error:
                    denied = error
                else:
                    return NamedCode(code, kind, brand, model)
        raise denied


def _known_models(codes: Sequence[str], function: str) -> list[tuple[str, VehicleType, int, int]]:
    """FIPE codes with vehicle type, brand and model, of those that the database has."""
    if not function:
        return []
    try:
        answer = invoke(client("lambda"), function, {"models_of": list(codes)})
        return _ANSWER.decode(answer["Payload"].read()).models
    except (BotoCoreError, ClientError, DecodeError):
        # Without this knowledge, the load asks more often.
        logger.exception("cannot read which models have these FIPE codes")
        return []


def _start_of(search: CodesMessage) -> StartMessage:
    """The start of a load of what was found.

    Raises:
        LoadRequestError: nothing was found.
    """
    wanted = parse_request(search.request).vehicle_types
    only = [each for each in search.found if each.vehicle_type in wanted and each.model_codes]
    if not only:
        raise LoadRequestError("the source knows none of these FIPE codes: try another month")
    rest = {name: value for name, value in search.request.items() if name != "fipe_codes"}
    request: dict[str, Any] = {
        **rest,
        "vehicle_types": sorted({each.vehicle_type for each in only}),
        "only": [(kind, brand, list(codes)) for kind, brand, codes in only],
    }
    return StartMessage(run_id=search.run_id, request=request)


def _by_brand(models: Iterable[tuple[VehicleType, int, int]]) -> tuple[ModelsOfBrand, ...]:
    codes: dict[tuple[VehicleType, int], set[int]] = defaultdict(set)
    for kind, brand, model in models:
        codes[kind, brand].add(model)
    return tuple(ModelsOfBrand(*key, tuple(sorted(codes[key]))) for key in sorted(codes))


def _named(listed: Iterable[Named], name: str) -> list[Named]:
    """Those of a list with exactly this name or, without one, with this name spelled otherwise.

    Raises:
        NoDataError: there is none.
    """
    known = list(listed)
    exact = [each for each in known if folded(each.name) == folded(name)]
    alike = exact or [each for each in known if is_same_name(each.name, name)]
    if not alike:
        raise NoDataError(f"no list has {name!r}")
    return alike
