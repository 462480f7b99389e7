"""Serves the API over the stage's database, until Ctrl-C."""

import socket
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_address

from fipe_cli.cloud import Cloud
from fipe_cli.database import open_database
from fipe_cli.errors import CliError
from fipe_cli.local_load import interrupted_by_signals
from fipe_mcp.http import PATH as MCP
from fipe_mcp.http import add_tools
from fipe_query.application import PARALLELUM, create_application
from fipe_query.connections import Pool
from fipe_query.months import newest_month
from fipe_query.server import CONNECTIONS, create_server
from fipe_words import _
from local_cloud.command_errors import reason_of


def serve(cloud: Cloud, host: str, port: int, say: Callable[[str], None]) -> None:
    """Answers requests until the process is interrupted.

    Args:
        cloud: the stage.
        host: the address to listen on.
        port: the port; 0 for any free one.
        say: tells a sentence to the person.

    Raises:
        CliError: the address is in use, or fipe_reader may not sign in.
        psycopg2.Error: the database cannot be reached, or has no schema.
    """
    interrupted_by_signals()
    with (
        _listening(host, port) as listener,
        open_database(cloud) as database,
        closing(Pool(database.open_reader)) as pool,
    ):
        newest = newest_month(pool)
        if newest is None:
            say(_("the database has no prices yet: start a load with `fipe load`"))
        else:
            say(_("serving {cloud}; the newest month is {month:%Y-%m}", cloud=cloud.name, month=newest.month))
        if not _is_loopback(host):
            say(_("whoever reaches {host} can read the prices: there is no key and no TLS", host=host))
        url = _url(listener)
        say(
            _(
                "the page: {url}; for programs: {url}/v1, and {parallelum} in place of Parallelum's;"
                " for assistants: {mcp} (Ctrl-C ends it)",
                url=url,
                parallelum=url + PARALLELUM,
                mcp=url + MCP,
            )
        )
        application = create_application(pool)
        add_tools(application, pool, host)
        try:
            create_server(application).run(sockets=[listener])
        except KeyboardInterrupt:
            say(_("no longer serving"))


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything is started for it."""
    try:
        (family, *_others, address), *_more = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Or each answer would wait 40 ms for the client to confirm its head. Connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(CONNECTIONS)
    except OSError as error:
        raise CliError(
            _(
                "cannot listen on {host}, port {port}: {reason}; use another --host or --port",
                host=host,
                port=port,
                reason=reason_of(error),
            )
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
