"""`fipe mcp`: what an assistant gets from its tools, asked by the protocol's own client over real pipes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, Tool
from psycopg2 import OperationalError
from psycopg2.errors import QueryCanceled
from psycopg2.extensions import connection

from fipe_api.database.writer import write_rows
from fipe_mcp import tools
from fipe_mcp.server import PriceServer
from fipe_query.connections import BusyError, Pool
from local_cloud.postgres import PostgresCluster
from tests.builders import any_price_row
from tests.local_database import emptied

COMMAND = ["-m", "fipe_cli", "mcp"]
STARTED = "answering an assistant on standard input from dev on this machine (Ctrl-C ends it)\n"

CODES = {date(2026, 5, 1): 333, date(2026, 6, 1): 334}
MAY, JUNE = CODES
PETROL, FLEX = (1, "Gasolina"), (5, "Flex")
GOL = {"fipe_code": "005340-6", "model": "Gol 1.0", "model_code": 7}
PRICES = [
    (MAY, 48_000, GOL | {"fuel": FLEX}), (JUNE, 45_000, GOL | {"fuel": FLEX}),
    (JUNE, 44_000, GOL | {"fuel": PETROL}), (JUNE, 90_000, GOL | {"fuel": FLEX, "model_year": 32000}),
    (MAY, 10_000, {"fipe_code": "001004-9", "model": "Uno", "brand": "Fiat", "brand_code": 21}),
]  # fmt: skip
UNKNOWN = "no vehicle has ever had the FIPE code 999999-9: `search` finds codes"


class Assistant:
    """A program that started `fipe mcp`, or a person who asks through it."""

    def __init__(self, portal: Any, client: Client) -> None:
        self._portal, self.client = portal, client

    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self._portal.call(self.client.list_tools).tools}

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        result: CallToolResult = self._portal.call(self.client.call_tool, tool, arguments)
        return result

    def ask(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers: as data and, word for word the same, as text. The client checks the schema."""
        result = self.call(tool, **arguments)
        (content,) = result.content
        assert not result.is_error, content
        assert content.type == "text"
        assert json.loads(content.text) == result.structured_content
        return result.structured_content

    def error(self, tool: str, **arguments: Any) -> str:
        result = self.call(tool, **arguments)
        (content,) = result.content
        assert result.is_error, content
        assert content.type == "text"
        return content.text


@pytest.fixture(scope="module")
def prices(cluster: PostgresCluster) -> None:
    with closing(emptied(cluster).open()) as database:
        rows = [any_price_row(month, CODES[month], price, **more) for month, price, more in PRICES]
        write_rows(database, rows)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IO[str]]:
    """What the server says on standard error."""
    with (tmp_path_factory.mktemp("mcp") / "log").open("w+") as file:
        yield file


@contextmanager
def served(folder: Path, log: IO[str]) -> Iterator[str]:
    """The address of the tools in `fipe serve`."""
    command = [sys.executable, "-m", "fipe_cli", "serve", "--port", "0"]
    environment = {**os.environ, "FIPE_LOCAL_DIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout
        try:
            process.stdout.readline()
            yield process.stdout.readline().partition("for assistants: ")[2].partition(" ")[0]
        finally:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module", params=["auto", "legacy", "http"])
def assistant(
    request: pytest.FixtureRequest,
    folder: Path,
    prices: None,  # noqa: ARG001
    log: IO[str],
) -> Iterator[Assistant]:
    """Clients of today, and of the years before, which shake hands first; and one that asks `fipe serve`."""
    with start_blocking_portal() as portal, ExitStack() as services:
        server = StdioServerParameters(
            command=sys.executable, args=COMMAND, env={"FIPE_LOCAL_DIR": str(folder), "LANGUAGE": "en"}
        )
        if request.param == "http":
            client = Client(services.enter_context(served(folder, log)))
        else:
            client = Client(stdio_client(server, log), mode=request.param)
        with portal.wrap_async_context_manager(client) as connected:
            yield Assistant(portal, connected)


def values(items: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(item[name] for name in names) for item in items]


def test_tools_say_what_they_take_and_answer_and_that_they_only_read(assistant: Assistant) -> None:
    tools = assistant.tools()
    assert list(tools) == ["search", "price", "history", "valuation", "months"]
    for tool in tools.values():
        assert tool.annotations
        assert tool.annotations.read_only_hint
        assert tool.description
        for schema in (tool.input_schema, tool.output_schema):
            Draft202012Validator.check_schema(schema)
        assert [name for name, one in tool.input_schema["properties"].items() if not one["description"]] == []
    assert tools["price"].input_schema["required"] == ["fipe_code"]


def test_the_server_says_where_to_begin(assistant: Assistant) -> None:
    assert "Begin with `search`" in (assistant.client.instructions or "")


def test_search_finds_codes(assistant: Assistant) -> None:
    names = ("vehicle_type", "model", "fipe_codes", "price_brl", "last_month")
    found = assistant.ask("search", query="volks go")
    assert values(found["items"], *names) == [("car", "Gol 1.0", ["005340-6"], 90_000, "2026-06-01")]
    assert found["next_offset"] is None
    assert assistant.ask("search", query="gol", vehicle_type="truck")["items"] == []


def test_price_of_each_model_year_and_fuel(assistant: Assistant) -> None:
    names = ("model_year", "zero_km", "fuel", "price_brl")
    found = assistant.ask("price", fipe_code="005340-6")
    assert found["month"] == "2026-06-01"
    assert values(found["vehicles"], *names) == [
        (32000, True, "Flex", 90_000), (2020, False, "Gasolina", 44_000), (2020, False, "Flex", 45_000),
    ]  # fmt: skip
    of_may = assistant.ask("price", fipe_code="0053406", model_year=2020, month="2026-05")
    assert values(of_may["vehicles"], *names) == [(2020, False, "Flex", 48_000)]


def test_history_of_a_model_year(assistant: Assistant) -> None:
    asked = {"fipe_code": "005340-6", "model_year": 2020}
    assert values(assistant.ask("history", **asked)["vehicles"], "fuel", "prices") == [
        ("Gasolina", {"2026-06-01": 44_000}), ("Flex", {"2026-05-01": 48_000, "2026-06-01": 45_000}),
    ]  # fmt: skip
    since_june = assistant.ask("history", since="2026-06", **asked)["vehicles"]
    assert values(since_june, "prices") == [({"2026-06-01": 44_000},), ({"2026-06-01": 45_000},)]


def test_valuation_of_a_list(assistant: Assistant) -> None:
    vehicles = [
        {"code": "5340-6", "year": 2020, "fuel": "flex"},
        {"code": "005340-6", "year": "0km"},
        {"code": "005340-6", "year": "2020"},
    ]
    worth = assistant.ask("valuation", vehicles=vehicles, since="2026-05")
    assert (worth["value_brl"], worth["without_price"]) == (135_000, 1)
    names = ("note", "choices", "price_brl", "price_before")
    assert values(worth["vehicles"], *names) == [
        (None, None, 45_000, 48_000), (None, None, 90_000, None),
        ("several_fuels", "Gasolina, Flex", None, None),
    ]  # fmt: skip


def test_months_that_are_there(assistant: Assistant) -> None:
    assert values(assistant.ask("months")["items"], "month", "complete") == [
        ("2026-06-01", True), ("2026-05-01", True),
    ]  # fmt: skip
    assert assistant.ask("months", limit=1)["next_offset"] == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("price", {"fipe_code": "999999-9"}, UNKNOWN),
        ("history", {"fipe_code": "9999999"}, UNKNOWN.replace("999999-9", "9999999")),
        (
            "price",
            {"fipe_code": "001004-9"},
            "001004-9 has no prices in 2026-06: `history` shows the months that have some",
        ),
        (
            "price",
            {"fipe_code": "005340-6", "model_year": 1999},
            "005340-6 has no model year 1999 in 2026-06: it has 32000 (zero km), 2020",
        ),
        (
            "price",
            {"fipe_code": "005340-6", "month": "1999-01"},
            "there are no prices of 1999-01: `months` lists the months that have some",
        ),
        (
            "valuation",
            {"vehicles": [{"code": "1", "year": "1"}], "since": "1999-01"},
            "there are no prices of 1999-01: `months` lists the months that have some",
        ),
        (
            "history",
            {"fipe_code": "005340-6", "model_year": 1999, "since": "2026-06"},
            "005340-6 has no prices of model year 1999 since 2026-06: ask for all, or see `price`",
        ),
        (
            "price",
            {"fipe_code": "005340-6", "month": "junho"},
            "invalid month: A month like 2026-06, or latest: the newest complete one. `months` lists them.",
        ),
        ("search", {"query": "gol", "limit": 1001}, "invalid limit: At most so many items: 1 to 1,000."),
        (
            "valuation",
            {"vehicles": [{"code": "005340-6"}]},
            "invalid vehicles.0.year: Field required",
        ),
        (
            "price",
            {"code": "005340-6"},
            "unknown argument code: price takes fipe_code, model_year, month",
        ),
        ("drop table", {}, "Unknown tool: drop table"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    assistant: Assistant, tool: str, arguments: dict[str, Any], expected: str
) -> None:
    assert assistant.error(tool, **arguments) == expected


NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "'; drop schema fipe cascade; --", "%s", "%(month)s", "\x00", "x" * 100_000, "latest", "2026-13",
            "0000-00", "005340-6", "' or 1=1", "{}", "[]", "\\", "🚗", -1, 10**30, 32000, 2020, "[" * 10_000,
        ]
    ),
    st.lists(st.dictionaries(st.sampled_from(["code", "year", "fuel"]), st.text(max_size=60)), max_size=3),
)  # fmt: skip
CALLS = st.sampled_from(
    [
        ("search", ("query", "vehicle_type", "limit", "offset")),
        ("price", ("fipe_code", "model_year", "month")),
        ("history", ("fipe_code", "model_year", "since")),
        ("valuation", ("vehicles", "month", "since")),
        ("months", ("limit", "offset")),
    ]
).flatmap(
    lambda tool: st.tuples(st.just(tool[0]), st.dictionaries(st.sampled_from(tool[1]), NASTY, min_size=1))
)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), suppress_health_check=list(HealthCheck))
@given(call=CALLS)
def test_no_input_breaks_it_or_shows_its_inside(assistant: Assistant, log: IO[str], call: Any) -> None:
    tool, arguments = call
    result = assistant.call(tool, **arguments)
    if result.is_error:
        (content,) = result.content
        assert content.type == "text"
        assert len(content.text.splitlines()) == 1
        assert len(content.text) < 1500
        for inside in ("Traceback", "select ", "psycopg", "pydantic", "an error of the server"):
            assert inside not in content.text
    assert "Traceback" not in Path(log.name).read_text()


def test_it_asks_as_the_reader_and_has_written_nothing(
    assistant: Assistant, cluster: PostgresCluster
) -> None:
    assistant.ask("months")
    known = cluster.connection()
    assert known
    with closing(known.open()) as database, database.cursor() as cursor:
        cursor.execute("select count(*) from fipe.price")
        assert cursor.fetchall() == [(len(PRICES),)]
        cursor.execute(
            "select distinct usename from pg_stat_activity"
            " where backend_type = 'client backend' and usename not in (current_user, 'rdsadmin')"
        )
        assert cursor.fetchall() == [("fipe_reader",)]


def test_it_says_when_the_database_is_gone_and_goes_on_when_it_is_back(
    assistant: Assistant, cluster: PostgresCluster
) -> None:
    cluster.stop()
    try:
        assert assistant.error("months") == "the database does not answer: try again later"
    finally:
        cluster.start()
    assert len(assistant.ask("months")["items"]) == 2


def test_a_history_that_is_too_long_for_an_assistant_says_how_to_ask_for_less(
    prices: None,  # noqa: ARG001
    cluster: PostgresCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tools, "LARGEST_HISTORY", 3)
    known = cluster.connection()
    assert known
    with closing(Pool(known.open)) as pool, pytest.raises(ToolError) as refused:
        tools.Tools(pool).history("005340-6")
    assert str(refused.value) == (
        "005340-6 has 4 prices there, and an answer has at most 3: name a model_year, or a later since"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("no route, password=hidden"), "the database does not answer: try again later"),
        (QueryCanceled("hidden"), "the database took more than 10 seconds for this question: ask for less"),
        (BusyError("hidden"), "too many questions at once: try again later"),
        (RuntimeError("hidden"), "an error of the server: its log says more"),
    ],
)
def test_what_goes_wrong_inside_is_one_line(error: Exception, expected: str) -> None:
    def connect() -> connection:
        raise error

    with start_blocking_portal() as portal:
        client = Client(PriceServer(Pool(connect)))
        with portal.wrap_async_context_manager(client) as connected:
            assert Assistant(portal, connected).error("months") == expected


def test_over_http_it_takes_only_posts_of_this_machines_own_pages_and_of_a_size(
    folder: Path,
    prices: None,  # noqa: ARG001
    log: IO[str],
) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    with served(folder, log) as url, requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, json=CALL, headers=headers, timeout=10)
        foreign = session.post(url, json=CALL, headers=headers | {"Origin": "https://a.example"}, timeout=10)
        disguised = session.post(url, json=CALL, headers=headers | {"Host": "a.example"}, timeout=10)
        large = session.post(url, data=b" " * 2 * 1024 * 1024, headers=headers, timeout=10)
        listened = session.get(url, headers=headers, timeout=10)
    assert answer.json()["result"]["structuredContent"]["month"] == "2026-06-01"
    refused = [each.status_code for each in (foreign, disguised, large, listened)]
    assert refused == [403, 421, 413, 405]


CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "price", "arguments": {"fipe_code": "005340-6"}},
}
SHAKE_HANDS = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "1"},
    },
}


def asked(process: "subprocess.Popen[str]", noise: str = "") -> tuple[Any, str]:
    """The answer to CALL; and what the process says on standard error until it ends, its input closed."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(noise + "".join(json.dumps(message) + "\n" for message in (SHAKE_HANDS, CALL)))
    process.stdin.flush()
    answers: list[Any] = []
    while not any(answer.get("id") == CALL["id"] for answer in answers):
        answers.append(json.loads(process.stdout.readline()))
    rest, said = process.communicate(timeout=20)
    assert rest == ""
    return answers[-1], said


@pytest.mark.usefixtures("in_folder", "prices")
class TestProcess:
    """The process that a program starts."""

    def started(self, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "fipe_cli", *options, "mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_ends_when_its_input_is_closed_and_says_nothing_but_the_protocol(self) -> None:
        with self.started() as process:
            answer, said = asked(process, noise="no protocol\n{}\n\n[1, 2]\n")
        assert answer["result"]["structuredContent"]["month"] == "2026-06-01"
        assert process.returncode == 0
        assert said.startswith(STARTED)
        assert "Traceback" not in said

    def test_without_an_input_it_ends_at_once(self) -> None:
        command = f"'{sys.executable}' -c 'from fipe_cli.entry import main; main()' mcp <&-"
        ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", STARTED)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_when_it_is_interrupted(self, number: signal.Signals) -> None:
        with self.started() as process:
            assert process.stderr
            assert process.stderr.readline() == STARTED
            process.send_signal(number)
            process.wait(timeout=20)
            assert process.stdout
            assert process.stdout.read() == ""
            assert process.stderr.read() == "no longer serving\n"
        assert process.returncode == 0

    def test_without_a_database_it_ends_with_one_line(self) -> None:
        with self.started("--stage", "stg") as process:
            shown, said = process.communicate(timeout=20)
        assert (shown, process.returncode) == ("", 3)
        assert said.startswith("error: stg has no database on this machine: ")
        assert said.count("\n") == 1

    def test_without_aws_its_tools_say_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any-secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        with self.started() as process:
            answer, said = asked(process)
        result = answer["result"]
        assert result["isError"]
        text = result["content"][0]["text"]
        assert text.startswith("nothing answers at http://127.0.0.1:1, which AWS_ENDPOINT_URL names")
        assert len(text.splitlines()) == 1
        assert "any-secret" not in json.dumps(answer) + said
