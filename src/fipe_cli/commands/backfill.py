"""The command about the list of months."""

from typing import Annotated

import typer

from fipe_cli.commands.options import Brands, Json, Types, cloud_of
from fipe_cli.commands.printing import print_answer, progress_console
from fipe_cli.errors import INCOMPLETE, USAGE, CliError
from fipe_words import _

commands = typer.Typer()

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


@commands.command()
def backfill(
    context: typer.Context,
    months: Months = None,
    types: Types = "",
    brands: Brands = "",
    oldest_first: OldestFirst = False,
    again: Again = False,
    verify: Verify = "",
    stop: Stop = False,
    resume: Resume = False,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Load many months one at a time, unattended; without MONTHS, show how far it is."""
    from fipe_cli import backfill as lists
    from fipe_cli.watch import follow_load

    cloud = cloud_of(context)
    say = progress_console(as_json).print
    if sum((bool(months), stop, resume)) > 1:
        raise CliError(_("invalid options: use MONTHS, --stop or --resume"), USAGE)
    if months:
        payload = lists.payload_for(months, types, brands, verify, oldest_first=oldest_first, again=again)
        say(lists.estimate(cloud, payload).words(), soft_wrap=True)
        started, words = lists.start_list(cloud, payload)
        for text in words:
            say(text, soft_wrap=True)
        if started is None:
            return
    elif stop:
        lists.stop_list(cloud)
    elif resume:
        lists.go_on(cloud)
    found = lists.overview(cloud)
    if follow and not found.found.is_over:
        follow_load(progress_console(as_json), cloud, found.found.run_id)
        found = lists.overview(cloud)
    print_answer(found.document(), list(found.words()), as_json)
    if found.found.ended_at and found.found.incomplete:
        raise typer.Exit(INCOMPLETE)
