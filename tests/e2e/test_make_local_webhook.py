"""`make local` with a webhook, as the CDK deploys it."""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.e2e.make import place
from tests.http_server import http_server, send_json


@pytest.mark.walkthrough
def test_a_load_is_told_to_an_address_on_this_machine(tmp_path: Path) -> None:
    got: list[bytes] = []

    def reply(request: BaseHTTPRequestHandler, body: bytes) -> None:
        got.append(body)
        send_json(request, {})

    with http_server(reply) as url, place(tmp_path) as here:
        ended = here.make("local", f"WEBHOOK_URL={url}/told")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "The webhook has the announcement." in ended.stdout
    (body,) = got
    told = json.loads(body)
    print(told["text"], json.dumps(told, ensure_ascii=False, indent=1), sep="\n")
    assert (told["kind"], told["stage"], told["reference_month"]) == ("load_complete", "dev", "2026-06")
    assert told["prices"] == len(read_catalogue(SAMPLE_CATALOGUE).rows)
