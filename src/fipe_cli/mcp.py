"""Serves the prices to an assistant, which starts this process and speaks with it over its pipes."""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
from mcp.server.mcpserver.exceptions import ToolError

from fipe_cli.background import in_background
from fipe_cli.cloud import Cloud
from fipe_cli.database import Database, open_database
from fipe_cli.errors import CliError, aws_errors
from fipe_cli.local_load import interrupted_by_signals
from fipe_mcp.server import PriceServer
from fipe_query.connections import Pool
from fipe_words import _

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECTIONS = 2
"""An assistant asks a question or two at a time, and each of a person's programs has a server of its own."""


def serve_assistant(cloud: Cloud, say: Callable[[str], None]) -> None:
    """Answers until standard input is closed, or the process is interrupted.

    It connects to the database only when it is asked: programs start their servers whenever they start, and
    that is to wake no database.

    Args:
        cloud: the stage.
        say: tells a sentence to the person; standard output is for the assistant.

    Raises:
        CliError: the stage has no database on this machine.
    """
    interrupted_by_signals()
    with (
        open_database(cloud) as database,
        closing(Pool(lambda: _open_reader(database), CONNECTIONS)) as pool,
    ):
        server = PriceServer(pool)
        try:
            say(_("answering an assistant on standard input from {cloud} (Ctrl-C ends it)", cloud=cloud.name))
            # In the background, because Ctrl-C cannot interrupt the reading of standard input.
            in_background(lambda: anyio.run(server.run_stdio_async)).result()
        except KeyboardInterrupt:
            say(_("no longer serving"))


def _open_reader(database: Database) -> "connection":
    """A connection of fipe_reader. Raises ToolError, which says why it may not sign in."""
    try:
        with aws_errors():
            return database.open_reader()
    except CliError as error:
        raise ToolError(" ".join(str(error).split())) from error
