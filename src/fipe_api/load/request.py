"""Checks the payload that starts a load, and turns it into one message per brand."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import suppress
from datetime import date
from typing import Annotated, Any
from uuid import NAMESPACE_OID, UUID, uuid5

from msgspec import Meta, Struct, ValidationError, convert

from fipe_api.messages import (
    MOST_SAMPLED,
    BrandMessage,
    Code,
    ListedBrands,
    ModelsOfBrand,
    Named,
    PositiveInt,
    Reference,
    Text,
    VehicleType,
    check_fipe_code,
    folded,
    words_of,
)
from fipe_api.source.http_source import NoDataError
from fipe_api.source.price_source import PriceSource

ANSWERS_BEFORE_ACCEPTED = 3
"""Accept "nothing found" only after this many answers: the source sometimes gives it for data that it has."""

VEHICLE_TYPES: Mapping[str, VehicleType] = {"car": 1, "motorcycle": 2, "truck": 3}
_ALSO: Mapping[str, VehicleType] = {
    "cars": 1, "motorcycles": 2, "trucks": 3, "carro": 1, "carros": 1, "moto": 2, "motos": 2,
    "motocicleta": 2, "motocicletas": 2, "caminhao": 3, "caminhoes": 3,
}  # fmt: skip
"""What people write as well; accents and capital letters do not matter."""

MOST_FIPE_CODES = 1_000
"""With what is found about them, they take some 100 KB of the 256 KB that SQS takes in one message."""

_MONTH = r"[0-9]{4}-(?:0[1-9]|1[0-2])"
_MONTHS = rf"{_MONTH}(?:\.\.{_MONTH})?"


class LoadRequestError(ValueError):
    """The load that was asked for is not possible; nothing was started.

    Attributes:
        template: what is wrong, in English; values stand in it by name. `fipe` translates it.
        values: the values.
    """

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.template, self.values = template, values


def marked(template: str) -> str:
    """A template of a message: the catalogue of translations, which `fipe` has, knows it by this name."""
    return template


class NothingListedError(LoadRequestError):
    """The source lists no brands, or none of those that were asked for."""


_ReferenceText = Annotated[
    str, Meta(pattern=rf"\A(?:latest|[1-9][0-9]*|{_MONTHS}(?:,{_MONTHS})*)\Z", max_length=5_000)
]
Wanted = Annotated[tuple[Code | Text, ...], Meta(min_length=1)]


class LoadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The payload that starts a load. Every part is optional; a part that is left out means all.

    Attributes:
        reference: "latest", a month ("2026-06"), a range that includes both ends ("2024-01..2024-12"),
            several of these with commas between them, or a reference code. More than one month, and a range
            of one, make a list whose months are loaded one at a time.
        vehicle_types: FIPE's codes; a payload may also use the names "car", "motorcycle" and "truck".
        brands: names (in capital or small letters) or codes.
        models: names (in capital or small letters) or codes.
        until_stable: skip each reference month whose last complete load changed nothing.
        run_id: continue this run, which the ledger knows already. fipe.resume_payloads says with what.
        fipe_codes: load only the vehicles with these FIPE codes.
        only: vehicle types, brands and models, by codes: load only these. A load of FIPE codes becomes this.
        missing_models: codes; of a run that is continued, the only models to ask for.
        known_brands: vehicle types and codes; of a run that is continued, the brands to leave out.
        unknown_brands: how many brands the run has besides these, if nothing else is known of them.
        start_key: any text; starts with the same text are the same run.
        cancel: cancel the run `run_id`: what waits is dropped, what came stays. A list of months stops.
        oldest_first: load a list of months from the oldest on, not from the newest.
        skip_complete: leave those out of a list of months that the database has complete or, with
            verify_sample, confirmed.
        go_on: go on with the list of months of the run `run_id`, which was stopped or which nothing moves on.
        verify_sample: confirm those of a list that an import holds, by so many of their prices, instead of
            loading them. With 0 they are loaded; left out, it stays as it is.
    """

    reference: PositiveInt | _ReferenceText = "latest"
    vehicle_types: Annotated[frozenset[VehicleType], Meta(min_length=1)] = frozenset({1, 2, 3})
    brands: Wanted | None = None
    models: Wanted | None = None
    fipe_codes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_FIPE_CODES)] | None = None
    only: Annotated[tuple[ModelsOfBrand, ...], Meta(min_length=1)] | None = None
    until_stable: bool = False
    run_id: UUID | None = None
    missing_models: Annotated[tuple[Code, ...], Meta(min_length=1)] | None = None
    known_brands: tuple[tuple[VehicleType, Code], ...] | None = None
    unknown_brands: PositiveInt | None = None
    start_key: Text | None = None
    cancel: bool = False
    oldest_first: bool = False
    skip_complete: bool = False
    go_on: bool = False
    verify_sample: Annotated[int, Meta(ge=0, le=MOST_SAMPLED)] | None = None

    def __post_init__(self) -> None:
        for part in str(self.reference).split(","):
            first, _, last = part.partition("..")
            if last and last < first:
                raise ValueError("the range ends before it starts")
        for code in self.fipe_codes or ():
            check_fipe_code(code)
        for want in (*(self.brands or ()), *(self.models or ())):
            if not (want.strip() if isinstance(want, str) else want):
                raise ValueError("not a name or a code")

    @property
    def known_run(self) -> UUID | None:
        """The run that this request belongs to; None if it starts a new one."""
        return self.run_id or (uuid5(NAMESPACE_OID, self.start_key) if self.start_key else None)

    @property
    def is_list(self) -> bool:
        """Whether several months are asked for, or a range: they are loaded one at a time."""
        return any(mark in str(self.reference) for mark in ("..", ","))

    @property
    def of_each_month(self) -> dict[str, Any]:
        """What is loaded of each month, as a payload."""
        wanted: dict[str, Any] = {"vehicle_types": sorted(self.vehicle_types)}
        if self.brands is not None:
            wanted["brands"] = list(self.brands)
        if self.models is not None:
            wanted["models"] = list(self.models)
        if self.only is not None:
            wanted["only"] = [list(each) for each in self.only]
        return wanted

    @property
    def whole_month(self) -> bool:
        """Whether all vehicles of a month are wanted."""
        named = (self.brands, self.models, self.fipe_codes, self.only)
        return self.vehicle_types == {1, 2, 3} and all(each is None for each in named)

    @property
    def wanted_brands(self) -> tuple[Code | Text, ...]:
        """Names or codes of the only brands to load; empty means all."""
        return self.brands or tuple(sorted({each.brand_code for each in self.only or ()}))

    @property
    def wanted_models(self) -> tuple[Code | Text, ...]:
        """Names or codes of the only models to load; empty means all."""
        return self.models or tuple(sorted({code for each in self.only or () for code in each.model_codes}))

    def models_of(self, vehicle_type: VehicleType, brand: Named) -> tuple[Code | Text, ...]:
        """Names or codes of the only models to load of a brand; empty means all."""
        if self.only is None:
            return self.models or ()
        return next((each.model_codes for each in self.only if each[:2] == (vehicle_type, brand.code)), ())


_INVALID = {
    "reference": marked(
        'invalid reference {value!r}: use "latest", a month like 2026-06, or a range like 2024-01..2024-12'
        " (or a reference code)"
    ),
    "vehicle_types": marked(
        'invalid vehicle_types {value!r}: use a list of "car", "motorcycle", "truck" or 1, 2, 3; leave it out'
        " for all"
    ),
    "brands": marked("invalid brands {value!r}: use a list of names or codes; leave it out for all"),
    "models": marked("invalid models {value!r}: use a list of names or codes; leave it out for all"),
    "fipe_codes": marked(
        "invalid fipe_codes {value!r}: use a list of up to 1,000 codes like 005340-6, with right check digits"
    ),
    "only": marked(
        "invalid only {value!r}: use [[vehicle type, brand, [models]], ...], by codes; leave it out for all"
    ),
    "until_stable": marked("invalid until_stable {value!r}: use true or false"),
    "run_id": marked(
        "invalid run_id {value!r}: use the id of a run in the ledger; leave it out for a new run"
    ),
    "missing_models": marked(
        "invalid missing_models {value!r}: use a list of codes, as `fipe resume` does; leave it out for a new"
        " run"
    ),
    "known_brands": marked(
        "invalid known_brands {value!r}: use a list of pairs, as `fipe resume` does; leave it out for a new"
        " run"
    ),
    "unknown_brands": marked(
        "invalid unknown_brands {value!r}: use a number, as `fipe resume` does; leave it out for a new run"
    ),
    "start_key": marked(
        "invalid start_key {value!r}: use a text of your own; leave it out unless a start may be repeated"
    ),
    "cancel": marked("invalid cancel {value!r}: use true, with the run_id of the load to cancel"),
    "oldest_first": marked("invalid oldest_first {value!r}: use true or false"),
    "skip_complete": marked("invalid skip_complete {value!r}: use true or false"),
    "go_on": marked("invalid go_on {value!r}: use true, with the run_id of a list of months"),
    "verify_sample": marked("invalid verify_sample {value!r}: use a number from 1 to 1000, or 0 for none"),
}


def vehicle_type(written: int | str) -> int | str:
    """FIPE's code of a vehicle type; what is none stays as it is."""
    if isinstance(written, int):
        return written
    name = folded(written)
    return VEHICLE_TYPES.get(name) or _ALSO.get(name) or written


def parse_request(payload: Any) -> LoadRequest:
    """Checks the payload of an invocation.

    Raises:
        LoadRequestError: says in one line what is wrong and what to use instead.
    """
    payload = {} if payload is None else payload
    if not isinstance(payload, Mapping):
        raise LoadRequestError(
            "the payload is not a JSON object: use one like {example}", example='{"reference": "latest"}'
        )
    request = convert({field: _checked(field, value) for field, value in payload.items()}, LoadRequest)
    is_part = any(each is not None for each in (request.brands, request.models, request.fipe_codes))
    if request.verify_sample and (is_part or not request.is_list):
        raise LoadRequestError(
            "invalid verify_sample: use it with a list of months, like 2001-01..2026-06, without brands,"
            " models and FIPE codes"
        )
    return request


def _checked(field: str, value: Any) -> Any:
    """One part of a payload, with vehicle types as codes."""
    if field not in _INVALID:
        raise LoadRequestError("unknown key {key!r}: use {known}", key=field, known=", ".join(_INVALID))
    plain = value
    if field == "vehicle_types" and isinstance(value, list):
        plain = [vehicle_type(each) if isinstance(each, int | str) else each for each in value]
    try:
        convert({field: plain}, LoadRequest)
    except ValidationError as error:
        raise LoadRequestError(_INVALID[field], value=value) from error
    return plain


def choose_references(request: LoadRequest, published: Sequence[Reference]) -> list[Reference]:
    """The reference months that were asked for, the oldest first.

    Args:
        request: what was asked for.
        published: all published reference months; at least one.

    Raises:
        LoadRequestError: a month or code that is not published.
    """
    if request.reference == "latest":
        return [max(published, key=lambda reference: reference.month)]
    asked = str(request.reference)
    if asked.isdecimal():
        chosen = [reference for reference in published if reference.code == int(asked)]
        if not chosen:
            raise LoadRequestError(
                "no reference month has the code {code}: use a month like 2026-06", code=asked
            )
        return chosen
    months = {reference.month for reference in published}
    wanted: set[date] = set()
    for part in asked.split(","):
        first, _, last = part.partition("..")
        begin, end = _month(first), _month(last or first)
        if begin not in months or end not in months:
            raise LoadRequestError(
                "{asked} is not published: use months from {first:%Y-%m} to {last:%Y-%m}",
                asked=part,
                first=min(months),
                last=max(months),
            )
        wanted |= {month for month in months if begin <= month <= end}
    return sorted(
        (reference for reference in published if reference.month in wanted),
        key=lambda reference: reference.month,
    )


def brand_messages(
    run_id: UUID, request: LoadRequest, references: Iterable[Reference], api: PriceSource
) -> list[BrandMessage]:
    """One message per brand, after one call per reference month and vehicle type.

    Raises:
        LoadRequestError: the source does not list a wanted brand, or lists no brands at all.
    """
    seen: list[Named] = []
    listed: list[ListedBrands] = []
    for reference in references:
        for vehicle_type in sorted(request.vehicle_types):
            found = list_brands(reference, vehicle_type, api)
            seen += found
            listed.append(wanted_brands(request, reference, vehicle_type, found))
    refuse_unknown_brands(request.brands or (), listed, seen)
    messages = messages_of(run_id, request, listed)
    refuse_nothing(messages)
    return messages


def messages_of(run_id: UUID, request: LoadRequest, listed: Sequence[ListedBrands]) -> list[BrandMessage]:
    """One message per brand that was listed."""
    brands_in_run = Counter(each.reference for each in listed for _ in each.brands)
    return [
        BrandMessage(
            run_id=run_id,
            reference=each.reference,
            vehicle_type=each.vehicle_type,
            brand=brand,
            brands_in_run=brands_in_run[each.reference],
            wanted_models=request.models_of(each.vehicle_type, brand),
            missing_models=request.missing_models or (),
        )
        for each in listed
        for brand in each.brands
    ]


def list_brands(reference: Reference, vehicle_type: VehicleType, api: PriceSource) -> list[Named]:
    """All brands of a vehicle type in a month; none if the source says so again and again."""
    for _ in range(ANSWERS_BEFORE_ACCEPTED):
        with suppress(NoDataError):
            return api.brands(reference, vehicle_type)
    return []


def wanted_brands(
    request: LoadRequest, reference: Reference, vehicle_type: VehicleType, found: Iterable[Named]
) -> ListedBrands:
    """Those of the brands that were asked for."""
    brands = tuple(found)
    if request.only is not None:
        chosen = {(each.vehicle_type, each.brand_code) for each in request.only}
        brands = tuple(brand for brand in brands if (vehicle_type, brand.code) in chosen)
    if request.brands is not None:
        named = [brand for want in request.brands for brand in brands_named(brands, want)]
        brands = tuple(brand for brand in brands if brand in named)
    return ListedBrands(reference=reference, vehicle_type=vehicle_type, brands=brands)


def brands_named(brands: Iterable[Named], want: int | str) -> list[Named]:
    """The brands of a vehicle type that are meant, by the rule of the SQL function fipe.brands_named.

    A name means the brands of exactly this name or, without one, those with all its words: `volkswagen` means
    "VW - VolksWagen", and `scania` means SCANIA and not SAAB-SCANIA.
    """
    listed = list(brands)
    if isinstance(want, int):
        return [brand for brand in listed if brand.code == want]
    asked = words_of(want)
    if not asked:
        return [brand for brand in listed if brand.is_among([want])]
    whole = [brand for brand in listed if words_of(brand.name) == asked]
    return whole or [brand for brand in listed if set(asked) <= set(words_of(brand.name))]


def refuse_unknown_brands(
    wanted: Iterable[int | str], listed: Iterable[ListedBrands], seen: Iterable[Named]
) -> None:
    """Refuses a request for a brand that no month has.

    Args:
        wanted: names or codes.
        listed: the wanted brands that were found.
        seen: all brands that were seen, for a hint.

    Raises:
        LoadRequestError: says which brand it is, and what may have been meant.
    """
    found = [brand for each in listed for brand in each.brands]
    for want in wanted:
        if not brands_named(found, want):
            names = {folded(brand.name): brand.name for brand in seen}
            close = [names[match] for match in difflib.get_close_matches(folded(str(want)), names)]
            if close:
                raise LoadRequestError(
                    "the source lists no brand {brand!r}: did you mean {names}?",
                    brand=want,
                    names=", ".join(close),
                )
            raise LoadRequestError(
                "the source lists no brand {brand!r}: use a name or code that FIPE lists", brand=want
            )


def refuse_nothing(messages: Sized) -> None:
    """Raises NothingListedError when there is no brand to load."""
    if not messages:
        raise NothingListedError(
            "the source lists no brands: try another month or other vehicle types"
        ) from NoDataError("no brands")


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")
