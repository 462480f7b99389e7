"""`python -m fipe_simulator`: the simulator as a command."""

import errno
import signal
from datetime import date, datetime
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from pydantic import ValidationError

from fipe_simulator import (
    SAMPLE_CATALOGUE,
    SAMPLE_MONTH,
    BrandQuirk,
    Ceiling,
    Fault,
    Faults,
    FipeSimulator,
    Quirks,
    quirks_of_brands,
    read_catalogue,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").date()
    except ValueError:
        raise ValueError(f"invalid month {text!r}: use a month like {SAMPLE_MONTH:%Y-%m}") from None


def _faults(wanted: list[str], seed: int, hold_seconds: float) -> Faults:
    """Faults from texts like `["all=0.05", "timeout=0.1"]`; a later rate replaces an earlier one."""
    rates: dict[Fault, float] = {}
    for text in wanted:
        name, _, share = text.partition("=")
        try:
            rates.update(dict.fromkeys(Fault if name == "all" else [Fault(name)], float(share)))
        except ValueError:
            raise ValueError(
                f"invalid fault {text!r}: use NAME=RATE, where NAME is one of all, {', '.join(Fault)}"
            ) from None
    return Faults(rates=rates, seed=seed, hold_seconds=hold_seconds)


def _quirks(wanted: list[str]) -> Quirks:
    unknown = set(wanted) - set(Quirks.model_fields)
    if unknown:
        raise ValueError(f"invalid quirk {unknown.pop()!r}: use one of {', '.join(Quirks.model_fields)}")
    return Quirks.model_validate(dict.fromkeys(wanted, True))


def _ceiling(
    calls: float | None, per_seconds: float, block_seconds: float, retry_after: bool
) -> Ceiling | None:
    if calls is None:
        return None
    return Ceiling(calls=calls, per_seconds=per_seconds, block_seconds=block_seconds, retry_after=retry_after)


@app.command()
def serve(
    catalogue: Annotated[
        Path, typer.Option(help="Catalogue file, .tsv or .tsv.gz.", show_default="the sample")
    ] = SAMPLE_CATALOGUE,
    month: Annotated[
        str, typer.Option(help="The month of the catalogue's prices; the newest month published.")
    ] = (f"{SAMPLE_MONTH:%Y-%m}"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on localhost; 0 means any free one.")] = 0,
    calls: Annotated[
        float | None, typer.Option(min=1, help="Ceiling: this many calls...", show_default="no ceiling")
    ] = None,
    per_seconds: Annotated[float, typer.Option(min=0.001, help="...per this many seconds.")] = 60,
    block_seconds: Annotated[
        float, typer.Option(min=0, help="How long every call is answered 429 once the ceiling is reached.")
    ] = 60,
    retry_after: Annotated[bool, typer.Option(help="Whether a 429 says when to come back.")] = True,
    fault: Annotated[
        list[str] | None,
        typer.Option(help=f"NAME=RATE, repeatable; names: all, {', '.join(Fault)}.", show_default="none"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which calls get a fault.")] = 0,
    hold_seconds: Annotated[float, typer.Option(help="How long a timeout holds the connection.")] = 60,
    published: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the newest month's models that is published so far.")
    ] = 1,
    quirk: Annotated[
        list[str] | None,
        typer.Option(help=f"Repeatable: {', '.join(Quirks.model_fields)}.", show_default="none"),
    ] = None,
    brand_quirk: Annotated[
        list[str] | None,
        typer.Option(
            help="BRAND=QUIRK, repeatable, or all for one quirk per brand; quirks: "
            + ", ".join(BrandQuirk)
            + ".",
            show_default="none",
        ),
    ] = None,
) -> None:
    """Serve the official FIPE API from a catalogue file until interrupted; print the base URL for clients."""
    try:
        prices = read_catalogue(catalogue, _month(month))
        simulator = FipeSimulator(
            prices,
            port=port,
            ceiling=_ceiling(calls, per_seconds, block_seconds, retry_after),
            faults=_faults(fault or [], seed, hold_seconds),
            quirks=_quirks(quirk or []),
            brand_quirks=quirks_of_brands(prices, brand_quirk or []),
            published=published,
        )
    except ValidationError as error:
        raise _failed(_first_problem(error)) from None
    except ValueError as error:
        raise _failed(str(error)) from None
    except OSError as error:
        reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise _failed(f"port {port} {reason}: choose another one, or 0 for any free one") from None
    with simulator:
        print(simulator.url, flush=True)
        _wait_for_the_end()


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return ": ".join([*map(str, problem["loc"]), problem["msg"].removeprefix("Value error, ")])


def _failed(reason: str) -> typer.Exit:
    """Print in one line why nothing was started."""
    typer.echo(f"error: {reason}", err=True)
    return typer.Exit(2)


def _wait_for_the_end() -> None:
    end = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    end.wait()


if __name__ == "__main__":
    app()
