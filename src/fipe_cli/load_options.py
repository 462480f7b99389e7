"""What `make local` is asked to load, checked before anything is started."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fipe_api.load.request import LoadRequestError, parse_request
from fipe_simulator import CatalogueError, read_catalogue
from local_cloud.lifecycle import LocalCloudError

OFFICIAL_CALLS_PER_MINUTE = "40"


@dataclass(frozen=True)
class LoadOptions:
    """A load that makes sense, as far as can be told without asking the source."""

    source: str
    """simulator or fipe."""
    catalogue: str
    """Path of the file that the simulator serves; empty means its sample."""
    payload: dict[str, Any]
    """What FipeManufacturerLoader is invoked with."""
    calls_per_minute: str

    def context(self, simulator_url: str | None) -> dict[str, str]:
        """The CDK context keys that make the functions call this source at this rate."""
        url = simulator_url if self.source == "simulator" else os.environ.get("FIPE_API_URL")
        return {"calls_per_minute": self.calls_per_minute, **({"fipe_api_url": url} if url else {})}


def read_options(
    *, source: str, catalogue: str, reference: str, types: str, brands: str, rate: str
) -> LoadOptions:
    """The options from texts, empty meaning the default. Raises LocalCloudError with the wrong one."""
    if source not in ("simulator", "fipe"):
        raise LocalCloudError(f"SOURCE={source} makes no sense; it is simulator or fipe")
    if catalogue and source == "fipe":
        raise LocalCloudError("CATALOGUE is what the simulator serves; it goes with SOURCE=simulator")
    return LoadOptions(
        source=source,
        catalogue=_catalogue(catalogue),
        payload=_payload(reference, types, brands),
        calls_per_minute=_rate(rate, source),
    )


def _catalogue(path: str) -> str:
    if not path:
        return ""
    try:
        read_catalogue(Path(path))
    except (CatalogueError, OSError) as error:
        raise LocalCloudError(f"CATALOGUE={path}: {error}") from error
    return str(Path(path).resolve())


def _payload(reference: str, types: str, brands: str) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if reference:
        payload["reference"] = _code_or_text(reference)
    if types:
        payload["vehicle_types"] = _items(types)
    if brands:
        payload["brands"] = _items(brands)
    try:
        parse_request(payload)
    except LoadRequestError as error:
        raise LocalCloudError(str(error)) from error
    return payload


def _rate(rate: str, source: str) -> str:
    if not rate:
        return "max" if source == "simulator" else OFFICIAL_CALLS_PER_MINUTE
    if rate != "max" and not _is_positive(rate):
        raise LocalCloudError(f'RATE={rate} makes no sense; give calls a minute, or "max"')
    return rate


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def _items(text: str) -> list[int | str]:
    return [_code_or_text(item.strip()) for item in text.split(",")]


def _code_or_text(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
