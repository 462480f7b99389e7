"""The commands about watch rules."""

from typing import Annotated

import typer

from fipe_cli.commands.options import Csv, Json, Lines, Wide, cloud_of
from fipe_cli.commands.printing import console, form_of, print_answer

watch = typer.Typer(
    help="Be told of prices when a month is complete: rules, which are in the database.", no_args_is_help=True
)

Code = Annotated[str, typer.Argument(metavar="CODE", help="The FIPE code: 038003-2 or 0380032.")]
Year = Annotated[str, typer.Option(help="The model year, as 2020, or 0km; all by default.")]
Fuel = Annotated[str, typer.Option(help="The fuel, as flex or diesel; all by default.")]
Below = Annotated[str, typer.Option(help="A price below this one, in reais: 10000 or 10.000,00.")]
Above = Annotated[str, typer.Option(help="A price above this one, in reais.")]
Change = Annotated[
    str,
    typer.Option(help="A price that rose or fell by at least so many percent since the month before: 5%."),
]
Note = Annotated[str, typer.Option(help="What to remember: it stands beside what is announced.")]
Rules = Annotated[list[int], typer.Argument(metavar="RULE...", help="Their numbers in `fipe watch list`.")]


@watch.command("add")
def watch_add(
    context: typer.Context,
    code: Code,
    year: Year = "",
    fuel: Fuel = "",
    below: Below = "",
    above: Above = "",
    change: Change = "",
    note: Note = "",
    as_json: Json = False,
) -> None:
    """Add a rule; it holds if one of its limits is reached."""
    from fipe_cli.database import open_database
    from fipe_cli.watch_rules import add_rule, read_limits

    limits = read_limits(below, above, change)
    with open_database(cloud_of(context)) as database, database.watcher_session() as session:
        added = add_rule(session, code, limits, year=year, fuel=fuel, note=note)
    print_answer(added.document(), added.words(), as_json)


@watch.command("remove")
def watch_remove(context: typer.Context, rules: Rules, as_json: Json = False) -> None:
    """Remove rules."""
    from fipe_cli.database import open_database
    from fipe_cli.watch_rules import remove_rules, removed_words

    with open_database(cloud_of(context)) as database, database.watcher_session() as session:
        remove_rules(session, rules)
    print_answer({"removed": sorted(set(rules))}, [removed_words(rules)], as_json)


@watch.command("list")
def watch_list(
    context: typer.Context, as_json: Lines = False, as_csv: Csv = False, wide: Wide = False
) -> None:
    """Show the rules, and what was announced last of each."""
    from fipe_cli.database import open_database
    from fipe_cli.query import answer
    from fipe_cli.watch_rules import RULES

    form = form_of(as_json, as_csv)
    with open_database(cloud_of(context)) as database, database.session() as session:
        answer(session, RULES, form, console, wide=wide)


@watch.command("check")
def watch_check(
    context: typer.Context,
    month: Annotated[str, typer.Option(help="2026-06; the newest month by default.")] = "",
    as_json: Lines = False,
    as_csv: Csv = False,
    wide: Wide = False,
) -> None:
    """Show which rules hold in a month; announces nothing."""
    from fipe_cli.database import open_database
    from fipe_cli.query import answer
    from fipe_cli.watch_rules import holding

    form = form_of(as_json, as_csv)
    with open_database(cloud_of(context)) as database, database.session() as session:
        answer(session, holding(session, month), form, console, wide=wide)
