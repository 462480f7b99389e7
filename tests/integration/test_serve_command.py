"""`fipe serve`: it answers over HTTP until Ctrl-C, and its errors are one line."""

import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest
import requests

from fipe_api.database.writer import write_rows
from local_cloud.postgres import Connection
from tests.builders import JUNE_2026, any_price_row

OUTPUT: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
COMMAND = [sys.executable, "-m", "fipe_cli", "serve", "--port"]

pytestmark = pytest.mark.usefixtures("in_folder")


def test_serves_until_it_is_interrupted(master: Connection) -> None:
    with closing(master.open()) as database:
        write_rows(database, [any_price_row(JUNE_2026.month, JUNE_2026.code, 100)])
    with subprocess.Popen([*COMMAND, "0"], **OUTPUT) as served:
        assert served.stdout is not None
        assert served.stdout.readline() == "serving dev on this machine; the newest month is 2026-06\n"
        said = served.stdout.readline()
        url = said.removeprefix("the page: ").partition(";")[0]
        programs = f"for programs: {url}/v1, and {url}/api/v2 in place of Parallelum's"
        assert said == f"the page: {url}; {programs}; for assistants: {url}/mcp (Ctrl-C ends it)\n"
        with requests.Session() as session:
            session.trust_env = False
            found = session.get(f"{url}/api/v2/cars/brands", timeout=10).json()
            page = session.get(url, timeout=10)
        assert found == [{"code": "59", "name": "VW - VolksWagen"}]
        assert "<title>Preços FIPE</title>" in page.text
        served.send_signal(signal.SIGINT)
        rest, _ = served.communicate(timeout=20)
    assert (rest, served.returncode) == ("no longer serving\n", 0)


def test_an_address_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run([*COMMAND, str(port)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (3, "")
    said = "Address already in use; use another --host or --port"
    assert ended.stderr == f"error: cannot listen on 127.0.0.1, port {port}: {said}\n"
