"""`fipe`, or `python -m fipe_cli`: the commands, each of which hands its work to a module of its own."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from fipe_cli.cloud import Cloud, find_cloud
from fipe_cli.errors import INCOMPLETE, USAGE, CliError, one_line_errors

if TYPE_CHECKING:
    from fipe_cli.ledger import Load
    from fipe_cli.progress import Snapshot

EXIT_CODES = """
Exit codes: 0 done; 1 there is no load, it is not complete or found no model, or a dead letter queue holds a
message; 2 the command or the load asked for makes no sense, and nothing was done; 3 the cloud, the database
or the source cannot be reached; 130 interrupted.
"""

app = typer.Typer(
    help="FIPE in PostgreSQL: start a load, watch it, mend it, and use what it loaded. On AWS with"
    " --profile or credentials in the environment, otherwise on the local cloud of this folder.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_plain_console = partial(Console, highlight=False, markup=False, emoji=False)
console = _plain_console()

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of words.")]
RunId = Annotated[
    UUID | None, typer.Argument(help="The run, as `fipe load` has said it; the newest one by default.")
]
Reference = Annotated[
    str, typer.Option(help="latest, 2026-06, 2024-01..2024-12, or FIPE's code; the newest month by default.")
]
Types = Annotated[str, typer.Option(help="car,motorcycle,truck; all by default.")]
Brands = Annotated[str, typer.Option(help="Names or codes, with commas between; all by default.")]
Models = Annotated[str, typer.Option(help="Names or codes, with commas between; all by default.")]


@dataclass
class Where:
    """The options that come before the command."""

    stage: str
    profile: str | None


@contextmanager
def _cloud(context: typer.Context) -> Iterator[Cloud]:
    where: Where = context.obj
    with one_line_errors():
        yield find_cloud(where.stage, where.profile)


@app.callback()
def main(
    context: typer.Context,
    stage: Annotated[str, typer.Option(help="dev, stg or prd.", envvar="FIPE_STAGE")] = "dev",
    profile: Annotated[
        str | None, typer.Option(help="AWS profile, as in ~/.aws/config.", envvar="AWS_PROFILE")
    ] = None,
) -> None:
    """Keeps what every command needs to know."""
    with one_line_errors():
        if stage not in ("dev", "stg", "prd"):
            raise CliError(f"--stage {stage} makes no sense; it is dev, stg or prd", exit_code=USAGE)
    context.obj = Where(stage, profile)


@app.command()
def load(
    context: typer.Context,
    reference: Reference = "",
    types: Types = "",
    brands: Brands = "",
    models: Models = "",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what it would cost: calls, and time at the current rate."),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until its end.")] = False,
    as_json: Json = False,
) -> None:
    """Start a load."""
    from fipe_cli.loads import payload_of, plan, start

    with _cloud(context) as cloud:
        payload = payload_of(reference, types, brands, models)
        if dry_run:
            planned = plan(cloud, payload)
            _answer(planned.document(), planned.words(), as_json)
            return
        started = start(cloud, payload)
        document = started.model_dump(mode="json")
        words = [started.words(), f"watch it: fipe status {started.run_id}"]
        if not follow:
            _answer(document, words, as_json)
            return
        for text in words:
            _progress(as_json).print(text, soft_wrap=True)
        loads, seen = _follow(cloud, started.run_id, started.brands_sent, as_json)
        if as_json:
            print(json.dumps(document | _status(loads, seen)))
        _end_as(seen)


@app.command()
def status(
    context: typer.Context,
    run_id: RunId = None,
    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--once", help="Until its end, or one look. On a terminal it follows by default."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how far a load has come, its rate, the time left, and what is missing."""
    from fipe_cli.ledger import look
    from fipe_cli.watch import show

    with _cloud(context) as cloud:
        loads, seen = look(cloud, run_id)
        _refuse_unknown(run_id, loads, seen)
        follows = follow or (follow is None and console.is_terminal and not as_json)
        if follows:
            loads, seen = _follow(cloud, run_id, 0, as_json)
            _refuse_unknown(run_id, loads, seen)
        if as_json:
            print(json.dumps(_status(loads, seen)))
        elif not follows:
            show(console, cloud.name, seen)
        _end_as(seen)


def _follow(cloud: Cloud, run_id: UUID | None, brands: int, as_json: bool) -> "tuple[list[Load], Snapshot]":
    from fipe_cli.ledger import look
    from fipe_cli.watch import watch

    loads: list[Load] = []

    def look_again() -> "Snapshot":
        loads[:], seen = look(cloud, run_id, brands)
        return seen

    look_seconds = 1.0 if cloud.endpoint else 5.0
    title = f"{cloud.name}, run {run_id or 'the newest'}"
    seen = watch(_progress(as_json), title, look_again, look_seconds)
    return loads, seen


def _progress(as_json: bool) -> Console:
    """Where people look, so that nothing but JSON is on standard output when that is asked for."""
    return _plain_console(stderr=True) if as_json else console


def _status(loads: "list[Load]", seen: "Snapshot") -> dict[str, Any]:
    return seen.document() | {"loads": [one.model_dump(mode="json") for one in loads]}


def _refuse_unknown(run_id: UUID | None, loads: "list[Load]", seen: "Snapshot") -> None:
    """Raises CliError when there is nothing to show; a load that has just begun waits in the queues alone."""
    if loads or seen.waiting:
        return
    if run_id:
        raise CliError(f"run {run_id}: the ledger knows no such run", USAGE)
    if not seen.dead_messages:
        raise CliError("no load yet: `fipe load` starts one", INCOMPLETE)


def _end_as(seen: "Snapshot") -> None:
    """Ends with INCOMPLETE when nothing is left to do and something is missing, or a message failed."""
    if seen.complete and not seen.models_found:
        raise CliError("nothing was loaded: none of the models asked for exists", INCOMPLETE)
    if seen.dead_messages or (seen.has_ended and not seen.complete):
        raise typer.Exit(INCOMPLETE)


@app.command()
def redrive(
    context: typer.Context,
    queue: Annotated[str, typer.Argument(help="manufacturer, model, price, or all.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is there, and why.")] = False,
    rate: Annotated[
        int | None, typer.Option(help="Messages a second; SQS decides without it.", min=1, max=500)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what failed and why, and move it back to be worked on again."""
    from fipe_cli.redrive_dlq import KINDS, DeadLetterQueue, move_back, show

    with _cloud(context) as cloud:
        if queue not in (*KINDS, "all"):
            raise CliError(f"{queue} is no queue; give {', '.join(KINDS)} or all", USAGE)
        cloud.client("sqs")  # says so when no local cloud runs
        words = Console(stderr=as_json, soft_wrap=True, highlight=False)
        moved = {}
        for kind in KINDS if queue == "all" else [one for one in KINDS if one == queue]:
            dead = DeadLetterQueue(cloud.session, cloud.stage, kind)
            found = show(dead, words)
            moved[kind] = move_back(dead, rate, words) if found and not dry_run else 0
        if as_json:
            print(json.dumps({"moved": moved}))


@app.command()
def resume(context: typer.Context, run_id: RunId = None, as_json: Json = False) -> None:
    """Load what a run lacks, and nothing else, under the same run."""
    from fipe_cli.ledger import read_loads, resume_payloads
    from fipe_cli.loads import start

    with _cloud(context) as cloud:
        loads = read_loads(cloud, run_id)
        if not loads:
            raise CliError("the ledger knows no such run", USAGE)
        run = loads[0].run_id
        started = [start(cloud, payload) for payload in resume_payloads(cloud, run)]
        brands = sum(one.brands_sent for one in started)
        words = f"run {run}: {brands:,} brands sent again" if started else f"run {run} lacks nothing"
        _answer({"run_id": str(run), "brands_sent": brands}, [words], as_json)


@app.command()
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help="A query, or - to read it from standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, which is the default in a pipe.")] = False,
    timeout: Annotated[
        int, typer.Option(help="Seconds that the database may work on the query; 0 means no limit.", min=0)
    ] = 60,
) -> None:
    """Ask the database one question, as a role that can only read."""
    from fipe_cli.database import open_database
    from fipe_cli.query import Form, answer

    with _cloud(context) as cloud, open_database(cloud) as database, database.session(timeout) as session:
        form: Form = "json" if as_json else "csv" if as_csv or not console.is_terminal else "table"
        answer(session, sys.stdin.read() if sql == "-" else sql, form, console)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def psql(context: typer.Context) -> None:
    """Open psql on the database, as its master user; all arguments are psql's own."""
    from fipe_cli.database import open_database
    from local_cloud.psql import run_psql

    with _cloud(context) as cloud, open_database(cloud) as database:
        if database.psql is None:
            raise CliError("psql is not installed; `fipe query` works without it")
        raise typer.Exit(run_psql(database.psql, context.args, database.master_variables()))


@app.command()
def export(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="Ends in .csv, .jsonl or .parquet; - writes CSV to standard output.")
    ],
    month: Annotated[str, typer.Option(help="2026-06 or latest; all months by default.")] = "",
    brand: Annotated[str, typer.Option(help="Words of the brand's name; all brands by default.")] = "",
    excel_pt: Annotated[
        bool,
        typer.Option("--excel-pt", help="CSV for spreadsheets in Portuguese: semicolons, decimal commas."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write prices to a file: a month, a brand or everything, as CSV, JSON Lines or Parquet."""
    from fipe_cli.database import open_database
    from fipe_cli.export import Selection, export_prices

    with _cloud(context) as cloud, open_database(cloud) as database, database.session() as session:
        rows = export_prices(session, Selection(month, brand), file, excel_pt=excel_pt)
        if file != Path("-"):
            _answer({"file": str(file), "prices": rows}, [f"{rows:,} prices in {file}"], as_json)


@app.command()
def report(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The HTML file to write.")] = Path("fipe-report.html"),
    run_id: Annotated[UUID | None, typer.Option("--run", help="The load; the newest one by default.")] = None,
    vehicle: Annotated[
        str, typer.Option(help="A FIPE code, whose history is shown; by default one with many years.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write one HTML page on a load, its month and a vehicle, in English and Portuguese."""
    from fipe_cli.database import open_database
    from fipe_cli.report.data import calls_throttled, read_report
    from fipe_cli.report.page import render

    with _cloud(context) as cloud, open_database(cloud) as database, database.session() as session:
        found = read_report(session, run_id, vehicle)
        if found["load"]:
            found["load"]["throttled"] = calls_throttled(cloud, found["load"])
        page = render(found, cloud.name)
        try:
            file.write_text(page, encoding="utf-8")
        except OSError as error:
            raise CliError(f"{file} cannot be written: {error.strerror}") from error
        size = len(page.encode())
        _answer({"file": str(file), "bytes": size}, [f"{file}: {size // 1024:,} KiB"], as_json)


def _answer(document: dict[str, Any], words: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(document))
    else:
        for text in words:
            console.print(text, soft_wrap=True)


if __name__ == "__main__":
    app(prog_name="fipe")
