"""Starting and stopping the server process, from another process."""

import os
import subprocess
import sys
import time
from contextlib import closing
from socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from typing import Any

import psutil  # type: ignore[import-untyped]
import requests

from fipe_words import _
from local_cloud.command_errors import CommandError, reason_of
from local_cloud.state import REPOSITORY, SIMULATOR_PATH, STATUS_PATH, Endpoint, LocalState
from local_cloud.steps import step

READY_SECONDS = 60
STOP_SECONDS = 30


class LocalCloudError(CommandError):
    """The local cloud cannot do what was asked; the text is one line that says why."""


def start(state: LocalState, port: int = 0) -> Endpoint:
    """Start the server in the background and wait until it is ready.

    Without a port it is the one of the last time, so that exports and bookmarks stay true; if that is taken,
    any free one.

    Raises LocalCloudError when one runs already, the port is taken or the server does not come up.
    """
    running = state.endpoint()
    if running is not None or state.is_running():
        raise LocalCloudError(
            _("a local cloud is running already at {url}; `make local-down` stops it", url=running.url)
            if running
            else _("a local cloud is running already; `make local-down` stops it")
        )
    if port:
        _check_port(port)
    elif _is_free(state.last_port):
        port = state.last_port
    state.withdraw()  # otherwise the leftovers of a killed cloud would pass for the new one
    with state.server_log.open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "local_cloud.aws.server", str(port)],
            cwd=REPOSITORY,
            env={**os.environ, "FIPE_LOCAL_DIR": str(state.root)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with step(_("Starting the local cloud")):
            endpoint = _wait_until_ready(server, state)
    except KeyboardInterrupt:
        server.terminate()
        server.wait(STOP_SECONDS)
        raise
    if endpoint is not None:
        return endpoint
    server.kill()
    lines = state.server_log.read_text().strip().splitlines()
    raise LocalCloudError(
        _("the local cloud does not start: {reason}", reason=lines[-1] if lines else _("it printed nothing"))
    )


def stop(state: LocalState) -> bool:
    """Stop the server, with all its functions and databases, and wait for its end; False when none runs.

    Raises LocalCloudError when it does not end.
    """
    endpoint = state.endpoint()
    if endpoint is None:
        return False
    try:
        process = psutil.Process(endpoint.pid)
        process.terminate()
        process.wait(STOP_SECONDS)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired as error:
        raise LocalCloudError(_("the local cloud (process {pid}) does not stop", pid=endpoint.pid)) from error
    return True


def status(endpoint: Endpoint) -> dict[str, Any]:
    """What runs and waits; see LocalCloud.status. Raises LocalCloudError when the cloud is gone."""
    try:
        answer: dict[str, Any] = requests.get(endpoint.url + STATUS_PATH, timeout=30).json()
    except requests.RequestException as error:
        raise LocalCloudError(
            _("the local cloud at {url} does not answer: {error}", url=endpoint.url, error=error)
        ) from error
    return answer


def start_simulator(endpoint: Endpoint, catalogue: str) -> str:
    """Let the cloud serve a catalogue file (empty: the sample); its base URL. Raises LocalCloudError."""
    with step(_("Starting the FIPE simulator")):
        answer = requests.post(endpoint.url + SIMULATOR_PATH, data=catalogue.encode(), timeout=60)
    document = answer.json()
    if answer.status_code != requests.codes.ok:
        raise LocalCloudError(document["error"].removeprefix("error: "))
    return str(document["url"])


def _wait_until_ready(server: "subprocess.Popen[bytes]", state: LocalState) -> Endpoint | None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and server.poll() is None:
        if endpoint := state.endpoint():
            return endpoint
        time.sleep(0.05)
    return None


def _is_free(port: int) -> bool:
    try:
        _check_port(port)
    except LocalCloudError:
        return False
    return True


def _check_port(port: int) -> None:
    with closing(socket(AF_INET, SOCK_STREAM)) as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalCloudError(
                _("port {port} cannot be used: {reason}", port=port, reason=reason_of(error))
            ) from error
