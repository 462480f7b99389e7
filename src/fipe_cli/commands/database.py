"""The commands that open the database, bring rows in and take rows out."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from fipe_cli.commands.options import Columns, Csv, Encoding, Json, Lines, Wide, cloud_of
from fipe_cli.commands.printing import console, form_of, plain_console, print_answer, say
from fipe_cli.errors import INCOMPLETE, USAGE, CliError
from fipe_words import _, counted, in_english
from infrastructure.names import READER_ROLE

commands = typer.Typer()
LONGEST_TIMEOUT_SECONDS = 2_147_483
"""PostgreSQL counts milliseconds in 32 bits."""


@commands.command()
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help="A query, or - to read it from standard input.")],
    as_json: Lines = False,
    as_csv: Csv = False,
    wide: Wide = False,
    timeout: Annotated[
        int,
        typer.Option(
            help="Seconds that the database may work on the query; 0 means no limit.",
            min=0,
            max=LONGEST_TIMEOUT_SECONDS,
        ),
    ] = 60,
) -> None:
    """Ask the database one question, as a role that can only read."""
    from fipe_cli.database import open_database
    from fipe_cli.query import answer, read_statement

    cloud, form = cloud_of(context), form_of(as_json, as_csv)
    statement = read_statement(sql)
    with open_database(cloud) as database, database.session(timeout) as session:
        answer(session, statement, form, console, wide=wide)


@commands.command()
def dsn(
    context: typer.Context,
    user: Annotated[str, typer.Option(help="The role to sign in as.")] = READER_ROLE,
    token: Annotated[
        bool, typer.Option("--token", help="With a password that lasts 15 minutes; for fipe_reader.")
    ] = False,
    password: Annotated[
        bool,
        typer.Option("--password", help="With the password from Secrets Manager; for fipe_dashboard."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print where other programs find the database: DBeaver, Metabase, Power BI, Excel."""
    from fipe_cli.dsn import find_address, how_to_sign_in

    address = find_address(cloud_of(context), user, token=token, password=password)
    if as_json:
        print(json.dumps(asdict(address) | {"url": address.url, "jdbc": address.jdbc}))
        return
    print(address.url)
    say(plain_console(stderr=True), how_to_sign_in(user, token=token, password=password))


@commands.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def psql(context: typer.Context) -> None:
    """Open psql on the database, as its master user; all arguments are psql's own."""
    from fipe_cli.database import open_database
    from local_cloud.psql import run_psql

    cloud = cloud_of(context)
    with open_database(cloud) as database:
        if database.psql is None:
            raise CliError(_("psql is not installed; `fipe query` works without it"))
        raise typer.Exit(run_psql(database.psql, context.args, database.master_variables()))


@commands.command("import")
def import_(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            help="CSV, JSON Lines or Parquet: paths, patterns like '2024/*.csv', or - for standard input."
        ),
    ],
    name: Annotated[
        str,
        typer.Option(
            help="What the prices say they came from: fipex or fipe-export by default, where a file is that."
        ),
    ] = "",
    columns: Columns = "",
    month: Annotated[
        str, typer.Option(help="The month of all rows, such as 2024-01, for files that do not say it.")
    ] = "",
    encoding: Encoding = "utf-8",
    names_of_today: Annotated[
        bool,
        typer.Option("--names-of-today", help="Take merged files, which have today's names in old months."),
    ] = False,
    over_official: Annotated[
        bool,
        typer.Option(
            "--over-official",
            help="Where a load has brought another price, take the file's; fipe.import_replaced keeps the"
            " other.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Add prices from files that others publish. What FIPE itself has said of a month stays as it is."""
    from fipe_cli.database import open_database
    from fipe_cli.imports.run import expand, import_files, read_options

    cloud = cloud_of(context)
    options = read_options(
        name, columns, month, encoding, names_of_today=names_of_today, over_official=over_official
    )
    chosen = expand(files)
    progress = plain_console(stderr=True)
    with open_database(cloud) as database, database.importer_session() as session:
        for imported in import_files(session, chosen, options, progress):
            print_answer(imported.document(), [imported.words()], as_json)


@commands.command()
def export(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="Ends in .csv, .jsonl, .parquet or .xlsx; - writes CSV to standard output. With"
            " --partitioned a folder, or s3://bucket."
        ),
    ],
    month: Annotated[str, typer.Option(help="2026-06 or latest; all months by default.")] = "",
    first: Annotated[str, typer.Option("--from", help="The first month, as 2024-01.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last month, as 2024-12.")] = "",
    types: Annotated[str, typer.Option("--type", help="car,motorcycle,truck; all by default.")] = "",
    brand: Annotated[str, typer.Option(help="Words of the brand's name; all brands by default.")] = "",
    vehicle: Annotated[
        str, typer.Option(help="Words of brand and model, or a FIPE code; all vehicles by default.")
    ] = "",
    excel_pt: Annotated[
        bool,
        typer.Option("--excel-pt", help="CSV for spreadsheets in Portuguese: semicolons, decimal commas."),
    ] = False,
    partitioned: Annotated[
        bool,
        typer.Option(
            "--partitioned",
            help="A Parquet file per month in a folder or bucket, for DuckDB, Athena and Spark; only months"
            " that changed are written again.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write prices to a file: months, types, a brand, a vehicle or everything."""
    from fipe_cli.database import open_database
    from fipe_cli.export import Selection, export_prices
    from fipe_cli.partitions import export_months, find_place

    cloud = cloud_of(context)
    selection = Selection(month, first, last, brand, types, vehicle)
    if partitioned and (excel_pt or file == Path("-")):
        raise CliError(_("invalid options: --partitioned writes Parquet files into a folder; name it"), USAGE)
    with open_database(cloud) as database, database.session() as session:
        if partitioned:
            exported = export_months(session, selection, find_place(cloud, file))
            print_answer(exported.document(), exported.words(), as_json)
            return
        rows = export_prices(session, selection, file, excel_pt=excel_pt)
        if file != Path("-"):
            print_answer(
                {"file": str(file), "prices": rows},
                [_("{prices} in {file}", prices=counted(rows, "price"), file=file)],
                as_json,
            )


@commands.command()
def verify(
    context: typer.Context,
    month: Annotated[str, typer.Argument(metavar="MONTH", help="The reference month, such as 2026-06.")],
    against: Annotated[
        str,
        typer.Option(
            help="A file (CSV, JSON Lines or Parquet), a database as postgresql://user@host/name, or api: the"
            " official API."
        ),
    ],
    sample: Annotated[
        int, typer.Option(help="How many prices to ask the official API for, chosen at random.", min=1)
    ] = 500,
    output: Annotated[
        Path | None, typer.Option(help="Write the differences to this CSV file; - for standard output.")
    ] = None,
    columns: Columns = "",
    of_one_month: Annotated[
        bool, typer.Option("--of-one-month", help="All rows of the file are of MONTH, and do not say it.")
    ] = False,
    encoding: Encoding = "utf-8",
    as_json: Json = False,
) -> None:
    """Hold a month against a file, another database or the official API; exit 1 when something differs."""
    import requests

    from fipe_cli.database import open_database
    from fipe_cli.imports.run import read_options
    from fipe_cli.verify import verify as compare
    from fipe_cli.verify import write_differences

    cloud = cloud_of(context)
    options = read_options("", columns, month, encoding)
    assert options.month is not None
    reading = options if of_one_month else replace(options, month=None)
    confidence = {}
    with (
        in_english() if as_json else nullcontext(),
        open_database(cloud) as database,
        database.session() as session,
    ):
        if against == "api":
            from fipe_cli.verify_sample import official_api, verify_sample

            with requests.Session() as http:
                api = official_api(cloud, http)
                found, words = verify_sample(session, options.month, sample, api, plain_console(stderr=True))
            confidence = {"confidence": words}
        else:
            found = compare(session, options.month, against, reading)
    if output is not None:
        write_differences(output, found.differences)
    if output != Path("-"):
        print_answer(found.document() | confidence, [*found.words(), *confidence.values()], as_json)
    if found.differences or found.unreadable:
        raise typer.Exit(INCOMPLETE)
