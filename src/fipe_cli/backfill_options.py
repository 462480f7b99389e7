"""The options of `fipe backfill`. Apart from what it does, so that other commands start soon."""

from typing import Annotated

import typer

Months = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MONTHS]...", help="Months and ranges, like 2001-01..2026-06; without any, show the list."
    ),
]
OldestFirst = Annotated[bool, typer.Option("--oldest-first", help="Begin with the oldest month.")]
Again = Annotated[bool, typer.Option("--again", help="Load months, too, that are complete already.")]
Verify = Annotated[
    str,
    typer.Option(
        metavar="sample=N",
        help="Confirm imported months by N of their prices each; load those where one differs.",
    ),
]
Stop = Annotated[
    bool, typer.Option("--stop", help="Stop it: what waits is dropped, what came stays. --resume goes on.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after --stop, or when nothing moves it on.")]
