"""Options that several commands have, and what every command needs to know."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import typer

from fipe_cli.cloud import Cloud, find_cloud
from fipe_cli.errors import USAGE, CliError
from fipe_words import ENGLISH, _, language


def read_run_id(written: str) -> UUID:
    """The run id as a person gave it. Raises CliError if it is none."""
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
        parser=read_run_id,
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


def cloud_of(context: typer.Context) -> Cloud:
    """The cloud that the options before the command mean."""
    where: Where = context.obj
    return find_cloud(where.stage, where.profile)


def chosen_language(context: typer.Context) -> str | None:
    """The language that --lang or the environment chose; None leaves a page to the browser's."""
    where: Where = context.obj
    return language() if where.lang or language() != ENGLISH else None
