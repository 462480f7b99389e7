"""The application with api=on in a local cloud: FipeQuery answers those who may ask, as fipe_reader."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from local_cloud.deployment import client
from local_cloud.stage_database import stage_database
from local_cloud.state import LocalState
from tests.builders import JUNE_2026
from tests.databases import write_sample
from tests.documents import API
from tests.e2e.make import ROOT, Place, place

pytestmark = pytest.mark.walkthrough

CATALOGUE = read_catalogue(SAMPLE_CATALOGUE)
ON_AWS = API.read_text(encoding="utf-8").partition("\n## On AWS\n")[2].partition("\n## ")[0]
(POLICY,) = map(json.loads, re.findall(r"^```json\n(.*?)^```", ON_AWS, re.DOTALL | re.MULTILINE))
CURL_OF_A_USER, CURL_OF_A_ROLE = re.findall(r"^```\n(curl .*?)^```", ON_AWS, re.DOTALL | re.MULTILINE)
TESTING = Credentials("testing", "testing")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("local")) as one:
        yield one


def run(here: Place, *command: str) -> str:
    ended = subprocess.run(
        [ROOT / ".venv/bin" / command[0], *command[1:]],
        cwd=ROOT, env=here.environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def url(here: Place) -> str:
    """Where FipeQuery answers; the database has the sample."""
    run(here, "python", "-m", "local_cloud", "up")
    printed = run(here, "fipe", "deploy", "api=on").splitlines()
    outputs = dict(line.split(" = ", 1) for line in printed if " = " in line)
    with stage_database(LocalState(Path(here.folder))) as (_, master), closing(master.open()) as database:
        write_sample(database, JUNE_2026.month)
    return outputs["ApiUrl"].removesuffix("/")


def signed(url: str, keys: Credentials = TESTING) -> requests.Response:
    request = AWSRequest("GET", url)
    SigV4Auth(keys, "lambda", "us-east-1").add_auth(request)
    return requests.get(url, headers=dict(request.headers), timeout=60)


def curl(command: str, url: str, keys: Credentials) -> str:
    """What a curl command of the document prints."""
    ended = subprocess.run(
        ["bash", "-c", command.replace("https://....lambda-url.us-east-1.on.aws", url)],
        env={
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token or "",
        },
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return ended.stdout


def test_a_signed_request_is_answered_and_no_other(url: str) -> None:
    row = CATALOGUE.rows[0]
    path = f"{url}/api/v2/cars/{row.fipe_code}/years/{row.model_year}-{row.fuel_code}"
    answered = signed(path)
    assert (answered.status_code, answered.json()["model"]) == (200, row.model)
    assert answered.headers["ETag"]
    assert signed(f"{url}/v1/months").json()["items"][0]["month"] == "2026-06-01"
    assert signed(f"{url}/v1/nothing").headers["Content-Type"] == "application/problem+json"
    assert requests.get(path, timeout=60).status_code == 403


def test_who_has_the_documents_policy_is_answered_and_who_has_less_is_not(here: Place, url: str) -> None:
    endpoint = LocalState(Path(here.folder)).endpoint()
    assert endpoint is not None
    iam, sts = client(endpoint, "iam"), client(endpoint, "sts")
    (both,) = POLICY["Statement"]
    denial = {**both, "Effect": "Deny", "Action": "lambda:InvokeFunctionUrl"}
    statements: dict[str, list[dict[str, Any]]] = {
        "both": [both],
        "none": [],
        "denied": [both, denial],
        **{action.partition(":")[2]: [{**both, "Action": action}] for action in both["Action"]},
    }
    keys = {}
    for name, has in statements.items():
        iam.create_user(UserName=name)
        if has:
            document = json.dumps({**POLICY, "Statement": has})
            iam.put_user_policy(UserName=name, PolicyName="of-the-api", PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
    keys["wrong secret"] = Credentials(keys["both"].access_key, keys["none"].secret_key)
    months = f"{url}/v1/months"
    assert {name: signed(months, one).status_code for name, one in keys.items()} == {
        "both": 200, "none": 403, "denied": 403, "InvokeFunctionUrl": 403, "InvokeFunction": 403,
        "wrong secret": 403,
    }  # fmt: skip
    assert "2026-06-01" in curl(CURL_OF_A_USER, url, keys["both"])
    assert "Forbidden" in curl(CURL_OF_A_USER, url, keys["none"])

    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "sts:AssumeRole",
    }
    role = iam.create_role(
        RoleName="asker", AssumeRolePolicyDocument=json.dumps({**POLICY, "Statement": trust})
    )["Role"]["Arn"]
    policy = iam.create_policy(PolicyName="asks", PolicyDocument=json.dumps(POLICY))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="asker", PolicyArn=policy)
    given = sts.assume_role(RoleArn=role, RoleSessionName="someone")["Credentials"]
    session = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    assert signed(months, session).status_code == 200
    assert "2026-06-01" in curl(CURL_OF_A_ROLE, url, session)
    iam.detach_role_policy(RoleName="asker", PolicyArn=policy)
    assert signed(months, session).status_code == 403


def test_the_page_is_there_for_signed_requests(url: str) -> None:
    assert "<title>Preços FIPE</title>" in signed(f"{url}/").text
    charts = signed(f"{url}/page/shared/charts.js")
    assert charts.headers["Content-Encoding"] == "gzip"
    assert "Observable" in charts.text


def test_the_check_asks_it(here: Place, url: str) -> None:  # noqa: ARG001  it is deployed
    ended = subprocess.run(
        [ROOT / ".venv/bin/fipe", "check"],
        cwd=ROOT, env=here.environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [line.split(maxsplit=1) for line in ended.stdout.splitlines() if line.strip()]
    parts = ("FipeQuery:", "database, as fipe_reader")
    assert [level for level, text in lines if text.startswith(parts)] == ["ok", "ok"]
