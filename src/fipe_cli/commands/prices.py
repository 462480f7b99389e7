"""The commands that use the prices."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from fipe_cli.commands.options import Csv, Json, Lines, Wide, chosen_language, cloud_of, read_run_id
from fipe_cli.commands.printing import console, form_of, print_answer, progress_console, say
from fipe_cli.errors import INCOMPLETE, USAGE, CliError
from fipe_words import _

commands = typer.Typer()

Host = Annotated[
    str, typer.Option(help="The address to listen on; only this machine reaches the default one.")
]
Port = Annotated[int, typer.Option(help="The port to listen on; 0 for any free one.", min=0, max=65_535)]


@commands.command()
def price(
    context: typer.Context,
    search: Annotated[
        str,
        typer.Argument(
            metavar="VEHICLE",
            help="Words of brand and model, or a FIPE code: 'corolla xei', 005340-6, 0053406.",
        ),
    ],
    year: Annotated[
        str, typer.Argument(metavar="YEAR", help="The model year, as 2020, or 0km; all by default.")
    ] = "",
    month: Annotated[str, typer.Option(help="2026-06; the newest month by default.")] = "",
    since: Annotated[str, typer.Option(help="An earlier month, to see what has changed since.")] = "",
    as_json: Lines = False,
    as_csv: Csv = False,
    wide: Wide = False,
) -> None:
    """Show what a vehicle costs; if several match, all of them."""
    from fipe_cli.database import open_database
    from fipe_cli.price import Wanted, read_model_year, refuse_nothing_found
    from fipe_cli.query import answer

    cloud, form = cloud_of(context), form_of(as_json, as_csv)
    wanted = Wanted(search, read_model_year(year), month, since)
    with open_database(cloud) as database, database.session() as session:
        refuse_nothing_found(session, wanted)
        answer(session, wanted.statement(session), form, console, wide=wide)


@commands.command()
def value(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FLEET",
            help="A list of vehicles with FIPE codes, model years and, where a code has several, fuels:"
            " CSV or Parquet; - for standard input.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where to write its rows with what they are worth: a name that ends in .csv, .parquet or"
            " .xlsx; - for standard output.",
        ),
    ] = None,
    month: Annotated[str, typer.Option(help="2026-06; the newest month by default.")] = "",
    since: Annotated[str, typer.Option(help="An earlier month, to see what has changed since.")] = "",
    columns: Annotated[
        str, typer.Option(help="Which columns hold what, as code=COD,year=ANO,fuel=COMB; found by default.")
    ] = "",
    decimal_comma: Annotated[
        bool | None,
        typer.Option(
            "--decimal-comma/--decimal-point",
            help="How numbers are written in text; with commas by default if the file has semicolons.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Value a list of vehicles: the price of each, and totals by type and brand."""
    from fipe_cli.database import open_database
    from fipe_cli.file_columns import read_mapping
    from fipe_cli.fleet import command
    from fipe_cli.fleet.columns import FIELDS
    from fipe_cli.query import as_json as json_of
    from fipe_cli.table import print_table

    cloud, told = cloud_of(context), read_mapping(columns, FIELDS)
    command.check_options(file, output, month, since)
    to_stdout = output == Path("-")
    if to_stdout and as_json:
        raise CliError(_("invalid options: --json and the rows cannot both go to standard output"), USAGE)
    with open_database(cloud) as database, database.session() as session:
        totals = command.value(
            session, file, output, month=month, since=since, told=told, decimal_comma=decimal_comma
        )
    if as_json:
        print(json_of(totals.document() | {"file": output and str(output)}))
    else:
        words = progress_console(to_stdout)
        print_table(words, *totals.table_to_read())
        for text in totals.words():
            words.print(text, soft_wrap=True)
        if output and not to_stdout:
            words.print(_("written to {file}", file=output), soft_wrap=True)
    if totals.everything.without_price:
        raise typer.Exit(INCOMPLETE)


@commands.command()
def report(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The HTML file to write; - for standard output.")] = Path(
        "fipe-report.html"
    ),
    run_id: Annotated[
        UUID | None,
        typer.Option("--run", parser=read_run_id, help="The load; the newest of the month by default."),
    ] = None,
    month: Annotated[
        str, typer.Option(help="The month, as 2026-06, with its newest load; the newest month by default.")
    ] = "",
    vehicle: Annotated[
        str, typer.Option(help="A FIPE code, whose history is shown; by default one with many years.")
    ] = "",
    fleet: Annotated[
        Path | None, typer.Option(help="A list of vehicles, as `fipe value` reads it: what it is worth.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one web page to send on: what moved in a month, a vehicle, the load. Portuguese and English."""
    from fipe_cli.database import open_database
    from fipe_cli.export import opened
    from fipe_cli.report.data import calls_throttled, read_report
    from fipe_cli.report.page import render

    cloud = cloud_of(context)
    if file != Path("-") and file.suffix not in (".html", ".htm"):
        raise CliError(
            _("invalid FILE {file}: the report is a web page; use a name that ends in .html", file=file),
            USAGE,
        )
    with open_database(cloud) as database, database.session() as session:
        found = read_report(session, run_id, month, vehicle, fleet)
        if found["load"]:
            found["load"]["throttled"] = calls_throttled(cloud, found["load"])
        found["language"] = chosen_language(context)
        page = render(found, cloud.stage, cloud.place).encode()
        with opened(file) as target:
            target.write(page)
        if file != Path("-"):
            size = len(page)
            print_answer(
                {"file": str(file), "bytes": size},
                [_("{file}: {size:,} KiB", file=file, size=size // 1024)],
                as_json,
            )


@commands.command()
def serve(context: typer.Context, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve the API: questions about the prices over HTTP, also as Parallelum v2 has them."""
    from fipe_cli.serve import serve as serve_api

    serve_api(cloud_of(context), host, port, partial(say, console))


@commands.command()
def mcp(context: typer.Context) -> None:
    """Answer questions of an assistant about the prices: an MCP server on standard input and output."""
    from fipe_cli.mcp import serve_assistant

    serve_assistant(cloud_of(context), partial(print, file=sys.stderr, flush=True))
