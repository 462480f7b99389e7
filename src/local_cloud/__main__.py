"""`python -m local_cloud`: starts, shows and stops the local cloud, and deploys the application into it."""

from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Column, Table

from fipe_words import _
from local_cloud.command_errors import USAGE, CommandGroup
from local_cloud.lifecycle import LocalCloudError, start, status, stop
from local_cloud.sentences import console_of_sentences
from local_cloud.state import ACCESS_KEY, REGION, Endpoint, LocalState

app = typer.Typer(
    cls=CommandGroup,
    help="The application's AWS on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
console = console_of_sentences()

Port = Annotated[
    int,
    typer.Option(
        help="Port on localhost; by default that of the last time, or a free one.", min=0, max=65535
    ),
]
SourceOption = Annotated[
    str, typer.Option(help="simulator (offline) or fipe (the official API, or FIPE_API_URL).")
]
CatalogueOption = Annotated[
    str, typer.Option(help="The file that the simulator publishes; a small sample by default.")
]
RateOption = Annotated[
    str,
    typer.Option(
        help='Calls per minute of all functions together; the default is "max" (no limit) with the simulator,'
        " 40 with fipe."
    ),
]


@app.command()
def up(port: Port = 0) -> None:
    """Start the cloud in the background, and say how to use it."""
    endpoint = start(LocalState.from_environment(), port)
    print(_("The local cloud is ready at {url}", url=endpoint.url))
    print(_("To use it from this shell:"))
    print(f"  export AWS_ENDPOINT_URL={endpoint.url}")
    print(f"  export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={ACCESS_KEY}")
    print(f"  export AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}")


@app.command()
def deploy(
    source: SourceOption = "simulator",
    catalogue: CatalogueOption = "",
    rate: RateOption = "",
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", help="A further setting of stage_settings.py, NAME=VALUE."),
    ] = None,
) -> None:
    """Deploy the application into the running cloud, and print the stack's outputs."""
    from local_cloud.deployment import deploy as cdk_deploy
    from local_cloud.source import read_source

    given = read_source(source, catalogue, rate)
    state = LocalState.from_environment()
    endpoint = _running(state)
    settings = given.context(endpoint) | dict(map(_name_and_value, context or ()))
    outputs = cdk_deploy(state, endpoint, settings)
    for name, value in sorted(outputs.items()):
        print(f"{name} = {value}")


@app.command()
def down(
    databases: Annotated[bool, typer.Option("--all", help="Also stop a database that psql started.")] = False,
) -> None:
    """Stop the cloud with all its functions and databases; the data stays."""
    state = LocalState.from_environment()
    print(_("The local cloud is stopped") if stop(state) else _("No local cloud is running"))
    if databases:
        from local_cloud.postgres import clusters

        for cluster in clusters(state.postgres):
            cluster.stop()


@app.command("status")
def show_status() -> None:
    """Show the queues, the functions and the resource types that do nothing here."""
    seen = status(_running(LocalState.from_environment()))
    console.print(_("Endpoint {endpoint}", endpoint=seen["endpoint"]))
    for database in seen["databases"]:
        console.print(
            _(
                "Database {identifier} at {host}:{port}",
                identifier=database["identifier"],
                host=database["host"],
                port=database["port"],
            )
        )
    if seen["simulator"]:
        console.print(_("FIPE simulator at {url}", url=seen["simulator"]))
    console.print(_queues(seen["queues"]))
    console.print(_functions(seen["functions"]))
    if seen["skipped_resource_types"]:
        console.print(
            _(
                "Resource types that do nothing here: {types}",
                types=", ".join(seen["skipped_resource_types"]),
            )
        )


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def psql(arguments: typer.Context) -> None:
    """Run psql on the database; all arguments are psql's own."""
    from local_cloud.psql import run_psql
    from local_cloud.stage_database import stage_database

    with stage_database(LocalState.from_environment()) as (cluster, connection):
        variables = cluster.socket_environment(connection.user, connection.database)
        exit_code = run_psql(cluster.psql, arguments.args, variables)
    raise typer.Exit(exit_code)


def _running(state: LocalState) -> Endpoint:
    endpoint = state.endpoint()
    if endpoint is None:
        raise LocalCloudError(_("no local cloud is running: run `make local-up`"))
    return endpoint


def _name_and_value(entry: str) -> tuple[str, str]:
    name, separator, value = entry.partition("=")
    if not separator:
        raise LocalCloudError(_("invalid --context {entry}: use NAME=VALUE", entry=entry), exit_code=USAGE)
    return name, value


def _queues(queues: list[dict[str, Any]]) -> Table:
    table = Table(Column(_("queue"), no_wrap=True), _("visible"), _("in flight"), _("delayed"), box=SIMPLE)
    for queue in queues:
        name = queue["name"] + (" (DLQ)" if queue["is_dead_letter_queue"] else "")
        style = "red" if queue["is_dead_letter_queue"] and queue["visible"] else None
        table.add_row(name, *(str(queue[key]) for key in ("visible", "in_flight", "delayed")), style=style)
    return table


def _functions(functions: dict[str, dict[str, int]]) -> Table:
    columns = {
        "invocations": _("invoked"),
        "errors": _("failed"),
        "throttles": _("throttled"),
        "running": _("running"),
        "warm": _("warm"),
        "billed_ms": _("billed ms"),
        "max_memory_mb": "MiB",
    }
    # Without padding it fits into 80 columns, the width of a pipe and of many terminals.
    table = Table(Column(_("function"), no_wrap=True), *columns.values(), box=SIMPLE, padding=0)
    for name, figures in functions.items():
        table.add_row(name, *(str(figures[column]) for column in columns))
    return table


if __name__ == "__main__":
    app(prog_name="python -m local_cloud")
