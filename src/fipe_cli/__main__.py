"""`fipe`, or `python -m fipe_cli`: the commands. Each reads its options and calls one module."""

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from fipe_api.load.state import LoadState
from fipe_cli import watch_options
from fipe_cli.backfill_options import Again, Months, OldestFirst, Resume, Stop, Verify
from fipe_cli.cloud import Cloud, find_cloud
from fipe_cli.errors import INCOMPLETE, USAGE, CliError, one_line_errors
from fipe_cli.make_variables import as_arguments, given_to_make
from fipe_cli.serve_options import Host, Port
from fipe_cli.stage_logs import Level
from fipe_words import ENGLISH, _, counted, in_english, language, marked, plural, understood
from infrastructure.names import READER_ROLE
from local_cloud.command_errors import CommandGroup

if TYPE_CHECKING:
    from fipe_cli.ledger import Import, Load
    from fipe_cli.progress import Snapshot
    from fipe_cli.query import Form

EXIT_CODES = marked("""\
Exit codes: 0 done; 1 there is no load, it is incomplete, cancelled or found no model, a dead letter queue
holds a message, a check failed, or a vehicle of a fleet has no price; 2 the command or the load asked for
is invalid, and nothing was done; 3 the cloud, the database or the source cannot be reached, or the output
cannot be written; 130 interrupted.
""")
STAGES = ("dev", "stg", "prd")
LONGEST_TIMEOUT_SECONDS = 2_147_483
"""PostgreSQL counts milliseconds in 32 bits."""


class FipeGroup(CommandGroup):
    """The commands; with --from-make, the variables on make's command line are arguments of the command."""

    def one_line_errors(self) -> AbstractContextManager[None]:
        """AWS and the database have errors, too."""
        return one_line_errors()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and ctx.params.get("from_make"):
            given = given_to_make(os.environ.get("MAKEFLAGS", ""))
            rest = [*rest, *as_arguments(command.params, given)]
        return name, command, rest


app = typer.Typer(
    cls=FipeGroup,
    help="FIPE in PostgreSQL: deploy the application, start a load, watch it, complete it, use its prices."
    " Works on AWS when --profile, AWS_PROFILE, keys or AWS_ENDPOINT_URL say so, otherwise on the local cloud"
    " of this folder.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_plain_console = partial(Console, highlight=False, markup=False, emoji=False)
console = _plain_console()
watch = typer.Typer(
    help="Be told of prices when a month is complete: rules, which are in the database.", no_args_is_help=True
)
app.add_typer(watch, name="watch")


def _run_id(written: str) -> UUID:
    try:
        return UUID(written)
    except ValueError as error:
        raise CliError(
            _("invalid run id '{written}': use one that `fipe load` printed", written=written), USAGE
        ) from error


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Lines = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Csv = Annotated[bool, typer.Option("--csv", help="CSV, which is the default in a pipe.")]
RunId = Annotated[
    UUID | None,
    typer.Argument(
        metavar="RUN",
        parser=_run_id,
        help="The run id, as `fipe load` printed it; the newest run by default.",
    ),
]
Reference = Annotated[
    str,
    typer.Option(help="latest, 2026-06, 2024-01..2024-12, or a reference code; the newest month by default."),
]
Types = Annotated[str, typer.Option(help="car,motorcycle,truck; all by default.")]
Brands = Annotated[str, typer.Option(help="Names or codes, separated by commas; all by default.")]
Models = Annotated[str, typer.Option(help="Names or codes, separated by commas; all by default.")]
Columns = Annotated[
    str,
    typer.Option(
        help="Which column holds what, for other files than FIPEX's and exports, such as"
        " code=codigo_fipe,brand=marca,model=modelo,year=ano,fuel=combustivel,price=valor,month=mes.",
    ),
]
Encoding = Annotated[str, typer.Option(help="Of text files, such as latin-1.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="A table with all columns, even if it is wider than the terminal.")
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SETTINGS",
        help="Settings of stage_settings.py as NAME=VALUE. On AWS vpc_id and allowed_ip are needed; on the"
        " local cloud everything has a default.",
    ),
]


@dataclass
class Where:
    """The options that come before the command."""

    stage: str
    profile: str | None
    lang: str


def _cloud(context: typer.Context) -> Cloud:
    where: Where = context.obj
    return find_cloud(where.stage, where.profile)


def _chosen_language(context: typer.Context) -> str | None:
    """The language that --lang or the environment chose; None leaves a page to the browser's."""
    where: Where = context.obj
    return language() if where.lang or language() != ENGLISH else None


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fipe {metadata.version('fipe-data-api')}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    stage: Annotated[str, typer.Option(help="dev, stg or prd.", envvar="FIPE_STAGE")] = "dev",
    profile: Annotated[
        str | None, typer.Option(help="AWS profile, as in ~/.aws/config.", envvar="AWS_PROFILE")
    ] = None,
    lang: Annotated[
        str, typer.Option(help="The language of help and messages, pt or en; by default as LANG says.")
    ] = "",
    from_make: Annotated[  # noqa: ARG001  FipeGroup reads it
        bool, typer.Option("--from-make", hidden=True, help="Take make's variables as options.")
    ] = False,
    version: Annotated[  # noqa: ARG001  its callback reads it
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Keeps what every command needs to know."""
    if lang and not understood(lang):
        raise CliError(_("invalid --lang {language}: use pt or en", language=lang), USAGE)
    if stage not in STAGES:
        raise CliError(_("invalid --stage {stage}: use dev, stg or prd", stage=stage), exit_code=USAGE)
    context.obj = Where(stage, profile, lang)


@app.command()
def deploy(context: typer.Context, settings: Settings = None) -> None:
    """Deploy a stage, or bring it up to date."""
    from fipe_cli import stage_deployment

    cloud = _cloud(context)
    given = stage_deployment.read_settings(cloud, settings or ())
    for warning in stage_deployment.account_warnings(cloud):
        print(_("warning: {text}", text=warning), file=sys.stderr, flush=True)
    for name, value in sorted(stage_deployment.deploy(cloud, given).items()):
        print(f"{name} = {value}")
    print(_("prove that every part works: {command}", command=cloud.check_command))


@app.command()
def diff(context: typer.Context, settings: Settings = None) -> None:
    """Show what a deploy would change."""
    from fipe_cli import stage_deployment

    cloud = _cloud(context)
    stage_deployment.diff(cloud, stage_deployment.read_settings(cloud, settings or ()))


@app.command(hidden=True)
def synth(context: typer.Context, settings: Settings = None) -> None:
    """Write the stage's templates to cdk.out."""
    from fipe_cli import stage_deployment

    cloud = _cloud(context)
    stage_deployment.synth(cloud, stage_deployment.read_settings(cloud, settings or ()))


@app.command(hidden=True)
def bootstrap(context: typer.Context) -> None:
    """Prepare the account and region for the CDK, once."""
    from fipe_cli import stage_deployment

    cloud = _cloud(context)
    stage_deployment.bootstrap(cloud)


@app.command()
def destroy(
    context: typer.Context,
    confirmed: Annotated[
        bool, typer.Option("--yes", "--confirm", help="Delete without asking, as scripts need it.")
    ] = False,
) -> None:
    """Delete a stage with its database, after saying what will be lost."""
    from fipe_cli.destroy_stage import delete_stage, look_before_deleting

    cloud = _cloud(context)
    doomed = look_before_deleting(cloud)
    if not confirmed and not sys.stdin.isatty():
        raise CliError(
            _(
                "not confirmed: to delete {place} with its database, give CONFIRM=1 (make) or --yes (fipe)",
                place=doomed.place,
            ),
            USAGE,
        )
    print(_("This deletes {place}:", place=doomed.place))
    for loss in doomed.losses:
        print(f"- {loss}")
    if not confirmed and not typer.confirm(_("Delete all this?")):
        raise CliError(_("not confirmed: nothing was deleted"), USAGE)
    for event in delete_stage(cloud, doomed):
        line = [event["ResourceStatus"], event["ResourceType"], event["LogicalResourceId"]]
        print(*line, event.get("ResourceStatusReason", ""), flush=True)
    print(_("{place} is gone", place=doomed.place))


@app.command()
def check(context: typer.Context, as_json: Json = False) -> None:
    """Prove every part of a deployed stage, in minutes; starts no load and leaves nothing behind."""
    from fipe_cli.check.deployment import read_deployment
    from fipe_cli.check.findings import Level, worst
    from fipe_cli.check.stage import check_stage

    cloud = _cloud(context)
    found = []
    checking = _("checking {cloud}", cloud=cloud.name)
    with _progress(as_json).status(checking), in_english() if as_json else nullcontext():
        for finding in check_stage(read_deployment(cloud)):
            found.append(finding)
            if not as_json:
                _say(console, finding.line())
    level = worst(found)
    if as_json:
        checks = [finding.document() for finding in found]
        print(json.dumps({"stage": cloud.stage, "level": level, "checks": checks}))
    if level is Level.FAILED:
        raise typer.Exit(INCOMPLETE)


@app.command()
def logs(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="How far back: 30m, 2h, 3d.")] = "1h",
    function: Annotated[str, typer.Option(help="One function, like FipePriceLoader; all by default.")] = "",
    level: Annotated[
        Level, typer.Option(help="The least serious level to show.", case_sensitive=False)
    ] = Level.INFO,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with new lines.")] = False,
) -> None:
    """Show what the functions of a stage have logged."""
    from fipe_cli.stage_logs import read_duration, read_lines

    cloud = _cloud(context)
    begin = datetime.now(UTC) - read_duration(since)
    shown = False
    for line in read_lines(cloud, begin, function=function, follow=follow):
        if line.level.is_at_least(level):
            shown = True
            print(f"{line.at:%Y-%m-%d %H:%M:%S} {line.level:7} {line.function}: {line.text}", flush=True)
    if not shown:
        words = _("nothing of level {level} or above in the last {since}", level=level, since=since)
        print(words, file=sys.stderr)


@app.command(hidden=True)
def local(
    source: Annotated[
        str, typer.Option(help="simulator (offline) or fipe (the official API, or FIPE_API_URL).")
    ] = "simulator",
    catalogue: Annotated[
        str, typer.Option(help="The file that the simulator publishes; a small sample by default.")
    ] = "",
    reference: Reference = "",
    types: Types = "",
    brands: Brands = "",
    rate: Annotated[
        str,
        typer.Option(
            help='Calls per minute of all functions together; "max" (no limit) is the default with the'
            " simulator, 40 with fipe."
        ),
    ] = "",
    webhook_url: Annotated[
        str,
        typer.Option(help="The address that gets the load's announcement, such as http://localhost:8000."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Start the local cloud, deploy, load, and stop it again; exit 0 when everything is in the database."""
    from fipe_cli.loads import payload_of
    from fipe_cli.local_load import finished_load, interrupted_by_signals, summarise
    from local_cloud.sentences import console_of_sentences
    from local_cloud.source import read_source
    from local_cloud.state import LocalState

    interrupted_by_signals()
    chosen, payload = read_source(source, catalogue, rate), payload_of(reference, types, brands, "")
    progress = console_of_sentences(stderr=as_json)
    with finished_load(LocalState.from_environment(), chosen, payload, progress, webhook_url) as outcome:
        if as_json:
            print(json.dumps(outcome.document()), flush=True)
        else:
            summarise(outcome, progress)
    if outcome.state != LoadState.COMPLETE:
        raise typer.Exit(INCOMPLETE)


@app.command()
def load(
    context: typer.Context,
    reference: Reference = "",
    types: Types = "",
    brands: Brands = "",
    models: Models = "",
    codes: Annotated[
        Path | None,
        typer.Option(
            help="Only the FIPE codes of this file: a list as `fipe value` takes it, or one code a line."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what it would take: calls, and time at the current rate."),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Start a load."""
    from fipe_cli.blocked import what_helps
    from fipe_cli.loads import payload_of, plan, start
    from fipe_cli.watch import follow_load

    cloud = _cloud(context)
    payload = payload_of(reference, types, brands, models)
    if codes is not None:
        payload = _of_codes(cloud, payload, codes, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        planned = plan(cloud, payload)
        _answer(planned.document(), planned.words(), as_json)
        return
    started = start(cloud, payload)
    document = started.model_dump(mode="json")
    words = [
        started.words(),
        *(what_helps(cloud) if started.waiting else ()),
        _("watch it: fipe status {run_id}", run_id=started.run_id),
    ]
    if not follow:
        _answer(document, words, as_json)
        return
    for text in words:
        _say(_progress(as_json), text)
    brands_known = 0 if started.waiting else started.brands_sent
    loads, seen = follow_load(_progress(as_json), cloud, started.run_id, brands_known)
    if as_json:
        print(json.dumps(document | _status(loads, seen)))
    _end_as(seen)


def _of_codes(
    cloud: Cloud, payload: dict[str, Any], file: Path, *, dry_run: bool, as_json: bool
) -> dict[str, Any]:
    """The payload of a load of a file's FIPE codes. Of more than a run takes, the others are started here."""
    from fipe_cli.fleet.loading import payloads_of, plan_of_codes, read_codes
    from fipe_cli.loads import start

    found = read_codes(file)
    for text in found.words():
        print(text, file=sys.stderr)
    *others, last = payloads_of(payload, found.codes)
    if dry_run:
        planned = plan_of_codes(cloud, payload, found.codes)
        _answer(planned.document(), planned.words(), as_json)
        raise typer.Exit
    for each in others:
        _progress(as_json).print(start(cloud, each).words(), soft_wrap=True)
    return last


@app.command()
def status(
    context: typer.Context,
    run_id: RunId = None,
    follow: Annotated[
        bool | None,
        typer.Option(
            "--follow/--once", help="Watch until it ends, or look once. Follows by default on a terminal."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how far a load is, its rate, the time left, and what is missing."""
    from fipe_cli.ledger import look, read_imports
    from fipe_cli.watch import follow_load, show

    cloud = _cloud(context)
    loads, seen = look(cloud, run_id)
    imports = [] if run_id else read_imports(cloud)
    has_load = bool(loads or seen.waiting or seen.dead_messages)
    if imports and not has_load:
        _answer(_imports(imports), [one.words() for one in imports], as_json)
        return
    _refuse_unknown(run_id, loads, seen)
    follows = follow or (follow is None and console.is_terminal and not as_json)
    if follows:
        loads, seen = follow_load(_progress(as_json), cloud, run_id)
        _refuse_unknown(run_id, loads, seen)
    if as_json:
        print(json.dumps(_status(loads, seen) | _imports(imports)))
    elif not follows:
        show(console, cloud.name, seen)
    for one in [] if as_json else imports:
        console.print(one.words(), soft_wrap=True)
    _end_as(seen)


def _progress(as_json: bool) -> Console:
    """Where progress goes: with --json, standard output holds nothing else."""
    return _plain_console(stderr=True) if as_json else console


def _status(loads: "list[Load]", seen: "Snapshot") -> dict[str, Any]:
    return seen.document() | {"loads": [one.model_dump(mode="json") for one in loads]}


def _imports(imports: "list[Import]") -> dict[str, Any]:
    return {"imports": [one.model_dump(mode="json") for one in imports]}


def _refuse_unknown(run_id: UUID | None, loads: "list[Load]", seen: "Snapshot") -> None:
    """Raises CliError when there is nothing to show. A load that has just begun is only in the queues."""
    if loads or seen.waiting:
        return
    if run_id or not seen.dead_messages:
        raise _unknown_run(run_id)


def _end_as(seen: "Snapshot") -> None:
    """Ends with INCOMPLETE when the load has ended and something is missing, or there are dead letters."""
    if seen.complete and not seen.models:
        raise CliError(_("nothing was loaded: none of these models exists"), INCOMPLETE)
    if seen.dead_messages or seen.state in (LoadState.INCOMPLETE, LoadState.CANCELLED):
        raise typer.Exit(INCOMPLETE)


@app.command()
def redrive(
    context: typer.Context,
    queue: Annotated[
        str, typer.Argument(help="manufacturer, model, price, announcement, webhook, or all.")
    ] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    rate: Annotated[
        int | None, typer.Option(help="Messages per second; SQS decides by default.", min=1, max=500)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the dead letters and why they failed, and move them back to their queues."""
    from fipe_cli.redrive_dlq import dead_letter_queues, look_at_loads, move_back, show
    from infrastructure.names import Queue
    from local_cloud.sentences import console_of_sentences

    cloud = _cloud(context)
    if queue not in (*Queue, "all"):
        raise CliError(
            _("unknown queue {queue}: use {known} or all", queue=queue, known=", ".join(Queue)), USAGE
        )
    words = console_of_sentences(stderr=as_json)
    moved = {}
    for dead in dead_letter_queues(cloud, queue):
        found = show(dead, words)
        moved[dead.queue.value] = move_back(dead, rate, words) if found and not dry_run else 0
    if not dry_run:
        look_at_loads(cloud)
    if as_json:
        print(json.dumps({"moved": moved}))


@app.command()
def cancel(context: typer.Context, run_id: RunId = None, as_json: Json = False) -> None:
    """End a load: what waits is dropped, what came stays, and `fipe resume` can load the rest."""
    from fipe_cli.ledger import read_run
    from fipe_cli.loads import cancel as cancel_run
    from infrastructure.names import Queue

    cloud = _cloud(context)
    loads = read_run(cloud, run_id).loads
    run = loads[0].run_id if loads else run_id
    # A run that waits to start is only in that queue.
    if run is None or not (loads or cloud.queue_depths()[Queue.MANUFACTURER].messages):
        raise _unknown_run(run_id)
    if loads and all(one.complete for one in loads):
        raise CliError(_("run {run} is complete: there is nothing to cancel", run=run), USAGE)
    cancel_run(cloud, run)
    words = _("run {run} is cancelled: what waits is dropped, what came stays", run=run)
    if not loads:
        words = _("the database does not know run {run} yet; if it waits to start, it is dropped", run=run)
    rest = [_("to load the rest: fipe resume {run}", run=run)] if loads else []
    _answer({"run_id": str(run), "cancelled": True, "known": bool(loads)}, [words, *rest], as_json)


def _unknown_run(run_id: UUID | None) -> CliError:
    """The error of a run that is not there, or of the newest when there is none."""
    if run_id:
        return CliError(_("unknown run {run_id}: `fipe status` shows the newest one", run_id=run_id), USAGE)
    return CliError(_("no load yet: run `fipe load`"), INCOMPLETE)


@app.command()
def resume(
    context: typer.Context,
    run_id: RunId = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Load what a run lacks, and nothing else, under the same run id."""
    from fipe_cli.backfill import go_on
    from fipe_cli.blocked import what_helps
    from fipe_cli.function_words import understood
    from fipe_cli.ledger import read_run, resume_payloads
    from fipe_cli.loads import start
    from fipe_cli.month_list import read_list
    from fipe_cli.watch import follow_load

    cloud = _cloud(context)
    loads = read_run(cloud, run_id).loads
    if not loads:
        raise _unknown_run(run_id)
    run = loads[0].run_id
    found = read_list(cloud)
    if found and found.run_id == run and found.ended_at is None:
        started = [go_on(cloud)]
    else:
        started = [start(cloud, payload) for payload in resume_payloads(cloud, run)]
    brands = sum(one.brands_sent for one in started)
    words = (
        plural(
            "run {run}: {number:,} brand sent again",
            "run {run}: {number:,} brands sent again",
            brands,
            run=run,
        )
        if started
        else _("run {run} lacks nothing", run=run)
    )
    waiting = [one.waiting for one in started if one.waiting]
    document = {"run_id": str(run), "brands_sent": brands, "waiting": waiting}
    texts = [
        words,
        *(_("waits to start: {why}", why=understood(why)) for why in waiting),
        *(what_helps(cloud) if waiting else ()),
    ]
    if not follow:
        _answer(document, texts, as_json)
        return
    for text in texts:
        _say(_progress(as_json), text)
    loads, seen = follow_load(_progress(as_json), cloud, run)
    if as_json:
        print(json.dumps(document | _status(loads, seen)))
    _end_as(seen)


@app.command()
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

    cloud, form = _cloud(context), _form(as_json, as_csv)
    statement = read_statement(sql)
    with open_database(cloud) as database, database.session(timeout) as session:
        answer(session, statement, form, console, wide=wide)


@app.command()
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

    cloud, form = _cloud(context), _form(as_json, as_csv)
    wanted = Wanted(search, read_model_year(year), month, since)
    with open_database(cloud) as database, database.session() as session:
        refuse_nothing_found(session, wanted)
        answer(session, wanted.statement(session), form, console, wide=wide)


@app.command()
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

    address = find_address(_cloud(context), user, token=token, password=password)
    if as_json:
        print(json.dumps(asdict(address) | {"url": address.url, "jdbc": address.jdbc}))
        return
    print(address.url)
    _say(_plain_console(stderr=True), how_to_sign_in(user, token=token, password=password))


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def psql(context: typer.Context) -> None:
    """Open psql on the database, as its master user; all arguments are psql's own."""
    from fipe_cli.database import open_database
    from local_cloud.psql import run_psql

    cloud = _cloud(context)
    with open_database(cloud) as database:
        if database.psql is None:
            raise CliError(_("psql is not installed; `fipe query` works without it"))
        raise typer.Exit(run_psql(database.psql, context.args, database.master_variables()))


@app.command("import")
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

    cloud = _cloud(context)
    options = read_options(
        name, columns, month, encoding, names_of_today=names_of_today, over_official=over_official
    )
    chosen = expand(files)
    progress = _plain_console(stderr=True)
    with open_database(cloud) as database, database.importer_session() as session:
        for imported in import_files(session, chosen, options, progress):
            _answer(imported.document(), [imported.words()], as_json)


@app.command()
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

    cloud = _cloud(context)
    selection = Selection(month, first, last, brand, types, vehicle)
    if partitioned and (excel_pt or file == Path("-")):
        raise CliError(_("invalid options: --partitioned writes Parquet files into a folder; name it"), USAGE)
    with open_database(cloud) as database, database.session() as session:
        if partitioned:
            exported = export_months(session, selection, find_place(cloud, file))
            _answer(exported.document(), exported.words(), as_json)
            return
        rows = export_prices(session, selection, file, excel_pt=excel_pt)
        if file != Path("-"):
            _answer(
                {"file": str(file), "prices": rows},
                [_("{prices} in {file}", prices=counted(rows, "price"), file=file)],
                as_json,
            )


@app.command()
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

    cloud = _cloud(context)
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
                found, words = verify_sample(session, options.month, sample, api, _plain_console(stderr=True))
            confidence = {"confidence": words}
        else:
            found = compare(session, options.month, against, reading)
    if output is not None:
        write_differences(output, found.differences)
    if output != Path("-"):
        _answer(found.document() | confidence, [*found.words(), *confidence.values()], as_json)
    if found.differences or found.unreadable:
        raise typer.Exit(INCOMPLETE)


@app.command()
def serve(context: typer.Context, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve the API: questions about the prices over HTTP, also as Parallelum v2 has them."""
    from fipe_cli.serve import serve as serve_api

    serve_api(_cloud(context), host, port, partial(_say, console))


@app.command()
def report(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The HTML file to write; - for standard output.")] = Path(
        "fipe-report.html"
    ),
    run_id: Annotated[
        UUID | None,
        typer.Option("--run", parser=_run_id, help="The load; the newest of the month by default."),
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

    cloud = _cloud(context)
    if file != Path("-") and file.suffix not in (".html", ".htm"):
        raise CliError(
            _("invalid FILE {file}: the report is a web page; use a name that ends in .html", file=file),
            USAGE,
        )
    with open_database(cloud) as database, database.session() as session:
        found = read_report(session, run_id, month, vehicle, fleet)
        if found["load"]:
            found["load"]["throttled"] = calls_throttled(cloud, found["load"])
        found["language"] = _chosen_language(context)
        page = render(found, cloud.stage, cloud.place).encode()
        with opened(file) as target:
            target.write(page)
        if file != Path("-"):
            size = len(page)
            _answer(
                {"file": str(file), "bytes": size},
                [_("{file}: {size:,} KiB", file=file, size=size // 1024)],
                as_json,
            )


@app.command()
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

    cloud, told = _cloud(context), read_mapping(columns, FIELDS)
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
        words = _progress(to_stdout)
        print_table(words, *totals.table_to_read())
        for text in totals.words():
            words.print(text, soft_wrap=True)
        if output and not to_stdout:
            words.print(_("written to {file}", file=output), soft_wrap=True)
    if totals.everything.without_price:
        raise typer.Exit(INCOMPLETE)


@app.command()
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

    cloud = _cloud(context)
    say = _progress(as_json).print
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
        follow_load(_progress(as_json), cloud, found.found.run_id)
        found = lists.overview(cloud)
    _answer(found.document(), list(found.words()), as_json)
    if found.found.ended_at and found.found.incomplete:
        raise typer.Exit(INCOMPLETE)


@watch.command("add")
def watch_add(
    context: typer.Context,
    code: watch_options.Code,
    year: watch_options.Year = "",
    fuel: watch_options.Fuel = "",
    below: watch_options.Below = "",
    above: watch_options.Above = "",
    change: watch_options.Change = "",
    note: watch_options.Note = "",
    as_json: Json = False,
) -> None:
    """Add a rule; it holds if one of its limits is reached."""
    from fipe_cli.database import open_database
    from fipe_cli.watch_rules import add_rule, read_limits

    limits = read_limits(below, above, change)
    with open_database(_cloud(context)) as database, database.watcher_session() as session:
        added = add_rule(session, code, limits, year=year, fuel=fuel, note=note)
    _answer(added.document(), added.words(), as_json)


@watch.command("remove")
def watch_remove(context: typer.Context, rules: watch_options.Rules, as_json: Json = False) -> None:
    """Remove rules."""
    from fipe_cli.database import open_database
    from fipe_cli.watch_rules import remove_rules, removed_words

    with open_database(_cloud(context)) as database, database.watcher_session() as session:
        remove_rules(session, rules)
    _answer({"removed": sorted(set(rules))}, [removed_words(rules)], as_json)


@watch.command("list")
def watch_list(
    context: typer.Context, as_json: Lines = False, as_csv: Csv = False, wide: Wide = False
) -> None:
    """Show the rules, and what was announced last of each."""
    from fipe_cli.database import open_database
    from fipe_cli.query import answer
    from fipe_cli.watch_rules import RULES

    form = _form(as_json, as_csv)
    with open_database(_cloud(context)) as database, database.session() as session:
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

    form = _form(as_json, as_csv)
    with open_database(_cloud(context)) as database, database.session() as session:
        answer(session, holding(session, month), form, console, wide=wide)


def _form(as_json: bool, as_csv: bool) -> "Form":
    """How to print rows. Raises CliError when both are asked for."""
    if as_json and as_csv:
        raise CliError(_("invalid options: use --json or --csv, not both"), USAGE)
    return "json" if as_json else "csv" if as_csv or not console.is_terminal else "table"


def _say(console: Console, sentence: str) -> None:
    """Prints whole words on a terminal, and whole lines anywhere else."""
    console.print(sentence, soft_wrap=not console.is_terminal)


def _answer(document: dict[str, Any], words: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(document))
    else:
        for text in words:
            _say(console, text)


if __name__ == "__main__":
    app(prog_name="fipe")
