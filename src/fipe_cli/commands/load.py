"""The commands about loads: start one, watch it, complete it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from fipe_api.load.state import LoadState
from fipe_cli.cloud import Cloud
from fipe_cli.commands.options import Brands, Json, Models, Reference, RunId, Types, cloud_of
from fipe_cli.commands.printing import console, print_answer, progress_console, say
from fipe_cli.errors import INCOMPLETE, USAGE, CliError
from fipe_words import _, plural

if TYPE_CHECKING:
    from fipe_cli.ledger import Import, Load
    from fipe_cli.progress import Snapshot

commands = typer.Typer()


@commands.command(hidden=True)
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


@commands.command()
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

    cloud = cloud_of(context)
    payload = payload_of(reference, types, brands, models)
    if codes is not None:
        payload = _of_codes(cloud, payload, codes, dry_run=dry_run, as_json=as_json)
    elif dry_run:
        planned = plan(cloud, payload)
        print_answer(planned.document(), planned.words(), as_json)
        return
    started = start(cloud, payload)
    document = started.model_dump(mode="json")
    words = [
        started.words(),
        *(what_helps(cloud) if started.waiting else ()),
        _("watch it: fipe status {run_id}", run_id=started.run_id),
    ]
    if not follow:
        print_answer(document, words, as_json)
        return
    for text in words:
        say(progress_console(as_json), text)
    brands_known = 0 if started.waiting else started.brands_sent
    loads, seen = follow_load(progress_console(as_json), cloud, started.run_id, brands_known)
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
        print_answer(planned.document(), planned.words(), as_json)
        raise typer.Exit
    for each in others:
        progress_console(as_json).print(start(cloud, each).words(), soft_wrap=True)
    return last


@commands.command()
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

    cloud = cloud_of(context)
    loads, seen = look(cloud, run_id)
    imports = [] if run_id else read_imports(cloud)
    has_load = bool(loads or seen.waiting or seen.dead_messages)
    if imports and not has_load:
        print_answer(_imports(imports), [one.words() for one in imports], as_json)
        return
    _refuse_unknown(run_id, loads, seen)
    follows = follow or (follow is None and console.is_terminal and not as_json)
    if follows:
        loads, seen = follow_load(progress_console(as_json), cloud, run_id)
        _refuse_unknown(run_id, loads, seen)
    if as_json:
        print(json.dumps(_status(loads, seen) | _imports(imports)))
    elif not follows:
        show(console, cloud.name, seen)
    for one in [] if as_json else imports:
        console.print(one.words(), soft_wrap=True)
    _end_as(seen)


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


@commands.command()
def redrive(
    context: typer.Context,
    queue: Annotated[
        str, typer.Argument(help="manufacturer, model, price, announcement, webhook, export, or all.")
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

    cloud = cloud_of(context)
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


@commands.command()
def cancel(context: typer.Context, run_id: RunId = None, as_json: Json = False) -> None:
    """End a load: what waits is dropped, what came stays, and `fipe resume` can load the rest."""
    from fipe_cli.ledger import read_run
    from fipe_cli.loads import cancel as cancel_run
    from infrastructure.names import Queue

    cloud = cloud_of(context)
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
    print_answer({"run_id": str(run), "cancelled": True, "known": bool(loads)}, [words, *rest], as_json)


def _unknown_run(run_id: UUID | None) -> CliError:
    """The error of a run that is not there, or of the newest when there is none."""
    if run_id:
        return CliError(_("unknown run {run_id}: `fipe status` shows the newest one", run_id=run_id), USAGE)
    return CliError(_("no load yet: run `fipe load`"), INCOMPLETE)


@commands.command()
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

    cloud = cloud_of(context)
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
        print_answer(document, texts, as_json)
        return
    for text in texts:
        say(progress_console(as_json), text)
    loads, seen = follow_load(progress_console(as_json), cloud, run)
    if as_json:
        print(json.dumps(document | _status(loads, seen)))
    _end_as(seen)
