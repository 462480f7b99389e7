"""Which source a local deployment calls, and how fast. Checked before anything starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fipe_simulator import SAMPLE_CATALOGUE, CatalogueError, FipeSimulator, read_catalogue
from fipe_words import _
from local_cloud.command_errors import USAGE
from local_cloud.lifecycle import LocalCloudError, start_simulator
from local_cloud.state import Endpoint

NO_LIMIT = "max"
OFFICIAL_CALLS_PER_MINUTE = "40"


class SourceError(LocalCloudError):
    """SOURCE, CATALOGUE or RATE is invalid; one line says what to use instead."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, exit_code=USAGE)


@dataclass(frozen=True)
class Source:
    """A source that can be used.

    Attributes:
        is_simulator: whether it is the simulator of this machine; otherwise FIPE, or FIPE_API_URL.
        catalogue: the path of the file that the simulator serves; empty for its sample.
        calls_per_minute: a number as text, or "max" for no limit.
    """

    is_simulator: bool
    catalogue: str
    calls_per_minute: str

    def context(self, endpoint: Endpoint) -> dict[str, str]:
        """The CDK context that makes the functions call this source. Starts the simulator if that is the
        source.

        Raises:
            LocalCloudError: the simulator does not start.
        """
        if self.is_simulator:
            url = start_simulator(endpoint, self.catalogue)
        else:
            url = os.environ.get("FIPE_API_URL", "")
        return {"calls_per_minute": self.calls_per_minute, **({"fipe_api_url": url} if url else {})}

    @contextmanager
    def answering(self) -> Iterator[str]:
        """The address to ask before anything is started; empty means the official API's."""
        if not self.is_simulator:
            yield os.environ.get("FIPE_API_URL", "")
            return
        with FipeSimulator(read_catalogue(Path(self.catalogue or SAMPLE_CATALOGUE))) as simulator:
            yield simulator.url


def read_source(source: str = "simulator", catalogue: str = "", rate: str = "") -> Source:
    """The source from texts; an empty catalogue or rate means the default.

    Raises:
        SourceError: one line that names the wrong option and what it may be.
    """
    if source not in ("simulator", "fipe"):
        raise SourceError(_("invalid SOURCE={source}: use simulator or fipe", source=source))
    if catalogue and source == "fipe":
        raise SourceError(_("CATALOGUE is what the simulator serves: leave it out, or use SOURCE=simulator"))
    return Source(
        is_simulator=source == "simulator",
        catalogue=_checked_catalogue(catalogue),
        calls_per_minute=_checked_rate(rate, source),
    )


def _checked_catalogue(path: str) -> str:
    if not path:
        return ""
    try:
        read_catalogue(Path(path))
    except (CatalogueError, OSError) as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise SourceError(_("invalid CATALOGUE={path}: {reason}", path=path, reason=reason)) from error
    return str(Path(path).resolve())


def _checked_rate(rate: str, source: str) -> str:
    if not rate:
        return NO_LIMIT if source == "simulator" else OFFICIAL_CALLS_PER_MINUTE
    if rate != NO_LIMIT and not _is_positive(rate):
        raise SourceError(_('invalid RATE={rate}: use a number of calls per minute, or "max"', rate=rate))
    return rate


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
