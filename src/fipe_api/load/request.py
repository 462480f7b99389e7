"""How a load starts: what was asked for, checked against what the source has, as one message a brand."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct, ValidationError, convert

from fipe_api.messages import (
    BrandMessage,
    Code,
    Named,
    PositiveInt,
    Reference,
    Text,
    VehicleType,
    folded,
)
from fipe_api.source.http_source import NoDataError
from fipe_api.source.price_source import PriceSource

ROUNDS_BEFORE_BELIEVED = 3
"""The source was seen to deny brands, models and prices that it has: so often it has to say so."""

VEHICLE_TYPES: Mapping[str, VehicleType] = {"car": 1, "motorcycle": 2, "truck": 3}

_MONTH = r"[0-9]{4}-(?:0[1-9]|1[0-2])"


class LoadRequestError(ValueError):
    """The load that was asked for makes no sense; nothing was started."""


Wanted = Annotated[tuple[Code | Text, ...], Meta(min_length=1)]


class LoadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The payload that starts a load; everything is optional, and what is left out means all.

    Attributes:
        reference: "latest", a month ("2026-06"), a range with both ends ("2024-01..2024-12"), or FIPE's code.
        vehicle_types: FIPE's codes; a payload may name them instead: "car", "motorcycle", "truck".
        brands: names (in any case) or codes.
        models: names (in any case) or codes.
        until_stable: nothing is started for a reference whose last complete load has changed nothing.
        run_id: what is loaded belongs to this run, which the ledger knows (see fipe.resume_payloads).
    """

    reference: (
        PositiveInt | Annotated[str, Meta(pattern=rf"\A(?:latest|[1-9][0-9]*|{_MONTH}(?:\.\.{_MONTH})?)\Z")]
    ) = "latest"
    vehicle_types: Annotated[frozenset[VehicleType], Meta(min_length=1)] = frozenset({1, 2, 3})
    brands: Wanted | None = None
    models: Wanted | None = None
    until_stable: bool = False
    run_id: UUID | None = None

    def __post_init__(self) -> None:
        first, _, last = str(self.reference).partition("..")
        if last and last < first:
            raise ValueError("the range ends before it begins")
        for want in (*(self.brands or ()), *(self.models or ())):
            if not (want.strip() if isinstance(want, str) else want):
                raise ValueError("neither a name nor a code")

    @property
    def whole_table(self) -> bool:
        """Whether everything is wanted that a reference has."""
        return self.vehicle_types == {1, 2, 3} and self.brands is None and self.models is None


_HINTS = {
    "reference": 'give "latest", a month like "2026-06", a range like "2024-01..2024-12", or FIPE\'s code',
    "vehicle_types": 'give a list of "car", "motorcycle", "truck" or 1, 2, 3, or leave it out for all',
    "brands": "give a list of names or codes, or leave it out for all",
    "models": "give a list of names or codes, or leave it out for all",
    "until_stable": "give true or false",
    "run_id": "give the id of a run in the ledger, or leave it out for a new run",
}


def parse_request(payload: Any) -> LoadRequest:
    """Checks the payload of an invocation.

    Raises:
        LoadRequestError: one line that names the wrong part and what it may be.
    """
    payload = {} if payload is None else payload
    if not isinstance(payload, Mapping):
        raise LoadRequestError("the payload is not a JSON object")
    return convert({field: _checked(field, value) for field, value in payload.items()}, LoadRequest)


def _checked(field: str, value: Any) -> Any:
    """One part of a payload, vehicle types as their codes."""
    if field not in _HINTS:
        raise LoadRequestError(f"unknown key {field!r}; known are {', '.join(_HINTS)}")
    plain = value
    if field == "vehicle_types" and isinstance(value, list):
        plain = [VEHICLE_TYPES.get(each.lower(), each) if isinstance(each, str) else each for each in value]
    try:
        convert({field: plain}, LoadRequest)
    except ValidationError as error:
        raise LoadRequestError(f"{field}: {value!r} makes no sense; {_HINTS[field]}") from error
    return plain


def choose_references(request: LoadRequest, published: Sequence[Reference]) -> list[Reference]:
    """The references that were asked for, the oldest first.

    Args:
        request: what was asked for.
        published: all published references, at least one.

    Raises:
        LoadRequestError: a month or code that is not published.
    """
    if request.reference == "latest":
        return [max(published, key=lambda reference: reference.month)]
    asked = str(request.reference)
    if asked.isdecimal():
        chosen = [reference for reference in published if reference.code == int(asked)]
        if not chosen:
            raise LoadRequestError(f"reference {asked}: no published table has this code")
        return chosen
    first, _, last = asked.partition("..")
    begin, end = _month(first), _month(last or first)
    months = {reference.month for reference in published}
    if begin not in months or end not in months:
        raise LoadRequestError(
            f"reference {asked}: not published; FIPE has {min(months):%Y-%m} to {max(months):%Y-%m}"
        )
    return sorted(
        (reference for reference in published if begin <= reference.month <= end),
        key=lambda reference: reference.month,
    )


def brand_messages(
    run_id: UUID, request: LoadRequest, references: Iterable[Reference], api: PriceSource
) -> list[BrandMessage]:
    """One message a brand of each reference and vehicle type, after one call for each of those.

    Raises:
        LoadRequestError: a wanted brand that no reference has, or nothing to load at all.
    """
    seen: list[Named] = []
    messages: list[BrandMessage] = []
    for reference in references:
        found = [
            (vehicle_type, brand)
            for vehicle_type in sorted(request.vehicle_types)
            for brand in _brands(api, reference, vehicle_type)
        ]
        seen += [brand for _, brand in found]
        kept = [pair for pair in found if request.brands is None or pair[1].is_among(request.brands)]
        messages += [
            BrandMessage(
                run_id=run_id,
                reference=reference,
                vehicle_type=vehicle_type,
                brand=brand,
                brands_in_run=len(kept),
                wanted_models=request.models or (),
            )
            for vehicle_type, brand in kept
        ]
    _refuse_unknown_brands(request.brands or (), seen)
    if not messages:
        raise LoadRequestError("the source lists no brand for what was asked")
    return messages


def _brands(api: PriceSource, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
    for _ in range(ROUNDS_BEFORE_BELIEVED):
        with suppress(NoDataError):
            return api.brands(reference, vehicle_type)
    return []


def _refuse_unknown_brands(wanted: Iterable[int | str], seen: Sequence[Named]) -> None:
    for want in wanted:
        if not any(brand.is_among([want]) for brand in seen):
            names = {folded(brand.name): brand.name for brand in seen}
            close = [names[match] for match in difflib.get_close_matches(folded(str(want)), names)]
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise LoadRequestError(f"brands: the source has no brand {want!r} in what was asked{hint}")


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")
