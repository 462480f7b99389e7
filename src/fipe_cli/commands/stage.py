"""The commands about a deployed stage as a whole."""

import json
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer

from fipe_cli.commands.options import Json, Settings, cloud_of
from fipe_cli.commands.printing import console, progress_console, say
from fipe_cli.errors import INCOMPLETE, USAGE, CliError
from fipe_cli.stage_logs import Level
from fipe_words import _, in_english

commands = typer.Typer()


@commands.command()
def deploy(context: typer.Context, settings: Settings = None) -> None:
    """Deploy a stage, or bring it up to date."""
    from fipe_cli import stage_deployment

    cloud = cloud_of(context)
    given = stage_deployment.read_settings(cloud, settings or ())
    for warning in stage_deployment.account_warnings(cloud):
        print(_("warning: {text}", text=warning), file=sys.stderr, flush=True)
    for name, value in sorted(stage_deployment.deploy(cloud, given).items()):
        print(f"{name} = {value}")
    print(_("prove that every part works: {command}", command=cloud.check_command))


@commands.command()
def diff(context: typer.Context, settings: Settings = None) -> None:
    """Show what a deploy would change."""
    from fipe_cli import stage_deployment

    cloud = cloud_of(context)
    stage_deployment.diff(cloud, stage_deployment.read_settings(cloud, settings or ()))


@commands.command(hidden=True)
def synth(context: typer.Context, settings: Settings = None) -> None:
    """Write the stage's templates to cdk.out."""
    from fipe_cli import stage_deployment

    cloud = cloud_of(context)
    stage_deployment.synth(cloud, stage_deployment.read_settings(cloud, settings or ()))


@commands.command(hidden=True)
def bootstrap(context: typer.Context) -> None:
    """Prepare the account and region for the CDK, once."""
    from fipe_cli import stage_deployment

    cloud = cloud_of(context)
    stage_deployment.bootstrap(cloud)


@commands.command()
def destroy(
    context: typer.Context,
    confirmed: Annotated[
        bool, typer.Option("--yes", "--confirm", help="Delete without asking, as scripts need it.")
    ] = False,
) -> None:
    """Delete a stage with its database, after saying what will be lost."""
    from fipe_cli.destroy_stage import delete_stage, look_before_deleting

    cloud = cloud_of(context)
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


@commands.command()
def check(context: typer.Context, as_json: Json = False) -> None:
    """Prove every part of a deployed stage, in minutes; starts no load and leaves nothing behind."""
    from fipe_cli.check.deployment import read_deployment
    from fipe_cli.check.findings import Level, worst
    from fipe_cli.check.stage import check_stage

    cloud = cloud_of(context)
    found = []
    checking = _("checking {cloud}", cloud=cloud.name)
    with progress_console(as_json).status(checking), in_english() if as_json else nullcontext():
        for finding in check_stage(read_deployment(cloud)):
            found.append(finding)
            if not as_json:
                say(console, finding.line())
    level = worst(found)
    if as_json:
        checks = [finding.document() for finding in found]
        print(json.dumps({"stage": cloud.stage, "level": level, "checks": checks}))
    if level is Level.FAILED:
        raise typer.Exit(INCOMPLETE)


@commands.command()
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

    cloud = cloud_of(context)
    begin = datetime.now(UTC) - read_duration(since)
    shown = False
    for line in read_lines(cloud, begin, function=function, follow=follow):
        if line.level.is_at_least(level):
            shown = True
            print(f"{line.at:%Y-%m-%d %H:%M:%S} {line.level:7} {line.function}: {line.text}", flush=True)
    if not shown:
        words = _("nothing of level {level} or above in the last {since}", level=level, since=since)
        print(words, file=sys.stderr)
