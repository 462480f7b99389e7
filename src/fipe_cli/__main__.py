"""`fipe`, or `python -m fipe_cli`: all its commands, and the options that come before them."""

import os
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Annotated, Any

import typer

from fipe_cli.commands import backfill, database, load, prices, stage
from fipe_cli.commands.options import Where
from fipe_cli.commands.watch import watch
from fipe_cli.errors import USAGE, CliError, one_line_errors
from fipe_cli.make_variables import as_arguments, given_to_make
from fipe_words import _, marked, understood
from local_cloud.command_errors import CommandGroup

EXIT_CODES = marked("""\
Exit codes: 0 done; 1 there is no load, it is incomplete, cancelled or found no model, a dead letter queue
holds a message, a check failed, or a vehicle of a fleet has no price; 2 the command or the load asked for
is invalid, and nothing was done; 3 the cloud, the database or the source cannot be reached, or the output
cannot be written; 130 interrupted.
""")
STAGES = ("dev", "stg", "prd")


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
for group in (stage, load, backfill, database, prices):
    app.add_typer(group.commands)
app.add_typer(watch, name="watch")


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


if __name__ == "__main__":
    app(prog_name="fipe")
