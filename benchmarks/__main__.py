"""`python -m benchmarks [NAME ...]`: runs benchmarks, prints their figures and writes docs/benchmarks.md.

A benchmark is a module of this package with a function `run() -> Sequence[Row]`; the first line of its
docstring is its title. Exit status 1: a target was missed.
"""

from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.document import machine, write_section
from benchmarks.month import month_description
from benchmarks.rows import COLUMNS, Row

BENCHMARKS = (
    "calls_per_price",
    "goodput",
    "goodput_over_http",
    "ingestion",
    "end_to_end",
    "time_left",
    "cold_start",
    "smallest_functions",
    "scale",
    "imports",
    "api",
    "aws_bill",
)
"""All benchmarks, in the order of the targets."""

console = Console(soft_wrap=True, highlight=False)


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Some of {', '.join(BENCHMARKS)}; all by default.")
    ] = None,
) -> None:
    """Run the named benchmarks, or all of them."""
    unknown = set(names or ()) - set(BENCHMARKS)
    if unknown:
        raise typer.BadParameter(
            f"unknown benchmark {', '.join(sorted(unknown))}: use any of {', '.join(BENCHMARKS)}"
        )
    console.print(f"{machine()}; {month_description()}")
    missed = [name for name in names or BENCHMARKS if not _run(name)]
    if missed:
        console.print(f"Targets missed in: {', '.join(missed)}", style="red")
        raise typer.Exit(1)


def _run(name: str) -> bool:
    """Runs one benchmark; returns whether all its targets are met."""
    module = import_module(f"benchmarks.{name}")
    title = (module.__doc__ or "").splitlines()[0].rstrip(".")
    rows: list[Row] = list(module.run())
    table = Table(*COLUMNS, title=f"{name}: {title}")
    for row in rows:
        table.add_row(*row.cells(), style="red" if row.is_met is False else None)
    console.print(table)
    write_section(name, title, rows, BENCHMARKS)
    return all(row.is_met is not False for row in rows)


if __name__ == "__main__":
    typer.run(main)
